"""A backend out of any executor: element batches go to the executor, the sums are done here."""

import weakref
from typing import Literal

import numpy as np

from fem_core import kernels
from fem_core.backend import Backend
from fem_core.execution import Executor, OnProgress, SerialExecutor
from fem_core.hookspecs import hookimpl
from fem_core.kernels import Inputs
from fem_core.mesh import Mesh
from fem_core.problem import Problem
from fem_core.progress import Progress
from fem_core.results import DerivedFields, SolveResult
from fem_core.sparsity import Sparsity, accumulate
from fem_core.system import LinearSystem, csr
from fem_core.types import Array

_KERNELS = {
    "vectorized": (kernels.stiffness, kernels.load, kernels.derived),
    "loop": (kernels.stiffness_loop, kernels.load_loop, kernels.derived_loop),
}


class BatchedBackend(Backend):
    """Assembly and post-processing on an executor.

    Parameters
    ----------
    executor : Executor
        Closed together with the backend.
    kernel : "vectorized" or "loop"
        How a batch is computed.
    """

    def __init__(self, executor: Executor, kernel: Literal["vectorized", "loop"] = "vectorized") -> None:
        self.executor = executor
        self._stiffness, self._load, self._derived = _KERNELS[kernel]
        self._mesh: weakref.ref[Mesh] | None = None
        self._shared: Inputs = {}

    def close(self) -> None:
        self._forget()
        self.executor.close()

    @hookimpl
    def fem_assemble(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> LinearSystem:
        sparsity = sparsity.to_host()
        self.executor.remark = progress.remark
        Ke = self._map(self._stiffness, mesh, {"k": problem.conductivity_on(mesh)}, {"Ke": (8, 8)}, progress.assembly)
        K = csr(sparsity.indptr, sparsity.indices, sparsity.scatter(Ke["Ke"]))
        del Ke
        s = problem.source_on(mesh)
        if s is None:
            return LinearSystem(K, np.zeros(mesh.n_nodes))
        fe = self._map(self._load, mesh, {"s": s}, {"fe": (8,)}, lambda current, total: progress.check())
        return LinearSystem(K, accumulate(mesh.quad8, fe["fe"], mesh.n_nodes))

    @hookimpl
    def fem_compute_derived(
        self, mesh: Mesh, problem: Problem, result: SolveResult, progress: Progress
    ) -> DerivedFields:
        u = result.to_host().u
        self.executor.remark = progress.remark
        fields = self._map(self._derived, mesh, {"u": u}, {"velocity": (2,), "speed": ()}, progress.derived)
        velocity, speed = fields["velocity"].copy(), fields["speed"].copy()
        return DerivedFields(velocity, speed, problem.fluid.pressure(speed))

    def _map(
        self,
        kernel: kernels.Kernel,
        mesh: Mesh,
        inputs: Inputs,
        outputs: dict[str, tuple[int, ...]],
        report: OnProgress,
    ) -> dict[str, Array]:
        """`kernel` over the elements of `mesh`, whose own arrays are shared once and kept."""
        if self._mesh is None or self._mesh() is not mesh:
            self._forget()
            self._shared = self.executor.share({"x": mesh.x, "y": mesh.y, "quad8": mesh.quad8})
            self._mesh = weakref.ref(mesh)
        shared = self.executor.share(inputs)
        try:
            spec = {name: (shape, np.float64) for name, shape in outputs.items()}
            return self.executor.map_ranges(kernel, mesh.n_elements, {**self._shared, **shared}, spec, report)
        finally:
            self.executor.release(shared)

    def _forget(self) -> None:
        if self._mesh is not None:
            self.executor.release(self._shared)
        self._mesh, self._shared = None, {}


class NumPy(BatchedBackend):
    """`numpy`: the batches one after the other in the calling thread."""

    def __init__(self, kernel: Literal["vectorized", "loop"] = "vectorized", batch_size: int = 8192) -> None:
        super().__init__(SerialExecutor(batch_size), kernel)
