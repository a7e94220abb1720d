"""The core's `mg` with compiled loops: hierarchy, steps and reports are the core's.

Sums are taken over pieces of rows that don't depend on the threads, so any number of threads gives the same bits.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from fem_core import Mesh
from fem_core.solvers import Equilibrated, Multigrid
from fem_core.solvers.multigrid import Hierarchy, build_hierarchy
from fem_core.solvers.multigrid.solver import Start
from fem_core.types import Array, Bools, Floats, Ints
from numba import prange

from fem_numba.cycle import ROWS, Cycle
from fem_numba.jit import CSR, In, Out, compiled, f4, f8
from fem_numba.memory import zeros
from fem_numba.setup import kernels
from fem_numba.threads import parallel


@compiled(In[f8, 1], In[f8, 1], f8, Out[f4, 1], parallel=True)
def scale(d: Floats, r: Floats, norm_s: float, s: Array) -> None:
    """s = D r / ‖D r‖, in single precision."""
    for chunk in prange((r.size + ROWS - 1) // ROWS):
        for i in range(chunk * ROWS, min((chunk + 1) * ROWS, r.size)):
            s[i] = d[i] * r[i] / norm_s


@compiled(In[f8, 1], In[f4, 1], f8, In[f8, 1], In[f8, 1], Out[f8, 2], parallel=True)
def products(d: Floats, x: Array, norm_s: float, r: Floats, q: Floats, sums: Floats) -> None:
    """r·z and q·z of each piece, z = ‖D r‖ D x."""
    for chunk in prange(sums.shape[0]):
        rz, qz = 0.0, 0.0
        for i in range(chunk * ROWS, min((chunk + 1) * ROWS, r.size)):
            z = d[i] * x[i] * norm_s
            rz += r[i] * z
            qz += q[i] * z
        sums[chunk, 0], sums[chunk, 1] = rz, qz


@compiled(In[f8, 1], In[f4, 1], f8, f8, Out[f8, 1], parallel=True)
def turn(d: Floats, x: Array, norm_s: float, β: float, p: Floats) -> None:
    """p = z + β p."""
    for chunk in prange((p.size + ROWS - 1) // ROWS):
        for i in range(chunk * ROWS, min((chunk + 1) * ROWS, p.size)):
            p[i] = d[i] * x[i] * norm_s + β * p[i]


@compiled(*CSR[f8], In[f8, 1], Out[f8, 1], Out[f8, 2], parallel=True)
def multiply(indptr: Ints, indices: Array, data: Floats, p: Floats, q: Floats, sums: Floats) -> None:
    """q = K p, and p·q of each piece."""
    for chunk in prange(sums.shape[0]):
        pq = 0.0
        for i in range(chunk * ROWS, min((chunk + 1) * ROWS, p.size)):
            total = 0.0
            for k in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
                total += data[k] * p[indices[k]]
            q[i] = total
            pq += p[i] * total
        sums[chunk, 0] = pq


@compiled(f8, In[f8, 1], In[f8, 1], In[f8, 1], Out[f8, 1], Out[f8, 1], Out[f8, 2], parallel=True)
def advance(α: float, d: Floats, p: Floats, q: Floats, w: Floats, r: Floats, sums: Floats) -> None:
    """w += α p and r -= α q, and ‖D r‖² of each piece."""
    for chunk in prange(sums.shape[0]):
        total = 0.0
        for i in range(chunk * ROWS, min((chunk + 1) * ROWS, p.size)):
            w[i] += α * p[i]
            r[i] -= α * q[i]
            total += (d[i] * r[i]) ** 2
        sums[chunk, 0] = total


class _Iteration:
    """The `fem_core.solvers.multigrid.solver.Iteration` of one right-hand side."""

    def __init__(self, equilibrated: Equilibrated, cycle: Cycle, threads: int, rhs: Floats) -> None:
        K = equilibrated.K
        self._K = K.indptr, K.indices.view(np.uint32), K.data
        self._d, self._f, self._cycle, self._threads = equilibrated.d, rhs, cycle, threads
        self.w, self._p, self._q, self._r = (zeros(len(rhs)) for _ in range(4))
        self._r[:] = rhs
        self._norm_s = 0.0
        self._sums = np.zeros((-(-len(rhs) // ROWS), 2))

    def precondition(self, norm_s: float) -> tuple[float, float]:
        self._norm_s = norm_s
        with parallel(self._threads):
            scale(self._d, self._r, norm_s, self._cycle.b)
            self._cycle.run()
            products(self._d, self._cycle.x, norm_s, self._r, self._q, self._sums)
        rz, qz = self._sums.sum(axis=0)
        return float(rz), float(qz)

    def turn(self, β: float) -> float:
        with parallel(self._threads):
            turn(self._d, self._cycle.x, self._norm_s, β, self._p)
            multiply(*self._K, self._p, self._q, self._sums)
        return float(self._sums[:, 0].sum())

    def advance(self, α: float) -> float:
        with parallel(self._threads):
            advance(α, self._d, self._p, self._q, self.w, self._r, self._sums)
        return float(np.sqrt(self._sums[:, 0].sum()))

    def residual(self) -> float:
        q = np.empty_like(self._q)
        with parallel(self._threads):
            multiply(*self._K, self.w, q, self._sums)
        s = self._d * (self._f - q)
        return float(np.sqrt(np.einsum("i,i->", s, s)))


def multigrid(threads: int) -> Multigrid:
    """`mg` on `threads` threads."""

    def set_up(
        equilibrated: Equilibrated, mesh: Mesh, free: Bools, step: Callable[[], None]
    ) -> tuple[Hierarchy, Start] | None:
        K, d = equilibrated.K, equilibrated.d
        hierarchy = build_hierarchy(K, mesh, free, d=d, step=step, threads=threads, kernels=kernels(threads))
        if hierarchy is None:
            return None
        return hierarchy, partial(_Iteration, equilibrated, Cycle(hierarchy), threads)

    return Multigrid(set_up)
