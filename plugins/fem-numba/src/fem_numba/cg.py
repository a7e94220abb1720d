"""The reference conjugate gradients, compiled: same steps, same stopping rule, same reports.

The equilibrated matrix is A = D K D = 1 + Σ_e A_e. Each coupling of two nodes is stored with one element that has both.
An element's 28 couplings and 8 node numbers are stored beside those of seven others, so that eight elements are
multiplied at once. This takes 240 bytes per element; CSR takes 12 for each of 47 entries. The numbers are those of the
assembled matrix, boundary conditions included. As the diagonal is 1, the preconditioner is the identity.

A step is two passes over the chunks of `renumber`. The first completes x and p of the step before, multiplies, and sums
p·Ap; the second updates r and sums r·r. Sums are taken chunk by chunk, so any number of threads gives the same bits.
"""

import math
from dataclasses import dataclass

import numba
import numpy as np
from fem_core import LinearSystem, Mesh, Problem, SolveResult
from fem_core.plugins import Progress, SolverOptions
from fem_core.solvers import ConjugateGradients as Reference
from fem_core.solvers import Prepared
from fem_core.solvers.base import dot
from fem_core.solvers.cg import PreparedCG, iterate
from fem_core.support.last import Last
from fem_core.types import Array, Floats, Ints
from numba import prange

from fem_numba.jit import F, In, Out, added, compiled, f8, i4, i8, inlined, u2, u4
from fem_numba.renumber import CHUNK, LANES, Layout
from fem_numba.threads import parallel

_BLOCKS = CHUNK // LANES

#: Node updates in one compiled call: about 0.05 s, after which Python can handle Ctrl-C.
_UPDATES = 10_000_000


def _vectorised(function: F) -> F:
    """For loops whose sums may be reordered for vector registers: the order is the same for every thread."""
    return numba.njit(error_model="numpy", fastmath={"contract", "reassoc"})(function)  # type: ignore[no-any-return]


@inlined
def _multiply(v: Floats, at: Array, p: Floats, q: Floats, w: Floats, lanes: int) -> None:
    """q += A_e p for the elements of one block.

    Parameters
    ----------
    v : (28 LANES,)
        Couplings 01, 02, … 67.
    at : (8 LANES,)
        Places of their nodes.
    w : (16 LANES,)
        To work in.
    lanes : int
        LANES. As a variable: if the compiler knew that the loop is short, it would not vectorise it.
    """
    L = LANES
    for k in range(8 * L):
        w[k] = p[at[k]]
    for e in range(lanes):
        p0, p1, p2, p3 = w[e], w[L + e], w[2 * L + e], w[3 * L + e]
        p4, p5, p6, p7 = w[4 * L + e], w[5 * L + e], w[6 * L + e], w[7 * L + e]
        a01, a02, a03, a04 = v[e], v[L + e], v[2 * L + e], v[3 * L + e]
        a05, a06, a07, a12 = v[4 * L + e], v[5 * L + e], v[6 * L + e], v[7 * L + e]
        a13, a14, a15, a16 = v[8 * L + e], v[9 * L + e], v[10 * L + e], v[11 * L + e]
        a17, a23, a24, a25 = v[12 * L + e], v[13 * L + e], v[14 * L + e], v[15 * L + e]
        a26, a27, a34, a35 = v[16 * L + e], v[17 * L + e], v[18 * L + e], v[19 * L + e]
        a36, a37, a45, a46 = v[20 * L + e], v[21 * L + e], v[22 * L + e], v[23 * L + e]
        a47, a56, a57, a67 = v[24 * L + e], v[25 * L + e], v[26 * L + e], v[27 * L + e]
        w[8 * L + e] = a01 * p1 + a02 * p2 + a03 * p3 + a04 * p4 + a05 * p5 + a06 * p6 + a07 * p7
        w[9 * L + e] = a01 * p0 + a12 * p2 + a13 * p3 + a14 * p4 + a15 * p5 + a16 * p6 + a17 * p7
        w[10 * L + e] = a02 * p0 + a12 * p1 + a23 * p3 + a24 * p4 + a25 * p5 + a26 * p6 + a27 * p7
        w[11 * L + e] = a03 * p0 + a13 * p1 + a23 * p2 + a34 * p4 + a35 * p5 + a36 * p6 + a37 * p7
        w[12 * L + e] = a04 * p0 + a14 * p1 + a24 * p2 + a34 * p3 + a45 * p5 + a46 * p6 + a47 * p7
        w[13 * L + e] = a05 * p0 + a15 * p1 + a25 * p2 + a35 * p3 + a45 * p4 + a56 * p6 + a57 * p7
        w[14 * L + e] = a06 * p0 + a16 * p1 + a26 * p2 + a36 * p3 + a46 * p4 + a56 * p5 + a67 * p7
        w[15 * L + e] = a07 * p0 + a17 * p1 + a27 * p2 + a37 * p3 + a47 * p4 + a57 * p5 + a67 * p6
    for k in range(8 * L):
        q[at[k]] += w[8 * L + k]


