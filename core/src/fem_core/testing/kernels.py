"""Compares the kernels of a device runtime, entry by entry, with those of `fem_core.device.reference`.

For authors of device backends: call `compare(runtime, name, seed)` for each name of `KERNELS` and some seeds
(Hypothesis may draw them). Open and compile the runtime first.

>>> from fem_core.device.reference import ReferenceRuntime
>>> runtime = ReferenceRuntime()
>>> runtime.open()
>>> compare(runtime, "product", seed=0)
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fem_core.assembly.element import element_stiffness
from fem_core.assembly.sparsity import compute_sparsity
from fem_core.assembly.system import LinearSystem, apply_conditions, csr
from fem_core.device import reference
from fem_core.device import runtime as device
from fem_core.device.runtime import CHUNK, Runtime
from fem_core.mesh.geometry import validate_mesh
from fem_core.problem import Problem
from fem_core.solvers.base import scaled
from fem_core.testing import strategies, tolerance
from fem_core.testing.compare import assert_close
from fem_core.types import Array, Floats, Ints

#: Rounding errors that are allowed, in units of ε times the sum of absolute terms.
_ROUNDINGS = 16
F4 = np.float32


class World:
    """A random mesh and the arguments of kernels for it, as NumPy arrays.

    The mesh is distorted, turned, renumbered and has orphan nodes; it has 1 to side² elements.
    """

    def __init__(self, seed: int, side: int) -> None:
        self.rng = rng = np.random.default_rng(seed)
        nx, ny = (int(n) for n in rng.integers(1, side + 1, 2))
        mesh = strategies._distorted(strategies._grid(nx, ny, 3.0), rng, 1.0)
        mesh = strategies.with_orphans(strategies.turned(mesh, rng), int(rng.integers(0, 4)), rng)
        self.mesh = validate_mesh(strategies.renumbered(mesh, rng))
        self.n, self.m = self.mesh.n_nodes, self.mesh.n_elements
        self.sparsity = compute_sparsity(self.mesh)
        self.pattern = self.sparsity.indptr, self.sparsity.indices
        self.quad8: Ints = self.mesh.quad8.ravel()
        self.start = _starts(np.bincount(self.quad8, minlength=self.n))
        self.place: Ints = np.argsort(self.quad8, kind="stable").astype(np.int32)

    def normal(self, length: int, dtype: type = np.float64) -> Array:
        return self.rng.normal(size=length).astype(dtype)

    def positive(self, length: int, dtype: type = np.float64) -> Array:
        return self.rng.uniform(0.5, 2, length).astype(dtype)

    def small(self, length: int, end: int) -> Ints:
        """Integers from 0 to end - 1."""
        return self.rng.integers(0, end, length).astype(np.int32)

    def values(self, dtype: type = np.float64) -> Array:
        """Entries of a matrix with the mesh's pattern."""
        return self.normal(self.sparsity.nnz, dtype)

    def some_nodes(self) -> Ints:
        return np.flatnonzero(self.rng.random(self.n) < 0.4).astype(np.int32)

    def matrix(self) -> Any:
        """A = D K D of a solvable problem, and b."""
        problem = Problem.potential_flow(self.mesh, outlet=3.0)
        nodes = self.mesh.quad8
        Ke = element_stiffness(self.mesh.x[nodes], self.mesh.y[nodes], 1.0)
        K = csr(*self.pattern, self.sparsity.scatter(Ke))
        system = apply_conditions(LinearSystem(K, np.zeros(self.n)), self.mesh, problem)
        d = 1 / np.sqrt(system.matrix.diagonal())
        return scaled(system.matrix, d, d), d * system.rhs


def _starts(counts: Array) -> Ints:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def _ints(length: int, fill: int = 0) -> Ints:
    return np.full(length, fill, np.int32)


def _unset(length: int, dtype: type = np.float64) -> Array:
    """An array that the kernel must overwrite."""
    return np.full(length, np.nan, dtype)


