"""Kernels and functions that go wrong, importable by worker processes."""

import gc
import os
import signal
import struct
import time
from pathlib import Path

import numpy as np
from fem_core.assembly import kernels


def square(start, stop, inputs, outputs):
    outputs["square"][...] = inputs["a"][start:stop] ** 2


def slow(start, stop, inputs, outputs):
    time.sleep(0.3)
    square(start, stop, inputs, outputs)


def killed(start, stop, inputs, outputs):
    """The worker that gets item 3000 is killed, as by the system when memory runs out."""
    if start <= 3000 < stop:
        os.kill(os.getpid(), signal.SIGKILL)
    square(start, stop, inputs, outputs)


def leaving(start, stop, inputs, outputs):
    if start <= 3000 < stop:
        os._exit(7)
    square(start, stop, inputs, outputs)


class Unpicklable(Exception):
    def __init__(self, text, handle):
        super().__init__(text)
        self.handle = handle


class Unreadable(Exception):
    """Can be pickled; what comes out can't be made (CPython 103061)."""

    def __init__(self, *, reason):
        super().__init__(f"because of {reason}")


def raising(start, stop, inputs, outputs):
    if start <= 3000 < stop:
        raise {
            "plain": lambda: ZeroDivisionError("item 3000 can't be done"),
            "unpicklable": lambda: Unpicklable("item 3000 can't be done", lambda: None),
            "unreadable": lambda: Unreadable(reason="item 3000 can't be done"),
            "exit": lambda: SystemExit("item 3000 can't be done"),
        }[bytes(inputs["kind"]).decode()]()
    square(start, stop, inputs, outputs)


def writing(start, stop, inputs, outputs):
    inputs["a"][start] = 0.0


def threads_and_variables(start, stop, inputs, outputs):
    """How many threads libraries would use in this worker."""
    from threadpoolctl import threadpool_info

    np.linalg.inv(np.eye(3))
    # Of BLAS: OpenMP's number is each thread's own, and here only where another test has loaded numba.
    numbers = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    outputs["threads"][...] = max(numbers, default=1)
    outputs["variable"][...] = int(os.environ.get("OMP_NUM_THREADS", "-1"))


def half_an_answer(item):
    """The worker that gets item 3 is killed in the middle of writing its answer into the pipe."""
    if item == 3:
        from multiprocessing.connection import Connection

        ours = [one for one in gc.get_objects() if isinstance(one, Connection) and one.writable]
        for connection in ours:
            os.write(connection.fileno(), struct.pack("!i", 1_000_000) + bytes(1000))
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def stiffness_killed(start, stop, inputs, outputs):
    if start == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    kernels.stiffness(start, stop, inputs, outputs)


def derived_killed(start, stop, inputs, outputs):
    if start == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    kernels.derived(start, stop, inputs, outputs)


def stiffness_slow(start, stop, inputs, outputs):
    Path(os.environ["FEM_TEST_MARK"]).touch()
    time.sleep(0.2)
    kernels.stiffness(start, stop, inputs, outputs)


def derived_slow(start, stop, inputs, outputs):
    Path(os.environ["FEM_TEST_MARK"]).touch()
    time.sleep(0.2)
    kernels.derived(start, stop, inputs, outputs)


def pid(item):
    return os.getpid()