@inlined
def _multiply_chunk(c: int, v: Floats, local: Array, p: Floats, q: Floats, lanes: int) -> None:
    """q += Σ A_e p over the elements of chunk c, in its segments p and q."""
    w = np.empty(16 * LANES)
    for k in range(c * _BLOCKS, min((c + 1) * _BLOCKS, local.size // (8 * LANES))):
        _multiply(v[k * 28 * LANES : (k + 1) * 28 * LANES], local[k * 8 * LANES : (k + 1) * 8 * LANES], p, q, w, lanes)


@_vectorised
def _advance(α: float, β: float, x: Floats, r: Floats, p: Floats, q: Floats) -> None:
    """x += α p for the step before; then p = r + β p and q = p."""
    for i in range(r.size):
        x[i] += α * p[i]
        p[i] = r[i] + β * p[i]
        q[i] = p[i]


@_vectorised
def _complete(α: float, x: Floats, p: Floats) -> None:
    """x += α p."""
    for i in range(x.size):
        x[i] += α * p[i]


@_vectorised
def _dot(a: Floats, b: Floats) -> float:
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@_vectorised
def _retreat(α: float, r: Floats, q: Floats) -> float:
    """r -= α q. Returns r·r."""
    total = 0.0
    for i in range(r.size):
        r[i] -= α * q[i]
        total += r[i] * r[i]
    return total


@compiled(In[f8, 1], In[i4, 1], In[f8, 1], In[i4, 2], In[i4, 1], Out[f8, 1], parallel=True)
def fill(values: Floats, entries: Ints, d: Floats, quad8: Ints, order: Ints, v: Floats) -> None:
    """The couplings d_i K_ij d_j of each block, zero where another element keeps them."""
    for q in prange(order.size):
        k = 0
        for i in range(8):
            for j in range(i + 1, 8):
                to = (q // LANES * 28 + k) * LANES + q % LANES
                at = entries[to]
                v[to] = values[at] * d[quad8[order[q], i]] * d[quad8[order[q], j]] if at >= 0 else 0.0
                k += 1


@compiled(In[i8, 1], Out[i8, 1], parallel=True)
def digest(words: Array, out: Array) -> None:
    """64 bits for each part of an array, by multiplication and shifts (not cryptographic)."""
    parts = out.size
    for part in prange(parts):
        h = np.uint64(0x9E3779B97F4A7C15)
        for k in range(part * words.size // parts, (part + 1) * words.size // parts):
            h = (h ^ np.uint64(words[k])) * np.uint64(0xBF58476D1CE4E5B9)
            h ^= h >> np.uint64(29)
        out[part] = np.int64(h)


@compiled(
    i8, f8, In[f8, 1], In[u2, 1], In[i4, 1], In[i4, 1], In[u4, 1], In[i4, 1], In[u4, 1], In[u4, 1],
    Out[f8, 1], Out[f8, 1], Out[f8, 1], Out[f8, 1], Out[f8, 1], Out[f8, 1], i8, parallel=True,
)  # fmt: skip
def take_steps(
    steps: int, target: float, v: Floats, local: Array, base: Ints, own: Ints, source: Array,
    seam_starts: Ints, seam_to: Array, seam_from: Array,
    x: Floats, r: Floats, p: Floats, q: Floats, sums: Floats, state: Floats, lanes: int,
) -> int:  # fmt: skip
    """At most `steps` steps, until √ρ < target, ρ isn't finite or p·Ap <= 0. Returns their number.

    Parameters
    ----------
    sums : (n_chunks,)
        To work in.
    state : (3,)
        ρ = r·r, β, and p·Ap of the last step; carried from call to call.
    """
    ρ, β, α, pAp = state[0], state[1], 0.0, state[2]
    done = 0
    while done < steps and math.isfinite(ρ) and not math.sqrt(ρ) < target:
        for c in prange(own.size):
            first, halo, last = base[c], base[c] + own[c], base[c + 1]
            _advance(α, β, x[first:halo], r[first:halo], p[first:halo], q[first:halo])
            p_c, q_c = p[first:last], q[first:last]
            for i in range(halo, last):
                p[i] = r[source[i]] + β * p[i]
                q[i] = 0.0
            _multiply_chunk(c, v, local, p_c, q_c, lanes)
            sums[c] = _dot(p_c, q_c)
        pAp, α = added(sums), 0.0
        if pAp <= 0:
            break
        α = ρ / pAp
        for c in prange(own.size):
            for k in range(seam_starts[c], seam_starts[c + 1]):
                q[seam_to[k]] += q[seam_from[k]]
            first, halo = base[c], base[c] + own[c]
            sums[c] = _retreat(α, r[first:halo], q[first:halo])
        ρ_before, ρ = ρ, added(sums)
        β = ρ / ρ_before
        done += 1
    for c in prange(own.size):
        first, halo = base[c], base[c] + own[c]
        _complete(α, x[first:halo], p[first:halo])
    state[0], state[1], state[2] = ρ, β, pAp
    return done


@compiled(
    In[f8, 1], In[u2, 1], In[i4, 1], In[i4, 1], In[u4, 1], In[i4, 1], In[u4, 1], In[u4, 1],
    In[f8, 1], Out[f8, 1], Out[f8, 1], Out[f8, 1], i8, parallel=True,
)  # fmt: skip
def residual(
    v: Floats, local: Array, base: Ints, own: Ints, source: Array, seam_starts: Ints, seam_to: Array, seam_from: Array,
    b: Floats, x: Floats, q: Floats, sums: Floats, lanes: int,
) -> float:  # fmt: skip
    """‖b - A x‖; q is overwritten."""
    for c in prange(own.size):
        first, halo, last = base[c], base[c] + own[c], base[c + 1]
        for i in range(first, halo):
            q[i] = x[i]
        for i in range(halo, last):
            x[i] = x[source[i]]
            q[i] = 0.0
        _multiply_chunk(c, v, local, x[first:last], q[first:last], lanes)
    for c in prange(own.size):
        for k in range(seam_starts[c], seam_starts[c + 1]):
            q[seam_to[k]] += q[seam_from[k]]
        total = 0.0
        for i in range(base[c], base[c] + own[c]):
            total += (b[i] - q[i]) ** 2
        sums[c] = total
    return math.sqrt(added(sums))


class ConjugateGradients:
    """`cg` on systems whose matrix couples only nodes of the same element, as every assembled one does.

    The last layout is kept, for its topology and pattern. The core's `cg` solves the other systems.

    Parameters
    ----------
    threads : int
    """

    name, summary = Reference.name, Reference.summary

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._layout: Last[Layout] = Last()

    def forget(self) -> None:
        """Drop the layout."""
        self._layout.forget()

    def prepare(self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions) -> Prepared:
        """Raises SolveError where the diagonal isn't positive."""
        core = Reference().prepare(system, mesh, problem, options)
        with parallel(self._threads):
            K = system.matrix
            key = mesh.fingerprint, _digest(K.indptr), _digest(K.indices)
            layout = self._layout.get(key, lambda: Layout.of(mesh, K.indptr, K.indices))
            v = np.zeros(len(layout.entries))
            fill(K.data, layout.entries, core.equilibrated.d, mesh.quad8, layout.order, v)
        return _Prepared(layout, v, core, self._threads, mesh.orphan_nodes)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """The couplings of a matrix by element. The core solves systems with other couplings or loads on orphans."""

    layout: Layout
    v: Floats
    core: PreparedCG
    threads: int
    orphans: Ints

    def solve(self, rhs: Floats, options: SolverOptions, progress: Progress) -> SolveResult:
        equilibrated = self.core.equilibrated
        if not self.layout.complete or rhs[self.orphans].any():
            progress.remark(
                "numba: the core's cg solved the system, because the matrix couples nodes that share no element"
            )
            return self.core.solve(rhs, options, progress)
        at = _Iteration(self.layout, self.v, self.layout.scatter(equilibrated.d * rhs), self.threads)
        iterations, reason, history = iterate(at, options, progress)
        w = equilibrated.d * self.layout.gather(at.x)
        return equilibrated.result(w, rhs, "cg", iterations, reason, options, history)


class _Iteration:
    """The `fem_core.solvers.cg.Iteration` of one right-hand side, in the order of the layout."""

    def __init__(self, at: Layout, v: Floats, b: Floats, threads: int) -> None:
        self._matrix = v, at.local, at.base, at.own, at.source, at.seam_starts, at.seam_to, at.seam_from
        self._b, self._threads, self._most = b, threads, max(1, _UPDATES // at.size)
        self.x, self._r, self._p, self._q, self._finite = (np.zeros(at.size) for _ in range(5))
        self._r[:] = b
        self._sums, self._state = np.zeros(len(at.own)), np.array([dot(b, b), 0.0, 1.0])
        self.norm_b = math.sqrt(self._state[0])

    def advance(self, steps: int, target: float) -> tuple[int, float, bool]:
        with parallel(self._threads):
            vectors = self.x, self._r, self._p, self._q
            done = take_steps(min(steps, self._most), target, *self._matrix, *vectors, self._sums, self._state, LANES)
        return done, math.sqrt(self._state[0]), not self._state[2] <= 0

    def residual(self) -> float:
        with parallel(self._threads):
            return residual(*self._matrix, self._b, self.x, self._q, self._sums, LANES)

    def remember(self) -> None:
        self._finite[:] = self.x

    def recall(self) -> None:
        self.x = self._finite


def _digest(array: Array) -> object:
    """A fingerprint of an array's content."""
    words = np.frombuffer(array, np.int64, count=array.nbytes // 8)
    out = np.empty(1 + len(words) // 65536, np.int64)
    digest(words, out)
    return len(array), array[-1:].tobytes(), out.tobytes()
