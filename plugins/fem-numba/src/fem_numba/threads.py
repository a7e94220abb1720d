"""Threads of compiled functions: how many, and one caller at a time."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numba
from fem_core import BackendError

#: The workqueue layer ends the process when two threads call it at once; the others gain nothing from it.
_alone = threading.RLock()

_started_in: int | None = None  # the process in which threads were first started


@contextmanager
def parallel(threads: int) -> Iterator[None]:
    """Compiled functions called from this thread may use `threads` threads.

    Raises BackendError in the copy of a process in which OpenMP's threads were running: they are missing here,
    and libgomp would end the process.
    """
    global _started_in
    with _alone:
        if _started_in not in (None, os.getpid()) and numba.threading_layer() == "omp":
            raise BackendError(
                "this process was forked from one in which numba's OpenMP threads were running; start it by "
                "spawn or forkserver, or set NUMBA_THREADING_LAYER=workqueue"
            )
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        try:
            yield
            _started_in = os.getpid()
        finally:
            numba.set_num_threads(before)
