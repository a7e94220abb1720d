"""Wrong backends: the kit is judged by whether it catches them, each by a check that is named here.

Each overrides one thing of a right backend, as real variants of this program have been seen to differ. Faults of other
kinds are in the modules beside this one: sizes and coefficients, state, life.
"""

import os
import sys
import threading
from dataclasses import replace

import numpy as np
from fem_core.assembly import element
from fem_core.assembly.kernels import Inputs, Kernel
from fem_core.assembly.sparsity import Sparsity, accumulate
from fem_core.assembly.system import PENALTY, LinearSystem, apply_conditions, csr
from fem_core.backends.batched import BatchedBackend
from fem_core.backends.default import DefaultBackend
from fem_core.execution import OnProgress, OutputSpec, SerialExecutor, ranges
from fem_core.mesh import boundaries, geometry
from fem_core.mesh import quad8 as q8
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.hookspecs import hookimpl
from fem_core.problem import Fluid, Problem, Robin
from fem_core.results import DerivedFields, SolveResult, SolverOptions, StopReason
from fem_core.solvers import Equilibrated
from fem_core.support.progress import Progress
from fem_core.types import Array, Floats, Stage

from fakes import planted_life, planted_sizes, planted_state
from fakes.planted import Whole, fault


class _Assembling(Whole):
    """A fault in the element matrices."""

    def stiffness(self, mesh: Mesh, k: Floats) -> Floats:
        return element.element_stiffness(mesh.x[mesh.quad8], mesh.y[mesh.quad8], k)

    @hookimpl
    def fem_assemble(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> LinearSystem:
        right = DefaultBackend.fem_assemble(self, mesh, problem, sparsity, progress)
        Ke = self.stiffness(mesh, problem.conductivity_on(mesh))
        return replace(right, matrix=csr(sparsity.indptr, sparsity.indices, sparsity.scatter(Ke)))


def _by_points(mesh: Mesh, k: Floats, points: Array, absolute: bool = False, skip: bool = False) -> Floats:
    """Ke from the given Gauss points, with the variants' ways of treating det J."""
    X = np.stack([mesh.x[mesh.quad8], mesh.y[mesh.quad8]], axis=2)
    dN = q8.DN_3X3[points]
    J = np.einsum("qdi,nic->nqdc", dN, X)
    det = np.linalg.det(J)
    B = np.linalg.solve(J, np.broadcast_to(dN, (len(X), *dN.shape)))
    det = np.abs(det) if absolute else np.where(det > 0, det, 0) if skip else det
    Ke: Floats = np.einsum("n,q,nq,nqdi,nqdj->nij", k, q8.WEIGHTS_3X3[points], det, B, B, optimize=True)
    return np.ascontiguousarray(Ke)


class DroppedGaussPoint(_Assembling):
    """Sums eight of the nine Gauss points."""

    def stiffness(self, mesh: Mesh, k: Floats) -> Floats:
        return _by_points(mesh, k, np.arange(8))


class AbsoluteDetJ(_Assembling):
    """Takes |det J|."""

    def stiffness(self, mesh: Mesh, k: Floats) -> Floats:
        return _by_points(mesh, k, np.arange(9), absolute=True)


class SkippedGaussPoints(_Assembling):
    """Skips Gauss points with det J <= 0."""

    def stiffness(self, mesh: Mesh, k: Floats) -> Floats:
        return _by_points(mesh, k, np.arange(9), skip=True)


class DroppedElements(_Assembling):
    """Leaves out elements with a Gauss point where det J <= 0."""

    def stiffness(self, mesh: Mesh, k: Floats) -> Floats:
        X = np.stack([mesh.x[mesh.quad8], mesh.y[mesh.quad8]], axis=2)
        good = (np.linalg.det(np.einsum("qdi,nic->nqdc", q8.DN_3X3, X)) > 0).all(axis=1)
        Ke: Floats = super().stiffness(mesh, k) * good[:, None, None]
        return Ke


class SwappedMidSides(_Assembling):
    """Takes the mid-sides of edges (0,1) and (1,2) for each other."""

    def stiffness(self, mesh: Mesh, k: Floats) -> Floats:
        with np.errstate(all="ignore"):
            return super().stiffness(replace(mesh, quad8=mesh.quad8[:, [0, 1, 2, 3, 5, 4, 6, 7]]), k)


class SinglePrecision(_Assembling):
    """Computes the element matrices in float32."""

    def stiffness(self, mesh: Mesh, k: Floats) -> Floats:
        return super().stiffness(mesh, k).astype(np.float32).astype(np.float64)


class MeanConductivity(_Assembling):
    """Uses one conductivity for all elements."""

    def stiffness(self, mesh: Mesh, k: Floats) -> Floats:
        return super().stiffness(mesh, np.full_like(k, k.mean()))


class LostLastElement(_Assembling):
    """Forgets what is left after the last whole batch."""

    def stiffness(self, mesh: Mesh, k: Floats) -> Floats:
        Ke = super().stiffness(mesh, k).copy()
        Ke[-1] = 0
        return Ke


class UnstableSum(Whole):
    """Sums the contributions in another order every time, as atomics do."""

    _rng = np.random.default_rng(0)

    @hookimpl
    def fem_assemble(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> LinearSystem:
        right = DefaultBackend.fem_assemble(self, mesh, problem, sparsity, progress)
        Ke = element.element_stiffness(mesh.x[mesh.quad8], mesh.y[mesh.quad8], problem.conductivity_on(mesh))
        order = self._rng.permutation(mesh.n_elements)
        values = accumulate(sparsity.slots[order], Ke[order], sparsity.nnz)
        return replace(right, matrix=csr(sparsity.indptr, sparsity.indices, values))


class IgnoredSource(Whole):
    """Assembles no load."""

    @hookimpl
    def fem_assemble(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> LinearSystem:
        return DefaultBackend.fem_assemble(self, mesh, replace(problem, source=0.0), sparsity, progress)


class StaleMatrix(Whole):
    """Keeps the assembled matrix for as long as the topology is the same."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[str, LinearSystem] = {}

    @hookimpl
    def fem_assemble(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> LinearSystem:
        fresh = DefaultBackend.fem_assemble(self, mesh, problem, sparsity, progress)
        return self._kept.setdefault(mesh.fingerprint, fresh)


class NoOrphanDiagonal(Whole):
    """Takes the diagonal of the first node for that of each orphan node."""

    @hookimpl
    def fem_apply_bc(self, system: LinearSystem, mesh: Mesh, problem: Problem, progress: Progress) -> LinearSystem:
        right = apply_conditions(system, mesh, problem)
        return replace(right, fixed=np.setdiff1d(right.fixed, mesh.orphan_nodes).astype(np.int32))


class ForgottenPenalty(Whole):
    """Adds no penalty at the outlet."""

    @hookimpl
    def fem_apply_bc(self, system: LinearSystem, mesh: Mesh, problem: Problem, progress: Progress) -> LinearSystem:
        right = apply_conditions(system, mesh, problem)
        values = np.where(right.matrix.data > 0.5 * PENALTY, right.matrix.data - PENALTY, right.matrix.data)
        return replace(right, matrix=csr(right.matrix.indptr, right.matrix.indices, values))


class PenaltyWithoutLift(Whole):
    """Puts penalty times value on the right-hand side instead of lifting."""

    @hookimpl
    def fem_apply_bc(self, system: LinearSystem, mesh: Mesh, problem: Problem, progress: Progress) -> LinearSystem:
        right = apply_conditions(system, mesh, problem)
        assert right.lift is not None
        return replace(right, rhs=right.rhs + PENALTY * right.lift, lift=np.zeros_like(right.lift))


class RobinWithoutP(Whole):
    """Knows the load of a Robin condition but not its matrix."""

    @hookimpl
    def fem_apply_bc(self, system: LinearSystem, mesh: Mesh, problem: Problem, progress: Progress) -> LinearSystem:
        conditions = tuple(replace(c, p=0.0) if isinstance(c, Robin) else c for c in problem.conditions)
        return apply_conditions(system, mesh, replace(problem, conditions=conditions))


class EarlyStop(Whole):
    """Stops at a hundred times the tolerance and calls it converged."""

    @hookimpl
    def fem_solve(
        self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions, progress: Progress
    ) -> SolveResult:
        return DefaultBackend.fem_solve(
            self, system, mesh, problem, replace(options, rtol=100 * options.rtol), progress
        )


class NoEquilibration(Whole):
    """Conjugate gradients on the system as it is, without preconditioner."""

    @hookimpl
    def fem_solve(
        self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions, progress: Progress
    ) -> SolveResult:
        from scipy.sparse.linalg import cg

        assert system.lift is not None
        steps: list[int] = []
        w, _ = cg(system.matrix, system.rhs, rtol=1e-14, maxiter=options.maxiter, callback=lambda _: steps.append(1))
        scaled = Equilibrated.of(system)
        result = scaled.result(w / scaled.d, system.rhs, "cg", len(steps), StopReason.CONVERGED, options, [])
        return replace(result, u=system.lift + result.u)


class ForgottenLift(Whole):
    """Returns w for u."""

    @hookimpl
    def fem_solve(
        self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions, progress: Progress
    ) -> SolveResult:
        assert system.lift is not None
        right = DefaultBackend.fem_solve(self, system, mesh, problem, options, progress)
        return replace(right, u=right.u - system.lift)


class AlwaysConverged(Whole):
    """Reports convergence whatever happens."""

    @hookimpl
    def fem_solve(
        self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions, progress: Progress
    ) -> SolveResult:
        right = DefaultBackend.fem_solve(self, system, mesh, problem, options, progress)
        return replace(right, stop_reason=StopReason.CONVERGED)


class SpeedOfMean(Whole):
    """Takes the magnitude of the mean velocity for the speed."""

    @hookimpl
    def fem_compute_derived(
        self, mesh: Mesh, problem: Problem, result: SolveResult, progress: Progress
    ) -> DerivedFields:
        right = DefaultBackend.fem_compute_derived(self, mesh, problem, result, progress)
        speed: Floats = np.linalg.norm(right.velocity, axis=1)
        return DerivedFields(right.velocity, speed, problem.fluid.pressure(speed))


class VelocityUphill(Whole):
    """Takes +∇u for the velocity."""

    @hookimpl
    def fem_compute_derived(
        self, mesh: Mesh, problem: Problem, result: SolveResult, progress: Progress
    ) -> DerivedFields:
        right = DefaultBackend.fem_compute_derived(self, mesh, problem, result, progress)
        return replace(right, velocity=-right.velocity)


class BuiltInFluid(Whole):
    """Has the density of air and the reference pressure built in."""

    @hookimpl
    def fem_compute_derived(
        self, mesh: Mesh, problem: Problem, result: SolveResult, progress: Progress
    ) -> DerivedFields:
        right = DefaultBackend.fem_compute_derived(self, mesh, problem, result, progress)
        return replace(right, pressure=Fluid().pressure(right.speed))


class LostEvent(Whole):
    """Reports no progress of the assembly."""

    @hookimpl
    def fem_assemble(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> LinearSystem:
        return DefaultBackend.fem_assemble(self, mesh, problem, sparsity, Progress())


class DeafToCancel(Whole):
    """Solves with a progress of its own, so that nobody can stop it."""

    @hookimpl
    def fem_solve(
        self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions, progress: Progress
    ) -> SolveResult:
        class Deaf(Progress):
            def check(self) -> None:
                """Go on."""

        deaf = Deaf(progress._emit)
        return DefaultBackend.fem_solve(self, system, mesh, problem, options, deaf)


class StaleFields(Whole):
    """Keeps the post-processed fields for as long as the topology is the same."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[str, DerivedFields] = {}

    @hookimpl
    def fem_compute_derived(
        self, mesh: Mesh, problem: Problem, result: SolveResult, progress: Progress
    ) -> DerivedFields:
        fresh = DefaultBackend.fem_compute_derived(self, mesh, problem, result, progress)
        return self._kept.setdefault(mesh.fingerprint, fresh)


class FloatingOrphans(Whole):
    """Leaves the mean potential at orphan nodes."""

    @hookimpl
    def fem_solve(
        self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions, progress: Progress
    ) -> SolveResult:
        right = DefaultBackend.fem_solve(self, system, mesh, problem, options, progress)
        right.u[mesh.orphan_nodes] = right.u.mean()
        return right


class ScalesInPlace(Whole):
    """Makes the caller's conductivity dimensionless where it stands."""

    @hookimpl
    def fem_assemble(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> LinearSystem:
        if isinstance(problem.conductivity, np.ndarray):
            k = problem.conductivity
            k /= k.max()
        return DefaultBackend.fem_assemble(self, mesh, problem, sparsity, progress)


class ThreadBound(Whole):
    """Works only in the thread that opened it."""

    def open(self) -> None:
        self._thread = threading.get_ident()

    @hookimpl
    def fem_assemble(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> LinearSystem:
        if threading.get_ident() != self._thread:
            raise RuntimeError("used in a thread other than its own")
        return DefaultBackend.fem_assemble(self, mesh, problem, sparsity, progress)


class DecliningAll(Whole):
    """Lists the post-processing, and declines it whatever the problem."""

    def declines(self, stage: Stage, problem: Problem, options: SolverOptions) -> str | None:
        return "not today" if stage == "compute_derived" else None


class NoValidation(Whole):
    """Switches the mesh's validation off for speed."""

    def open(self) -> None:
        vars(boundaries)["validate_mesh"] = lambda mesh: mesh

    def close(self) -> None:
        vars(boundaries)["validate_mesh"] = geometry.validate_mesh
        super().close()


class FarElements(_Assembling):
    """Has room for 4096 elements, and leaves out the rest."""

    def stiffness(self, mesh: Mesh, k: Floats) -> Floats:
        Ke = super().stiffness(mesh, k).copy()
        Ke[4096:] = 0
        return Ke


class StaleLoad(Whole):
    """Keeps the load for as long as the matrix is the same."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[bytes, Floats] = {}

    @hookimpl
    def fem_assemble(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> LinearSystem:
        fresh = DefaultBackend.fem_assemble(self, mesh, problem, sparsity, progress)
        return replace(fresh, rhs=self._kept.setdefault(fresh.matrix.data.tobytes(), fresh.rhs))


class StaleGeometry(Whole):
    """Post-processes with the coordinates that first came with the topology."""

    def __init__(self) -> None:
        super().__init__()
        self._meshes: dict[str, Mesh] = {}

    @hookimpl
    def fem_compute_derived(
        self, mesh: Mesh, problem: Problem, result: SolveResult, progress: Progress
    ) -> DerivedFields:
        known = self._meshes.setdefault(mesh.fingerprint, mesh)
        return DefaultBackend.fem_compute_derived(self, known, problem, result, progress)


class SharedBuffer(Whole):
    """Returns u in an array that the next solve of the same size writes to."""

    def __init__(self) -> None:
        super().__init__()
        self._buffers: dict[int, Floats] = {}

    @hookimpl
    def fem_solve(
        self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions, progress: Progress
    ) -> SolveResult:
        right = DefaultBackend.fem_solve(self, system, mesh, problem, options, progress)
        buffer = self._buffers.setdefault(mesh.n_nodes, np.empty(mesh.n_nodes))
        buffer[:] = right.u
        return replace(right, u=buffer)


class _Reporting(Whole):
    """A fault in what a solve is asked for or says of itself."""

    def asked(self, options: SolverOptions) -> SolverOptions:
        return options

    def said(self, right: SolveResult) -> SolveResult:
        return right

    @hookimpl
    def fem_solve(
        self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions, progress: Progress
    ) -> SolveResult:
        return self.said(DefaultBackend.fem_solve(self, system, mesh, problem, self.asked(options), progress))


class IgnoredAtol(_Reporting):
    """Knows a relative tolerance only."""

    def asked(self, options: SolverOptions) -> SolverOptions:
        return replace(options, atol=0.0)


class OwnMonitor(_Reporting):
    """Looks at the residual every 50 iterations, whatever it is asked for."""

    def asked(self, options: SolverOptions) -> SolverOptions:
        return replace(options, monitor=50)


class ZeroResidual(_Reporting):
    """Reports no residual."""

    def said(self, right: SolveResult) -> SolveResult:
        return replace(right, relative_residual=0.0)


class ScaledResidualOnly(_Reporting):
    """Reports the equilibrated residual for the unscaled one."""

    def said(self, right: SolveResult) -> SolveResult:
        return replace(right, true_relative_residual=right.relative_residual)


class NoHistory(_Reporting):
    """Keeps no history of residuals."""

    def said(self, right: SolveResult) -> SolveResult:
        return replace(right, history=())


class DriftingResidual(_Reporting):
    """Takes the recurrence's word for convergence."""

    def said(self, right: SolveResult) -> SolveResult:
        drifted = right.stop_reason is StopReason.STAGNATION
        return replace(right, stop_reason=StopReason.CONVERGED) if drifted else right


class NothingPartial(_Reporting):
    """Returns zeros where it did not converge."""

    def said(self, right: SolveResult) -> SolveResult:
        return right if right.converged else replace(right, u=np.zeros_like(right.u))


class OtherThread(Whole):
    """Reports progress from a thread of its own."""

    @hookimpl
    def fem_assemble(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> LinearSystem:
        right = DefaultBackend.fem_assemble(self, mesh, problem, sparsity, Progress())
        reporter = threading.Thread(target=progress.assembly, args=(mesh.n_elements, mesh.n_elements))
        reporter.start()
        reporter.join()
        return right


class ClosesOnce(Whole):
    """Can't be closed twice."""

    _closed = False

    def close(self) -> None:
        if self._closed:
            raise RuntimeError("closed already")
        self._closed = True
        super().close()


#: Set by the test in the end, so that the threads of faults don't meet the tests that follow.
STOP = threading.Event()


class WorksWhenMade(Whole):
    """Starts its thread when it is made."""

    def __init__(self) -> None:
        super().__init__()
        threading.Thread(target=STOP.wait, args=(10,), daemon=True, name="early").start()


class LeftProcess(Whole):
    """Leaves a process running after `close`."""

    def open(self) -> None:
        os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", "__import__('time').sleep(8)"])


class LeftThread(Whole):
    """Leaves a thread running after `close`."""

    def open(self) -> None:
        threading.Thread(target=STOP.wait, args=(60,), daemon=True, name="left behind").start()


class ForgottenReturn(Whole):
    """Assembles, and returns nothing."""

    @hookimpl
    def fem_assemble(  # type: ignore[override]
        self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress
    ) -> None:
        DefaultBackend.fem_assemble(self, mesh, problem, sparsity, progress)


class ShiftedPattern(Whole):
    """Computes a pattern whose slots are transposed."""

    @hookimpl
    def fem_sparsity(self, mesh: Mesh, progress: Progress) -> Sparsity:
        right = DefaultBackend.fem_sparsity(self, mesh, progress)
        return replace(right, slots=np.ascontiguousarray(right.slots.transpose(0, 2, 1)))


class _LosingExecutor(SerialExecutor):
    """Loses the last batch."""

    def map_ranges(
        self, kernel: Kernel, n: int, inputs: Inputs, outputs: OutputSpec, progress: OnProgress
    ) -> dict[str, Array]:
        results: dict[str, Array] = {name: np.zeros((n, *shape), dtype) for name, (shape, dtype) in outputs.items()}
        for start, stop in ranges(n, 4096)[:-1] or [(0, n)]:
            kernel(start, stop, inputs, {name: a[start:stop] for name, a in results.items()})
        progress(n, n)
        return results


class LostBatch(BatchedBackend):
    """An executor that loses its last batch."""

    def __init__(self) -> None:
        super().__init__(_LosingExecutor())


FAULTS = (
    fault(ShiftedPattern, "sparsity"),
    fault(DroppedGaussPoint, "matrix"),
    fault(SwappedMidSides, "matrix"),
    fault(SinglePrecision, "matrix"),
    fault(MeanConductivity, "matrix"),
    fault(LostLastElement, "matrix"),
    fault(ForgottenReturn, "matrix"),
    fault(AbsoluteDetJ, "geometry"),
    fault(SkippedGaussPoints, "geometry"),
    fault(DroppedElements, "geometry"),
    fault(IgnoredSource, "load"),
    fault(UnstableSum, "determinism"),
    fault(StaleMatrix, "reuse"),
    fault(NoOrphanDiagonal, "boundary_conditions"),
    fault(ForgottenPenalty, "boundary_conditions"),
    fault(RobinWithoutP, "boundary_conditions"),
    fault(PenaltyWithoutLift, "large_dirichlet_values"),
    fault(EarlyStop, "solution"),
    fault(ForgottenLift, "solution"),
    fault(NoEquilibration, "iterations"),
    fault(AlwaysConverged, "stop_reasons"),
    fault(SpeedOfMean, "derived"),
    fault(VelocityUphill, "derived"),
    fault(BuiltInFluid, "derived"),
    fault(StaleFields, "pipeline"),
    fault(FloatingOrphans, "orphan_nodes"),
    fault(ScalesInPlace, "input_unchanged"),
    fault(ThreadBound, "threads"),
    fault(DecliningAll, "providers"),
    fault(NoValidation, "bad_input"),
    fault(LostEvent, "events"),
    fault(DeafToCancel, "cancellation"),
    fault(FarElements, "many_elements"),
    fault(StaleLoad, "reuse"),
    fault(StaleGeometry, "reuse"),
    fault(SharedBuffer, "solutions"),
    fault(IgnoredAtol, "stop_reasons"),
    fault(DriftingResidual, "stop_reasons"),
    fault(NothingPartial, "stop_reasons"),
    fault(OwnMonitor, "residuals"),
    fault(ZeroResidual, "residuals"),
    fault(ScaledResidualOnly, "residuals"),
    fault(NoHistory, "residuals"),
    fault(OtherThread, "events"),
    fault(ClosesOnce, "cleanup"),
    fault(WorksWhenMade, "cleanup"),
    fault(LeftProcess, "cleanup"),
    fault(LeftThread, "cleanup"),
    fault(LostBatch, "executor", stages=("assemble_system", "compute_derived"), solver_methods=()),
    *planted_sizes.FAULTS,
    *planted_state.FAULTS,
    *planted_life.FAULTS,
)
