"""The threads of compiled functions: their number, and one caller at a time."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numba
from fem_core import BackendError
from fem_core.support.threads import Pool

#: The workqueue layer ends the process when two threads call it at once; the others gain nothing from it.
_alone = threading.RLock()

if hasattr(os, "register_at_fork"):  # a forked process doesn't have the thread that may hold the lock

    def _free() -> None:
        global _alone
        _alone = threading.RLock()

    os.register_at_fork(after_in_child=_free)

_started_in: int | None = None  # the process in which threads were first started

#: Rounds of libgomp's busy waiting: about 0.02 ms instead of some milliseconds. If the machine runs anything else, two
#: threads may share a core, and a busy waiting one would stop the other until the system's time slice ends.
_ROUNDS = "1000"


def start() -> None:
    """Load Numba's threads. Raises ValueError if NUMBA_THREADING_LAYER names threads that aren't installed.

    libgomp reads its variables when it is loaded. Variables that the user has set are kept.
    """
    mine = not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys()
    if mine:
        os.environ["GOMP_SPINCOUNT"] = _ROUNDS
    try:
        numba.get_num_threads()
    finally:
        if mine:
            del os.environ["GOMP_SPINCOUNT"]


def able(threads: int) -> int:
    """How many of so many threads can start. libgomp ends the process if it gets fewer than it wants."""
    if _started_in == os.getpid():  # they are running
        return threads
    with Pool("fem-numba") as pool:
        return 1 + pool.ensure(threads - 1)


@contextmanager
def parallel(threads: int) -> Iterator[None]:
    """Compiled functions called from this thread may use `threads` threads.

    Raises BackendError in a process forked from one with running OpenMP threads: the fork doesn't have them, and
    libgomp would end the process.
    """
    global _started_in
    with _alone:
        if _started_in not in (None, os.getpid()) and numba.threading_layer() == "omp":
            raise BackendError(
                "this process was forked from a process with running OpenMP threads of numba; start it with "
                "spawn or forkserver, or set NUMBA_THREADING_LAYER=workqueue"
            )
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        _started_in = os.getpid()
        try:
            yield
        finally:
            numba.set_num_threads(before)
