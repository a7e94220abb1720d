"""The backend: each stage is a module of compiled functions."""

from fem_core import Backend, LinearSystem, Mesh, Problem, Progress, SolveResult, SolverOptions, available_cores, hookimpl

from fem_numba import cg
from fem_numba.jit import compile_all


class Numba(Backend):
    """`numba`.

    Parameters
    ----------
    threads : int, optional
        By default the cores this process may use.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or available_cores()

    def compile(self) -> None:
        compile_all()

    @hookimpl
    def fem_solve(
        self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions, progress: Progress
    ) -> SolveResult:
        return cg.solve(system.to_host(), mesh, options, progress, self.threads)
