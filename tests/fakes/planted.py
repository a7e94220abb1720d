"""What planted faults are made of: a right backend that provides every stage, and one whose results can be changed."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from fem_core.assembly.sparsity import Sparsity
from fem_core.assembly.system import LinearSystem, csr
from fem_core.backends.default import DefaultBackend
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.backend import Backend, BackendInfo
from fem_core.plugins.hookspecs import hookimpl
from fem_core.problem import Problem
from fem_core.results import DerivedFields, SolveResult, SolverOptions
from fem_core.support.progress import Progress
from fem_core.types import Array, Floats


class Whole(DefaultBackend):
    """The core under another name: every stage, nothing wrong."""


class Changed(Whole):
    """Every stage of the core; a fault changes what goes in or what comes out."""

    def values(self, K: Floats, mesh: Mesh, problem: Problem) -> Floats:
        return K

    def load(self, f: Floats, mesh: Mesh, problem: Problem) -> Floats:
        return f

    def conditions(self, system: LinearSystem, mesh: Mesh, problem: Problem) -> LinearSystem:
        return system

    def asked(self, options: SolverOptions) -> SolverOptions:
        return options

    def solved(self, result: SolveResult, system: LinearSystem, mesh: Mesh, options: SolverOptions) -> SolveResult:
        return result

    def fields(self, fields: DerivedFields, mesh: Mesh, problem: Problem, u: Floats) -> DerivedFields:
        return fields

    def report(self, progress: Progress) -> Progress:
        return progress

    @hookimpl
    def fem_assemble(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> LinearSystem:
        right = DefaultBackend.fem_assemble(self, mesh, problem, sparsity, self.report(progress))
        values = self.values(right.matrix.data, mesh, problem)
        matrix = csr(right.matrix.indptr, right.matrix.indices, values)
        return replace(right, matrix=matrix, rhs=self.load(right.rhs, mesh, problem))

    @hookimpl
    def fem_apply_bc(self, system: LinearSystem, mesh: Mesh, problem: Problem, progress: Progress) -> LinearSystem:
        return self.conditions(DefaultBackend.fem_apply_bc(self, system, mesh, problem, progress), mesh, problem)

    @hookimpl
    def fem_solve(
        self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions, progress: Progress
    ) -> SolveResult:
        right = DefaultBackend.fem_solve(self, system, mesh, problem, self.asked(options), progress)
        return self.solved(right, system, mesh, options)

    @hookimpl
    def fem_compute_derived(
        self, mesh: Mesh, problem: Problem, result: SolveResult, progress: Progress
    ) -> DerivedFields:
        right = DefaultBackend.fem_compute_derived(self, mesh, problem, result, self.report(progress))
        return self.fields(right, mesh, problem, result.u)


def info(factory: type[Backend], name: str | None = None) -> BackendInfo:
    """The information of a backend that provides every stage."""
    return BackendInfo(
        name=name or factory.__name__,
        summary=(factory.__doc__ or "").splitlines()[0],
        factory=f"{factory.__module__}:{factory.__name__}",
        stages=("compute_sparsity", "assemble_system", "apply_bc", "solve_system", "compute_derived"),
        solver_methods=("cg", "direct"),
    )


@dataclass(frozen=True)
class Fault:
    """A wrong backend and the check that has to catch it."""

    info: BackendInfo
    caught_by: str

    @property
    def name(self) -> str:
        return self.info.name


def fault(factory: type[Backend], caught_by: str, **changes: Any) -> Fault:
    """The fault, with changes to its information."""
    return Fault(replace(info(factory), **changes), caught_by)


def of_last(array: Array) -> Array:
    """The array, wrong in its last entry."""
    wrong = array.copy()
    wrong[-1] = np.where(wrong[-1] == 0, 1.0, 1.5 * wrong[-1])
    return wrong
