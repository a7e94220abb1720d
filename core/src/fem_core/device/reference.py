"""Every kernel of a device, defined in NumPy: what it computes, and the order of its arguments.

A kernel for a GPU computes the same item by item. All arrays are 1-D; N nodes, M elements. Node a of element e
is `quad8[8 e + a]`, and t = 8 e + a is a *place*. Element matrices are symmetric: entry (a, b), a <= b,
of element e is `Ke[p M + e]` with p = `PACKED[a, b]`. No kernel adds floating-point numbers in random
order.

`ReferenceRuntime` runs them for tests, on arrays that can't be used as NumPy arrays.
"""

import math
import time
import weakref
from collections.abc import Callable, Mapping
from functools import cache
from inspect import isfunction
from typing import Any, TypeAlias, get_type_hints

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fem_core.assembly.element import element_derived as _derived
from fem_core.assembly.element import element_load as _load
from fem_core.assembly.element import element_stiffness as _stiffness
from fem_core.assembly.element import robin_edges
from fem_core.assembly.sparsity import csr_positions
from fem_core.device import runtime as state_of
from fem_core.device.errors import out_of_memory
from fem_core.device.runtime import CHUNK
from fem_core.types import Array

I4: TypeAlias = NDArray[np.int32]
F8: TypeAlias = NDArray[np.float64]
F4: TypeAlias = NDArray[np.float32]

#: Index of entry (a, b) among the 36 of an element matrix: the upper triangle by rows, mirrored.
PACKED = np.zeros((8, 8), dtype=np.int32)
PACKED[np.triu_indices(8)] = np.arange(36)
PACKED = np.maximum(PACKED, PACKED.T)


def _rows(indptr: I4) -> Array:
    """The row of each entry."""
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))


def _sums(indptr: I4, terms: Array) -> Array:
    """Each row's sum, in order."""
    sums: Array = np.bincount(_rows(indptr), terms, len(indptr) - 1)
    return sums.astype(terms.dtype, copy=False)


