"""Seconds and megabytes of each result format at 1.36 million nodes, until the file is safe on the disk.

Also reading back, and a picture.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import fem_core as fem
import numpy as np
from fem_core.io.files import result_writers
from fem_core.tools.bench import side_by_side


def run(repeats: int) -> dict[str, object]:
    solution = _solution(1_358_000)
    with tempfile.TemporaryDirectory() as folder:
        paths = {writer.suffixes[0]: Path(folder) / f"result{writer.suffixes[0]}" for writer in result_writers()}
        tasks = {name: (lambda path=path: solution.write(path)) for name, path in paths.items()}
        tasks["read_solution"] = lambda: fem.read_solution(paths[".h5"])
        for suffix in (".png", ".svg"):
            paths[f"plot {suffix}"] = Path(folder) / f"result{suffix}"
            tasks[f"plot {suffix}"] = lambda path=paths[f"plot {suffix}"]: solution.plot(path)
        timings = side_by_side(tasks, repeats)
        sizes = {name: path.stat().st_size / 1e6 for name, path in paths.items()}
    print(f"{solution.mesh.n_nodes:,} nodes, {solution.mesh.n_elements:,} elements")
    for name, timing in timings.items():
        print(f"{name:16} {timing.median:7.3f} s" + (f" {sizes[name]:8.1f} MB" if name in sizes else ""))
    return {"timings": timings, "megabytes": sizes}


def _solution(nodes: int) -> fem.Solution:
    """A y-tube with smooth fields of the right size. A real solve would take minutes."""
    small = fem.solve(fem.generate.duct(nx=2, ny=1), solver="direct")
    mesh = fem.with_boundaries(fem.generate.y_tube(nodes=nodes))
    u = 9 * (1 - mesh.x / mesh.x.max()) + 0.1 * np.sin(9 * mesh.y)
    speed = 2.5 + np.cos(mesh.x[mesh.quad8[:, 0]])
    velocity = np.stack([speed, 0.1 * speed], axis=1)
    return replace(small, mesh=mesh, u=u, velocity=velocity, speed=speed, pressure=-0.6 * speed**2)
