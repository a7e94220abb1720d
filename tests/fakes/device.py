"""A backend on a make-believe device: no value of it is NumPy's or SciPy's, and its nodes are renumbered.

Whatever mistakes a device value for a host value fails at once: its arrays refuse conversion, its
numbering is another, and its memory is gone when the backend is closed.
"""

import math
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import fem_core as fem
import numpy as np
from fem_core.assembly.element import element_derived, element_load, element_stiffness, robin_edges
from fem_core.assembly.system import PENALTY
from fem_core.problem import nodal_values

STAGES = ("compute_sparsity", "assemble_system", "apply_bc", "solve_system", "compute_derived")


class DeviceArray:
    """An array that lives on the device: nothing but the device's own code gets at its values."""

    __array_ufunc__ = None

    def __init__(self, device: "Device", values: Any) -> None:
        self._device, self._values = device, values

    def __array__(self, *arguments: Any, **keywords: Any) -> Any:
        raise AssertionError("a device array was taken for a NumPy array")

    def __bool__(self) -> bool:
        raise AssertionError("a device value was asked whether it is true")

    __len__ = __iter__ = __getitem__ = __float__ = __array__

    def on(self, device: "Device") -> Any:
        assert self._device is device, f"memory of {self._device.kind} used by {device.kind}"
        assert device.opened, f"memory of {device.kind} used after it was closed"
        return self._values


class _Value:
    """A device value: any arrays by name."""

    def __init__(self, device: "Device", mesh: fem.Mesh, arrays: dict[str, Any], **plain: Any) -> None:
        self._device, self._mesh = device, mesh
        vars(self).update({name: DeviceArray(device, values) for name, values in arrays.items()}, **plain)

    def __bool__(self) -> bool:
        raise AssertionError("a device value was asked whether it is true")

    __len__ = __bool__

    def raw(self, *names: str) -> list[Any]:
        return [getattr(self, name).on(self._device) for name in names]

    def to_host(self) -> Any:
        return self._host

    @cached_property
    def _host(self) -> Any:
        self._device.downloads += 1
        return self._device.download(self)


class Pattern(_Value):
    """rows, columns, slots in the device's numbering, in no particular order."""


class System(_Value):
    """rows, columns, values, rhs, fixed, lift."""


class Potential(_Value):
    """u; method, iterations, stop_reason and residuals are plain."""


class Fields(_Value):
    """velocity, speed, pressure."""


_HOST = {Pattern: fem.Sparsity, System: fem.LinearSystem, Potential: fem.SolveResult, Fields: fem.DerivedFields}


