"""The V-cycle of `fem_core.solvers.multigrid`, compiled: rows in parallel, each summed in order.

On a level without lines, smoothing of degree 2 is one pass. From x = 0 the first step is x = δ = α b, so A δ = α A b,
and the second step needs no other product:

    x_i = α b_i + δ_i ,   δ_i = α β' b_i + α' (b_i - α Σ_j a_ij b_j) .

After the coarse correction it is applied to r = b - A x. With lines it is applied to T⁻¹ b, and then corrected on the
lines only: there the bracket is T⁻¹ (b - α A T⁻¹ b).
"""

import numpy as np
from fem_core.solvers.multigrid import Hierarchy, Level, Lines
from fem_core.types import Array, Ints
from numba import prange
from scipy import sparse

from fem_numba.jit import CSR, In, Out, compiled, f4, i8, inlined, u4
from fem_numba.memory import zeros

#: Rows that a thread takes at a time.
ROWS = 2048


@inlined
def row(i: int, indptr: Ints, indices: Array, data: Array, x: Array) -> np.float32:
    """Σ_j a_ij x_j. Indices are unsigned: Numba checks at each access whether a signed one is negative."""
    total = np.float32(0)
    for k in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
        total += data[k] * x[indices[k]]
    return total


@compiled(*CSR[f4], In[f4, 1], Out[f4, 1], Out[f4, 1], f4, f4, f4, i8, parallel=True)
def smooth(
    indptr: Ints,
    indices: Array,
    data: Array,
    r: Array,
    x: Array,
    y: Array,
    α: np.float32,
    β: np.float32,
    α2: np.float32,
    add: int,
) -> None:
    """x = p(A) r, or x += p(A) r, with the polynomial of two steps; y = r - α A r, if y isn't empty."""
    of_r = α + β * α
    for chunk in prange((r.size + ROWS - 1) // ROWS):
        for i in range(chunk * ROWS, min((chunk + 1) * ROWS, r.size)):
            left = r[i] - α * row(i, indptr, indices, data, r)
            value = of_r * r[i] + α2 * left
            x[i] = x[i] + value if add else value
            if y.size:
                y[i] = left


@compiled(*CSR[f4], In[f4, 1], Out[f4, 1], Out[f4, 1], parallel=True)
def residual(indptr: Ints, indices: Array, data: Array, b: Array, x: Array, r: Array) -> None:
    """r = b - A x; r may be b."""
    for chunk in prange((r.size + ROWS - 1) // ROWS):
        for i in range(chunk * ROWS, min((chunk + 1) * ROWS, r.size)):
            r[i] = b[i] - row(i, indptr, indices, data, x)


@compiled(*CSR[f4], In[f4, 1], Out[f4, 1], i8, parallel=True)
def transfer(indptr: Ints, indices: Array, data: Array, x: Array, y: Array, add: int) -> None:
    """y = P x, or y += P x."""
    for chunk in prange((y.size + ROWS - 1) // ROWS):
        for i in range(chunk * ROWS, min((chunk + 1) * ROWS, y.size)):
            value = row(i, indptr, indices, data, x)
            y[i] = y[i] + value if add else value


@inlined
def solve(d: Array, l: Array, z: Array, first: int, last: int) -> None:
    """z ← T⁻¹ z on some lines."""
    before = np.float32(0)
    for k in range(first, last):
        before = z[k] - (l[k - 1] * before if k > first else np.float32(0))
        z[k] = before
    before = np.float32(0)
    for k in range(last - 1, first - 1, -1):
        before = z[k] * d[k] - l[k] * before
        z[k] = before


LINES = In[u4, 1], In[f4, 1], In[f4, 1], In[i8, 1]


@compiled(*LINES, Out[f4, 1], Out[f4, 1], Out[f4, 1], parallel=True)
def enter(nodes: Array, d: Array, l: Array, cuts: Array, kept: Array, z: Array, r: Array) -> None:
    """r ← T⁻¹ r; r on the lines is saved in `kept`."""
    for piece in prange(cuts.size - 1):
        first, last = cuts[piece], cuts[piece + 1]
        for k in range(first, last):
            kept[k] = z[k] = r[nodes[k]]
        solve(d, l, z, first, last)
        for k in range(first, last):
            r[nodes[k]] = z[k]


@compiled(*LINES, In[f4, 1], Out[f4, 1], Out[f4, 1], In[f4, 1], Out[f4, 1], f4, parallel=True)
def leave(
    nodes: Array, d: Array, l: Array, cuts: Array, kept: Array, z: Array, r: Array, y: Array, x: Array, α2: np.float32
) -> None:
    """Restore r, and correct x on the lines: `smooth` took the identity there in place of T⁻¹."""
    for piece in prange(cuts.size - 1):
        first, last = cuts[piece], cuts[piece + 1]
        for k in range(first, last):
            i = nodes[k]
            z[k] = y[i] - r[i] + kept[k]
            r[i] = kept[k]
        solve(d, l, z, first, last)
        for k in range(first, last):
            x[nodes[k]] += α2 * (z[k] - y[nodes[k]])


def tridiagonal(lines: Lines | None) -> tuple[Array, Array, Array, Array]:
    """T: nodes, inverse diagonal of D, lower diagonal of L, cuts between threads; empty for the identity."""
    if lines is None:
        return np.empty(0, np.uint32), np.empty(0, np.float32), np.empty(0, np.float32), np.zeros(1, np.int64)
    m = len(lines.nodes)
    l = np.append(lines.l, 0).astype(np.float32)
    ends = np.flatnonzero(l == 0) + 1
    cuts = np.unique(np.concatenate([[0], ends[np.searchsorted(ends, np.arange(ROWS, m, ROWS))], [m]]))
    return lines.nodes.view(np.uint32), (1 / lines.d).astype(np.float32), l, cuts.astype(np.int64)


class _Level:
    """A level's arrays as the compiled functions take them, and its vectors.

    `b` is the right-hand side from the level above, `x` the solution.
    """

    def __init__(self, level: Level) -> None:
        n = level.smoother.A.shape[0]
        self.A, self.P, self.R = (arrays(M) for M in (level.smoother.A, level.P, level.P.T.tocsr()))
        (α, _), (α2, β2) = level.smoother.steps()
        self.αβα = np.float32(α), np.float32(β2), np.float32(α2)
        self.T = tridiagonal(level.smoother.lines)
        m = len(self.T[0])
        self.on_lines = np.empty(m, np.float32), np.empty(m, np.float32)
        self.b, self.x, self.r = (zeros(n, np.float32) for _ in range(3))
        self.y = zeros(n if m else 0, np.float32)

    def smooth(self, r: Array, add: int) -> None:
        """x = p(T⁻¹A) T⁻¹ r, or added to x."""
        if self.y.size:
            enter(*self.T, *self.on_lines, r)
        smooth(*self.A, r, self.x, self.y, *self.αβα, add)
        if self.y.size:
            leave(*self.T, *self.on_lines, r, self.y, self.x, self.αβα[2])


class Cycle:
    """`Hierarchy.cycle`, compiled: the caller fills `b`, and `run` puts the solution into `x`."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self._levels = [_Level(level) for level in hierarchy.levels]
        self.b, self.x = self._levels[0].b, self._levels[0].x
        self._coarsest = hierarchy.coarsest
        self._below = np.zeros(hierarchy.levels[-1].P.shape[1], np.float32)

    def run(self, k: int = 0) -> None:
        """Smooth, correct by the coarser level, smooth."""
        at = self._levels[k]
        last = k + 1 == len(self._levels)
        coarse = self._below if last else self._levels[k + 1].b
        at.smooth(at.b, 0)
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
    """The arrays of a CSR matrix, for compiled functions."""
    indptr, indices = np.asarray(M.indptr, dtype=np.int32), np.asarray(M.indices, dtype=np.int32)
    return indptr, indices.view(np.uint32), M.data