@dataclass
class Call:
    """n and the arguments of a launch, and the tolerances of its results.

    Parameters
    ----------
    negated : sequence of int
        Arguments that the kernel subtracts. The sum of absolute terms is what the kernel gives for the absolute values
        of all arguments, with these negated.
    allowed : mapping of an argument's index to its tolerance
        Replaces the tolerance that follows from this sum.
    """

    n: int
    arguments: list[Any]
    negated: Sequence[int] = ()
    allowed: dict[int, Any] = field(default_factory=dict)


# fmt: off
def _sort_places(at: World) -> Call:
    rows = np.repeat(np.arange(at.n), np.diff(at.start))
    shuffled = np.lexsort((at.rng.random(len(rows)), rows))
    return Call(at.n, [at.start, at.place[shuffled]])


def _pack_columns(at: World) -> Call:
    room = _ints(64 * at.m, -1)
    reference.KERNELS["list_columns"](at.n, at.start, at.place, at.quad8, room, _ints(at.n + 1))
    return Call(at.n, [at.start, room, at.sparsity.indptr, _ints(at.sparsity.nnz, -1)])


def _list_sources(at: World) -> Call:
    starts = _starts(np.bincount(at.sparsity.slots.ravel(), minlength=at.sparsity.nnz))
    return Call(at.n, [at.start, at.place, at.quad8, *at.pattern, starts, _ints(at.sparsity.nnz),
                       _ints(64 * at.m, -1), at.m])


def _element_stiffness(at: World) -> Call:
    stride = int(at.rng.integers(0, 2))
    k = at.positive(at.m if stride else 1)
    a, b = np.triu_indices(8)
    allowed = tolerance.element_stiffness(at.mesh, np.broadcast_to(k, (at.m,)))[:, a, b].T.ravel()
    return Call(at.m, [at.mesh.x, at.mesh.y, at.quad8, k, stride, _unset(36 * at.m)], allowed={5: allowed})


def _sum_entries(at: World) -> Call:
    starts = _starts(at.rng.integers(0, 5, at.sparsity.nnz))
    return Call(at.sparsity.nnz, [starts, at.small(starts[-1], 36 * at.m), at.normal(36 * at.m),
                                  _unset(at.sparsity.nnz)])


def _element_load(at: World) -> Call:
    s = at.normal(8 * at.m)
    allowed = tolerance.element_load(at.mesh, s.reshape(-1, 8)).ravel()
    return Call(at.m, [at.mesh.x, at.mesh.y, at.quad8, s, _unset(8 * at.m)], allowed={4: allowed})


def _coo_entries(at: World) -> Call:
    orphans = at.mesh.orphan_nodes.astype(np.int32)
    n = 64 * at.m + len(orphans)
    return Call(n, [at.quad8, at.normal(36 * at.m), at.m, orphans, _ints(n, -1), _ints(n, -1), _unset(n)])


def _add_robin(at: World) -> Call:
    edges = at.mesh.exterior_edges.astype(np.int32)
    nodes = np.unique(edges).astype(np.int32)
    starts = _starts(np.bincount(np.searchsorted(nodes, edges.ravel()), minlength=len(nodes)))
    places = np.argsort(edges.ravel(), kind="stable").astype(np.int32)
    p, gamma = at.positive(edges.size), at.normal(edges.size)
    values, rhs = at.values(), at.normal(at.n)
    reach = 4 * (np.abs(at.mesh.x).max() + np.abs(at.mesh.y).max())  # more than any edge's length
    allowed = [_ROUNDINGS * tolerance.EPS * (np.abs(old) + 2 * reach * np.abs(new).max())
               for old, new in ((values, p), (rhs, gamma))]
    return Call(len(nodes), [nodes, starts, places, edges.ravel(), at.mesh.x, at.mesh.y, p, gamma, *at.pattern,
                             values, rhs], allowed={10: allowed[0], 11: allowed[1]})


