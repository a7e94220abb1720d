"""What a backend shares with the rest of the process and the machine: settings, threads, processes, files, memory."""

import gc
import locale
import logging
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker, util
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

#: Seconds that workers, threads and files may take to go after `close`.
GRACE = 5.0


# settings of the process


def surroundings() -> dict[str, Any]:
    """Settings of the process that other code relies on, by name."""
    kind, keys, position, *rest = np.random.get_state(legacy=True)
    numbers, root = random.getstate(), logging.root
    with np.errstate():
        tiny = float(np.float64(sys.float_info.min) / 4)
    found = {
        "NumPy's random seed": (kind, np.asarray(keys).tobytes(), position, *rest),
        "Python's random seed": numbers,
        "np.errstate": np.geterr(),
        "np.printoptions": {name: str(value) for name, value in np.get_printoptions().items()},
        "denormal numbers (flushed to zero)": tiny > 0,
        "the filters of warnings": [str(one) for one in warnings.filters],
        "the environment": {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "the current folder": os.getcwd(),
        "sys.path": list(sys.path),
        "sys.stdout and sys.stderr": (id(sys.stdout), id(sys.stderr)),
        "the hooks for exceptions": (id(sys.excepthook), id(threading.excepthook)),
        "the limit of recursion": sys.getrecursionlimit(),
        "the switch interval of threads": sys.getswitchinterval(),
        "garbage collection": (gc.isenabled(), gc.get_threshold()),
        "the level and handlers of logging": (
            root.level,
            len(root.handlers),
            root.manager.disable,
        ),
        "the start method of processes": multiprocessing.get_start_method(allow_none=True),
        "the locale": locale.setlocale(locale.LC_NUMERIC),
        "the folder for temporary files": tempfile.gettempdir(),
        "the trace function": (sys.gettrace(), sys.getprofile()),
    }
    if threading.current_thread() is threading.main_thread():
        found["signal handlers"] = {one.name: str(signal.getsignal(one)) for one in signal.valid_signals()
                                    if isinstance(one, signal.Signals)}  # fmt: skip
    if cores := getattr(os, "sched_getaffinity", None):
        found["the cores of the process"] = cores(0)
    return found


#: Settings that pytest, Hypothesis and imported libraries change, too.
CHANGED_BY_OTHERS = {
    "NumPy's random seed",
    "Python's random seed",
    "the filters of warnings",
    "the environment",
    "sys.path",
    "sys.stdout and sys.stderr",
    "the level and handlers of logging",
    "garbage collection",
    "the trace function",
    "the hooks for exceptions",
    "the start method of processes",
}


@contextmanager
def unusual_settings() -> Iterator[None]:
    """Seeds and `np.errstate` that no backend leaves behind by chance; afterwards they are as before."""
    numpy_state, state = np.random.get_state(), random.getstate()
    np.random.seed(20_252_025)
    random.seed("the conformance kit")
    try:
        with np.errstate(all="warn"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(state)


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names of the settings that differ."""
    return [name for name in before if name in after and before[name] != after[name]]


# what a session takes and gives back


class Threads:
    """The threads that were started by one thread, or by threads that it started."""

    def __init__(self) -> None:
        self._started: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        self._founder = threading.current_thread()

    def add(self, thread: threading.Thread) -> None:
        starter = threading.current_thread()
        if starter is self._founder or starter in self._started:
            self._started.add(thread)

    def threads(self) -> list[threading.Thread]:
        """Those that run now."""
        return [thread for thread in threading.enumerate() if thread in self._started]


@contextmanager
def own_threads() -> Iterator[Threads]:
    """Notes who starts threads, so that those of a pool beside a backend aren't taken for the backend's."""
    found, start = Threads(), threading.Thread.start

    def noted(thread: threading.Thread) -> None:
        found.add(thread)
        start(thread)

    with mock.patch.object(threading.Thread, "start", noted):
        yield found


def resources(mine: Threads) -> set[str]:
    """The current threads of `mine`, child processes and shared memory segments."""
    found = {f"thread {thread.name} ({thread.ident})" for thread in mine.threads()}
    found |= {f"process {name} ({pid})" for pid, name in children().items()}
    shared = Path("/dev/shm")
    if sys.platform == "linux" and shared.is_dir():
        for path in shared.iterdir():
            with suppress(FileNotFoundError):  # a segment of another program that no longer exists
                found |= {str(path)} if path.stat().st_uid == os.getuid() else set()
    return found


def children() -> dict[int, str]:
    """The processes that this one has started, by pid, without those that Python starts for itself."""
    found = {child.pid: child.name for child in multiprocessing.active_children() if child.pid}
    for listed in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # a thread that has ended
            found |= {int(pid): "child" for pid in listed.read_text().split() if int(pid) not in found}
    python = (
        getattr(resource_tracker._resource_tracker, "_pid", None),
        getattr(getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None), "_forkserver_pid", None),
    )
    return {pid: name for pid, name in found.items() if pid not in python}


def lasting(before: set[str], seconds: float, mine: Threads) -> set[str]:
    """Resources that weren't there `before` and still are after `seconds`, without those of other programs."""
    deadline = time.monotonic() + seconds
    left = resources(mine) - before - _of_other_programs()
    while left and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.05)
        left &= resources(mine) - _of_other_programs()
    return left


def _of_other_programs() -> set[str]:
    """The segments in /dev/shm that other processes use, which are not descendants of this one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    found = set()
    for pid in parents.keys() - ours:
        with suppress(OSError):  # it has ended, or belongs to another user
            process = Path("/proc", str(pid))
            held = [os.readlink(link) for link in (process / "fd").iterdir()]
            held += [line.split(maxsplit=5)[-1] for line in (process / "maps").read_text().splitlines()]
            found |= {path for path in held if path.startswith("/dev/shm/")}
    return found


def open_files() -> int | None:
    """The number of open files, pipes and sockets of this process; None if the system doesn't tell."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return len(os.listdir(folder))
    return None


@contextmanager
def own_temporary_folder() -> Iterator[Path]:
    """A folder of our own for temporary files, so that files of other programs aren't taken for a backend's."""
    util.get_temp_dir()  # multiprocessing's own folder, which lasts as long as the process, stays where it is
    names = ("TMPDIR", "TEMP", "TMP")
    before, environment = tempfile.tempdir, {name: os.environ.get(name) for name in names}
    with tempfile.TemporaryDirectory(prefix="fem-kit-", ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = folder
        os.environ.update(dict.fromkeys(names, folder))
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before
            for name, value in environment.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
