"""`mp`: a batch reaches a worker pickled, and its result comes back pickled."""

from collections.abc import Mapping
from typing import Any, Literal

from fem_core.assembly.kernels import Inputs
from fem_core.backends import BatchedBackend
from fem_core.execution import Batch, Batching, Kernel, OutputSpec, Plan, new_results, restrict
from fem_core.types import Array, read_only

from fem_mp_shm.executor import ProcessExecutor, size
from fem_mp_shm.memory import Need


def compute(kernel: Kernel, parts: list[tuple[int, int, Inputs]], outputs: OutputSpec) -> list[dict[str, Array]]:
    """In the worker: the results of each batch, from the inputs in the message."""
    answers = []
    for start, stop, inputs in parts:
        given = {name: read_only(array) for name, array in inputs.items()}
        results = new_results(stop - start, outputs)
        kernel(start, stop, given, results)
        answers.append(results)
    return answers


class MPExecutor(ProcessExecutor):
    """Inputs and results cross the pipes.

    Parameters
    ----------
    payload : "batch" or "mesh"
        Whether a batch is sent with the inputs that it needs or with all inputs.
    """

    compute = staticmethod(compute)

    def __init__(
        self,
        batching: Batching | None = None,
        start_method: str = "default",
        payload: Literal["batch", "mesh"] = "batch",
    ) -> None:
        super().__init__(batching, start_method)
        self.payload = payload

    def need(self, n: int, plan: Plan, inputs: Inputs, outputs: OutputSpec) -> Need:
        share = max(sum(stop - start for start, stop in task) for task in plan.tasks) / n
        sent = sum(array.nbytes for array in inputs.values()) * (1 if self.payload == "mesh" else share)
        crossing = 2 * int(sent + size(n, outputs) * share)  # pickled and as arrays, in the worker and here
        return Need(size(n, outputs), crossing, self._worker(), self.afterwards)

    def results(self, n: int, outputs: OutputSpec) -> dict[str, Array]:
        return new_results(n, outputs)

    def message(
        self, kernel: Kernel, task: list[Batch], inputs: Inputs, outputs: OutputSpec, results: Mapping[str, Array]
    ) -> tuple[Any, ...]:
        if self.payload == "mesh":
            return kernel, [(start, stop, inputs) for start, stop in task], dict(outputs)
        return kernel, [restrict(start, stop, inputs) for start, stop in task], dict(outputs)

    def merge(self, task: list[Batch], answer: list[dict[str, Array]], results: Mapping[str, Array]) -> None:
        for (start, stop), parts in zip(task, answer, strict=True):
            for name, part in parts.items():
                results[name][start:stop] = part


class MP(BatchedBackend):
    """`mp`: the core's backend on an `MPExecutor`."""

    def __init__(
        self,
        kernel: Literal["vectorized", "loop"] = "vectorized",
        start_method: str = "default",
        payload: Literal["batch", "mesh"] = "batch",
        **sizes: Any,
    ) -> None:
        super().__init__(MPExecutor(Batching.of(kernel, **sizes), start_method, payload), kernel)