def _penalize(at: World) -> Call:
    fixed = at.some_nodes()
    return Call(len(fixed), [fixed, *at.pattern, at.values(), at.normal(at.n), 1e12])


def _eliminate(at: World) -> Call:
    held = _ints(at.n)
    held[at.some_nodes()] = 1
    return Call(at.n, [held, *at.pattern, at.values(), at.normal(at.n)])


def _inverse_root_diagonal(at: World) -> Call:
    values = np.abs(at.values())
    bad = at.rng.permutation(at.n)[:3]
    values[at.sparsity.diagonal[bad]] = [-1.0, np.inf, np.nan][: len(bad)]
    diagonal = values[at.sparsity.diagonal]
    allowed = np.where(diagonal > 0, _ROUNDINGS * tolerance.EPS / np.sqrt(np.abs(diagonal)), 0)
    return Call(at.n, [*at.pattern, values, _unset(at.n), _ints(1)], allowed={3: allowed})


def _put_zero(at: World) -> Call:
    fixed = at.some_nodes()
    return Call(len(fixed), [fixed, at.normal(at.n)])


def _element_derived(at: World) -> Call:
    u, p0, half_rho = at.normal(at.n), 101328.8281, 0.6125
    close = tolerance.derived(at.mesh, u)
    speed = np.empty(at.m)
    reference.KERNELS["element_derived"](at.m, at.mesh.x, at.mesh.y, at.quad8, u, p0, half_rho, np.empty(2 * at.m),
                                         speed, np.empty(at.m))
    pressure = half_rho * (2 * speed + close) * close + _ROUNDINGS * tolerance.EPS * (p0 + half_rho * speed**2)
    return Call(at.m, [at.mesh.x, at.mesh.y, at.quad8, u, p0, half_rho, _unset(2 * at.m), _unset(at.m),
                       _unset(at.m)], allowed={6: np.repeat(close, 2), 7: close, 8: pressure})


def _chebyshev(at: World) -> Call:
    beta = float(at.rng.integers(0, 2)) * 0.31
    delta = at.normal(at.n, F4) if beta else _unset(at.n, F4)
    return Call(at.n, [0.7, beta, at.normal(at.n, F4), delta, at.normal(at.n, F4)])


def _solve_lines(at: World) -> Call:
    nodes = at.rng.permutation(at.n)[: at.rng.integers(1, at.n + 1)].astype(np.int32)
    cuts = at.rng.choice(len(nodes), at.rng.integers(0, len(nodes)), replace=False)
    starts = np.unique(np.concatenate([[0], cuts, [len(nodes)]])).astype(np.int32)
    d, l = at.positive(len(nodes), F4), at.rng.uniform(-0.4, 0.1, len(nodes)).astype(F4)
    r = at.normal(at.n, F4)
    return Call(len(starts) - 1, [starts, nodes, d, l, r, r.copy()], negated=[3])


def _multiply_dense(at: World) -> Call:
    n = int(at.rng.integers(1, 40))
    return Call(n, [at.normal(n * n, F4), at.normal(n, F4), _unset(n, F4)])


