"""The V-cycle of `fem_core.solvers.multigrid`, compiled: rows in parallel, each summed in its own order.

On a level without lines a smoothing step of degree 2 is one pass. From x = 0 the first step is x = δ = α b, so that
A δ is A b times α, and the second needs nothing else:

    x_i = α b_i + δ_i ,   δ_i = α β' b_i + α' (b_i - α Σ_j a_ij b_j) .

After the correction it is applied to r = b - A x. With lines each step is a product and a sweep along the lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fem_core.solvers.multigrid import Hierarchy, Level
from fem_core.types import Array, Ints
from numba import prange
from scipy import sparse

from fem_numba.jit import In, Out, compiled, f4, i4, i8, inlined, u4

#: Rows in a piece of work for a thread.
ROWS = 2048


@inlined
def _row(i: int, indptr: Ints, indices: Array, data: Array, x: Array) -> np.float32:
    """Σ_j a_ij x_j. Unsigned, as what could be negative would be checked at each access."""
    total = np.float32(0)
    for k in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
        total += data[k] * x[indices[k]]
    return total


_CSR = In[i4, 1], In[u4, 1], In[f4, 1]


@compiled(*_CSR, In[f4, 1], Out[f4, 1], f4, f4, f4, i8, parallel=True)
def smooth(
    indptr: Ints,
    indices: Array,
    data: Array,
    r: Array,
    x: Array,
    α: np.float32,
    β: np.float32,
    α2: np.float32,
    add: int,
) -> None:
    """x = p(A) r, or x += p(A) r, with the polynomial of two steps."""
    of_r, of_Ar = α + β * α + α2, α2 * α
    for chunk in prange((r.size + ROWS - 1) // ROWS):
        for i in range(chunk * ROWS, min((chunk + 1) * ROWS, r.size)):
            value = of_r * r[i] - of_Ar * _row(i, indptr, indices, data, r)
            x[i] = x[i] + value if add else value


@compiled(*_CSR, In[f4, 1], Out[f4, 1], Out[f4, 1], parallel=True)
def residual(indptr: Ints, indices: Array, data: Array, b: Array, x: Array, r: Array) -> None:
    """r = b - A x; r may be b."""
    for chunk in prange((r.size + ROWS - 1) // ROWS):
        for i in range(chunk * ROWS, min((chunk + 1) * ROWS, r.size)):
            r[i] = b[i] - _row(i, indptr, indices, data, x)


@compiled(*_CSR, In[f4, 1], Out[f4, 1], i8, parallel=True)
def transfer(indptr: Ints, indices: Array, data: Array, x: Array, y: Array, add: int) -> None:
    """y = P x, or y += P x."""
    for chunk in prange((y.size + ROWS - 1) // ROWS):
        for i in range(chunk * ROWS, min((chunk + 1) * ROWS, y.size)):
            value = _row(i, indptr, indices, data, x)
            y[i] = y[i] + value if add else value


@compiled(
    In[u4, 1], In[f4, 1], In[f4, 1], In[i8, 1], In[f4, 1], Out[f4, 1], Out[f4, 1], Out[f4, 1], f4, f4, i8, parallel=True
)
def sweep(
    nodes: Array,
    d: Array,
    l: Array,
    cuts: Array,
    r: Array,
    z: Array,
    δ: Array,
    x: Array,
    α: np.float32,
    β: np.float32,
    add: int,
) -> None:
    """δ = α T⁻¹ r + β δ and x += δ, or x = δ, where β is 0.

    Parameters
    ----------
    nodes : (n,)
        Those in lines first, the others as lines of one.
    d, l : (n,)
        Inverse diagonal of D, and lower diagonal of L; 0 after the end of a line.
    cuts : (n_pieces + 1,)
        Ends of lines, between which threads work.
    z : (n,)
        To work in.
    """
    for piece in prange(cuts.size - 1):
        first, last = cuts[piece], cuts[piece + 1]
        before = np.float32(0)
        for k in range(first, last):
            before = r[nodes[k]] - (l[k - 1] * before if k > first else np.float32(0))
            z[k] = before
        before = np.float32(0)
        for k in range(last - 1, first - 1, -1):
            before = z[k] * d[k] - l[k] * before
            i = nodes[k]
            step = α * before + (β * δ[i] if β != 0 else np.float32(0))
            δ[i] = step
            x[i] = x[i] + step if add else step


@dataclass(frozen=True, eq=False)
class _Lines:
    """T on all nodes, in the order of the lines; see `sweep`."""

    nodes: Array
    d: Array
    l: Array
    cuts: Array

    @classmethod
    def of(cls, level: Level) -> "_Lines | None":
        lines, n = level.smoother.lines, level.smoother.A.shape[0]
        if lines is None and level.smoother.degree == 2:
            return None
        inside = lines.nodes if lines else np.empty(0, np.int32)
        outside = np.ones(n, bool)
        outside[inside] = False
        d, l = np.ones(n, np.float32), np.zeros(n, np.float32)
        if lines:
            d[: len(inside)] = 1 / lines.d
            l[: len(inside) - 1] = lines.l
        ends = np.flatnonzero(l == 0) + 1
        cuts = np.unique(ends[np.searchsorted(ends, np.arange(ROWS, n, ROWS))])
        nodes = np.concatenate([inside, np.flatnonzero(outside)]).astype(np.uint32)
        return cls(nodes, d, l, np.unique(np.concatenate([[0], cuts, [n]])).astype(np.int64))


class _Level:
    """A level's arrays as the compiled functions take them, and its vectors.

    `b` is what the level above wants solved, `x` the answer.
    """

    def __init__(self, level: Level) -> None:
        n = level.smoother.A.shape[0]
        self.A, self.P, self.R = (arrays(M) for M in (level.smoother.A, level.P, level.P.T.tocsr()))
        self.steps = [(np.float32(α), np.float32(β)) for α, β in level.smoother.steps()]
        self.lines = _Lines.of(level)
        self.b, self.x, self.r = (np.zeros(n, np.float32) for _ in range(3))
        if self.lines:
            self.z, self.δ = (np.zeros(n, np.float32) for _ in range(2))

    def smooth(self, r: Array, add: int) -> None:
        """x = p(T⁻¹A) T⁻¹ r, or x += it; with lines r is overwritten."""
        if self.lines is None:
            (α, _), (α2, β2) = self.steps
            smooth(*self.A, r, self.x, α, β2, α2, add)
            return
        at = self.lines
        for k, (α, β) in enumerate(self.steps):
            if k:
                residual(*self.A, r, self.δ, r)
            sweep(at.nodes, at.d, at.l, at.cuts, r, self.z, self.δ, self.x, α, β, add or k)


class Cycle:
    """`Hierarchy.cycle`, compiled. `b` is filled by the caller, `run` leaves the answer in `x`."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self._levels: Sequence[_Level] = [_Level(level) for level in hierarchy.levels]
        self._coarsest = hierarchy.coarsest
        self._below = np.zeros(hierarchy.levels[-1].P.shape[1], np.float32)

    @property
    def b(self) -> Array:
        return self._levels[0].b

    @property
    def x(self) -> Array:
        return self._levels[0].x

    def run(self, k: int = 0) -> None:
        """Smooth, correct by the coarser level, smooth."""
        at = self._levels[k]
        last = k + 1 == len(self._levels)
        coarse = self._below if last else self._levels[k + 1].b
        np.copyto(at.r, at.b)
        at.smooth(at.r, 0)
        residual(*at.A, at.b, at.x, at.r)
        transfer(*at.R, at.r, coarse, 0)
        if last:
            answer = self._coarsest(coarse.astype(np.float64)).astype(np.float32)
        else:
            self.run(k + 1)
            answer = self._levels[k + 1].x
        transfer(*at.P, answer, at.x, 1)
        residual(*at.A, at.b, at.x, at.r)
        at.smooth(at.r, 1)


def arrays(M: "sparse.csr_array") -> tuple[Array, Array, Array]:
    """A CSR matrix for compiled functions."""
    indptr, indices = np.asarray(M.indptr, dtype=np.int32), np.asarray(M.indices, dtype=np.int32)
    return indptr, indices.view(np.uint32), M.data
