"""The core's `mg` with cycle and iteration on the device.

The matrix is copied to the host once, and the hierarchy is built there. Its levels are uploaded, and kept as long as
the matrix stays the same. Coarsening goes on until the coarsest matrix is small enough for a dense inverse.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

from fem_core.device.device import Device
from fem_core.device.runtime import Runtime
from fem_core.device.values import DeviceSystem
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.solver import Prepared
from fem_core.problem import Problem
from fem_core.results import SolveResult, SolverOptions
from fem_core.solvers.base import Equilibrated
from fem_core.solvers.multigrid import Hierarchy, Level, build_hierarchy
from fem_core.solvers.multigrid.solver import Multigrid, Start
from fem_core.solvers.prepared import LastPrepared, key_of, probing_vector
from fem_core.support.progress import Progress
from fem_core.types import Bools, Floats

#: Largest coarsest level for a dense inverse, which is then found fast (1500 unknowns would take 2 s).
#: Without pyamg the level may be larger: then the host solves it.
DENSE = 500


class _Matrix:
    """A CSR matrix in single precision."""

    def __init__(self, runtime: Runtime, M: "sparse.csr_array") -> None:
        self.n, self._runtime = M.shape[0], runtime
        arrays = M.indptr.astype(np.int32), M.indices.astype(np.int32), M.data.astype(np.float32)
        self._arrays = [runtime.upload(array) for array in arrays]

    def times(self, x: Any, out: Any) -> None:
        self._runtime.launch("multiply_f4", self.n, *self._arrays, x, out)

    def subtract(self, x: Any, r: Any) -> None:
        """r -= M x."""
        self._runtime.launch("subtract_product_f4", self.n, *self._arrays, x, r)


class _Level:
    """A level's matrices and vectors: x is the solution for the right-hand side r."""

    def __init__(self, runtime: Runtime, level: Level) -> None:
        self._runtime = runtime
        self.A, self.P, self.R = (_Matrix(runtime, M) for M in (level.smoother.A, level.P, level.P.T.tocsr()))
        self._steps = [(float(α), float(β)) for α, β in level.smoother.steps()]
        self._zero = runtime.zeros(self.A.n, np.float32)
        self.r, self.x, self.e, self._δ = (runtime.empty(self.A.n, np.float32) for _ in range(4))
        self._z, self._lines = self.r, None
        if lines := level.smoother.lines:
            ends = np.flatnonzero(np.append(lines.l, 0) == 0) + 1
            arrays = np.append(0, ends).astype(np.int32), lines.nodes, lines.d, np.append(lines.l, 0)
            dtypes = np.int32, np.int32, np.float32, np.float32
            given = (runtime.upload(a.astype(dtype)) for a, dtype in zip(arrays, dtypes, strict=True))
            self._z, self._lines = runtime.empty(self.A.n, np.float32), (len(ends), *given)

    def clear(self) -> None:
        """x = 0."""
        self._runtime.copy(self._zero, self.x)

    def smooth(self, *, residual: bool) -> None:
        """x += p(T⁻¹A) T⁻¹ r. r is overwritten; with `residual` it is the new residual."""
        runtime, n = self._runtime, self.A.n
        for k, (α, β) in enumerate(self._steps):
            if k:
                self.A.subtract(self._δ, self.r)
            if self._lines:
                runtime.copy(self.r, self._z)
                number, *lines = self._lines
                runtime.launch("solve_lines", number, *lines, self.r, self._z)
            runtime.launch("chebyshev", n, α, β, self._z, self._δ, self.x)
        if residual:
            self.A.subtract(self._δ, self.r)

    def correct(self, coarse: Any) -> None:
        """x += P coarse, and r -= A P coarse."""
        self.P.times(coarse, self.e)
        self._runtime.launch("add_f4", self.A.n, self.e, self.x)
        self.A.subtract(self.e, self.r)


class Cycle:
    """`Hierarchy.cycle` on the device: the caller fills `r`, and `run` puts the solution into `x`."""

    def __init__(self, device: Device, hierarchy: Hierarchy) -> None:
        self._runtime, self._hierarchy = device.runtime, hierarchy
        self._n = hierarchy.levels[-1].P.shape[1]
        inverse = 4 * self._n**2 if self._n <= DENSE else 0
        device.ledger.require("multigrid's levels", sum(map(_bytes, hierarchy.levels)) + inverse)
        self._levels = [_Level(self._runtime, level) for level in hierarchy.levels]
        self.r, self.x = self._levels[0].r, self._levels[0].x
        self._r, self._x = (self._runtime.empty(self._n, np.float32) for _ in range(2))
        self._inverse = None
        if self._n <= DENSE:
            self._inverse = self._runtime.upload(hierarchy.coarsest(np.eye(self._n)).astype(np.float32))

    def run(self) -> None:
        """Smooth down, solve on the coarsest level, correct and smooth up."""
        below = [*(level.r for level in self._levels[1:]), self._r]
        for level, r in zip(self._levels, below, strict=True):
            level.clear()
            level.smooth(residual=True)
            level.R.times(level.r, r)
        self._solve()
        x = self._x
        for level in reversed(self._levels):
            level.correct(x)
            level.smooth(residual=False)
            x = level.x

    def _solve(self) -> None:
        if self._inverse is not None:
            self._runtime.launch("multiply_dense", self._n, self._inverse, self._r, self._x)
            return
        answer = self._hierarchy.coarsest(self._runtime.download(self._r).astype(np.float64))
        self._runtime.copy(self._runtime.upload(answer.astype(np.float32)), self._x)


