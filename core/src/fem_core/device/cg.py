"""The reference conjugate gradients on the device: steps, stopping rule and reports are those of `solvers.cg`.

After equilibration the diagonal is 1, so the preconditioner is the identity and r·z is ‖r‖². The runtime takes the
steps in batches. The host reads the state after each batch.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fem_core.device import ledger
from fem_core.device import runtime as state_of
from fem_core.device.device import Device
from fem_core.device.values import NO_VALUES, DevicePotential, DeviceSystem
from fem_core.errors import SolveError
from fem_core.results import SolverOptions
from fem_core.solvers.base import judged
from fem_core.solvers.cg import iterate
from fem_core.support.progress import Progress
from fem_core.support.wording import name_some


def inverse_root_diagonal(device: Device, system: DeviceSystem) -> Any:
    """D = diag(K)^-½. Raises SolveError, naming the nodes, where the diagonal isn't positive."""
    runtime, N = device.runtime, system.n_nodes
    d, bad = runtime.empty(N, np.float64), runtime.zeros(1, np.int32)
    runtime.launch("inverse_root_diagonal", N, system.indptr, system.indices, system.values, d, bad)
    if runtime.download(bad)[0]:
        nodes = np.flatnonzero(runtime.download(d) == 0)
        raise SolveError(
            f"the diagonal of the matrix must be positive; it is not positive at {name_some(nodes, 'node')}"
        )
    return d


def solve(device: Device, system: DeviceSystem, options: SolverOptions, progress: Progress) -> DevicePotential:
    """u, the lift included. Raises SolveError where the diagonal isn't positive."""
    N = system.n_nodes
    with device.stage("solve_system", ledger.cg_bytes(N, system.nnz)) as runtime:
        d = inverse_root_diagonal(device, system)
        at = _Iteration(device, system, d, progress.check)
        iterations, reason, history = iterate(at, options, progress)
        x, norm_b = at.x, at.norm_b
        del at  # frees its matrix and vectors

        # The true residuals, as in `Equilibrated.result`.
        w, unscaled, u = (runtime.empty(N, np.float64) for _ in range(3))
        runtime.launch("product", N, d, x, w)
        runtime.launch("residual", N, system.indptr, system.indices, system.values, w, system.rhs, unscaled)
        runtime.launch("product", N, d, unscaled, w)
        of_equilibrated = device.norm(N, w), norm_b
        runtime.launch("put_zero", len(system.fixed), system.held, unscaled)
        of_system = device.norm(N, unscaled), device.norm(N, system.rhs)
        runtime.launch("potential", N, system.lift, d, x, u)
        found = judged(NO_VALUES, "cg", iterations, reason, options, history, of_equilibrated, of_system)
        return DevicePotential(device, u, found)


class _Iteration:
    """The `fem_core.solvers.cg.Iteration` of one right-hand side, on the device."""

    def __init__(self, device: Device, system: DeviceSystem, d: Any, check: Callable[[], None]) -> None:
        runtime, N = device.runtime, system.n_nodes
        self._device, self._N, self._check = device, N, check
        self._A = system.indptr, system.indices, runtime.empty(system.nnz, np.float64)
        self._b, self._r, q, self._spare = (runtime.empty(N, np.float64) for _ in range(4))
        self.x, p, self._finite = (runtime.zeros(N, np.float64) for _ in range(3))
        runtime.launch("scale_matrix", N, system.indptr, system.indices, system.values, d, self._A[2])
        runtime.launch("product", N, d, system.rhs, self._b)
        runtime.copy(self._b, self._r)
        self.norm_b = device.norm(N, self._b)
        self._now = np.zeros(state_of.STATE)
        self._now[[state_of.RR, state_of.BEFORE]] = self.norm_b**2, 1.0
        self._state = runtime.upload(self._now)
        self._run = runtime.conjugate_gradients(N, *self._A, self.x, self._r, p, q, self._state)

    def advance(self, steps: int, target: float) -> tuple[int, float, bool]:
        runtime, now = self._device.runtime, self._now
        before = now[state_of.ITERATION]
        now[[state_of.TARGET, state_of.LIMIT, state_of.STATUS]] = target, before + steps, state_of.RUNNING
        runtime.copy(runtime.upload(now), self._state)
        while now[state_of.STATUS] == state_of.RUNNING:
            self._check()
            self._run()
            now = runtime.download(self._state)
        self._now = now
        done = int(now[state_of.ITERATION] - before)
        return done, math.sqrt(now[state_of.RR]), bool(now[state_of.STATUS] != state_of.INDEFINITE)

    def residual(self) -> float:
        self._device.runtime.launch("residual", self._N, *self._A, self.x, self._b, self._spare)
        return self._device.norm(self._N, self._spare)

    def remember(self) -> None:
        self._device.runtime.copy(self.x, self._finite)

    def recall(self) -> None:
        self.x = self._finite
