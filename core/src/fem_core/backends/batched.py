"""`BatchedBackend`: an executor computes batches of elements, and the sums are done here."""

import weakref
from typing import Literal

import numpy as np

from fem_core.assembly import kernels
from fem_core.assembly.blocks import Blocks, blocks
from fem_core.assembly.kernels import Inputs
from fem_core.assembly.sparsity import Sparsity, accumulate, accumulation, has_places
from fem_core.assembly.system import LinearSystem, csr
from fem_core.execution.executors import Executor, OnProgress, OutputSpec, SerialExecutor
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.backend import Backend
from fem_core.plugins.hookspecs import hookimpl
from fem_core.problem import Problem
from fem_core.results import DerivedFields, SolveResult
from fem_core.support.hardware import available_memory
from fem_core.support.progress import Progress
from fem_core.types import Array, Floats

_KERNELS = {
    "vectorized": (kernels.stiffness, kernels.load, kernels.derived),
    "loop": (kernels.stiffness_loop, kernels.load_loop, kernels.derived_loop),
}

#: If a larger part of the contributions is on seams, summing by blocks saves no time.
_SEAMS = 0.25

#: Bytes to find the blocks, for each entry of the element matrices, as measured.
_FINDING = 25


class BatchedBackend(Backend):
    """Assembly and post-processing on an executor.

    Parameters
    ----------
    executor : Executor
        It is closed together with the backend.
    kernel : "vectorized" or "loop"
        How a batch is computed.
    """

    def __init__(self, executor: Executor, kernel: Literal["vectorized", "loop"] = "vectorized") -> None:
        self.executor = executor
        self._stiffness, self._load, self._derived = _KERNELS[kernel]
        self._mesh: weakref.ref[Mesh] | None = None
        self._shared: Inputs = {}
        self._blocks: tuple[weakref.ref[Sparsity] | None, Blocks | None, Inputs] = (None, None, {})

    def forget(self) -> None:
        self._forget_mesh()
        self._forget_blocks()

    def close(self) -> None:
        self.forget()
        self.executor.close()

    @hookimpl
    def fem_assemble(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> LinearSystem:
        sparsity = sparsity.to_host()
        self.executor.remark = progress.remark
        K = csr(sparsity.indptr, sparsity.indices, self._values(mesh, problem, sparsity, progress))
        s = problem.source_on(mesh)
        if s is None:
            return LinearSystem(K, np.zeros(mesh.n_nodes))
        self.executor.afterwards = accumulation(mesh.quad8.size, mesh.n_nodes)
        fe = self._map(self._load, mesh, {"s": s}, {"fe": ((8,), np.float64)}, lambda current, total: progress.check())
        return LinearSystem(K, accumulate(mesh.quad8, fe["fe"], mesh.n_nodes))

    @hookimpl
    def fem_compute_derived(
        self, mesh: Mesh, problem: Problem, result: SolveResult, progress: Progress
    ) -> DerivedFields:
        u = result.to_host().u
        self.executor.remark = progress.remark
        outputs: OutputSpec = {"velocity": ((2,), np.float64), "speed": ((), np.float64)}
        self.executor.afterwards = 8 * 4 * mesh.n_elements  # copies of velocity and speed, and the pressure
        fields = self._map(self._derived, mesh, {"u": u}, outputs, progress.derived)
        velocity, speed = fields["velocity"].copy(), fields["speed"].copy()
        return DerivedFields(velocity, speed, problem.fluid.pressure(speed))

    def _values(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> Floats:
        """CSR values: element matrices from the executor, summed here, or also summed by the executor, in blocks."""
        k, n = {"k": problem.conductivity_on(mesh)}, mesh.n_elements
        cut = self._cut(sparsity)
        if cut is not None:
            found = self.executor.scratch(n, {"values": (sparsity.nnz,), "contributions": cut.seams.shape})
            if found is not None:
                self.executor.afterwards = accumulation(len(cut.seams), len(cut.seam_slots))
                self._map(kernels.stiffness_sums, mesh, k, found, progress.assembly, self._blocks[2])
                cut.close(found["values"], found["contributions"])
                return found["values"]
        self.executor.afterwards = accumulation(sparsity.slots.size, sparsity.nnz)
        Ke = self._map(self._stiffness, mesh, k, {"Ke": ((8, 8), np.float64)}, progress.assembly)
        return sparsity.scatter(Ke["Ke"])

    def _cut(self, sparsity: Sparsity) -> Blocks | None:
        """The blocks of a pattern, from its second use on: to find them takes as long as some assemblies.

        None if workers can't sum, if there is no memory to find the blocks, if there are too many entries (a pattern of
        another backend may be that large), or if seams are a large part of the mesh because neighbours have distant
        numbers.
        """
        if self._stiffness is not kernels.stiffness or self.executor.scratch(len(sparsity.slots), {}) is None:
            return None
        if not has_places(sparsity.slots.size):
            return None
        last, cut, _ = self._blocks
        if last is None or last() is not sparsity:
            self._forget_blocks()
            self._blocks = weakref.ref(sparsity), None, {}
            return None
        if cut is None:
            free = available_memory()
            if free is not None and free < _FINDING * sparsity.slots.size:
                return None
            cut = blocks(sparsity, kernels.BLOCK)
            useful = cut.share_of_seams <= _SEAMS
            self._blocks = last, cut, self.executor.share(cut.inputs) if useful else {}
        return cut if cut.share_of_seams <= _SEAMS else None

    def _map(
        self,
        kernel: kernels.Kernel,
        mesh: Mesh,
        inputs: Inputs,
        outputs: OutputSpec,
        report: OnProgress,
        more: Inputs | None = None,
    ) -> dict[str, Array]:
        """`kernel` over the elements of `mesh`. The mesh's own arrays are shared once and kept."""
        if self._mesh is None or self._mesh() is not mesh:
            self._forget_mesh()
            self._shared = self.executor.share({"x": mesh.x, "y": mesh.y, "quad8": mesh.quad8})
            self._mesh = weakref.ref(mesh)
        shared = self.executor.share(inputs)
        try:
            given = {**self._shared, **shared, **(more or {})}
            return self.executor.map_ranges(kernel, mesh.n_elements, given, outputs, report)
        finally:
            self.executor.release(shared)

    def _forget_mesh(self) -> None:
        if self._mesh is not None:
            self.executor.release(self._shared)
        self._mesh, self._shared = None, {}

    def _forget_blocks(self) -> None:
        if self._blocks[2]:
            self.executor.release(self._blocks[2])
        self._blocks = (None, None, {})


class NumPy(BatchedBackend):
    """`numpy`: the batches one after the other in the calling thread."""

    def __init__(self, kernel: Literal["vectorized", "loop"] = "vectorized", batch_size: int = 8192) -> None:
        super().__init__(SerialExecutor(batch_size), kernel)
