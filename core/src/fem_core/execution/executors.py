"""How a batch of items reaches a worker, and how its result comes back.

An `Executor` runs kernels on ranges of items; `fem_core.backends.BatchedBackend` turns any executor
into a backend. Executors differ only in where the work is done: the kernels, the order of
summation and the grain of the ranges are the core's.

An executor may divide a range at any multiples of `GRAIN`, for example with `ranges`. Batches may be computed in any
order and by any worker: an item's result doesn't depend on its batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np

from fem_core.assembly.kernels import Inputs, Kernel, grain_of
from fem_core.execution.batches import Batching, Plan, ranges
from fem_core.support.hardware import available_cores
from fem_core.support.importable import require_importable
from fem_core.support.progress import Remark, unheard
from fem_core.types import Array

T = TypeVar("T")
R = TypeVar("R")

#: Shape and dtype of one item's result, by the output's name; or an array from `scratch`.
OutputSpec: TypeAlias = Mapping[str, tuple[tuple[int, ...], Any] | Array]

#: Called with (finished items, all items) in the calling thread; it may raise an exception to stop the work.
OnProgress: TypeAlias = Callable[[int, int], None]


def new_results(n: int, outputs: OutputSpec) -> dict[str, Array]:
    """New arrays in this process for the results of n items; arrays from `scratch` are used unchanged."""
    return {
        name: np.empty((n, *spec[0]), spec[1]) if isinstance(spec, tuple) else spec for name, spec in outputs.items()
    }


def part_of(results: Mapping[str, Array], start: int, stop: int, outputs: OutputSpec) -> dict[str, Array]:
    """The outputs of a kernel for a range: its part of each result, and complete arrays from `scratch`."""
    return {name: array[start:stop] if isinstance(outputs[name], tuple) else array for name, array in results.items()}


class Executor(ABC):
    """An execution model. Creating it does no work; workers start at the first use and end in `close`.

    The caller of the executor sets `remark`. Call it with a text for the user's report, such as why the work
    stayed in the calling process.
    """

    remark: Remark = staticmethod(unheard)

    #: Bytes that the caller will need in addition to the results of `map_ranges`, for example for their sum. The caller
    #: sets it, for executors that check the memory before they start.
    afterwards: int = 0

    def share(self, inputs: Inputs) -> Inputs:
        """Prepare `inputs` for many calls of `map_ranges`; the arrays must not change meanwhile.

        The result can be used only for `map_ranges` of this executor. It may be merged with other shared inputs. Pass
        it to `release` when it isn't needed any more.
        """
        return inputs

    def release(self, shared: Inputs) -> None:
        """Release inputs that `share` returned."""

    def scratch(self, n: int, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array] | None:
        """float64 arrays for a run over n items, in which any worker may write anywhere; None if this isn't possible.

        Pass them to `map_ranges` among the outputs; kernels get the complete arrays. The caller may keep them. An
        executor that provides them divides ranges at multiples of `grain_of(kernel)`.
        """
        return None

    @abstractmethod
    def map_ranges(
        self, kernel: Kernel, n: int, inputs: Inputs, outputs: OutputSpec, progress: OnProgress
    ) -> dict[str, Array]:
        """Run `kernel` over all n items and return its outputs, arrays (n, *shape).

        `inputs` come from `share`. An exception in the kernel reaches the caller; there are no partial results. The
        caller may use the arrays until the next call of `map_ranges`.
        """

    @abstractmethod
    def map_items(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """[function(item) for item in items], in the order of the items."""

    def close(self) -> None:
        """End all workers and release all resources. May be called more than once, and after any exception."""


class SerialExecutor(Executor):
    """One batch after the other in the calling thread.

    Parameters
    ----------
    batch_size : int
        Items between two reports of progress.
    """

    def __init__(self, batch_size: int = 8192) -> None:
        self.batch_size = batch_size

    def map_ranges(
        self, kernel: Kernel, n: int, inputs: Inputs, outputs: OutputSpec, progress: OnProgress
    ) -> dict[str, Array]:
        results = new_results(n, outputs)
        for start, stop in ranges(n, self.batch_size, grain_of(kernel)):
            kernel(start, stop, inputs, part_of(results, start, stop, outputs))
            progress(stop, n)
        return results

    def map_items(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        return [function(item) for item in items]


class PlannedExecutor(Executor):
    """An executor with workers. It plans the tasks, and does small work in the calling process.

    Parameters
    ----------
    batching : Batching
        Workers and sizes.
    """

    def __init__(self, batching: Batching | None = None) -> None:
        self.batching = batching or Batching()
        self._seconds: dict[Kernel, float] = {}  # by kernel, for an item

    def map_ranges(
        self, kernel: Kernel, n: int, inputs: Inputs, outputs: OutputSpec, progress: OnProgress
    ) -> dict[str, Array]:
        require_importable(kernel)  # for every executor and size, so that a kernel for threads also runs in processes
        plan = self.batching.plan(n, self._seconds.get(kernel, 1e-6), grain_of(kernel))
        if plan.remark:
            self.remark(plan.remark)
        if plan.workers == 1:
            size = max((stop - start for task in plan.tasks for start, stop in task), default=1)
            return SerialExecutor(size).map_ranges(kernel, n, self.local(inputs), outputs, progress)
        results, seconds = self.run_tasks(kernel, plan, n, inputs, outputs, progress)
        if seconds:
            self._seconds[kernel] = seconds / n
        return results

    def map_items(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        items = list(items)
        workers = min(self.batching.workers or available_cores(), len(items))
        return [function(item) for item in items] if workers <= 1 else self.run_items(function, items, workers)

    def local(self, inputs: Inputs) -> Inputs:
        """The inputs that `share` returned, as arrays of this process."""
        return inputs

    @abstractmethod
    def run_tasks(
        self, kernel: Kernel, plan: Plan, n: int, inputs: Inputs, outputs: OutputSpec, progress: OnProgress
    ) -> tuple[dict[str, Array], float]:
        """Do `map_ranges` with `plan.workers` workers (at least two).

        It also returns the computing time of all workers in seconds, 0 if unknown. The size of later batches depends on
        it.
        """

    @abstractmethod
    def run_items(self, function: Callable[[T], R], items: list[T], workers: int) -> list[R]:
        """Do `map_items` with at least two workers."""
