"""Peak memory of a whole process that assembles 1.36 million nodes, all of them used."""

from fem_core.tools.bench import ONE_THREAD, peak_memory

_MESH = "import fem_core as fem\nmesh = fem.generate.y_tube(nodes=1_358_000)\n"
_PROGRAMS = {
    "import fem_core": "import fem_core",
    "mesh": _MESH,
    "mesh, symbolic": _MESH + "sparsity = fem.compute_sparsity(fem.with_boundaries(mesh))",
    "mesh, symbolic, numeric": _MESH + "system = fem.assemble_system(mesh, backend='numpy')",
}


def run(repeats: int) -> dict[str, object]:
    peaks = {name: peak_memory(program, env=ONE_THREAD) for name, program in _PROGRAMS.items()}
    for name, peak in peaks.items():
        print(f"{name:32} {peak:8.0f} MB")
    return {"peak_mb": peaks}
