"""`mp-shm`: a batch reaches a worker as a range of indices, and its result is written in place in shared memory."""

from collections.abc import Mapping
from typing import Any, Literal, cast

from fem_core.assembly.kernels import Inputs
from fem_core.backends import BatchedBackend
from fem_core.execution import Batch, Batching, Kernel, OutputSpec, Plan
from fem_core.types import Array, read_only

from fem_mp_shm.executor import ProcessExecutor, size
from fem_mp_shm.memory import Need
from fem_mp_shm.sharing import Place, Shared, Sharing, attached, let_go, passing

#: Items whose results a worker maps at a time, a multiple of GRAIN: mapped pages count as its memory.
PIECE = 4096


def compute(
    kernel: Kernel,
    task: list[Batch],
    inputs: Mapping[str, Place],
    outputs: Mapping[str, Place],
    whole: Mapping[str, Place],
) -> None:
    """In the worker: the results of each batch, from and into shared arrays."""
    arrays = attached({**inputs, **whole})
    given = {name: read_only(arrays[name]) for name in inputs}
    for start, stop in task:
        size = PIECE if outputs else stop - start  # an item's result doesn't depend on its batch
        for first in range(start, stop, size):
            last = min(first + size, stop)
            parts = {name: array[first:last] for name, array in passing(outputs, first, last).items()}
            kernel(first, last, given, {**parts, **{name: arrays[name] for name in whole}})
            if outputs:  # not for sums: their pages are used again, and mapping them again would take a third longer
                let_go()


class ShmExecutor(ProcessExecutor):
    """Inputs are shared once, results are written in place. Only ranges are sent through the pipes.

    Parameters
    ----------
    storage : "auto", "shm" or "file"
        auto: shared memory, or a mapped file if there is no room for it.
    """

    compute = staticmethod(compute)

    def __init__(
        self,
        batching: Batching | None = None,
        start_method: str = "default",
        storage: Literal["auto", "shm", "file"] = "auto",
    ) -> None:
        super().__init__(batching, start_method)
        self.sharing = Sharing(storage, lambda text: self.remark(text, warning=True))

    def share(self, inputs: Inputs) -> Inputs:
        return cast("Inputs", self.sharing.share(inputs))

    def release(self, shared: Inputs) -> None:
        self.sharing.release(cast("Mapping[str, Shared]", shared))

    def scratch(self, n: int, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array] | None:
        if self.batching.plan(n).workers == 1:
            return None
        return self.sharing.results({name: (shape, "f8") for name, shape in shapes.items()}) if shapes else {}

    def close(self) -> None:
        super().close()
        self.sharing.close()

    def local(self, inputs: Inputs) -> Inputs:
        return {name: shared.array for name, shared in cast("Mapping[str, Shared]", inputs).items()}

    def need(self, n: int, plan: Plan, inputs: Inputs, outputs: OutputSpec) -> Need:
        return Need(self.sharing.missing(inputs, size(n, outputs)), 0, self._worker(), self.afterwards)

    def results(self, n: int, outputs: OutputSpec) -> dict[str, Array]:
        parts = {name: spec for name, spec in outputs.items() if isinstance(spec, tuple)}
        whole = {name: spec for name, spec in outputs.items() if not isinstance(spec, tuple)}
        return {**(self.sharing.results({key: ((n, *spec[0]), spec[1]) for key, spec in parts.items()})), **whole}

    def message(
        self, kernel: Kernel, task: list[Batch], inputs: Inputs, outputs: OutputSpec, results: Mapping[str, Array]
    ) -> tuple[Any, ...]:
        parts = {name: array for name, array in results.items() if isinstance(outputs[name], tuple)}
        whole = {name: array for name, array in results.items() if not isinstance(outputs[name], tuple)}
        return kernel, task, self.sharing.places(inputs), self.sharing.places_of(parts), self.sharing.places_of(whole)

    def merge(self, task: list[Batch], answer: None, results: Mapping[str, Array]) -> None:
        """Nothing to do: the results are in place."""


class MPShm(BatchedBackend):
    """`mp-shm`: the core's backend on a `ShmExecutor`."""

    def __init__(
        self,
        kernel: Literal["vectorized", "loop"] = "vectorized",
        start_method: str = "default",
        storage: Literal["auto", "shm", "file"] = "auto",
        **sizes: Any,
    ) -> None:
        super().__init__(ShmExecutor(Batching.of(kernel, **sizes), start_method, storage), kernel)
