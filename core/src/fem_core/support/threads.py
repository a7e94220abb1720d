"""Threads of our own. That none can start is an answer here, not an error and not a wait for ever."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

R = TypeVar("R")

#: Seconds that a new thread has to begin. A slow one costs nothing but its help: the caller does the work.
PATIENCE = 5.0


class _Begun(threading.Event):
    """The event for which `Thread.start` waits. In older Pythons, a thread that finds no memory never sets it."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(PATIENCE if timeout is None else timeout)


def start(work: Callable[[], object], name: str) -> threading.Thread | None:
    """A new daemon thread that does `work`. None if it can't start: then `work` isn't done.

    >>> done = []
    >>> start(lambda: done.append("done"), "worker").join()
    >>> done
    ['done']
    """
    claim = threading.Lock()  # whoever has it decides whether the work is done

    def run() -> None:
        if claim.acquire(blocking=False):
            work()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread._started = _Begun()  # type: ignore[attr-defined]
    try:
        thread.start()
    except (RuntimeError, MemoryError):  # no more threads are allowed; no memory for the thread's stack
        return None
    return thread if thread.ident is not None or not claim.acquire(blocking=False) else None


class Pool:
    """Threads that start when they are needed, and are used until `close`; a context manager.

    `ThreadPoolExecutor` starts a thread when it accepts a task. If none can start, the task is accepted and refused at
    the same time.

    Parameters
    ----------
    name : str
        Of the threads; a number follows.

    >>> with Pool("worker") as pool:
    ...     threads = pool.ensure(2)
    ...     job = pool.submit(divmod, 7, 2)
    >>> job.result()
    (3, 1)
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._threads: list[threading.Thread] = []
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()

    def ensure(self, workers: int) -> int:
        """Have at least that many threads. Returns how many there are: fewer if no more can start."""
        while len(self._threads) < workers:
            thread = start(self._work, f"{self._name}-{len(self._threads)}")
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
            _do(job, function, arguments)
        return job

    def close(self) -> None:
        """Let all threads end, and wait for them; may be called again."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._tasks.put(None)
        for thread in threads:
            thread.join()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _work(self) -> None:
        while task := self._tasks.get():
            _do(*task)
            del task  # so that a waiting thread keeps no results


def _do(job: "Future[Any]", function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    if job.set_running_or_notify_cancel():
        try:
            job.set_result(function(*arguments))
        except BaseException as error:
            job.set_exception(error)
