"""Wrong backends that keep too much: caches with a poor key, arrays that they return and write to again."""

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

import numpy as np
from fem_core.assembly.system import LinearSystem
from fem_core.mesh.mesh import Mesh
from fem_core.problem import Problem
from fem_core.results import DerivedFields, SolveResult, SolverOptions, StopReason
from fem_core.types import Floats

from fakes.planted import Changed, fault


class _Cached(Changed):
    """Keeps the matrix, with a poor key."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[Hashable, Floats] = {}

    def key(self, mesh: Mesh, k: Floats) -> Hashable:
        return 0

    def values(self, K: Floats, mesh: Mesh, problem: Problem) -> Floats:
        key = len(K), self.key(mesh, problem.conductivity_on(mesh))
        return self._kept.setdefault(key, K)


def _place(mesh: Mesh) -> bytes:
    return mesh.x.tobytes() + mesh.y.tobytes() + mesh.quad8.tobytes()


class KeyedByEvery64th(_Cached):
    """Keeps the matrix for as long as every 64th conductivity is the same."""

    def key(self, mesh: Mesh, k: Floats) -> Hashable:
        return _place(mesh), k[::64].tobytes()


class KeyedBySumOfK(_Cached):
    """Keeps the matrix for as long as the sum of conductivities is the same."""

    def key(self, mesh: Mesh, k: Floats) -> Hashable:
        return _place(mesh), round(float(k.sum()), 9)


class KeyedBySumOfPlaces(_Cached):
    """Keeps the matrix for as long as the sums of coordinates are the same."""

    def key(self, mesh: Mesh, k: Floats) -> Hashable:
        return k.tobytes(), mesh.quad8.tobytes(), round(float(mesh.x.sum()), 9), round(float(mesh.y.sum()), 9)


class KeyedByCounts(_Cached):
    """Keeps the matrix for as long as coordinates and conductivities are the same, for any topology of equal size."""

    def key(self, mesh: Mesh, k: Floats) -> Hashable:
        return k.tobytes(), mesh.x.tobytes(), mesh.y.tobytes()


class KeyedById(_Cached):
    """Keeps the matrix for as long as a mesh is at the same place in memory."""

    def key(self, mesh: Mesh, k: Floats) -> Hashable:
        return id(mesh), mesh.fingerprint, k.tobytes()


class KeyedByProblem(Changed):
    """Keeps the load for the same problem and mesh, although its arrays may have changed."""

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[Any, ...] = ()

    def load(self, f: Floats, mesh: Mesh, problem: Problem) -> Floats:
        if self._last and self._last[0] is mesh and self._last[1] is problem:
            kept: Floats = self._last[2].copy()
            return kept
        self._last = mesh, problem, f.copy()
        return f


class KeptOnLargeMeshes(_Cached):
    """Keeps the matrix of a large mesh for as long as its topology is the same."""

    def values(self, K: Floats, mesh: Mesh, problem: Problem) -> Floats:
        return self._kept.setdefault(mesh.fingerprint, K) if mesh.n_elements > 10_000 else K


class _Buffered(Changed):
    """Writes results to the same array in every run."""

    def __init__(self) -> None:
        super().__init__()
        self._arrays: dict[Hashable, Floats] = {}

    def into(self, name: str, values: Floats) -> Floats:
        buffer = self._arrays.setdefault((name, values.shape), np.empty(values.shape))
        buffer[...] = values
        return buffer


class SharedK(_Buffered):
    """Returns K in an array that the next run writes to."""

    def values(self, K: Floats, mesh: Mesh, problem: Problem) -> Floats:
        return self.into("K", K)


class SharedPressure(_Buffered):
    """Returns the pressure of large meshes in an array that the next run writes to."""

    def fields(self, fields: DerivedFields, mesh: Mesh, problem: Problem, u: Floats) -> DerivedFields:
        return replace(fields, pressure=self.into("p", fields.pressure)) if mesh.n_elements > 10_000 else fields


class SharedBySessions(Changed):
    """Returns f in an array that all sessions write to."""

    _arrays: dict[int, Floats] = {}  # noqa: RUF012

    def load(self, f: Floats, mesh: Mesh, problem: Problem) -> Floats:
        buffer = self._arrays.setdefault(len(f), np.empty(len(f)))
        buffer[:] = f
        return buffer


class ThirdTime(Changed):
    """Sums wrongly from the third use of a pattern on."""

    def __init__(self) -> None:
        super().__init__()
        self._uses: dict[str, int] = {}

    def values(self, K: Floats, mesh: Mesh, problem: Problem) -> Floats:
        uses = self._uses[mesh.fingerprint] = self._uses.get(mesh.fingerprint, 0) + 1
        return 1.01 * K if uses > 2 else K


class SameLift(Changed):
    """Takes the fixed values of the last solve with the same matrix."""

    def __init__(self) -> None:
        super().__init__()
        self._lifts: dict[bytes, Floats] = {}

    def solved(self, result: SolveResult, system: LinearSystem, mesh: Mesh, options: SolverOptions) -> SolveResult:
        assert system.lift is not None
        lift = self._lifts.setdefault(system.matrix.data.tobytes(), system.lift)
        return replace(result, u=result.u - system.lift + lift)


class _Solving(Changed):
    """A fault in what a solver says."""

    said: Callable[..., SolveResult]

    def solved(self, result: SolveResult, system: LinearSystem, mesh: Mesh, options: SolverOptions) -> SolveResult:
        return type(self).said(result, options)


class ConvergedAtMaxiter(_Solving):
    """Says that it converged if maxiter ends it just before."""

    @staticmethod
    def said(result: SolveResult, options: SolverOptions) -> SolveResult:
        near = result.stop_reason is StopReason.MAXITER and result.relative_residual < 1e2 * options.rtol
        return replace(result, stop_reason=StopReason.CONVERGED) if near else result


class TextForReason(_Solving):
    """Gives the reason as a plain text."""

    @staticmethod
    def said(result: SolveResult, options: SolverOptions) -> SolveResult:
        return replace(result, stop_reason=str(result.stop_reason))  # type: ignore[arg-type]


class FloatIterations(_Solving):
    """Counts its iterations as a float."""

    @staticmethod
    def said(result: SolveResult, options: SolverOptions) -> SolveResult:
        return replace(result, iterations=float(result.iterations))  # type: ignore[arg-type]


class ResidualOfOneChunk(Changed):
    """Reports the residual of the first 8192 unknowns."""

    def solved(self, result: SolveResult, system: LinearSystem, mesh: Mesh, options: SolverOptions) -> SolveResult:
        if len(result.u) <= 8192:
            return result
        w = result.u - system.lift
        d = 1 / np.sqrt(system.matrix.diagonal())
        part = (d * (system.rhs - system.matrix @ w))[:8192]
        whole = float(np.linalg.norm(part) / np.linalg.norm(d * system.rhs))
        return replace(result, relative_residual=whole)


class RecurrenceOnly(Changed):
    """Reports the recurrence's residual, which goes below any rounding error."""

    def solved(self, result: SolveResult, system: LinearSystem, mesh: Mesh, options: SolverOptions) -> SolveResult:
        return replace(result, relative_residual=1e-30) if options.rtol < 1e-20 else result


