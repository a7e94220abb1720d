"""What the name of an output may be: a regular file is replaced, a stream is written to, anything else is refused."""

import errno
import os
import stat
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from fem_core.errors import OutputError

_WRITABLE = 0o222
_PATIENCE = 5.0  # seconds for the reader of a pipe to start

#: What a name can be other than a file or a folder.
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def replaceable(path: Path) -> os.stat_result | None:
    """The status of the file that an output at `path` replaces; None if there is no file yet.

    Raises OutputError, naming `path` and the reason, for a file that is read-only and for anything that is not a file.
    Links are followed: what they lead to is replaced.
    """
    found = _status(path)
    if found is None or stat.S_ISREG(found.st_mode):
        if found and not (found.st_mode & _WRITABLE and os.access(path, os.W_OK)):  # root may write to any file
            raise OutputError(f"{path}: this file is read-only; give another name, or make the file writable")
        return found
    if stat.S_ISDIR(found.st_mode):
        raise OutputError(f"{path}: this is a folder; give the name of a file in it")
    kind = _KINDS.get(stat.S_IFMT(found.st_mode), "not a file")
    raise OutputError(f"{path}: this is {kind}, which a file can't replace; give the name of a file")


def check_output(path: Path) -> None:
    """Raise OutputError, naming `path` and the reason, unless a file can be written there."""
    if str(path) == "-":
        raise OutputError(f"{path}: a file can't be written to stdout; give the name of a file")
    replaceable(path)
    linked = path.is_symlink()
    folder = Path(os.path.realpath(path)).parent if linked else path.parent
    if not folder.is_dir():
        leads = "this link leads to a missing folder: " if linked else ""
        raise OutputError(f"{path}: {leads}the folder {str(folder)!r} doesn't exist; create it first")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = "isn't writable" if isinstance(error, PermissionError) else f"takes no file: {error.strerror}"
        raise OutputError(f"{path}: the folder {str(folder)!r} {reason}") from error


def open_stream(path: Path) -> IO[str]:
    """Open a file, a pipe or a device for lines of text that are written as they come.

    Raises OutputError, naming `path` and the reason, for anything else, and for a pipe that nobody reads from.
    """
    found = _status(path)
    if found and stat.S_ISFIFO(found.st_mode):
        where: Path | int = _connect(path)  # not closed in between: the reader would take that for the end
    else:
        where = path
        if not (found and stat.S_ISCHR(found.st_mode)):
            check_output(path)
    return open(where, "w", encoding="utf-8", errors="backslashreplace")  # a name may hold bytes that aren't UTF-8


def _connect(path: Path) -> int:
    """A descriptor of a pipe that has a reader; writing to it may wait, as to any other file."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fd = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
            if sys.platform != "win32":
                os.set_blocking(fd, True)
            return fd
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > deadline:
                raise OutputError(f"{path}: no program reads from this pipe; start the reader first") from None
        time.sleep(0.02)


def _status(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{path}: can't be written: {error.strerror}") from error
    except ValueError as error:
        raise OutputError(f"{path}: this can't be the name of a file: {error}") from error