def _chunks(at: World) -> int:
    return -(-at.n // CHUNK)


#: The launch of each kernel of the reference.
_CALLS: dict[str, Callable[[World], Call]] = {
    # sparsity
    "count_places": lambda at: Call(8 * at.m, [at.quad8, _ints(at.n + 1)]),
    "list_places": lambda at: Call(8 * at.m, [at.quad8, at.start, _ints(at.n), _ints(8 * at.m, -1)]),
    "sort_places": _sort_places,
    "list_columns": lambda at: Call(at.n, [at.start, at.place, at.quad8, _ints(64 * at.m, -1), _ints(at.n + 1)]),
    "pack_columns": _pack_columns,
    "count_sources": lambda at: Call(at.n, [at.start, at.place, at.quad8, *at.pattern, _ints(at.sparsity.nnz + 1)]),
    "list_sources": _list_sources,
    "find_slots": lambda at: Call(64 * at.m, [at.quad8, *at.pattern, _ints(64 * at.m, -1)]),
    "sum_chunks": lambda at: Call(_chunks(at), [at.n, at.small(at.n, 9), _ints(_chunks(at), -1)]),
    "scan_chunks": lambda at: Call(_chunks(at), [at.n, at.small(at.n, 9), at.small(_chunks(at), 99), _ints(at.n, -1)]),
    # assembly
    "element_stiffness": _element_stiffness,
    "sum_entries": _sum_entries,
    "element_load": _element_load,
    "sum_loads": lambda at: Call(at.n, [at.start, at.place, at.normal(8 * at.m), _unset(at.n)]),
    "coo_entries": _coo_entries,
    # conditions
    "add_robin": _add_robin,
    "subtract_product": lambda at: Call(
        at.n, [*at.pattern, at.values(), at.normal(at.n), at.normal(at.n)], negated=[3]),
    "penalize": _penalize,
    "eliminate": _eliminate,
    # solve
    "inverse_root_diagonal": _inverse_root_diagonal,
    "scale_matrix": lambda at: Call(at.n, [*at.pattern, at.values(), at.positive(at.n), _unset(at.sparsity.nnz)]),
    "product": lambda at: Call(at.n, [at.normal(at.n), at.normal(at.n), _unset(at.n)]),
    "residual": lambda at: Call(
        at.n, [*at.pattern, at.values(), at.normal(at.n), at.normal(at.n), _unset(at.n)], negated=[2]),
    "multiply": lambda at: Call(at.n, [*at.pattern, at.values(), at.normal(at.n), _unset(at.n)]),
    "put_zero": _put_zero,
    "potential": lambda at: Call(at.n, [at.normal(at.n), at.positive(at.n), at.normal(at.n), _unset(at.n)]),
    "dot_chunks": lambda at: Call(_chunks(at), [at.n, at.normal(at.n), at.normal(at.n), _unset(_chunks(at))]),
    # derived
    "element_derived": _element_derived,
    # multigrid
    "multiply_f4": lambda at: Call(at.n, [*at.pattern, at.values(F4), at.normal(at.n, F4), _unset(at.n, F4)]),
    "subtract_product_f4": lambda at: Call(
        at.n, [*at.pattern, at.values(F4), at.normal(at.n, F4), at.normal(at.n, F4)], negated=[3]),
    "chebyshev": _chebyshev,
    "solve_lines": _solve_lines,
    "add_f4": lambda at: Call(at.n, [at.normal(at.n, F4), at.normal(at.n, F4)]),
    "multiply_dense": _multiply_dense,
    "narrow": lambda at: Call(at.n, [at.positive(at.n), at.normal(at.n), 0.3, _unset(at.n, F4)]),
    "widen": lambda at: Call(at.n, [at.positive(at.n), at.normal(at.n, F4), 0.3, _unset(at.n)]),
    "axpy": lambda at: Call(at.n, [-0.3, at.normal(at.n), at.normal(at.n)]),
    "xpby": lambda at: Call(at.n, [at.normal(at.n), -0.3, at.normal(at.n)]),
}


# fmt: on


def compare(runtime: Runtime, name: str, seed: int, side: int = 6) -> None:
    """Raise AssertionError with the difference if `runtime` deviates from the reference.

    Parameters
    ----------
    runtime : Runtime
        Open and compiled.
    name : str
        One of `KERNELS`.
    seed : int
        Seed of the mesh and the values.
    side : int
        The mesh has 1 to side² elements.
    """
    at = World(seed, side)
    if name in _OTHERS:
        _OTHERS[name](runtime, at)
        return
    call = _CALLS[name](at)
    expected, magnitude = deepcopy(call.arguments), [abs(argument) for argument in call.arguments]
    for i in call.negated:
        magnitude[i] = -magnitude[i]
    with np.errstate(all="ignore"):
        reference.KERNELS[name](call.n, *expected)
        reference.KERNELS[name](call.n, *magnitude)
    given = [runtime.upload(value) if isinstance(value, np.ndarray) else value for value in call.arguments]
    runtime.launch(name, call.n, *given)
    found = [runtime.download(value) if isinstance(call.arguments[i], np.ndarray) else value
             for i, value in enumerate(given)]  # fmt: skip
    if name == "list_places":
        reference.KERNELS["sort_places"](at.n, at.start, found[3])
        reference.KERNELS["sort_places"](at.n, at.start, expected[3])
    for i, before in enumerate(call.arguments):
        if not isinstance(before, np.ndarray):
            continue
        what = f"{name}, argument {i + 1} after n"
        assert found[i].dtype == before.dtype, f"{what}: {found[i].dtype} instead of {before.dtype}"
        if before.dtype.kind == "i" or np.array_equal(before, expected[i], equal_nan=True):
            assert np.array_equal(found[i], expected[i], equal_nan=before.dtype.kind == "f"), f"{what} differs"
        else:
            scale = _ROUNDINGS * float(np.finfo(before.dtype).eps)
            assert_close(found[i], expected[i], call.allowed.get(i, scale * np.abs(magnitude[i])), what)


def _conjugate_gradients(runtime: Runtime, at: World) -> None:
    """The loop converges, obeys its limits and stops for each reason; after a stop nothing changes."""
    A, b = at.matrix()
    n, target = at.n, 1e-8 * float(np.linalg.norm(b))
    for limit in (3, 1000):
        mine, _ = _iterated(runtime, A, b, target, limit)
        theirs = _stepped(A, b, target, limit)
        assert mine[-1][device.STATUS] == theirs[-1][device.STATUS], f"status {mine[-1]} instead of {theirs[-1]}"
        steps, wanted = mine[-1][device.ITERATION], theirs[-1][device.ITERATION]
        assert abs(steps - wanted) <= (0 if limit == 3 else max(1, 0.005 * wanted)), f"{steps} steps, not {wanted}"
        for name, found, expected in zip("xrp", mine, theirs, strict=False):
            if limit == 3 or name == "x":
                close = 1e-10 if limit == 3 else 1e-6
                assert_close(found, expected, close * (np.abs(expected).max() or 1), f"{name} after {steps:.0f} steps")
    for what, C, f, status in (
        ("b = 0", A, 0 * b, device.CONVERGED),
        ("a negative matrix", -A, b, device.INDEFINITE),
        ("an infinite b", A, np.where(np.arange(n) == n // 2, np.inf, b), device.NOT_FINITE),
    ):
        goal = 1e-300 if status == device.CONVERGED else target
        (x, r, _, state), again = _iterated(runtime, C, f, goal, 1000)
        assert state[device.STATUS] == status, f"{what}: status {state[device.STATUS]:.0f} instead of {status}"
        assert state[device.ITERATION] == 0, f"{what}: {state[device.ITERATION]:.0f} steps were taken"
        assert not x.any() and np.array_equal(r, f), f"{what}: x or r was changed"
        for before, after in zip((x, r, state), (again[0], again[1], again[3]), strict=True):
            assert np.array_equal(before, after, equal_nan=True), f"{what}: something moved after the end"
    stopped, _ = _iterated(runtime, A, b, target, 3)
    gone_on, _ = _iterated(runtime, A, b, target, 3, then=1000)
    at_once, _ = _iterated(runtime, A, b, target, 1000)
    assert stopped[-1][device.STATUS] == device.LIMIT_REACHED
    for one, other in zip(gone_on[:2], at_once[:2], strict=True):
        assert np.array_equal(one, other), "stopping at a limit and going on gives other bits"


_State = tuple[Floats, Floats, Floats, Floats]


def _first(b: Floats, target: float, limit: int) -> Floats:
    state = np.zeros(device.STATE)
    state[[device.RR, device.BEFORE, device.TARGET, device.LIMIT]] = b @ b, 1.0, target, limit
    return state


def _iterated(
    runtime: Runtime, A: Any, b: Floats, target: float, limit: int, then: int = 0
) -> tuple[_State, _State]:  # fmt: skip
    """x, r, p and the state at the end, and the same one call later; `then` is a second limit, to go on with."""
    n = len(b)
    x, p = runtime.zeros(n, np.float64), runtime.zeros(n, np.float64)
    q, r = runtime.empty(n, np.float64), runtime.upload(b)
    state = runtime.upload(_first(b, target, limit))
    indptr, indices, data = (runtime.upload(part) for part in (A.indptr, A.indices, A.data))
    run = runtime.conjugate_gradients(n, indptr, indices, data, x, r, p, q, state)

    def ended() -> _State:
        for _ in range(2000):
            run()
            if runtime.download(state)[device.STATUS] != device.RUNNING:
                break
        return runtime.download(x), runtime.download(r), runtime.download(p), runtime.download(state)

    end = ended()
    if then:
        values = end[3].copy()
        values[[device.LIMIT, device.STATUS]] = then, device.RUNNING
        runtime.copy(runtime.upload(values), state)
        end = ended()
    return end, ended()


def _stepped(A: Any, b: Floats, target: float, limit: int) -> _State:
    x, r, p, q, state = np.zeros_like(b), b.copy(), np.zeros_like(b), np.zeros_like(b), _first(b, target, limit)
    while state[device.STATUS] == device.RUNNING:
        reference.step(len(b), A.indptr, A.indices, A.data, x, r, p, q, state)
    return x, r, p, state


def _coo_to_csr(runtime: Runtime, at: World) -> None:
    """Entries at the same place are summed, columns ascend, and there are no other entries."""
    rows, columns = np.repeat(at.quad8, 8), np.tile(at.mesh.quad8, 8).ravel()
    values = at.normal(64 * at.m)
    parts = runtime.coo_to_csr(runtime.upload(rows), runtime.upload(columns), runtime.upload(values), at.n)
    indptr, indices, data = map(runtime.download, parts)
    keys, place = np.unique(rows.astype(np.int64) * at.n + columns, return_inverse=True)
    counts = np.bincount(keys // at.n, minlength=at.n)
    assert np.array_equal(indptr, _starts(counts)) and indptr.dtype == np.int32, "indptr differs"
    assert np.array_equal(indices, keys % at.n) and indices.dtype == np.int32, "indices differ"
    expected, terms = (np.bincount(place.ravel(), v) for v in (values, np.abs(values)))
    assert_close(data, expected, _ROUNDINGS * tolerance.EPS * terms, "values")


def _memory(runtime: Runtime, at: World) -> None:
    """Arrays of each dtype are the same after an upload, a copy and a download."""
    for dtype in (np.int32, np.float32, np.float64):
        values = at.rng.integers(-9, 9, 3 * at.n).astype(dtype)
        there, other = runtime.upload(values.reshape(3, -1)), runtime.empty(values.size, dtype)
        runtime.copy(there, other)
        zeros = runtime.zeros(values.size, dtype)
        for array, wanted in ((other, values), (there, values), (zeros, 0 * values)):
            found = runtime.download(array)
            assert found.dtype == dtype and np.array_equal(found, wanted), f"{np.dtype(dtype)} came back wrong"
    free, total = runtime.free_memory()
    assert 0 <= free <= total, f"{free} of {total} bytes are free"
    assert runtime.seconds(lambda: None) >= 0
    assert runtime.describe()["name"]


#: Other parts of a runtime that `compare` checks.
_OTHERS: dict[str, Callable[[Runtime, World], None]] = {
    "conjugate_gradients": _conjugate_gradients,
    "coo_to_csr": _coo_to_csr,
    "memory": _memory,
}
#: All names that `compare` accepts.
KERNELS = (*reference.KERNELS, *_OTHERS)

assert set(_CALLS) == set(reference.KERNELS)
