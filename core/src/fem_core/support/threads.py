"""Threads of our own. That none can start is an answer here, not an error and not a wait for ever."""

import threading
from collections.abc import Callable

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
