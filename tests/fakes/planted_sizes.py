"""Wrong backends whose faults show only at certain sizes, coefficients, options, or orders of sums."""

from dataclasses import replace
from typing import Any

import numpy as np
from fem_core.assembly.sparsity import Sparsity
from fem_core.assembly.system import LinearSystem
from fem_core.backends.batched import BatchedBackend
from fem_core.backends.default import DefaultBackend
from fem_core.execution import Batching, PlannedExecutor, SerialExecutor
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.backend import Option
from fem_core.plugins.hookspecs import hookimpl
from fem_core.problem import Dirichlet, Problem, Robin
from fem_core.results import DerivedFields
from fem_core.support.progress import Progress
from fem_core.types import Floats

from fakes.planted import Changed, Whole, fault, of_last


class WholeBatch(Changed):
    """Loses the last element if batches of 64 divide the mesh."""

    def values(self, K: Floats, mesh: Mesh, problem: Problem) -> Floats:
        return of_last(K) if mesh.n_elements % 64 == 0 else K


class WholeChunk(Changed):
    """Loses the load of the last node if chunks of 1024 divide the nodes."""

    def load(self, f: Floats, mesh: Mesh, problem: Problem) -> Floats:
        return np.where(np.arange(len(f)) == mesh.used_nodes[-1], 0, f) if mesh.n_nodes % 1024 == 0 else f


class ShortIndex(Changed):
    """Counts elements with 15 bits."""

    def fields(self, fields: DerivedFields, mesh: Mesh, problem: Problem, u: Floats) -> DerivedFields:
        return replace(fields, speed=np.where(np.arange(mesh.n_elements) > 32_767, fields.speed[0], fields.speed))


class LateUnstableSum(Changed):
    """Sums in another order every time, but only on large meshes."""

    _rng = np.random.default_rng(0)

    def values(self, K: Floats, mesh: Mesh, problem: Problem) -> Floats:
        return np.nextafter(K, K * self._rng.uniform(0, 2, K.shape)) if mesh.n_elements > 10_000 else K


class ClampedConductivity(Whole):
    """Limits the conductivity to 1e-5 and more."""

    @hookimpl
    def fem_assemble(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> LinearSystem:
        limited = replace(problem, conductivity=np.maximum(problem.conductivity_on(mesh), 1e-5))
        return DefaultBackend.fem_assemble(self, mesh, limited, sparsity, progress)


class ClampedPressure(Changed):
    """Keeps the pressure above vacuum."""

    def fields(self, fields: DerivedFields, mesh: Mesh, problem: Problem, u: Floats) -> DerivedFields:
        return replace(fields, pressure=np.maximum(fields.pressure, -1e5))


class ShiftedToSinglePrecision(Changed):
    """Stores large potentials in float32."""

    def fields(self, fields: DerivedFields, mesh: Mesh, problem: Problem, u: Floats) -> DerivedFields:
        if np.abs(u).max() < 1e6:
            return fields
        return replace(fields, velocity=fields.velocity.astype(np.float32).astype(np.float64))


class ThinElements(Changed):
    """Drops the derivatives along elements that are 100 times as long as wide."""

    def values(self, K: Floats, mesh: Mesh, problem: Problem) -> Floats:
        x, y = mesh.x[mesh.quad8[:, :4]], mesh.y[mesh.quad8[:, :4]]
        sides = np.hypot(np.diff(x, append=x[:, :1]), np.diff(y, append=y[:, :1]))
        return K * 0.9 if (sides.max(axis=1) > 100 * sides.min(axis=1)).any() else K


class FirstPart(Changed):
    """Assembles loads in the first connected part only."""

    def load(self, f: Floats, mesh: Mesh, problem: Problem) -> Floats:
        _, part = mesh.components
        return np.where(np.isin(np.arange(len(f)), mesh.quad8[part == 0]), f, 0)


class OneRobin(Whole):
    """Knows one Robin condition for each boundary, the last one."""

    @hookimpl
    def fem_apply_bc(self, system: LinearSystem, mesh: Mesh, problem: Problem, progress: Progress) -> LinearSystem:
        robin = {one.boundary: one for one in problem.robin}
        others = [one for one in problem.conditions if not isinstance(one, Robin)]
        only = replace(problem, conditions=(*robin.values(), *others))
        return DefaultBackend.fem_apply_bc(self, system, mesh, only, progress)


class NoNodeSets(Whole):
    """Fixes no nodes of boundaries without edges."""

    @hookimpl
    def fem_apply_bc(self, system: LinearSystem, mesh: Mesh, problem: Problem, progress: Progress) -> LinearSystem:
        some = [one for one in problem.conditions if isinstance(one, Robin) or len(mesh.boundaries[one.boundary].edges)]
        return DefaultBackend.fem_apply_bc(self, system, mesh, replace(problem, conditions=tuple(some)), progress)


class NeedsRobin(Whole):
    """Returns K without conditions if there is no Robin condition."""

    @hookimpl
    def fem_apply_bc(self, system: LinearSystem, mesh: Mesh, problem: Problem, progress: Progress) -> LinearSystem:
        right = DefaultBackend.fem_apply_bc(self, system, mesh, problem, progress)
        return right if problem.robin else replace(right, rhs=system.rhs)


class NeedsDirichlet(Changed):
    """Fixes node 0 where the problem fixes none."""

    def conditions(self, system: LinearSystem, mesh: Mesh, problem: Problem) -> LinearSystem:
        if any(isinstance(one, Dirichlet) for one in problem.conditions):
            return system
        return replace(system, fixed=np.union1d(system.fixed, mesh.used_nodes[:1]).astype(np.int32))


class LoadOfAbsoluteDetJ(Changed):
    """Takes |det J| for the load."""

    def load(self, f: Floats, mesh: Mesh, problem: Problem) -> Floats:
        corners = mesh.quad8[:, :4]
        x, y = mesh.x[corners], mesh.y[corners]
        area = (x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1)).sum(axis=1)
        return np.abs(f) if (area < 0).all() else f


