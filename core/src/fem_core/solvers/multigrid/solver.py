"""Conjugate gradients preconditioned by p-multigrid: a few iterations, however fine the mesh is.

The cycle works in single precision, so it is not exactly the same operator each time; β is taken in the
flexible form, -α q·z / ρ, which allows for that (Golub & Ye, SIAM J. Sci. Comput. 21, 1999; Notay 2000).
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeAlias

import numpy as np

from fem_core.assembly.cost import REFERENCE, Cost, Work
from fem_core.assembly.system import LinearSystem
from fem_core.errors import BackendError, Cancelled, SolveError
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.solver import Prepared
from fem_core.problem import Problem
from fem_core.results import SolveResult, SolverOptions, StopReason
from fem_core.solvers.base import Equilibrated, History, dot, norm, refuse_extra, target_of
from fem_core.solvers.cg import RemainingTime
from fem_core.solvers.direct import Direct
from fem_core.solvers.factorisation import SUPERLU, Factoriser, best
from fem_core.solvers.multigrid import Hierarchy, build_hierarchy
from fem_core.solvers.multigrid.coarse import amg_available
from fem_core.solvers.multigrid.hierarchy import DIRECT
from fem_core.support.memory import lacks_memory
from fem_core.support.progress import Progress
from fem_core.support.wording import count
from fem_core.types import Bools, Floats

#: After _PATIENCE iterations a factorisation takes over, if more than _HOPELESS would be needed in all.
_PATIENCE = 40
_HOPELESS = 120
#: On more nodes, by SuperLU or the others, a factorisation would take even longer.
_LARGEST = {SUPERLU.name: 400_000}
_LARGEST_ELSE = 3_000_000


class Iteration(Protocol):
    """The vectors of conjugate gradients on K w = f with M⁻¹ = D B D, B the cycle, and the operations on them."""

    @property
    def w(self) -> Floats: ...

    def precondition(self, norm_s: float) -> tuple[float, float]:
        """z = M⁻¹ r. Returns r·z and q·z; `norm_s` is ‖D r‖."""

    def turn(self, β: float) -> float:
        """p = z + β p and q = K p. Returns p·q."""

    def advance(self, α: float) -> float:
        """w += α p and r -= α q. Returns ‖D r‖."""

    def residual(self) -> float:
        """‖D (f - K w)‖."""


class _Iteration:
    """By NumPy and SciPy."""

    def __init__(self, equilibrated: Equilibrated, hierarchy: Hierarchy, rhs: Floats) -> None:
        self.K, self.d, self.f = equilibrated.K, equilibrated.d, rhs
        self.hierarchy = hierarchy
        self.w, self.r, self.s = np.zeros_like(rhs), rhs.copy(), self.d * rhs
        self.p = self.q = self.z = self.w

    def precondition(self, norm_s: float) -> tuple[float, float]:
        self.s *= 1 / norm_s
        self.z = self.hierarchy.cycle(self.s.astype(self.hierarchy.dtype)) * (norm_s * self.d)
        return dot(self.r, self.z), dot(self.q, self.z)

    def turn(self, β: float) -> float:
        self.p = self.z + β * self.p
        self.q = self.K @ self.p
        return dot(self.p, self.q)

    def advance(self, α: float) -> float:
        self.w += α * self.p
        self.r -= α * self.q
        np.multiply(self.d, self.r, out=self.s)
        return norm(self.s)

    def residual(self) -> float:
        return norm(self.d * (self.f - self.K @ self.w))


#: f → the vectors.
Start: TypeAlias = Callable[[Floats], Iteration]


def set_up(
    equilibrated: Equilibrated, mesh: Mesh, free: Bools, step: Callable[[], None]
) -> tuple[Hierarchy, Start] | None:
    """The setup of a matrix; None if no corner is free. `step` is called between the parts of the work."""
    hierarchy = build_hierarchy(equilibrated.K, mesh, free, d=equilibrated.d, step=step)
    if hierarchy is None:
        return None
    return hierarchy, partial(_Iteration, equilibrated, hierarchy)


SetUp: TypeAlias = Callable[[Equilibrated, Mesh, Bools, Callable[[], None]], tuple[Hierarchy, Start] | None]


class Multigrid:
    """`mg`: stops as `cg` does, on the same equilibrated system.

    The hierarchy is built by the first solve, so that it can be watched and cancelled, and kept. If
    it can't be built, or doesn't help, a factorisation takes over with a warning.

    Parameters
    ----------
    set_up : function, optional
        Replaces `set_up` above: a backend's own builds the same hierarchy with its own loops.
    """

    name = "mg"
    summary = "conjugate gradients with p-multigrid preconditioning: the fastest on large meshes"

    def __init__(self, set_up: SetUp = set_up) -> None:
        self._set_up = set_up

    def cost(self, work: Work) -> Cost:
        """In proportion to the nodes, within a factor of two; the peak of memory is that of assembly."""
        if work.nodes > 3 * DIRECT and not amg_available():
            return Direct(best()).cost(work)
        seconds = work.arithmetic / REFERENCE * work.nodes * 2e-6
        return Cost(work.assembly.seconds + seconds, work.assembly.memory)

    def prepare(self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions) -> "_PreparedMG":
        refuse_extra(self.name, options)
        equilibrated = Equilibrated.of(system)
        free = np.ones(system.n_nodes, dtype=bool)
        free[system.fixed] = False

        return _PreparedMG(
            equilibrated,
            lambda step: self._set_up(equilibrated, mesh, free, step),
            lambda by: Direct(by).prepare(system, mesh, problem, options),
        )


@dataclass(eq=False)
class _PreparedMG:
    """A hierarchy, or a factorisation instead; made by the first solve.

    Parameters
    ----------
    equilibrated : Equilibrated
    build : function
        Builds the hierarchy; calls its argument between the parts of the work.
    direct : function
        Prepares a factorisation of the same system.
    """

    equilibrated: Equilibrated
    build: Callable[[Callable[[], None]], tuple[Hierarchy, Start] | None]
    direct: Callable[[Factoriser], Prepared]
    hierarchy: Hierarchy | None = None
    start: Start | None = None
    instead: Prepared | None = None
    remarks: list[tuple[str, bool]] = field(default_factory=list)

    def solve(self, rhs: Floats, options: SolverOptions, progress: Progress) -> SolveResult:
        if self.start is None and self.instead is None:
            self.set_up(progress)
        result = None
        if self.start is not None:
            result = self._iterate(self.start(rhs), rhs, options, progress)
        if result is None:
            assert self.instead is not None
            result = self.instead.solve(rhs, options, progress)
        for text, warning in self.remarks:
            progress.remark(text, warning=warning)
        return result

    def set_up(self, progress: Progress) -> None:
        """Build the hierarchy, or make the factorisation instead."""
        start = time.perf_counter()
        try:
            built = self.build(lambda: progress.solve(0, 1.0, None))
        except (Cancelled, BackendError, MemoryError):  # a factorisation needs more memory still
            raise
        except Exception as error:
            if lacks_memory(error):  # a factorisation needs still more
                raise
            self._take_over(f"the hierarchy can't be built ({type(error).__name__}: {error})")
            return
        if built is None:
            self._take_over("every corner is fixed")
            return
        self.hierarchy, self.start = built
        self.remarks = [(warning, True) for warning in self.hierarchy.warnings]
        self.remarks.append((f"mg: {self.hierarchy.note}, set up in {time.perf_counter() - start:.2f} s", False))

    def _take_over(self, why: str) -> None:
        factoriser = best()
        self.hierarchy = self.start = None
        try:
            self.instead = self.direct(factoriser)
        except SolveError:  # CHOLMOD and PARDISO need a positive definite matrix
            factoriser = SUPERLU
            self.instead = self.direct(factoriser)
        self.remarks.append((f"mg: {why}; {factoriser.library} factorises the matrix instead", True))

    def _iterate(
        self, at: Iteration, rhs: Floats, options: SolverOptions, progress: Progress
    ) -> SolveResult | None:  # fmt: skip
        """Conjugate gradients; None if a factorisation has taken over."""
        norm_b = norm_s = norm(self.equilibrated.d * rhs)
        target = target_of(norm_b, options, progress)
        remaining = RemainingTime(target / norm_b if norm_b else 1.0)
        history: History = []
        ρ, α = 1.0, 0.0
        iteration, reason = 0, StopReason.CONVERGED
        while norm_b:
            if norm_s < target:
                break
            if not math.isfinite(norm_s):
                reason = StopReason.NOT_FINITE
                break
            if iteration >= options.maxiter:
                reason = StopReason.MAXITER
                break
            if iteration:  # every iteration: they are few; the true residual at the monitor's interval
                residual = at.residual() if iteration % options.monitor == 0 else norm_s
                history.append((iteration, residual / norm_b))
            if iteration == _PATIENCE and self._is_hopeless(iteration, math.log(norm_s / norm_b), target / norm_b):
                return None
            progress.solve(iteration, norm_s / norm_b, remaining.after(norm_s / norm_b))
            before = ρ
            ρ, qz = at.precondition(norm_s)
            if not ρ > 0:
                self._take_over("the cycle is not positive definite")
                return None
            pAp = at.turn(-α * qz / before)
            if pAp <= 0:
                reason = StopReason.INDEFINITE
                break
            α = ρ / pAp
            norm_s = at.advance(α)
            iteration += 1
        return self.equilibrated.result(at.w, rhs, "mg", iteration, reason, options, history)

    def _is_hopeless(self, iteration: int, fallen: float, target: float) -> bool:
        """Whether a factorisation would be faster; if so, it has been made."""
        needed = iteration * math.log(target) / fallen if fallen < 0 else math.inf
        if needed <= _HOPELESS or len(self.equilibrated.d) > _LARGEST.get(best().name, _LARGEST_ELSE):
            return False
        self._take_over(f"{count(iteration, 'iteration')} brought the residual to {math.exp(fallen):.1e} only")
        return True
