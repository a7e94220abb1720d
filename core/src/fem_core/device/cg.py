"""The reference conjugate gradients on the device: steps, stopping rule and reports are those of `solvers.cg`.

After equilibration the diagonal is 1, so the preconditioner is the identity and r·z is ‖r‖². The steps between two of
the monitor's iterations are the runtime's; the host looks at the state between its batches.
"""

from typing import Any

import numpy as np

from fem_core.device import ledger
from fem_core.device import runtime as state_of
from fem_core.device.device import Device
from fem_core.device.values import NO_VALUES, DevicePotential, DeviceSystem
from fem_core.errors import SolveError
from fem_core.results import SolveResult, SolverOptions, StopReason
from fem_core.solvers.base import History, judged
from fem_core.solvers.cg import RemainingTime
from fem_core.support.progress import Progress
from fem_core.support.wording import name_some


def inverse_root_diagonal(device: Device, system: DeviceSystem) -> Any:
    """D = diag(K)^-½. Raises SolveError, naming the nodes, where the diagonal isn't positive."""
    runtime, N = device.runtime, system.n_nodes
    d, bad = runtime.empty(N, np.float64), runtime.zeros(1, np.int32)
    runtime.launch("inverse_root_diagonal", N, system.indptr, system.indices, system.values, d, bad)
    if runtime.download(bad)[0]:
        nodes = np.flatnonzero(runtime.download(d) == 0)
        raise SolveError(f"the matrix has no positive diagonal entry at {name_some(nodes, 'node')}")
    return d


def solve(device: Device, system: DeviceSystem, options: SolverOptions, progress: Progress) -> DevicePotential:
    """u, the lift included. Raises SolveError where the diagonal isn't positive."""
    with device.stage("solve_system", ledger.cg_bytes(system.n_nodes, system.nnz)):
        return _solve(device, system, options, progress)


def _solve(device: Device, system: DeviceSystem, options: SolverOptions, progress: Progress) -> DevicePotential:
    runtime, N, pattern = device.runtime, system.n_nodes, (system.indptr, system.indices)
    d = inverse_root_diagonal(device, system)
    A, b = runtime.empty(system.nnz, np.float64), runtime.empty(N, np.float64)
    runtime.launch("scale_matrix", N, *pattern, system.values, d, A)
    runtime.launch("product", N, d, system.rhs, b)
    norm_b = device.norm(N, b)
    target = max(options.rtol * norm_b, options.atol)
    remaining = RemainingTime(target / norm_b if norm_b else 1.0)
    history: History = []

    x, p = runtime.zeros(N, np.float64), runtime.zeros(N, np.float64)
    r, q, spare = (runtime.empty(N, np.float64) for _ in range(3))
    finite = runtime.zeros(N, np.float64)  # x when it was last known to be finite
    runtime.copy(b, r)
    now = np.zeros(state_of.STATE)
    now[[state_of.RR, state_of.BEFORE, state_of.TARGET]] = norm_b**2, 1.0, target
    state = runtime.upload(now)
    iterate = runtime.conjugate_gradients(N, *pattern, A, x, r, p, q, state)
    iteration, reason = 0, StopReason.CONVERGED
    while norm_b:
        progress.check()
        limit = min(iteration + options.monitor - iteration % options.monitor, options.maxiter)
        now[[state_of.LIMIT, state_of.STATUS]] = limit, state_of.RUNNING
        runtime.copy(runtime.upload(now), state)
        while now[state_of.STATUS] == state_of.RUNNING:
            progress.check()
            iterate()
            now = runtime.download(state)
        iteration, status = int(now[state_of.ITERATION]), int(now[state_of.STATUS])
        if status == state_of.CONVERGED:
            break
        if status == state_of.NOT_FINITE:
            x, reason = finite, StopReason.NOT_FINITE
            break
        if status == state_of.INDEFINITE:
            reason = StopReason.INDEFINITE
            break
        if iteration >= options.maxiter:
            reason = StopReason.MAXITER
            break
        runtime.launch("residual", N, *pattern, A, x, b, spare)
        residual = device.norm(N, spare) / norm_b
        history.append((iteration, residual))
        progress.solve(iteration, residual, remaining.after(residual))
        runtime.copy(x, finite)
    del A, r, p, iterate
    found = _judged(device, system, options, d, x, q, spare, norm_b, iteration, reason, history)
    u = runtime.empty(N, np.float64)
    runtime.launch("potential", N, system.lift, d, x, u)
    return DevicePotential(device, u, found)


def _judged(
    device: Device, system: DeviceSystem, options: SolverOptions, d: Any, x: Any, w: Any, unscaled: Any, norm_b: float,
    iteration: int, reason: StopReason, history: History,
) -> SolveResult:  # fmt: skip
    """As `Equilibrated.result`: true residuals at the end, and whether they bear out what the recurrence says."""
    runtime, N = device.runtime, system.n_nodes
    runtime.launch("product", N, d, x, w)
    runtime.launch("residual", N, system.indptr, system.indices, system.values, w, system.rhs, unscaled)
    runtime.launch("product", N, d, unscaled, w)
    of_equilibrated = device.norm(N, w), norm_b
    runtime.launch("put_zero", len(system.fixed), system.held, unscaled)
    of_system = device.norm(N, unscaled), device.norm(N, system.rhs)
    return judged(NO_VALUES, "cg", iteration, reason, options, history, of_equilibrated, of_system)
