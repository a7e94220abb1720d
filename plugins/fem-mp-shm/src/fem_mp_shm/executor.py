"""The common part of the executors on processes. A subclass moves batches to workers and results back."""

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, TypeVar

import numpy as np
from fem_core.assembly.kernels import Inputs
from fem_core.execution import (
    Batch,
    Batching,
    Kernel,
    OnProgress,
    OutputSpec,
    Plan,
    PlannedExecutor,
    require_importable,
)
from fem_core.types import Array

from fem_mp_shm.memory import WORKER, Need, affordable
from fem_mp_shm.pool import Pool
from fem_mp_shm.starting import default_method

T = TypeVar("T")
R = TypeVar("R")


class ProcessExecutor(PlannedExecutor):
    """Tasks on a pool of processes, results in order.

    Parameters
    ----------
    start_method : str
        See `Pool`.
    """

    def __init__(self, batching: Batching | None = None, start_method: str = "default") -> None:
        super().__init__(batching)
        self.pool = Pool(start_method)

    def run_tasks(
        self, kernel: Kernel, plan: Plan, n: int, inputs: Inputs, outputs: OutputSpec, progress: OnProgress
    ) -> tuple[dict[str, Array], float]:
        workers = self._ready(plan.workers, self.need(n, plan, inputs, outputs))
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
        return results, self.pool.traffic.seconds["computing"] - before

    def run_items(self, function: Callable[[T], R], items: list[T], workers: int) -> list[R]:
        require_importable(function)
        workers = self._ready(workers, Need(0, 0, self._worker(), 0))
        with closing(
            self.pool.run(function, ((item,) for item in items), lambda number: f"item {number}", workers)
        ) as run:
            return list(run)

    def close(self) -> None:
        self.pool.close()

    def _ready(self, workers: int, need: Need) -> int:
        """Start missing workers. Returns the number of workers that the memory allows."""
        workers, warning = affordable(need, workers)
        if warning:
            self.remark(warning, warning=True)
        if news := self.pool.ensure(workers):
            self.remark(news, warning=True)
        return workers

    def _worker(self) -> int:
        """Bytes that a new worker takes by itself; 0 if the workers are running."""
        method = self.pool.start_method
        return 0 if self.pool.pids else WORKER[default_method() if method == "default" else method]

    # to the workers and back

    #: The function that a worker runs on a message. It returns the answer, and must be importable.
    compute: Callable[..., Any]

    @abstractmethod
    def need(self, n: int, plan: Plan, inputs: Inputs, outputs: OutputSpec) -> Need:
        """The memory that a run needs."""

    @abstractmethod
    def results(self, n: int, outputs: OutputSpec) -> dict[str, Array]:
        """Arrays for the results."""

    @abstractmethod
    def message(
        self, kernel: Kernel, task: list[Batch], inputs: Inputs, outputs: OutputSpec, results: Mapping[str, Array]
    ) -> tuple[Any, ...]:
        """What is sent through the pipe for a task."""

    @abstractmethod
    def merge(self, task: list[Batch], answer: Any, results: Mapping[str, Array]) -> None:
        """Put a task's answer into the results."""


def size(n: int, outputs: OutputSpec) -> int:
    """Bytes of the results of n items."""
    specs = [spec for spec in outputs.values() if isinstance(spec, tuple)]
    return n * sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in specs)


def _named(task: list[Batch]) -> str:
    return "batch " + ", ".join(f"{start}…{stop - 1}" for start, stop in task)
