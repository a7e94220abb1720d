"""What a plugin can't do to the process while it is loaded: leave another folder, close streams, or wait unnamed."""

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fem_core.support.threads import start

_log = logging.getLogger(__name__)

#: Seconds until a plugin that is still loading is named.
SLOW = 5.0

_HIGH = 300  # the least number of a copy of a descriptor

#: Descriptors that no plugin may close: stdin, stdout and stderr, and others while they are in use.
KEPT = {0, 1, 2}


class _Unclosable:
    """A stream that a plugin can print on, but not close."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        self._stream.flush()


@contextmanager
def watched(who: str, name: str) -> Iterator[None]:
    """While the block loads a plugin, name it if it takes long. Afterwards, put back what it has changed."""
    loaded = threading.Event()

    def name_the_slow() -> None:
        if not loaded.wait(SLOW):
            _log.warning("%s is still loading after %g s; set FEM_DISABLE=%s to do without it", who, SLOW, name)

    watch = start(name_the_slow, "fem-watch")
    streams, folder = (sys.stdout, sys.stderr), _folder()
    copies = {number: copy for number in sorted(KEPT) if (copy := _copy(number)) is not None}
    sys.stdout, sys.stderr = (stream and _Unclosable(stream) for stream in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        loaded.set()
        if watch:
            watch.join()  # a thread that is left would forbid a fork
        changed = [number for number, copy in copies.items() if _put_back(number, copy)]
        if folder and _folder() != folder:
            os.chdir(folder)
            _log.warning("%s left the current folder while it was loaded; it was set back to %s", who, folder)
        for number in changed:  # only now, when there is a stderr again
            what = {0: "stdin", 1: "stdout", 2: "stderr"}.get(number, f"descriptor {number}")
            _log.warning("%s closed or replaced %s while it was loaded; it was put back", who, what)


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return None


def _copy(number: int) -> int | None:
    """A copy of a descriptor, out of the way of a plugin that closes all low numbers; None if it isn't open."""
    with suppress(OSError):  # a limit of the system may be lower
        if sys.platform != "win32":
            import fcntl

            return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    with suppress(OSError):
        return os.dup(number)
    return None


def _put_back(number: int, copy: int) -> bool:
    """Whether a descriptor had to be put back."""
    try:
        same = os.path.sameopenfile(number, copy)
    except OSError:
        same = False
    try:
        if not same:
            os.dup2(copy, number, inheritable=number <= 2)
        os.close(copy)
    except OSError:  # the copy was closed, too
        return False
    return not same
