"""Whole runs by the clock, from a mesh file of 1.36 million nodes to a written result, each in a new process.

The peer has the core's NumPy assembly and a factorisation, PARDISO on two threads or CHOLMOD, whichever is installed.
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
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    with tempfile.TemporaryDirectory() as folder:
        mesh = fem.write_mesh(fem.generate.y_tube(nodes=_NODES), Path(folder) / "mesh.h5")
        environment = {**os.environ, "MKL_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
        for round_ in range(1 + min(repeats, 5)):  # the first one fills the caches
            for name, (backend, solver) in candidates.items():
                command = ["solve", mesh, "--backend", backend, "--solver", solver, "--output", Path(folder) / "u.h5"]
                start = time.perf_counter()
                done = subprocess.run(
                    [sys.executable, "-m", "fem_core", *map(str, command), "--json"],
                    env=environment, capture_output=True, text=True, check=True,
                )  # fmt: skip
                if round_:
                    stages = json.loads(done.stdout)["stages"]
                    seconds[name].append((time.perf_counter() - start, sum(stages.values())))
    results: dict[str, object] = {}
    ours = statistics.median(clock for clock, _ in seconds["numba mg"])
    print(f"{'':16} by the clock   in stages (s)   against numba mg   all rounds")
    for name, rows in seconds.items():
        clock, stages = (statistics.median(column) for column in zip(*rows, strict=True))
        results[name] = {"clock": clock, "stages": stages, "rounds": [row[0] for row in rows]}
        every = " ".join(f"{row[0]:.1f}" for row in rows)
        print(f"{name:16} {clock:12.2f} {stages:15.2f} {clock / ours:18.2f}   {every}")
    return results
