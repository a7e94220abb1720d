"""Threads: a worker gets a batch by reference, and writes its result in place."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, as_completed, wait
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeVar

import numpy as np
from fem_core.assembly.kernels import Inputs
from fem_core.backends import BatchedBackend
from fem_core.execution import (
    Batch,
    Batching,
    Kernel,
    OnProgress,
    OutputSpec,
    Plan,
    PlannedExecutor,
    new_results,
    part_of,
)
from fem_core.support.threads import Pool
from fem_core.types import Array, read_only
from threadpoolctl import ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")


class ThreadExecutor(PlannedExecutor):
    """Tasks on a pool of threads."""

    def __init__(self, batching: Batching | None = None) -> None:
        super().__init__(batching)
        self._pool = Pool("fem-threads")
        self._libraries: ThreadpoolController | None = None

    def scratch(self, n: int, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array] | None:
        if self.batching.plan(n).workers == 1:
            return None
        return {name: np.empty(shape) for name, shape in shapes.items()}

    def run_tasks(
        self, kernel: Kernel, plan: Plan, n: int, inputs: Inputs, outputs: OutputSpec, progress: OnProgress
    ) -> tuple[dict[str, Array], float]:
        given = {key: read_only(array) for key, array in inputs.items()}
        results = new_results(n, outputs)
        seconds = 0.0

        def compute(batches: list[Batch]) -> tuple[list[Batch], float]:
            begun = time.perf_counter()
            for start, stop in batches:
                kernel(start, stop, given, part_of(results, start, stop, outputs))
            return batches, time.perf_counter() - begun

        with self._one_thread_each():
            self._start(plan.workers)
            jobs = [self._pool.submit(compute, task) for task in plan.tasks]
            try:
                done = 0
                for job in as_completed(jobs):
                    batches, took = job.result()
                    seconds += took
                    for start, stop in batches:
                        done += stop - start
                        progress(done, n)
            finally:
                _finish(jobs)
        return results, seconds

    def run_items(self, function: Callable[[T], R], items: list[T], workers: int) -> list[R]:
        with self._one_thread_each():
            self._start(workers)
            jobs = [self._pool.submit(function, item) for item in items]
            try:
                return [job.result() for job in jobs]
            finally:
                _finish(jobs)

    def close(self) -> None:
        self._pool.close()

    def _start(self, workers: int) -> None:
        """Have at least that many threads; fewer, with a warning, if no more can start."""
        if (threads := self._pool.ensure(workers)) < workers:
            self.remark(f"{threads} instead of {workers} threads: no more can start", warning=True)

    def _one_thread_each(self) -> AbstractContextManager[object]:
        """Limits BLAS and OpenMP to one thread each in a `with`: only the pool's threads compute."""
        if self._libraries is None:
            self._libraries = ThreadpoolController()
        limit: AbstractContextManager[object] = self._libraries.limit(limits=1)
        return limit


class Threads(BatchedBackend):
    """`threads`: the core's backend on a `ThreadExecutor`."""

    def __init__(self, kernel: Literal["vectorized", "loop"] = "vectorized", **sizes: Any) -> None:
        super().__init__(ThreadExecutor(Batching.of(kernel, **sizes)), kernel)


def _finish(jobs: "list[Future[R]]") -> None:
    """Cancel jobs that haven't started, and wait for the others: they still write to the results."""
    for job in jobs:
        job.cancel()
    wait(jobs)
