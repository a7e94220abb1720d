"""Reading and validating a mesh and finding its boundaries, compared with NumPy's assembly and direct solve."""

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import fem_core as fem
import numpy as np
from fem_core.io import hdf5
from fem_core.tools.bench import Timing, side_by_side
from meshes import y_tube_195k

NODES = 1_358_000


def run(repeats: int) -> dict[str, object]:
    duct = fem.generate.duct(nodes=NODES)
    meshes = {
        "1.36 M nodes": duct,
        "1.36 M nodes, badly numbered, and 0.34 M orphans": shuffled(duct, duct.n_nodes // 4),
        "195 k nodes": y_tube_195k(),
    }
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, mesh) in enumerate(meshes.items()):
            path = fem.write_mesh(replace(mesh, boundaries={}), Path(folder) / f"{i}.h5")
            cases = {
                "read": partial(hdf5.read, path),
                "and validate": lambda path=path: fem.validate_mesh(hdf5.read(path)),
                "and find boundaries": partial(fem.read_mesh, path),
            }
            if mesh.n_nodes < 300_000:  # the large one takes a minute
                cases["assemble and solve"] = partial(fem.solve, fem.read_mesh(path), backend="numpy", solver="direct")
            timings = side_by_side(cases, repeats)
            print(name)
            for case, timing in timings.items():
                print(f"  {case:30} {1e3 * timing.median:8.1f} ms")
            if "assemble and solve" in timings:
                print(f"  {'ratio':30} {ratio(timings):8.3f}")
            results[name] = timings
    return results


def ratio(timings: dict[str, Timing]) -> float:
    return timings["and find boundaries"].median / timings["assemble and solve"].median


def shuffled(mesh: fem.Mesh, orphans: int) -> fem.Mesh:
    """The same mesh, its nodes and elements in random order, with orphan nodes among them."""
    rng = np.random.default_rng(0)
    total = mesh.n_nodes + orphans
    node = rng.permutation(total)[: mesh.n_nodes]
    x, y = rng.uniform(-1, 1, (2, total))
    x[node], y[node] = mesh.x, mesh.y
    return fem.Mesh(x, y, node[mesh.quad8[rng.permutation(mesh.n_elements)]])
