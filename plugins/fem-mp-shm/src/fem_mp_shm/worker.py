"""What runs in a worker process: one task after the other from its own pipe, until the pipe or the parent ends."""

import gc
import multiprocessing
import os
import pickle
import signal
import struct
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import fem_core.assembly.kernels  # noqa: F401  # a fork server that has it starts workers that have it
from fem_core.support.blas import reserve_buffers
from fem_core.support.threads import start
from threadpoolctl import threadpool_limits

from fem_mp_shm.names import sweep, sweep_after

#: In front of every answer: 1 for a result and 0 for an exception; its bytes; seconds to unpickle, compute and pickle.
HEADER = struct.Struct("<?Qddd")


def main(connection: Connection) -> None:
    """Run tasks (function, arguments) until an empty message or the end of the pipe."""
    gc.freeze()  # garbage collection skips existing objects, so their memory stays shared with the parent of the fork
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the parent decides
    if not start(_end_with_parent, "fem-parent"):
        raise SystemExit("fem: warning: a worker can't start a thread")
    threadpool_limits(1)
    with suppress(EOFError, OSError):  # the parent has closed its end
        connection.send_bytes(b"ready")
        while task := connection.recv_bytes():
            header, payload = answer(task)
            del task
            connection.send_bytes(header)
            connection.send_bytes(payload)
            del payload
        return
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid:  # a process that the parent forked may keep `_end_with_parent` waiting
        sweep_after(parent.pid)


def answer(task: bytes) -> tuple[bytes, bytes]:
    """Header and payload for a pickled (function, arguments)."""
    begun = loaded = done = time.perf_counter()
    try:
        function, arguments = pickle.loads(task)
        loaded = time.perf_counter()
        reserve_buffers()
        result = function(*arguments)
        done = time.perf_counter()
        payload = pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
        good = True
    except BaseException as error:
        payload, good = pickle.dumps(_portable(error), pickle.HIGHEST_PROTOCOL), False
    seconds = loaded - begun, done - loaded, time.perf_counter() - done
    return HEADER.pack(good, len(payload), *seconds), payload


def _portable(error: BaseException) -> tuple[bytes | None, str, str]:
    """The pickled exception, None if it can't be pickled and restored; its text; the traceback's text."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    trace = "".join(traceback.format_exception(error))
    try:
        pickled = pickle.dumps(error)
        copy: Any = pickle.loads(pickled)
        survives = type(copy) is type(error) and str(copy) == str(error)
    except Exception:
        survives = False
    return (pickled if survives else None), text, trace


def _end_with_parent() -> None:
    """End as soon as the parent has ended, even during a task, and delete the parent's shared memory."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        sweep(dead=parent.pid)
        os._exit(1)
