"""Weak scaling of `mg`: time and memory per node from ten thousand to five million nodes, each in its own process.

FEM_PLOT=FILE draws the figure of docs/solvers.md.
"""

import json
import os
import subprocess
import sys

from fem_core.tools.bench import ONE_THREAD

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 5_000_000)
SHAPES = {
    "duct": "fem.generate.duct(nodes=N)",
    "duct, elements 6:1": "fem.generate.duct(nx=round((N / 18) ** 0.5), ny=round((2 * N) ** 0.5))",
    "y-tube": "fem.generate.y_tube(nodes=N)",
}
PROGRAM = """
import json, resource, time
import fem_core as fem
import numpy as np
from fem_core.solvers import Multigrid
N = {nodes}
small = fem.generate.duct(nodes=80_000)
system = fem.apply_bc(fem.assemble_system(small), small)
options, progress = fem.plugins.SolverOptions(), fem.plugins.Progress()
Multigrid().prepare(system, small, None, options).solve(system.rhs, options, progress)  # loads the libraries
mesh = {mesh}
system = fem.apply_bc(fem.assemble_system(mesh), mesh)
K = system.matrix
matrix = K.data.nbytes + K.indices.nbytes + K.indptr.nbytes
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
start = time.perf_counter()
prepared = Multigrid().prepare(system, mesh, None, options)
prepared.set_up(progress)
middle = time.perf_counter()
result = prepared.solve(system.rhs, options, progress)
end = time.perf_counter()
assert result.converged
h = prepared.hierarchy
held = matrix
for M in [M for level in h.levels for M in (level.smoother.A, level.P)]:
    for array in (M.data, M.indices, M.indptr):
        shared = np.may_share_memory(array, K.indices) or np.may_share_memory(array, K.indptr)
        held += 0 if shared else array.nbytes
held += sum(a.nbytes for level in h.levels if level.smoother.lines
            for a in (level.smoother.lines.nodes, level.smoother.lines.d, level.smoother.lines.l))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps(dict(nodes=mesh.n_nodes, setup=middle - start, solve=end - middle, iterations=result.iterations,
                      matrix=matrix, held=held, before=before, peak=peak)))
"""


def run(repeats: int) -> dict[str, object]:
    results: dict[str, list[dict[str, float]]] = {}
    for name, mesh in SHAPES.items():
        for nodes in SIZES:
            program = PROGRAM.format(nodes=nodes, mesh=mesh)
            done = subprocess.run(
                [sys.executable, "-c", program],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, **ONE_THREAD},
            )
            row = json.loads(done.stdout)
            results.setdefault(name, []).append(row)
            n = row["nodes"]
            print(
                f"{name:20} {n:9,} nodes  {row['iterations']:3} iterations  setup {1e6 * row['setup'] / n:6.2f} "
                f"solve {1e6 * row['solve'] / n:6.2f} µs/node  held {row['held'] / row['matrix']:5.2f} x matrix  "
                f"process peak {row['before'] / n:6.0f} bytes/node before, {row['peak'] / n:6.0f} after",
                flush=True,
            )
    if path := os.environ.get("FEM_PLOT"):
        plot(results, path)
    return {"rows": results}


def plot(results: dict[str, list[dict[str, float]]], path: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, rows in results.items():
        n = [row["nodes"] for row in rows]
        left.semilogx(n, [1e6 * (row["setup"] + row["solve"]) / row["nodes"] for row in rows], "o-", label=name)
        right.semilogx(n, [row["held"] / row["matrix"] for row in rows], "o-", label=name)
    left.set(xlabel="nodes", ylabel="setup and solve, µs per node")
    right.set(xlabel="nodes", ylabel="matrix and hierarchy, in matrices")
    left.set_ylim(bottom=0)
    right.set_ylim(0, 2.5)
    left.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