class Device(fem.plugins.Backend):
    """Everything but the hooks, which `device` picks."""

    kind = "device"

    def __init__(self) -> None:
        self.opened = 0
        self.downloads = self.uploads = self.strangers = 0
        self.calls: list[str] = []

    def open(self) -> None:
        self.opened += 1

    def close(self) -> None:
        self.opened = 0

    def numbering(self, mesh: fem.Mesh) -> Any:
        """The device's number of each node."""
        return np.random.default_rng(5).permutation(mesh.n_nodes)

    def own(self, value: Any, cls: type, mesh: fem.Mesh) -> Any:
        """`value` on this device: its own as it is, host values uploaded, strangers through the host."""
        if isinstance(value, _Value):
            if value._device is self:
                assert isinstance(value, cls)
                return value
            self.strangers += 1
            value = value.to_host()
        assert type(value) is _HOST[cls]
        self.uploads += 1
        return self.upload(value, mesh)

    def upload(self, value: Any, mesh: fem.Mesh) -> Any:
        new = self.numbering(mesh)
        match value:
            case fem.Sparsity():
                rows = np.repeat(np.arange(mesh.n_nodes), np.diff(value.indptr))
                arrays = {"rows": new[rows], "columns": new[value.indices], "slots": value.slots}
                return Pattern(self, mesh, arrays)
            case fem.LinearSystem():
                K = value.matrix
                rows = np.repeat(np.arange(mesh.n_nodes), np.diff(K.indptr))
                arrays = {"rows": new[rows], "columns": new[K.indices], "values": K.data, "rhs": np.empty(mesh.n_nodes)}
                arrays["rhs"][new] = value.rhs
                arrays |= {"fixed": new[value.fixed], "lift": None}
                if value.lift is not None:
                    arrays["lift"] = np.empty(mesh.n_nodes)
                    arrays["lift"][new] = value.lift
                return System(self, mesh, arrays)
            case fem.SolveResult():
                u = np.empty(mesh.n_nodes)
                u[new] = value.u
                return Potential(self, mesh, {"u": u}, host=value)
        raise AssertionError(value)

    def download(self, value: _Value) -> Any:
        new = self.numbering(value._mesh)
        old = np.argsort(new)
        n = len(new)
        match value:
            case Pattern():
                rows, columns, slots = value.raw("rows", "columns", "slots")
                indptr, order = self._sorted(old[rows], old[columns], n)
                place = np.empty(len(order), dtype=np.int32)
                place[order] = np.arange(len(order))
                return fem.Sparsity(indptr, old[columns][order].astype(np.int32), place[slots])
            case System():
                rows, columns, values, rhs, fixed, lift = value.raw("rows", "columns", "values", "rhs", "fixed", "lift")
                indptr, order = self._sorted(old[rows], old[columns], n)
                matrix = fem.assembly.system.csr(indptr, old[columns][order].astype(np.int32), values[order])
                lift = None if lift is None else lift[new]
                return fem.LinearSystem(matrix, rhs[new], np.sort(old[fixed]).astype(np.int32), lift)
            case Potential():
                (u,) = value.raw("u")
                return fem.SolveResult(u[new], *value.found)
            case Fields():
                return fem.DerivedFields(*value.raw("velocity", "speed", "pressure"))
        raise AssertionError(value)

    @staticmethod
    def _sorted(rows: Any, columns: Any, n: int) -> tuple[Any, Any]:
        counts = np.bincount(rows, minlength=n)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), np.lexsort((columns, rows))


