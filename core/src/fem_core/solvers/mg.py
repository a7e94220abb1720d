"""Conjugate gradients preconditioned by p-multigrid: a few iterations, however fine the mesh is.

The cycle works in single precision, so it is not exactly the same operator each time; β is taken in the
flexible form, -α q·z / ρ, which allows for that (Golub & Ye, SIAM J. Sci. Comput. 21, 1999; Notay 2000).
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fem_core.cost import REFERENCE, Cost, Work
from fem_core.errors import Cancelled, SolveError
from fem_core.mesh import Mesh
from fem_core.problem import Problem
from fem_core.progress import Progress
from fem_core.results import SolveResult, SolverOptions, StopReason
from fem_core.solvers.base import Equilibrated, History, Prepared, dot, norm, refuse_extra
from fem_core.solvers.cg import RemainingTime
from fem_core.solvers.direct import Direct
from fem_core.solvers.factorisation import SUPERLU, Factoriser, best
from fem_core.solvers.multigrid import Hierarchy, build_hierarchy
from fem_core.solvers.multigrid.coarse import amg_available
from fem_core.solvers.multigrid.hierarchy import DIRECT
from fem_core.system import LinearSystem
from fem_core.types import Floats

#: After so many iterations …
_PATIENCE = 40
#: … one that would need more than so many in all is given up for a factorisation, …
_HOPELESS = 120
#: … up to so many nodes, by SuperLU and by others: beyond them it would take even longer.
_LARGEST = {SUPERLU.name: 400_000}
_LARGEST_ELSE = 3_000_000


class Multigrid:
    """`mg`: stops as `cg` does, on the same equilibrated system.

    The hierarchy is built by the first solve, so that it can be watched and cancelled, and kept. Where
    it can't be built, or doesn't help, a factorisation takes over with a warning.
    """

    name = "mg"
    summary = "conjugate gradients preconditioned by p-multigrid: the quickest on large meshes"

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

        def build(step: Callable[[], None]) -> Hierarchy | None:
            return build_hierarchy(equilibrated.K, mesh, free, step=step)

        return _PreparedMG(equilibrated, build, lambda by: Direct(by).prepare(system, mesh, problem, options))


@dataclass(eq=False)
class _PreparedMG:
    """A hierarchy, or what takes its place; built by the first solve.

    Parameters
    ----------
    equilibrated : Equilibrated
    build : function
        Builds the hierarchy; given what is to be called between its parts.
    direct : function
        A factorisation of the same system, prepared.
    """

    equilibrated: Equilibrated
    build: Callable[[Callable[[], None]], Hierarchy | None]
    direct: Callable[[Factoriser], Prepared]
    hierarchy: Hierarchy | None = None
    instead: Prepared | None = None
    remarks: list[tuple[str, bool]] = field(default_factory=list)

    def solve(self, rhs: Floats, options: SolverOptions, progress: Progress) -> SolveResult:
        if self.hierarchy is None and self.instead is None:
            self.set_up(progress)
        result = None
        if self.hierarchy is not None and self.instead is None:
            result = self._iterate(self.hierarchy, rhs, options, progress)
        if result is None:
            assert self.instead is not None
            result = self.instead.solve(rhs, options, progress)
        for text, warning in self.remarks:
            progress.remark(text, warning=warning)
        return result

    def set_up(self, progress: Progress) -> None:
        """Build the hierarchy, or what takes its place."""
        start = time.perf_counter()
        try:
            self.hierarchy = self.build(lambda: progress.solve(0, 1.0, None))
        except Cancelled:
            raise
        except Exception as error:
            self._take_over(f"the hierarchy can't be built ({type(error).__name__}: {error})")
            return
        if self.hierarchy is None:
            self._take_over("every corner is fixed")
            return
        self.remarks = [(warning, True) for warning in self.hierarchy.warnings]
        self.remarks.append((f"mg: {self.hierarchy.note}, set up in {time.perf_counter() - start:.2f} s", False))

    def _take_over(self, why: str) -> None:
        factoriser = best()
        self.hierarchy = None
        try:
            self.instead = self.direct(factoriser)
        except SolveError:  # of the faster ones, which ask for a positive definite matrix
            factoriser = SUPERLU
            self.instead = self.direct(factoriser)
        self.remarks.append((f"mg: {why}; {factoriser.library} factorises the matrix instead", True))

    def _iterate(
        self, hierarchy: Hierarchy, rhs: Floats, options: SolverOptions, progress: Progress
    ) -> SolveResult | None:
        """Conjugate gradients on K w = f with M⁻¹ = D B D, B the cycle; None after giving up."""
        K, d = self.equilibrated.K, self.equilibrated.d
        w, r, s = np.zeros_like(rhs), rhs.copy(), d * rhs
        norm_b = norm(s)
        target = max(options.rtol * norm_b, options.atol)
        remaining = RemainingTime(target / norm_b if norm_b else 1.0)
        history: History = []
        p, q, ρ, α = w, w, 1.0, 0.0
        iteration, reason = 0, StopReason.CONVERGED
        while norm_b:
            norm_s = norm(s)
            if norm_s < target:
                break
            if not math.isfinite(norm_s):
                reason = StopReason.NOT_FINITE
                break
            if iteration >= options.maxiter:
                reason = StopReason.MAXITER
                break
            if iteration and iteration % options.monitor == 0:
                history.append((iteration, norm(d * (rhs - K @ w)) / norm_b))
            if iteration == _PATIENCE and self._is_hopeless(iteration, math.log(norm_s / norm_b), target / norm_b):
                return None
            progress.solve(iteration, norm_s / norm_b, remaining.after(norm_s / norm_b))
            s *= 1 / norm_s
            z: Floats = hierarchy.cycle(s.astype(hierarchy.dtype)) * (norm_s * d)
            before, ρ = ρ, dot(r, z)
            if not ρ > 0:
                self._take_over("the cycle is not positive definite")
                return None
            p = z if iteration == 0 else z + (-α * dot(q, z) / before) * p
            q = K @ p
            pAp = dot(p, q)
            if pAp <= 0:
                reason = StopReason.INDEFINITE
                break
            α = ρ / pAp
            w += α * p
            r -= α * q
            np.multiply(d, r, out=s)
            iteration += 1
        return self.equilibrated.result(w, rhs, "mg", iteration, reason, options, history)

    def _is_hopeless(self, iteration: int, fallen: float, target: float) -> bool:
        """Whether a factorisation would be quicker, which has then been made."""
        needed = iteration * math.log(target) / fallen if fallen < 0 else math.inf
        if needed <= _HOPELESS or len(self.equilibrated.d) > _LARGEST.get(best().name, _LARGEST_ELSE):
            return False
        self._take_over(f"{iteration} iterations brought the residual to {math.exp(fallen):.1e} only")
        return True
