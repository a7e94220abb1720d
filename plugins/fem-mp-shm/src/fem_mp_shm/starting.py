"""How worker processes start: the method, and the settings before."""

import errno
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker, util
from multiprocessing.context import BaseContext
from pathlib import Path

from fem_core.errors import BackendUnavailable
from fem_core.execution import require_guarded_main
from fem_core.support import threads
from fem_core.support.launch import SAFE_PATH

from fem_mp_shm import fork_server
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
    if multiprocessing.current_process().daemon:
        raise BackendUnavailable(
            "this process is a daemonic process of multiprocessing, which may not start processes; "
            "use backend numpy or threads here, or start this process with daemon=False"
        )
    if method not in multiprocessing.get_all_start_methods():
        raise BackendUnavailable(f"processes can't start with {method} on {sys.platform}; use start_method=spawn")
    if method == "fork":
        if reason := why_not_fork():
            raise BackendUnavailable(f"start_method=fork isn't safe: {reason}; use forkserver or spawn")
    else:
        require_guarded_main()
    return multiprocessing.get_context(method)


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


class Start:
    """The start of processes, which may wait: for a fork server that is stopped, or for a slow machine.

    Ctrl-C must not reach the new processes, so a thread starts them in which it is blocked. The calling thread waits
    for this thread, and hears Ctrl-C. A fork waits for nothing, and must be made by the calling thread.

    Parameters
    ----------
    each : sequence of functions
        Each starts one process.
    method : str
        How they do that.
    """

    def __init__(self, each: Sequence[Callable[[], object]], method: str) -> None:
        self._each, self._method = each, method
        self._begun = self._given_up = False
        self._error: BaseException | None = None
        self._done = (
            threading.Event()
        )  # after Ctrl-C in `join`, Python 3.11 takes a running thread for one that has ended

    def run(self, wait: Callable[[Callable[[float], bool]], bool]) -> bool:
        """Start them all. `wait` gets a function that waits for some seconds at most; False if `wait` gave up.

        Raises what a start raised: OSError for limits of the system, EOFError if the fork server has ended.
        """
        if self._method == "fork":
            self._start()
        else:
            thread = threads.start(self._start, "fem-start")
            if thread is None:
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            self._begun = True
            if not wait(self._done.wait):
                return False
            thread.join()
        if self._error:
            raise self._error
        return True

    def give_up(self, seconds: float) -> None:
        """End the start. A fork server that doesn't answer within these seconds is killed."""
        self._given_up = True
        if self._begun and not self._done.wait(seconds):
            fork_server.end()
            self._done.wait(seconds)

    def _start(self) -> None:
        try:
            with quiet_start(self._method):
                if self._method == "forkserver":
                    fork_server.start()
                for one in self._each:
                    if not self._given_up:
                        one()
        except BaseException as error:
            self._error = error
        finally:
            self._done.set()


@contextmanager
def quiet_start(method: str) -> Iterator[None]:
    """While processes start: set their variables, and block Ctrl-C in this thread, because they inherit that."""
    with _environment:
        settings = {**ONE_THREAD, **KEEP_MEMORY, **SAFE_PATH}
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        if sys.platform != "win32":
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            # Python warns of a fork beside BLAS's threads, but BLAS is ready for it.
            with _safe_path(), warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                if sys.platform != "win32":
                    if method != "fork":
                        resource_tracker.ensure_running()  # first, because its start lets Ctrl-C into this thread again
                    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
                yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
            if sys.platform != "win32":
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def _safe_path() -> Iterator[None]:
    """Give processes the option that SAFE_PATH stands for, if this one ignores such variables (`python -E`).

    They get its options from a private function of `multiprocessing`.
    """
    options = getattr(util, "_args_from_interpreter_flags", None)
    if options is None or sys.flags.safe_path or not sys.flags.ignore_environment:
        yield
        return
    util._args_from_interpreter_flags = lambda: [*options(), "-P"]  # type: ignore[attr-defined]
    try:
        yield
    finally:
        util._args_from_interpreter_flags = options  # type: ignore[attr-defined]