def _bytes(level: Level) -> int:
    """Bytes of a level's matrices, vectors and lines."""
    A, P = level.smoother.A, level.P
    return int(8 * (A.nnz + 2 * P.nnz) + 4 * (12 * A.shape[0] + 3 * P.shape[1]))


class _Iteration:
    """The `fem_core.solvers.multigrid.solver.Iteration` of one right-hand side, on the device."""

    def __init__(self, device: Device, system: DeviceSystem, d: Any, cycle: Cycle, rhs: Floats) -> None:
        runtime, n = device.runtime, system.n_nodes
        device.ledger.require("multigrid's vectors", 8 * 8 * n)
        self._device, self._n, self._d, self._cycle = device, n, d, cycle
        self._K = system.indptr, system.indices, system.values
        self._f, self._r = runtime.upload(rhs), runtime.upload(rhs)
        self._w, self._p, self._q = (runtime.zeros(n, np.float64) for _ in range(3))
        self._z, self._spare = (runtime.empty(n, np.float64) for _ in range(2))

    def _launch(self, kernel: str, *arguments: Any) -> None:
        self._device.runtime.launch(kernel, self._n, *arguments)

    @property
    def w(self) -> Floats:
        return self._device.runtime.download(self._w)

    def precondition(self, norm_s: float) -> tuple[float, float]:
        self._launch("narrow", self._d, self._r, 1 / norm_s, self._cycle.r)
        self._cycle.run()
        self._launch("widen", self._d, self._cycle.x, norm_s, self._z)
        return self._device.dot(self._n, self._r, self._z), self._device.dot(self._n, self._q, self._z)

    def turn(self, β: float) -> float:
        self._launch("xpby", self._z, β, self._p)
        self._launch("multiply", *self._K, self._p, self._q)
        return self._device.dot(self._n, self._p, self._q)

    def advance(self, α: float) -> float:
        self._launch("axpy", α, self._p, self._w)
        self._launch("axpy", -α, self._q, self._r)
        self._launch("product", self._d, self._r, self._spare)
        return self._device.norm(self._n, self._spare)

    def residual(self) -> float:
        self._launch("residual", *self._K, self._w, self._f, self._z)
        self._launch("product", self._d, self._z, self._spare)
        return self._device.norm(self._n, self._spare)


class DeviceMultigrid:
    """`mg`, prepared once for a matrix."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._prepared = LastPrepared()

    def forget(self) -> None:
        """Drop what is kept for the last matrix."""
        self._prepared.forget()

    def solve(
        self, system: DeviceSystem, mesh: Mesh, problem: Problem, options: SolverOptions, progress: Progress
    ) -> SolveResult:
        """u on the host, the lift included. Raises SolveError where the diagonal isn't positive."""
        with self._device.stage("solve_system") as runtime:

            def prepare() -> Prepared:
                prepared = Multigrid(partial(self._set_up, system)).prepare(system.to_host(), mesh, problem, options)
                progress.remark("the matrix was copied to the host once, for the setup of multigrid")
                return prepared

            prepared = self._prepared.get(key_of(mesh, options, system.fixed, self._probe(system)), prepare)
            rhs, lift = runtime.download(system.rhs), runtime.download(system.lift)
            w = prepared.solve(rhs, options, progress)
        return replace(w, u=lift + w.u)

    def _set_up(
        self, system: DeviceSystem, equilibrated: Equilibrated, mesh: Mesh, free: Bools, step: Callable[[], None]
    ) -> tuple[Hierarchy, Start] | None:
        hierarchy = build_hierarchy(equilibrated.K, mesh, free, d=equilibrated.d, step=step, direct=DENSE)
        if hierarchy is None:
            return None
        cycle, d = Cycle(self._device, hierarchy), self._device.runtime.upload(equilibrated.d)
        return hierarchy, partial(_Iteration, self._device, system, d, cycle)

    def _probe(self, system: DeviceSystem) -> bytes:
        """K v, as `fem_core.solvers.prepared.probe`. Row sums would hide small changes in a row with a penalty."""
        runtime, n = self._device.runtime, system.n_nodes
        self._device.ledger.require("multigrid's probe of the matrix", 16 * n)
        v, Kv = runtime.upload(probing_vector(n)), runtime.empty(n, np.float64)
        runtime.launch("multiply", n, system.indptr, system.indices, system.values, v, Kv)
        return runtime.download(Kv).tobytes()