@fem.plugins.hookimpl
def fem_sparsity(self: Device, mesh: fem.Mesh) -> Pattern:
    self.calls.append("compute_sparsity")
    new, n = self.numbering(mesh), mesh.n_nodes
    nodes = new[mesh.quad8].astype(np.int64)
    keys = nodes[:, :, None] * n + nodes[:, None, :]
    every = np.unique(np.concatenate([keys.ravel(), np.arange(n) * (n + 1)]))
    shuffled = np.random.default_rng(1).permutation(every)
    order = np.argsort(shuffled)
    slots = order[np.searchsorted(every, keys)]
    return Pattern(self, mesh, {"rows": shuffled // n, "columns": shuffled % n, "slots": slots.astype(np.int32)})


@fem.plugins.hookimpl
def fem_assemble(
    self: Device, mesh: fem.Mesh, problem: fem.Problem, sparsity: Any, progress: fem.plugins.Progress
) -> System:
    self.calls.append("assemble_system")
    rows, columns, slots = self.own(sparsity, Pattern, mesh).raw("rows", "columns", "slots")
    new = self.numbering(mesh)
    x, y = mesh.x[mesh.quad8], mesh.y[mesh.quad8]
    Ke = element_stiffness(x, y, problem.conductivity_on(mesh))
    rhs = np.zeros(mesh.n_nodes)
    if (s := problem.source_on(mesh)) is not None:
        rhs = np.bincount(new[mesh.quad8].ravel(), element_load(x, y, s).ravel(), minlength=mesh.n_nodes)
    progress.assembly(mesh.n_elements, mesh.n_elements)
    values = np.bincount(slots.ravel(), Ke.ravel(), minlength=len(rows))
    nothing = {"fixed": np.empty(0, dtype=np.int64), "lift": None}
    return System(self, mesh, {"rows": rows, "columns": columns, "values": values, "rhs": rhs, **nothing})


@fem.plugins.hookimpl
def fem_apply_bc(self: Device, system: Any, mesh: fem.Mesh, problem: fem.Problem) -> System:
    self.calls.append("apply_bc")
    rows, columns, values, rhs = self.own(system, System, mesh).raw("rows", "columns", "values", "rhs")
    values, rhs = values.copy(), rhs.copy()
    new, n = self.numbering(mesh), mesh.n_nodes
    keys = rows.astype(np.int64) * n + columns
    order = np.argsort(keys)
    for condition in problem.robin:
        edges = mesh.boundaries[condition.boundary].edges
        nodes = np.unique(edges)
        p, gamma = (nodal_values(value, mesh, nodes, "") for value in (condition.p, condition.gamma))
        matrix, load = robin_edges(mesh.x[edges], mesh.y[edges], p[edges], gamma[edges])
        np.add.at(rhs, new[edges], load)
        entries = new[edges][:, :, None].astype(np.int64) * n + new[edges][:, None, :]
        np.add.at(values, order[np.searchsorted(keys[order], entries)], matrix)
    fixed, lift = problem.fixed_on(mesh)
    g = np.zeros(n)
    g[new] = lift
    rhs -= np.bincount(rows, values * g[columns], minlength=n)
    held = np.zeros(n, dtype=bool)
    held[new[fixed]] = True
    rhs[held] = 0
    diagonal = (rows == columns) & held[rows]
    if problem.dirichlet == "penalty":
        values[diagonal] += PENALTY
    else:
        values[held[rows] | held[columns]] = 0
        values[diagonal] = 1
    arrays = {"rows": rows, "columns": columns, "values": values, "rhs": rhs, "fixed": new[fixed], "lift": g}
    return System(self, mesh, arrays)


@fem.plugins.hookimpl
def fem_solve(
    self: Device, system: Any, mesh: fem.Mesh, options: fem.plugins.SolverOptions, progress: fem.plugins.Progress
) -> Potential:
    self.calls.append("solve_system")
    rows, columns, values, rhs, lift = self.own(system, System, mesh).raw("rows", "columns", "values", "rhs", "lift")
    n = mesh.n_nodes
    diagonal = np.zeros(n)
    diagonal[rows[rows == columns]] = values[rows == columns]
    d = 1 / np.sqrt(diagonal)
    scaled = values * d[rows] * d[columns]
    b = d * rhs
    x, r = np.zeros(n), b.copy()
    p, before, iteration = np.zeros(n), 1.0, 0
    target = max(options.rtol * np.linalg.norm(b), options.atol)
    while math.sqrt(r @ r) >= target and iteration < options.maxiter:
        if iteration and iteration % options.monitor == 0:
            progress.solve(iteration, math.sqrt(r @ r / (b @ b)), None)
        progress.check()
        p = r + p * ((r @ r) / before)
        before = r @ r
        q = np.bincount(rows, scaled * p[columns], minlength=n)
        step = before / (p @ q)
        x += step * p
        r -= step * q
        iteration += 1
    relative = math.sqrt(r @ r / (b @ b))
    reason = fem.StopReason.CONVERGED if iteration < options.maxiter else fem.StopReason.MAXITER
    return Potential(self, mesh, {"u": d * x + lift}, found=(options.method, iteration, reason, relative, relative))


@fem.plugins.hookimpl
def fem_compute_derived(
    self: Device, mesh: fem.Mesh, problem: fem.Problem, result: Any, progress: fem.plugins.Progress
) -> Fields:
    self.calls.append("compute_derived")
    (u,) = self.own(result, Potential, mesh).raw("u")
    here = mesh.quad8
    velocity, speed = element_derived(mesh.x[here], mesh.y[here], u[self.numbering(mesh)[here]])
    progress.derived(mesh.n_elements, mesh.n_elements)
    return Fields(self, mesh, {"velocity": velocity, "speed": speed, "pressure": problem.fluid.pressure(speed)})


_HOOKS = {
    "compute_sparsity": fem_sparsity,
    "assemble_system": fem_assemble,
    "apply_bc": fem_apply_bc,
    "solve_system": fem_solve,
    "compute_derived": fem_compute_derived,
}


def device(stages: Iterable[str] = STAGES, name: str = "device", seed: int = 5) -> tuple[fem.plugins.BackendInfo, Any]:
    """A device that does `stages`, and its information; devices of different names are of different kinds."""
    stages = tuple(stages)
    members = {_HOOKS[stage].__name__: _HOOKS[stage] for stage in stages}

    def numbering(self: Device, mesh: fem.Mesh) -> Any:
        return np.random.default_rng(seed).permutation(mesh.n_nodes)

    cls = type("Device", (Device,), {**members, "kind": name, "numbering": numbering})
    methods = ("cg",) if "solve_system" in stages else ()
    return fem.plugins.BackendInfo(name, "make-believe", "", stages=stages, solver_methods=methods, device=name), cls()
