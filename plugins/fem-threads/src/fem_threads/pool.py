"""Worker threads, and the queue of their tasks.

`concurrent.futures.ThreadPoolExecutor` starts a thread when it accepts a task. If none can start, the task is accepted
and refused at the same time.
"""

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from fem_core.support.threads import start

R = TypeVar("R")


class Pool:
    """Threads that start when they are needed, and are used until `close`."""

    def __init__(self) -> None:
        self._threads: list[Thread] = []
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()

    def ensure(self, workers: int) -> int:
        """Have at least that many threads. Returns how many there are: fewer if no more can start."""
        while len(self._threads) < workers:
            thread = start(self._work, f"fem-threads-{len(self._threads)}")
            if thread is None:
                break
            self._threads.append(thread)
        return len(self._threads)

    def submit(self, function: Callable[..., R], *arguments: Any) -> "Future[R]":
        """The future result of function(*arguments). Without threads, the caller computes it."""
        job: Future[R] = Future()
        if self._threads:
            self._tasks.put((job, function, arguments))
        else:
            self._do(job, function, arguments)
        return job

    def close(self) -> None:
        """Let all threads end, and wait for them; may be called again."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._tasks.put(None)
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        while task := self._tasks.get():
            self._do(*task)
            del task  # so that a waiting thread keeps no results

    @staticmethod
    def _do(job: "Future[Any]", function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        if job.set_running_or_notify_cancel():
            try:
                job.set_result(function(*arguments))
            except BaseException as error:
                job.set_exception(error)
