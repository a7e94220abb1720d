"""How worker processes start: the method, and the settings before."""

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, cast

from fem_core.errors import BackendUnavailable
from fem_core.execution import require_guarded_main
from fem_core.support.launch import SAFE_PATH

from fem_mp_shm.memory import KEPT

#: One thread in each worker. The libraries read these variables when a worker imports them.
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
    ),
    "1",
)

#: A worker keeps the memory of large arrays from task to task: otherwise glibc maps it anew each time.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(KEPT)}

_environment = threading.Lock()


def context(method: str) -> BaseContext:
    """The context of a start method, never the interpreter's default.

    Raises BackendUnavailable if the method doesn't exist here or isn't safe now, and BackendError if the workers
    would run the script again.
    """
    method = default_method() if method == "default" else method
    if method not in multiprocessing.get_all_start_methods():
        raise BackendUnavailable(f"processes can't start with {method} on {sys.platform}; use start_method=spawn")
    if method == "fork":
        if reason := why_not_fork():
            raise BackendUnavailable(f"start_method=fork isn't safe: {reason}; use forkserver or spawn")
    else:
        require_guarded_main()
    chosen = multiprocessing.get_context(method)
    if method == "forkserver":
        _preload(chosen)
    return chosen


def default_method() -> str:
    """forkserver on Linux, because it imports the modules once and shares their memory; else spawn."""
    return "forkserver" if sys.platform == "linux" else "spawn"


def why_not_fork() -> str | None:
    """What would be broken in a fork of this process; None if nothing is known."""
    if system := "system libraries of macOS don't work after a fork" if sys.platform == "darwin" else "":
        return system
    if others := [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]:
        return f"other threads are running ({', '.join(others)}), and their locks would stay locked"
    if getattr(sys.modules.get("numba.np.ufunc.parallel"), "_is_initialized", False):
        return "numba's threads are running, and the forked process doesn't have them"
    if any(name.startswith("/dev/nvidia") for name in _open_files()):
        return "CUDA is initialised, and a forked process can't use it"
    return None


def _open_files() -> Iterator[str]:
    folder = Path("/proc/self/fd")
    for entry in folder.iterdir() if folder.is_dir() else ():
        try:
            yield os.readlink(entry)
        except OSError:
            continue


def _preload(chosen: BaseContext) -> None:
    """Let the fork server import the worker's modules once, in addition to those of the application."""
    from multiprocessing import forkserver

    server: Any = getattr(forkserver, "_forkserver", None)
    asked = [name for name in getattr(server, "_preload_modules", ()) if name != "__main__"]
    if "fem_mp_shm.worker" not in asked:
        cast("Any", chosen).set_forkserver_preload([*asked, "fem_mp_shm.worker"])


@contextmanager
def quiet_start() -> Iterator[None]:
    """While processes start: set their variables, and block Ctrl-C until they ignore it.

    A blocked signal isn't lost: this process receives it afterwards.
    """
    with _environment:
        settings = {**ONE_THREAD, **KEEP_MEMORY, **SAFE_PATH}
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        if sys.platform != "win32":
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            # Python warns of a fork beside BLAS's threads, but BLAS is ready for it.
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
            if sys.platform != "win32":
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
