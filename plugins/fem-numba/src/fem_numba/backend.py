"""The backend: each stage is a module of compiled functions."""

import weakref
from typing import Any

from fem_core import BackendUnavailable, DerivedFields, LinearSystem, Mesh, Problem, SolveResult, Sparsity
from fem_core.execution import available_cores
from fem_core.plugins import Backend, Progress, SolverOptions, hookimpl
from fem_core.solvers import LinearSolver
from fem_core.solvers.prepared import LastPrepared
from fem_core.support.last import Last

from fem_numba import assembly, conditions, derived, jit, sparsity, threads
from fem_numba.cg import ConjugateGradients
from fem_numba.memory import Recycled
from fem_numba.mg import multigrid
from fem_numba.sparsity import Pattern


class Numba(Backend):
    """`numba`: all stages compiled.

    Parameters
    ----------
    threads : int, optional
        By default the cores this process may use.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._asked = threads
        self.threads = threads or available_cores()
        self._memory = Recycled()
        self._foreign: Last[Pattern] = Last()
        self._prepared = LastPrepared()
        self._cg, self._mg = ConjugateGradients(self.threads), multigrid(self.threads)

    def open(self) -> None:
        if jit.switched_off():
            raise BackendUnavailable(
                "NUMBA_DISABLE_JIT is set, but this backend needs compiled code; unset the variable"
            )
        most = jit.most_threads()
        if self._asked and self._asked > most:
            raise BackendUnavailable(
                f"threads={self._asked}, but Numba was started with {most}; set NUMBA_NUM_THREADS before Python starts"
            )
        self.threads = min(self.threads, most)
        if (fewer := threads.able(self.threads)) < self.threads:
            raise BackendUnavailable(
                f"only {fewer} of {self.threads} threads can start; use --option threads={fewer}, or allow more threads"
            )
        self._cg, self._mg = ConjugateGradients(self.threads), multigrid(self.threads)

    def compile(self) -> None:
        try:
            jit.compile_all()
        except ValueError as error:  # NUMBA_THREADING_LAYER names one that isn't installed
            raise BackendUnavailable(" ".join(str(error).split())) from error

    def forget(self) -> None:
        self._foreign.forget()
        self._prepared.forget()
        self._cg.forget()

    def close(self) -> None:
        self._memory = Recycled()
        self.forget()

    @hookimpl
    def fem_sparsity(self, mesh: Mesh, progress: Progress) -> Pattern:
        return sparsity.compute_pattern(mesh, self.threads, progress)

    @hookimpl
    def fem_assemble(
        self, mesh: Mesh, problem: Problem, sparsity: Sparsity | Pattern, progress: Progress
    ) -> LinearSystem:
        return assembly.assemble(mesh, problem, self._own(sparsity, mesh), self.threads, self._memory, progress)

    @hookimpl
    def fem_apply_bc(self, system: LinearSystem, mesh: Mesh, problem: Problem, progress: Progress) -> LinearSystem:
        progress.check()
        return conditions.apply(system.to_host(), mesh, problem, self.threads, self._memory)

    @hookimpl
    def fem_solve(
        self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions, progress: Progress
    ) -> SolveResult:
        solver: LinearSolver = self._mg if options.method == "mg" else self._cg
        return self._prepared.solve(solver, system.to_host(), mesh, problem, options, progress)

    @hookimpl
    def fem_compute_derived(
        self, mesh: Mesh, problem: Problem, result: SolveResult, progress: Progress
    ) -> DerivedFields:
        return derived.derive(mesh, problem, result.to_host().u, self.threads, progress)

    def _own(self, pattern: Any, mesh: Mesh) -> Pattern:
        """`pattern` in this backend's form. The last pattern of another backend is kept."""
        if isinstance(pattern, Pattern):
            return pattern
        host: Sparsity = pattern.to_host()
        return self._foreign.get(weakref.ref(host), lambda: sparsity.pattern_of(host, mesh, self.threads))
