"""Conjugate gradients: the reference method, compiled."""

from fem_core import LinearSystem, Mesh, Progress, SolveResult, SolverOptions


def solve(system: LinearSystem, mesh: Mesh, options: SolverOptions, progress: Progress, threads: int) -> SolveResult:
    """u of a system that has its boundary conditions."""
    raise NotImplementedError
