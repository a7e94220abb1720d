"""What the executors on processes have in common: all but the way of a batch to a worker and of its result back."""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any, TypeVar

import numpy as np
from fem_core import available_cores
from fem_core.execution import (
    Batch,
    Batching,
    Executor,
    Kernel,
    OnProgress,
    OutputSpec,
    Plan,
    SerialExecutor,
    grain_of,
    require_importable,
)
from fem_core.kernels import Inputs
from fem_core.types import Array

from fem_mp_shm.memory import WORKER, Need, affordable
from fem_mp_shm.pool import Pool
from fem_mp_shm.starting import default_method

T = TypeVar("T")
R = TypeVar("R")


class ProcessExecutor(Executor):
    """Tasks on a pool of processes, results in order.

    Parameters
    ----------
    batching : Batching
        Workers and sizes.
    start_method : str
        See `Pool`.
    """

    def __init__(self, batching: Batching | None = None, start_method: str = "default") -> None:
        self.batching = batching or Batching()
        self.pool = Pool(start_method)
        self._rates: dict[str, float] = {}  # seconds per item of each kernel, as measured

    def map_ranges(
        self, kernel: Kernel, n: int, inputs: Inputs, outputs: OutputSpec, progress: OnProgress
    ) -> dict[str, Array]:
        name = f"{kernel.__module__}.{kernel.__qualname__}"
        plan = self.batching.plan(n, self._rates.get(name, 1e-6), grain_of(kernel))
        if plan.remark:
            self.remark(plan.remark)
        if plan.workers == 1:
            serial = SerialExecutor(max((stop - start for task in plan.tasks for start, stop in task), default=1))
            return serial.map_ranges(kernel, n, self.local(inputs), outputs, progress)
        require_importable(kernel)
        workers = self._ready(plan, self.need(n, plan, inputs, outputs))
        results = self.results(n, outputs)
        messages = (self.message(kernel, task, inputs, outputs, results) for task in plan.tasks)
        before = self.pool.traffic.seconds["computing"]
        with closing(self.pool.run(self.compute, messages, lambda number: _named(plan.tasks[number]), workers)) as run:
            for task, answer in zip(plan.tasks, run, strict=True):
                begun = time.perf_counter()
                self.merge(task, answer, results)
                self.pool.traffic.seconds["merging"] += time.perf_counter() - begun
                for _, stop in task:
                    progress(stop, n)
        self._rates[name] = max((self.pool.traffic.seconds["computing"] - before) / n, 1e-9)
        return results

    def map_items(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        items = list(items)
        workers = min(self.batching.workers or available_cores(), len(items))
        if workers <= 1:
            return [function(item) for item in items]
        require_importable(function)
        self._ready(Plan(workers, []), Need(0, self._worker()))
        with closing(
            self.pool.run(function, ((item,) for item in items), lambda number: f"item {number}", workers)
        ) as run:
            return list(run)

    def close(self) -> None:
        self.pool.close()

    def _ready(self, plan: Plan, need: Need) -> int:
        """Start what workers are missing; how many there is memory for."""
        workers, warning = affordable(need, plan.workers)
        if warning:
            self.remark(warning, warning=True)
        if news := self.pool.ensure(workers):
            self.remark(news, warning=True)
        return workers

    def _worker(self) -> int:
        """Bytes that a worker takes by itself; none if it is running already."""
        method = self.pool.start_method
        return 0 if self.pool.pids else WORKER[default_method() if method == "default" else method]

    # the way there and back

    #: What the worker runs: takes a message, gives an answer. Importable.
    compute: Callable[..., Any]

    @abstractmethod
    def local(self, inputs: Inputs) -> Inputs:
        """The shared inputs as arrays of this process."""

    @abstractmethod
    def need(self, n: int, plan: Plan, inputs: Inputs, outputs: OutputSpec) -> Need:
        """The memory that a run takes."""

    @abstractmethod
    def results(self, n: int, outputs: OutputSpec) -> dict[str, Array]:
        """Arrays for the results."""

    @abstractmethod
    def message(
        self, kernel: Kernel, task: list[Batch], inputs: Inputs, outputs: OutputSpec, results: Mapping[str, Array]
    ) -> tuple[Any, ...]:
        """What crosses the pipe for a task."""

    @abstractmethod
    def merge(self, task: list[Batch], answer: Any, results: Mapping[str, Array]) -> None:
        """Put what came back where it belongs."""


def size(n: int, outputs: OutputSpec) -> int:
    """Bytes of the results of n items."""
    specs = [spec for spec in outputs.values() if isinstance(spec, tuple)]
    return n * sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in specs)


def _named(task: list[Batch]) -> str:
    return "batch " + ", ".join(f"{start}…{stop - 1}" for start, stop in task)