class AnyOption(Changed):
    """Takes options that it doesn't know."""

    def asked(self, options: SolverOptions) -> SolverOptions:
        return replace(options, extra={})


class ChangesMatrix(Changed):
    """Scales the matrix where it stands."""

    def solved(self, result: SolveResult, system: LinearSystem, mesh: Mesh, options: SolverOptions) -> SolveResult:
        if system.matrix.data.flags.writeable:
            system.matrix.data *= 1 + 1e-12
        return result


FAULTS = (
    fault(KeyedByEvery64th, "reuse"),
    fault(KeyedBySumOfK, "reuse"),
    fault(KeyedBySumOfPlaces, "reuse"),
    fault(KeyedByCounts, "reuse"),
    fault(KeptOnLargeMeshes, "reuse"),
    fault(KeyedById, "short_lived_meshes"),
    fault(KeyedByProblem, "changed_in_place"),
    fault(SharedK, "results_kept"),
    fault(SharedPressure, "results_kept"),
    fault(SharedBySessions, "results_kept"),
    fault(ThirdTime, "determinism"),
    fault(SameLift, "solutions"),
    fault(ConvergedAtMaxiter, "stop_reasons"),
    fault(TextForReason, "solution"),
    fault(FloatIterations, "solution"),
    fault(RecurrenceOnly, "stop_reasons"),
    fault(ResidualOfOneChunk, "many_unknowns"),
    fault(AnyOption, "solver_options"),
    fault(ChangesMatrix, "solution"),
)
