"""An iteration of fem-numba's conjugate gradients beside one of SciPy's, on the same equilibrated matrix.

Bytes are the least that an iteration needs in this form: for each element 28 couplings and 8 places, for each used node
x, r and p read and written, r read once more, q written and read. Memory that is fetched only to be overwritten isn't
counted, neither here nor in the triad a = b + 3 c. With data in the cache, rates above the triad's are possible.
"""

from functools import partial

import fem_core as fem
import numpy as np
from compiled import triad
from fem_core.solvers import Equilibrated
from fem_core.tools.bench import side_by_side
from fem_numba import jit
from fem_numba.cg import ConjugateGradients
from fem_numba.threads import parallel
from meshes import y_tube_195k
from scipy.sparse.linalg import cg

THREADS = 2


def run(repeats: int) -> dict[str, object]:
    figures: dict[str, object] = {}
    for name, mesh, steps in (("195k", y_tube_195k(), 200), ("1.36M", fem.generate.y_tube(nodes=1_358_000), 50)):
        print(f"-- {name}: {mesh.n_elements} elements")
        figures[name] = measure(mesh, steps, repeats)
    return figures


def measure(mesh: fem.Mesh, steps: int, repeats: int) -> dict[str, float]:
    """Medians in ms an iteration, GB/s, and their ratios."""
    jit.compile_all()
    problem = fem.Problem.potential_flow(mesh)
    system = fem.apply_bc(fem.assemble_system(mesh, problem, backend="numpy"), mesh, problem)
    e = Equilibrated.of(system)
    prepared = {
        threads: ConjugateGradients(threads).prepare(system, mesh, problem, fem.plugins.SolverOptions())
        for threads in (1, THREADS)
    }

    def numba(steps: int, threads: int) -> None:
        prepared[threads].solve(system.rhs, fem.plugins.SolverOptions(maxiter=steps), fem.plugins.Progress())

    def scipy() -> None:
        cg(e.A, e.d * system.rhs, rtol=1e-8, atol=0.0, maxiter=steps)

    a, b, c = (np.ones(20_000_000) for _ in range(3))

    def stream() -> None:
        with parallel(THREADS):
            triad(a, b, c)

    timings = side_by_side(
        {
            "scipy": scipy,
            "prepared 1": partial(numba, 0, 1),
            "numba 1": partial(numba, steps, 1),
            f"prepared {THREADS}": partial(numba, 0, THREADS),
            f"numba {THREADS}": partial(numba, steps, THREADS),
            "triad": stream,
        },
        repeats,
    )
    best = {name: timing.median for name, timing in timings.items()}
    scipy_ms = 1e3 * best["scipy"] / steps
    one, all_ = (1e3 * (best[f"numba {n}"] - best[f"prepared {n}"]) / steps for n in (1, THREADS))
    moved = mesh.n_elements * (28 * 8 + 8 * 2) + 9 * 8 * len(mesh.used_nodes)
    rate, bandwidth = moved / all_ / 1e6, 3 * a.nbytes / best["triad"] / 1e9
    csr_rate = (12 * e.A.nnz + 4 * mesh.n_nodes + 9 * 8 * mesh.n_nodes) / all_ / 1e6
    share = all_ / scipy_ms
    print(f"SciPy {scipy_ms:.3f} ms, numba {one:.3f} on 1 thread, {all_:.3f} on {THREADS}: {share:.3f} of SciPy's")
    print(f"{moved / 1e6:.1f} MB: {rate:.1f} GB/s, triad {bandwidth:.1f}: {100 * rate / bandwidth:.0f} %")
    print(f"a CSR matrix would have to be read at {csr_rate:.1f} GB/s for that: {100 * csr_rate / bandwidth:.0f} %")
    return {
        "scipy_ms": scipy_ms, "numba_1_ms": one, f"numba_{THREADS}_ms": all_, "of_scipy": share,
        "GB/s": rate, "triad": bandwidth, "of_triad": rate / bandwidth, "as_csr_of_triad": csr_rate / bandwidth,
    }  # fmt: skip