def _nodes(quad8: I4, places: Array) -> Array:
    """The eight nodes of the element of each place, (..., 8)."""
    nodes: Array = quad8.reshape(-1, 8)[places // 8]
    return nodes


# sparsity


def count_places(n: int, quad8: I4, count: I4) -> None:
    """count[v] += 1 for the node v of each place. n = 8 M."""
    count += np.bincount(quad8, minlength=len(count)).astype(np.int32)


def list_places(n: int, quad8: I4, start: I4, cursor: I4, place: I4) -> None:
    """place[start[v] + cursor[v]++] = t for v = quad8[t], in any order of t. n = 8 M."""
    t = n - 1 - np.argsort(quad8[::-1], kind="stable")
    v = quad8[t]
    place[start[v] + cursor[v] + np.arange(n) - np.searchsorted(v, v)] = t
    cursor += np.bincount(v, minlength=len(cursor)).astype(np.int32)


def sort_places(n: int, start: I4, place: I4) -> None:
    """The places of each node, start[i] … start[i + 1], ascending. n = N."""
    place[:] = place[np.lexsort((place, _rows(start)))]


def list_columns(n: int, start: I4, place: I4, quad8: I4, room: I4, length: I4) -> None:
    """The different nodes of node i's elements, ascending, from room[8 start[i]] on, and their number. n = N.

    An orphan's number is 1, for its diagonal.
    """
    pairs = np.unique(np.repeat(_rows(start), 8) * n + _nodes(quad8, place).ravel())
    i, columns = pairs // n, pairs % n
    room[8 * start[i] + np.arange(len(i)) - np.searchsorted(i, i)] = columns
    length[:n] = np.maximum(1, np.bincount(i, minlength=n))


def pack_columns(n: int, start: I4, room: I4, indptr: I4, indices: I4) -> None:
    """The rows of `list_columns` side by side; an orphan's has its diagonal. n = N."""
    i = _rows(indptr)
    orphan = np.diff(start)[i] == 0
    indices[orphan] = i[orphan]
    kept = np.flatnonzero(~orphan)
    indices[kept] = room[8 * start[i[kept]] + kept - indptr[i[kept]]]


def count_sources(n: int, start: I4, place: I4, quad8: I4, indptr: I4, indices: I4, count: I4) -> None:
    """For each place 8 e + a of node i and each b: count[s] += 1, s where (i, node b of e) is. n = N.

    Each row belongs to one item, so nothing is atomic.
    """
    s = csr_positions(indptr, indices, np.repeat(_rows(start), 8), _nodes(quad8, place).ravel())
    count += np.bincount(s, minlength=len(count)).astype(np.int32)


def list_sources(
    n: int, start: I4, place: I4, quad8: I4, indptr: I4, indices: I4, source_start: I4, cursor: I4, source: I4, M: int
) -> None:
    """As `count_sources`: source[source_start[s] + cursor[s]++] = where (a, b) of e is in `Ke`. n = N.

    The elements of each entry ascend.
    """
    s = csr_positions(indptr, indices, np.repeat(_rows(start), 8), _nodes(quad8, place).ravel())
    found = (PACKED[place % 8] * M + (place // 8)[:, None]).ravel()
    order = np.argsort(s, kind="stable")
    rank = np.arange(len(s)) - np.searchsorted(s[order], s[order])
    source[source_start[s[order]] + cursor[s[order]] + rank] = found[order]
    cursor += np.bincount(s, minlength=len(cursor)).astype(np.int32)


def find_slots(n: int, quad8: I4, indptr: I4, indices: I4, slots: I4) -> None:
    """slots[64 e + 8 a + b] = where (node a, node b) of element e is. n = 64 M."""
    nodes = quad8.reshape(-1, 8)
    slots[:] = csr_positions(indptr, indices, np.repeat(quad8, 8), np.tile(nodes, 8).ravel())


def sum_chunks(n: int, length: int, values: I4, sums: I4) -> None:
    """The sum of each CHUNK values; the last chunk ends at `length`. n = ⌈length / CHUNK⌉."""
    sums[:n] = np.add.reduceat(values[:length], np.arange(0, length, CHUNK))


def scan_chunks(n: int, length: int, values: I4, offsets: I4, starts: I4) -> None:
    """starts[j] = offsets[t] + the values before j in its chunk t. n = ⌈length / CHUNK⌉."""
    for t in range(n):
        chunk = slice(t * CHUNK, min((t + 1) * CHUNK, length))
        starts[chunk] = offsets[t] + np.cumsum(values[chunk]) - values[chunk]


# assembly


def element_stiffness(n: int, x: F8, y: F8, quad8: I4, k: F8, k_stride: int, Ke: F8) -> None:
    """∫ k ∇N_a·∇N_b of each element by 3x3 Gauss points, for either sign of det J; k is k[k_stride e]. n = M."""
    nodes = quad8.reshape(-1, 8)
    full = _stiffness(x[nodes], y[nodes], k[k_stride * np.arange(n)])
    a, b = np.triu_indices(8)
    Ke[:] = full[:, a, b].T.ravel()


def sum_entries(n: int, source_start: I4, source: I4, Ke: F8, values: F8) -> None:
    """values[s] = the sum of Ke[source] over s, in order; 0 where there is none. n = nnz."""
    values[:] = _sums(source_start, Ke[source])


def element_load(n: int, x: F8, y: F8, quad8: I4, source_s: F8, fe: F8) -> None:
    """∫ s N_a of each element by 3x3 Gauss points; s of place t is source_s[t]. n = M."""
    nodes = quad8.reshape(-1, 8)
    fe[:] = _load(x[nodes], y[nodes], source_s.reshape(-1, 8)).ravel()


def sum_loads(n: int, start: I4, place: I4, fe: F8, rhs: F8) -> None:
    """rhs[i] = the sum of fe over the places of node i, in order. n = N."""
    rhs[:] = _sums(start, fe[place])


def coo_entries(n: int, quad8: I4, Ke: F8, M: int, orphans: I4, rows: I4, columns: I4, values: F8) -> None:
    """All entries of all element matrices, t = 64 e + 8 a + b, then 0 on each orphan's diagonal. n = 64 M + orphans."""
    rows[:] = np.concatenate([np.repeat(quad8, 8), orphans])
    columns[:] = np.concatenate([np.tile(quad8.reshape(-1, 8), 8).ravel(), orphans])
    values[:] = np.concatenate([Ke.reshape(36, M)[PACKED.ravel()].T.ravel(), np.zeros(len(orphans))])


# conditions


def add_robin(
    n: int, nodes: I4, edge_start: I4, edge_place: I4, edges: I4, x: F8, y: F8, p: F8, gamma: F8, indptr: I4,
    indices: I4, values: F8, rhs: F8,
) -> None:  # fmt: skip
    """For each place 3 edge + i of node v = nodes[t]: ∫ γ N_i added to rhs[v], ∫ p N_i N_j to row v. n = len(nodes).

    p and gamma are given at the three nodes of each edge. By 3 Gauss points; edges in order.
    """
    corners = edges.reshape(-1, 3)
    matrix, load = robin_edges(x[corners], y[corners], p.reshape(-1, 3), gamma.reshape(-1, 3))
    row = nodes[_rows(edge_start)]
    np.add.at(rhs, row, load.ravel()[edge_place])
    columns = corners[edge_place // 3]
    slots = csr_positions(indptr, indices, np.repeat(row, 3), columns.ravel())
    np.add.at(values, slots, matrix.reshape(-1, 3)[edge_place].ravel())


def subtract_product(n: int, indptr: I4, indices: I4, values: F8, g: F8, rhs: F8) -> None:
    """rhs -= K g. n = N."""
    rhs -= _sums(indptr, values * g[indices])


def penalize(n: int, fixed: I4, indptr: I4, indices: I4, values: F8, rhs: F8, penalty: float) -> None:
    """The penalty added to the diagonal of fixed nodes, their rhs made 0. n = len(fixed)."""
    values[csr_positions(indptr, indices, fixed, fixed)] += penalty
    rhs[fixed] = 0


def eliminate(n: int, held: I4, indptr: I4, indices: I4, values: F8, rhs: F8) -> None:
    """Rows and columns of held nodes (those that aren't 0) become the identity's, their rhs 0. n = N."""
    rows = _rows(indptr)
    gone = (held[rows] != 0) | (held[indices] != 0)
    values[gone] = (rows == indices)[gone]
    rhs[held != 0] = 0


# solve


def inverse_root_diagonal(n: int, indptr: I4, indices: I4, values: F8, d: F8, bad: I4) -> None:
    """d_i = K_ii^-½; where K_ii isn't positive and finite, d_i = 0 and bad[0] += 1. n = N."""
    nodes = np.arange(n, dtype=np.int32)
    diagonal = values[csr_positions(indptr, indices, nodes, nodes)]
    good = (diagonal > 0) & np.isfinite(diagonal)
    d[:] = np.where(good, 1 / np.sqrt(np.where(good, diagonal, 1)), 0)
    bad[0] += np.count_nonzero(~good)


def scale_matrix(n: int, indptr: I4, indices: I4, values: F8, d: F8, A: F8) -> None:
    """A_ij = d_i K_ij d_j. n = N."""
    A[:] = d[_rows(indptr)] * values * d[indices]


def product(n: int, a: F8, b: F8, out: F8) -> None:
    """out_i = a_i b_i."""
    out[:] = a * b


def residual(n: int, indptr: I4, indices: I4, A: F8, x: F8, b: F8, out: F8) -> None:
    """out = b - A x. n = N."""
    out[:] = b - _sums(indptr, A * x[indices])


def multiply(n: int, indptr: I4, indices: I4, A: F8, x: F8, out: F8) -> None:
    """out = A x. n = N."""
    out[:] = _sums(indptr, A * x[indices])


def put_zero(n: int, fixed: I4, out: F8) -> None:
    """out = 0 at fixed nodes. n = len(fixed)."""
    out[fixed] = 0


def potential(n: int, lift: F8, d: F8, x: F8, u: F8) -> None:
    """u = ĝ + D x. n = N."""
    u[:] = lift + d * x


def dot_chunks(n: int, length: int, a: F8, b: F8, sums: F8) -> None:
    """a·b of each CHUNK entries; the last chunk ends at `length`. n = ⌈length / CHUNK⌉."""
    sums[:n] = np.add.reduceat(a[:length] * b[:length], np.arange(0, length, CHUNK))


# derived


def element_derived(
    n: int, x: F8, y: F8, quad8: I4, u: F8, p0: float, half_rho: float, velocity: F8, speed: F8, pressure: F8
) -> None:
    """-∇u at velocity[2 e], [2 e + 1], |∇u|, each the mean over 2x2 Gauss points, and p0 - half_rho speed². n = M."""
    nodes = quad8.reshape(-1, 8)
    mean, speed[:] = _derived(x[nodes], y[nodes], u[nodes])
    velocity[:] = mean.ravel()
    pressure[:] = p0 - half_rho * speed * speed


# multigrid


def multiply_f4(n: int, indptr: I4, indices: I4, values: F4, x: F4, out: F4) -> None:
    """out = M x, M of n rows."""
    out[:] = _sums(indptr, values * x[indices])


def subtract_product_f4(n: int, indptr: I4, indices: I4, values: F4, x: F4, r: F4) -> None:
    """r -= M x, M of n rows."""
    r -= _sums(indptr, values * x[indices])


def chebyshev(n: int, alpha: float, beta: float, z: F4, delta: F4, x: F4) -> None:
    """δ = β δ + α z, x += δ; where β is 0, δ isn't read."""
    delta[:] = np.float32(alpha) * z + (np.float32(beta) * delta if beta else np.float32(0))
    x += delta


def solve_lines(n: int, line_start: I4, nodes: I4, d: F4, l: F4, r: F4, z: F4) -> None:
    """z = (L D Lᵀ)⁻¹ r at the nodes of each line; elsewhere z stays. n lines.

    `nodes`, d (diagonal of D) and l (lower diagonal of L, l[k] below d[k]) go line by line; the value of l at the
    end of a line isn't read.
    """
    first, stop = line_start[:-1], line_start[1:]
    for step in range(int((stop - first).max(initial=0))):  # all lines at once, from node to node
        k = (first + step)[first + step < stop]
        z[nodes[k]] = r[nodes[k]] - (l[k - 1] * z[nodes[k - 1]] if step else np.float32(0))
    for step in range(int((stop - first).max(initial=0))):
        k = (stop - 1 - step)[stop - 1 - step >= first]
        z[nodes[k]] = z[nodes[k]] / d[k] - (l[k] * z[nodes[k + 1]] if step else np.float32(0))


def add_f4(n: int, e: F4, x: F4) -> None:
    """x += e."""
    x += e


def multiply_dense(n: int, B: F4, x: F4, out: F4) -> None:
    """out = B x, B (n, n) by rows."""
    out[:] = B.reshape(n, n) @ x


def narrow(n: int, d: F8, r: F8, factor: float, s: F4) -> None:
    """s = d r factor, in single precision."""
    s[:] = d * r * factor


def widen(n: int, d: F8, x: F4, factor: float, z: F8) -> None:
    """z = d x factor."""
    z[:] = d * x * factor


def axpy(n: int, alpha: float, a: F8, b: F8) -> None:
    """b += α a."""
    b += alpha * a


def xpby(n: int, z: F8, beta: float, p: F8) -> None:
    """p = z + β p."""
    p[:] = z + beta * p


#: The kernels by name: each public function above.
KERNELS: Mapping[str, Callable[..., None]] = {
    name: value
    for name, value in vars().items()
    if isfunction(value) and value.__module__ == __name__ and name[0] != "_"
}


# conjugate gradients


def step(n: int, indptr: I4, indices: I4, A: F8, x: F8, r: F8, p: F8, q: F8, state: F8) -> None:
    """One step of conjugate gradients on a matrix of unit diagonal, or a new status if no step is taken.

    state = ‖r‖², ‖r‖² of the step before, p·Ap, target, iteration, limit, status and an unused one. At the start
    x = p = 0, r = b, ‖r‖² is given and the one before is 1. Once the status is set, nothing changes.
    """
    if state[state_of.STATUS] != state_of.RUNNING:
        return
    if math.sqrt(state[state_of.RR]) < state[state_of.TARGET]:
        state[state_of.STATUS] = state_of.CONVERGED
    elif not math.isfinite(state[state_of.RR]):
        state[state_of.STATUS] = state_of.NOT_FINITE
    elif state[state_of.ITERATION] >= state[state_of.LIMIT]:
        state[state_of.STATUS] = state_of.LIMIT_REACHED
    else:
        p[:] = r + (state[state_of.RR] / state[state_of.BEFORE]) * p
        multiply(n, indptr, indices, A, p, q)
        state[state_of.PAP] = p @ q
        if state[state_of.PAP] <= 0:
            state[state_of.STATUS] = state_of.INDEFINITE
            return
        alpha = state[state_of.RR] / state[state_of.PAP]
        x += alpha * p
        r -= alpha * q
        state[state_of.BEFORE], state[state_of.RR] = state[state_of.RR], r @ r
        state[state_of.ITERATION] += 1


#: Steps that one call of the reference's `conjugate_gradients` runs.
BATCH = 16

#: The dtype of each array type of a signature.
DTYPES = {I4: np.dtype("i4"), F8: np.dtype("f8"), F4: np.dtype("f4")}


@cache
def signature(kernel: str) -> tuple[Any, ...]:
    """The types of a kernel's arguments after n: I4, F8, F4, int or float."""
    hints = get_type_hints(KERNELS[kernel])
    return tuple(hint for name, hint in hints.items() if name not in ("n", "return"))


class DeviceArray:
    """An array of `ReferenceRuntime`: only the runtime can read its values."""

    __array_ufunc__ = None

    def __init__(self, runtime: "ReferenceRuntime", values: Array) -> None:
        self._runtime, self._values = runtime, values

    def __array__(self, *arguments: Any, **keywords: Any) -> Any:
        raise AssertionError("a device array was taken for a NumPy array")

    def __bool__(self) -> bool:
        raise AssertionError("a device array was asked whether it is true")

    __len__ = __iter__ = __getitem__ = __float__ = __array__

    def on(self, runtime: "ReferenceRuntime") -> Array:
        """Its values. The array must belong to `runtime`, which must be open."""
        assert self._runtime is runtime, "a device array of another runtime"
        assert runtime.opened, "a device array was used after its runtime was closed"
        return self._values


class ReferenceRuntime:
    """The kernels above as a `Runtime`. It shows mistakes as a device does: new memory isn't zero, types are strict.

    Parameters
    ----------
    memory : int
        Bytes that its arrays may take.
    """

    def __init__(self, memory: int = 1 << 34) -> None:
        self.memory = memory
        self.opened = False
        self.launches: list[str] = []
        self.downloads = 0
        self.peak = 0
        self._arrays: weakref.WeakSet[DeviceArray] = weakref.WeakSet()

    def open(self) -> None:
        self.opened = True

    def compile(self) -> None: ...

    def close(self) -> None:
        self.opened = False

    @property
    def live(self) -> int:
        """Number of arrays in use."""
        return len(self._arrays)

    @property
    def used(self) -> int:
        """Bytes in its arrays."""
        return sum(array._values.nbytes for array in self._arrays)

    def _new(self, values: Array) -> DeviceArray:
        assert self.opened, "memory of a runtime that is closed"
        assert values.dtype in DTYPES.values(), f"devices have no {values.dtype}"
        self.peak = max(self.peak, self.used + values.nbytes)
        if self.peak > self.memory:
            raise out_of_memory("an array", values.nbytes, self.free_memory())
        self._arrays.add(array := DeviceArray(self, values))
        return array

    def empty(self, length: int, dtype: DTypeLike) -> DeviceArray:
        return self._new(np.full(length, np.nan if np.dtype(dtype).kind == "f" else -(2**31), dtype))

    def zeros(self, length: int, dtype: DTypeLike) -> DeviceArray:
        return self._new(np.zeros(length, dtype))

    def upload(self, values: Array) -> DeviceArray:
        return self._new(np.array(values, order="C").ravel())

    def download(self, values: DeviceArray) -> Array:
        self.downloads += 1
        return values.on(self).copy()

    def copy(self, source: DeviceArray, target: DeviceArray) -> None:
        a, b = source.on(self), target.on(self)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), "copied to an array of another kind"
        b[:] = a

    def launch(self, kernel: str, n: int, *arguments: Any) -> None:
        self.launches.append(kernel)
        types = signature(kernel)
        assert len(types) == len(arguments), f"{kernel} takes {len(types)} arguments, not {len(arguments)}"
        given = []
        for wanted, argument in zip(types, arguments, strict=True):
            if wanted in DTYPES:
                argument = argument.on(self)
                assert argument.dtype == DTYPES[wanted], f"{kernel} was given {argument.dtype} for {wanted}"
            else:
                assert type(argument) is wanted, f"{kernel} was given {argument!r} for {wanted.__name__}"
            given.append(argument)
        if n > 0:
            with np.errstate(all="ignore"):
                KERNELS[kernel](n, *given)

    def synchronize(self) -> None:
        assert self.opened

    def conjugate_gradients(
        self, n: int, indptr: Any, indices: Any, A: Any, x: Any, r: Any, p: Any, q: Any, state: Any
    ) -> Callable[[], None]:
        arrays = [array.on(self) for array in (indptr, indices, A, x, r, p, q, state)]

        def run() -> None:
            assert self.opened
            with np.errstate(all="ignore"):
                for _ in range(BATCH):
                    step(n, *arrays)

        return run

    def coo_to_csr(self, rows: DeviceArray, columns: DeviceArray, values: DeviceArray, n: int) -> tuple[Any, Any, Any]:
        i, j, v = (array.on(self) for array in (rows, columns, values))
        keys, place = np.unique(i.astype(np.int64) * n + j, return_inverse=True)
        indptr = np.searchsorted(keys, n * np.arange(n + 1, dtype=np.int64)).astype(np.int32)
        sums = np.bincount(place.ravel(), v, len(keys))
        return self._new(indptr), self._new((keys % n).astype(np.int32)), self._new(sums)

    def free_memory(self) -> tuple[int, int]:
        return self.memory - self.used, self.memory

    def seconds(self, work: Callable[[], object]) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    def describe(self) -> Mapping[str, Any]:
        return {"name": "NumPy reference, no GPU", "memory": self.memory, "simulated": True}
