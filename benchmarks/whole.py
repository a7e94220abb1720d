"""Whole runs by the clock, from a mesh file of 1.36 million nodes to a written result, each in a new process.

The peer has the core's NumPy assembly and a factorisation: PARDISO on two threads or CHOLMOD, if installed.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fem_core as fem
from fem_core.solvers.factorisation import CHOLMOD, PARDISO

_NODES = 1_360_000


def run(repeats: int) -> dict[str, object]:
    candidates = {"numba mg": ("numba", "mg"), "numpy mg": ("numpy", "mg")}
    candidates |= {f"numpy {f.name}": ("numpy", f.name) for f in (PARDISO, CHOLMOD) if f.available}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in candidates}
    with tempfile.TemporaryDirectory() as folder:
        mesh = fem.write_mesh(fem.generate.y_tube(nodes=_NODES), Path(folder) / "mesh.h5")
        environment = {**os.environ, "MKL_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its bytecode
        for round_ in range(1 + min(repeats, 5)):  # the first round fills the caches
            for name, (backend, solver) in candidates.items():
                command = ["solve", mesh, "--backend", backend, "--solver", solver, "--output", Path(folder) / "u.h5"]
                start = time.perf_counter()
                done = subprocess.run(
                    [sys.executable, "-m", "fem_core", *map(str, command), "--json"],
                    env=environment, capture_output=True, text=True, check=True,
                )  # fmt: skip
                clock = time.perf_counter() - start
                if round_:
                    stages = json.loads(done.stdout)["stages"]
                    rows[name].append({**stages, "start and end": clock - sum(stages.values()), "clock": clock})
    results = {
        name: {part: statistics.median(row[part] for row in all_) for part in all_[0]} for name, all_ in rows.items()
    }
    ours = results["numba mg"]
    print(f"{'':16} by the clock (s)   against numba mg   all rounds")
    for name, medians in results.items():
        every = " ".join(f"{row['clock']:.1f}" for row in rows[name])
        print(f"{name:16} {medians['clock']:16.2f} {medians['clock'] / ours['clock']:18.2f}   {every}")
    print("numba mg, in ms: " + ", ".join(f"{part} {1e3 * seconds:.0f}" for part, seconds in ours.items()))
    return {name: {"medians": results[name], "rounds": rows[name]} for name in rows}
