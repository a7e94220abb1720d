"""The core's own implementation of every stage, the last one in every chain of providers."""

from collections.abc import Iterable

from fem_core.assembly import sparsity as symbolic
from fem_core.assembly.sparsity import Sparsity
from fem_core.assembly.system import LinearSystem, apply_conditions
from fem_core.backends import pattern_cache
from fem_core.backends.batched import BatchedBackend
from fem_core.backends.core_plugin import fem_linear_solvers
from fem_core.errors import FemError, SolveError
from fem_core.execution.executors import SerialExecutor
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.hookspecs import hookimpl
from fem_core.plugins.solver import LinearSolver
from fem_core.problem import Problem
from fem_core.results import SolveResult, SolverOptions
from fem_core.solvers.factorisation import how_to_install
from fem_core.solvers.prepared import LastPrepared
from fem_core.support.memory import lacks_memory
from fem_core.support.progress import Progress
from fem_core.support.wording import did_you_mean
from fem_core.types import Stage


class DefaultBackend(BatchedBackend):
    """Provides the stages that no backend in the chain provides.

    Parameters
    ----------
    solvers : iterable of LinearSolver, optional
        By default the core's own. Of several with the same name, the first is used.
    """

    def __init__(self, solvers: Iterable[LinearSolver] | None = None) -> None:
        super().__init__(SerialExecutor())
        self.solvers: dict[str, LinearSolver] = {}
        for solver in fem_linear_solvers() if solvers is None else solvers:
            self.solvers.setdefault(solver.name, solver)
        self._prepared = LastPrepared()

    def forget(self) -> None:
        self._prepared.forget()
        super().forget()

    def declines(self, stage: Stage, problem: Problem, options: SolverOptions) -> str | None:
        if stage == "solve_system" and options.method not in self.solvers:
            known = [*self.solvers, "auto"]
            hint = how_to_install(options.method) or did_you_mean(options.method, known, cutoff=0.75)
            return f"there is no solver {options.method!r}{hint}; solvers: {', '.join(known)}"
        return None

    @hookimpl
    def fem_sparsity(self, mesh: Mesh, progress: Progress) -> Sparsity:
        found = pattern_cache.load(mesh)
        if found is None:
            found = symbolic.compute_sparsity(mesh)
            pattern_cache.store(mesh, found)
        return found

    @hookimpl
    def fem_apply_bc(self, system: LinearSystem, mesh: Mesh, problem: Problem, progress: Progress) -> LinearSystem:
        return apply_conditions(system.to_host(), mesh, problem)

    @hookimpl
    def fem_solve(
        self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions, progress: Progress
    ) -> SolveResult:
        solver, system = self.solvers[options.method], system.to_host()
        try:
            return self._prepared.solve(solver, system, mesh, problem, options, progress)
        except (FemError, MemoryError):
            raise
        except Exception as error:
            if lacks_memory(error):
                raise
            raise SolveError(f"solver {options.method!r} failed: {type(error).__name__}: {error}") from error
