"""Threads of compiled functions: how many, and one caller at a time where the threading layer takes no more."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numba

_alone = threading.RLock()


@contextmanager
def parallel(threads: int) -> Iterator[None]:
    """`threads` threads for compiled functions called from this thread."""
    with _alone:
        before = numba.get_num_threads()
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        try:
            yield
        finally:
            numba.set_num_threads(before)