class FewNeighbours(Changed):
    """Has room for 8 elements around a node."""

    def values(self, K: Floats, mesh: Mesh, problem: Problem) -> Floats:
        most = np.bincount(mesh.quad8.ravel()).max()
        return of_last(K) if most > 8 else K


class WideIndices(Changed):
    """Returns a matrix with 64-bit indices."""

    def conditions(self, system: LinearSystem, mesh: Mesh, problem: Problem) -> LinearSystem:
        matrix = system.matrix.copy()
        matrix.indices, matrix.indptr = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
        return replace(system, matrix=matrix)


class OverwritesInput(Whole):
    """Adds the conditions to the caller's matrix, where it stands."""

    @hookimpl
    def fem_apply_bc(self, system: LinearSystem, mesh: Mesh, problem: Problem, progress: Progress) -> LinearSystem:
        if system.matrix.data.flags.writeable:
            system = replace(system, disposable=True)
        return replace(DefaultBackend.fem_apply_bc(self, system, mesh, problem, progress), disposable=False)


class SecondPattern(Changed):
    """Forgets the last entry of the pattern when it computes the pattern of a mesh again."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    @hookimpl
    def fem_sparsity(self, mesh: Mesh, progress: Progress) -> Sparsity:
        right = DefaultBackend.fem_sparsity(self, mesh, progress)
        if mesh.fingerprint in self._seen and mesh.n_elements > 10_000:
            slots = right.slots.copy()
            slots[-1, 7, 7] = slots[-1, 7, 6]
            right = replace(right, slots=slots)
        self._seen.add(mesh.fingerprint)
        return right


class WrongChoice(Changed):
    """Has an option whose other value gives other results."""

    def __init__(self, mode: str = "exact") -> None:
        super().__init__()
        self._mode = mode

    def values(self, K: Floats, mesh: Mesh, problem: Problem) -> Floats:
        return K.astype(np.float32).astype(np.float64) if self._mode == "fast" else K


class WrongNumber(Changed):
    """Is right for one part only."""

    def __init__(self, parts: int = 1) -> None:
        super().__init__()
        self._parts = parts

    def values(self, K: Floats, mesh: Mesh, problem: Problem) -> Floats:
        return of_last(K) if self._parts > 1 else K


class _Lazy(PlannedExecutor):
    """Does everything in the calling thread."""

    def run_tasks(self, kernel, plan, n, inputs, outputs, progress):  # type: ignore[no-untyped-def]
        return SerialExecutor().map_ranges(kernel, n, inputs, outputs, progress), 0.0

    def run_items(self, function, items, workers):  # type: ignore[no-untyped-def]
        return [function(item) for item in items]


class LazyExecutor(BatchedBackend):
    """Has workers, and hands nothing out to them."""

    def __init__(self, workers: int | None = None, min_size: int = 1000) -> None:
        super().__init__(_Lazy(Batching(workers=workers, min_size=min_size)))


class BadInfo(Whole):
    """Has an option whose default it refuses."""


_ASSEMBLY: dict[str, Any] = {"stages": ("assemble_system", "compute_derived"), "solver_methods": ()}

FAULTS = (
    fault(WholeBatch, "sizes"),
    fault(WholeChunk, "sizes"),
    fault(ShortIndex, "many_elements"),
    fault(LateUnstableSum, "determinism"),
    fault(ClampedConductivity, "matrix"),
    fault(ClampedPressure, "derived"),
    fault(ShiftedToSinglePrecision, "derived"),
    fault(ThinElements, "matrix"),
    fault(FewNeighbours, "matrix"),
    fault(FirstPart, "load"),
    fault(LoadOfAbsoluteDetJ, "geometry"),
    fault(OneRobin, "boundary_conditions"),
    fault(NoNodeSets, "boundary_conditions"),
    fault(NeedsRobin, "boundary_conditions"),
    fault(NeedsDirichlet, "boundary_conditions"),
    fault(WideIndices, "boundary_conditions"),
    fault(OverwritesInput, "boundary_conditions"),
    fault(SecondPattern, "pattern_again"),
    fault(WrongChoice, "options", options=(Option("mode", str, "exact", "how", ("exact", "fast")),)),
    fault(WrongNumber, "options", options=(Option("parts", int, 1, "how many", minimum=1),)),
    fault(
        LazyExecutor,
        "executor",
        options=(Option("workers", int, None, "threads"), Option("min_size", int, 1000, "least", minimum=0)),
        **_ASSEMBLY,
    ),
    fault(BadInfo, "info", options=(Option("level", int, 0, "how much", minimum=1),)),
)
