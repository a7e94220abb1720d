"""The caches on disk: where they are, what may be read from them, how entries are written and deleted.

Compiled code is executed, so whoever can write an entry acts as the user who reads it. An entry is therefore used only
if it and its folder belong to this user or to root, and if no other user may write to them. Both are checked when they
are open, so nobody can exchange them after the check. Windows has no such owner and mode: there, only the kind and
the size of an entry are checked.
"""

import fnmatch
import logging
import os
import secrets
import shlex
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import platformdirs

_log = logging.getLogger(__name__)

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_STALE = 3600.0  # seconds without a change, after which a temporary file belongs to a process that was killed

#: The user as whom this process acts; None where the system has no such numbers.
_user: Callable[[], int] | None = getattr(os, "geteuid", None)

# What only some systems have: to open no link, to wait for no FIFO, to leave bytes as they are.
_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))


class Refused(OSError):
    """A folder or an entry that isn't used; the message is one line with the path, the reason and the way out."""


def cache_folder(*parts: str) -> Path:
    """A folder in the user's cache; nothing is made."""
    return Path(platformdirs.user_cache_dir("fem-core"), *parts)


@cache
def warn(text: str) -> None:
    """Log a warning, once in this process: many entries may be refused for the same reason."""
    _log.warning("%s", text)


def fault(folder: Path) -> str | None:
    """Why a folder isn't used as a cache, and the way out; None if it may be used or doesn't exist."""
    try:
        with _opened(folder):
            return None
    except FileNotFoundError:
        return None
    except Refused as error:
        return str(error)


def prepare(folder: Path) -> None:
    """Make a folder if it doesn't exist, and write a temporary file. Raises OSError if either is impossible."""
    _make(folder)
    with _opened(folder) as opened:
        name, file = opened.temporary("test")
        file.close()
        opened.remove(name)


def check(folder: Path) -> None:
    """Raise Refused for the first entry that may be another user's: for a cache that another library reads."""
    with _opened(folder) as opened:
        for name, status in opened.all():
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                raise _refused(folder, f"{name} is not a file", "delete it")
            if why := _not_mine(status):
                raise _refused(folder, f"{name}: {why}", "delete it")


def holds(path: Path) -> bool:
    """Whether there is an empty entry `path` that may be used."""
    try:
        with reading(path, 0):
            return True
    except OSError:
        return False


@contextmanager
def reading(path: Path, most: float) -> Iterator[BinaryIO]:
    """An entry of at most `most` bytes, open for reading.

    Raises FileNotFoundError if there is none, Refused if it may not be used, OSError if it can't be opened.
    """
    with _opened(path.parent) as folder:
        folder.check(path.name, folder.stat(path.name), most)  # before: a FIFO or a device is never opened
        with open(folder.open(path.name, os.O_RDONLY), "rb") as file:
            folder.check(path.name, os.fstat(file.fileno()), most)
            yield file


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A temporary file, open for writing, which becomes the entry `path` when the block succeeds.

    The folder is made if it doesn't exist. Raises Refused if it may not be used, OSError with `path` if it can't be
    written.
    """
    try:
        _make(path.parent)
        with _opened(path.parent) as folder:
            folder.sweep()
            name, file = folder.temporary(path.name)
            try:
                with file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                folder.replace(name, path.name)
            finally:
                folder.remove(name)
    except OSError as error:
        if error.errno is None:  # it has a message of its own
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def names(folder: Path, pattern: str = "*") -> list[str]:
    """The sorted names of the entries that match a pattern. Raises Refused if the folder may not be used."""
    try:
        with _opened(folder) as opened:
            return sorted(name for name, _ in opened.files() if _matches(name, pattern))
    except FileNotFoundError:
        return []


def remove(folder: Path, entries: Iterable[str]) -> None:
    """Delete entries by name; those that are gone are no error."""
    with suppress(FileNotFoundError), _opened(folder) as opened:
        for name in entries:
            opened.remove(name)


def shrink(folder: Path, pattern: str, *, files: float = float("inf"), size: float = float("inf")) -> None:
    """Delete the entries that were not used for longest, so that at most `files` with `size` bytes are left.

    Temporary files count, too; those that were left behind are deleted.
    """
    with suppress(FileNotFoundError), _opened(folder) as opened:
        opened.sweep()
        found = sorted(opened.files(), key=lambda one: one[1].st_mtime, reverse=True)
        size -= sum(status.st_size for name, status in found if _is_temporary(name))
        for name, status in found:
            if _matches(name, pattern):
                files, size = files - 1, size - status.st_size
                if files < 0 or size < 0:
                    opened.remove(name)


def _matches(name: str, pattern: str) -> bool:
    return not _is_temporary(name) and fnmatch.fnmatchcase(name, pattern)


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


@dataclass(frozen=True)
class _Folder:
    """A folder that may be used. Names are looked up in the open folder, where the system can do that."""

    path: Path
    fd: int | None

    def open(self, name: str, flags: int) -> int:
        return os.open(self._at(name), flags | _FLAGS, 0o600, dir_fd=self.fd)

    def stat(self, name: str) -> os.stat_result:
        return os.stat(self._at(name), dir_fd=self.fd, follow_symlinks=False)

    def replace(self, old: str, new: str) -> None:
        os.replace(self._at(old), self._at(new), src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def remove(self, name: str) -> None:
        """Delete a file; one that is gone, or can't be deleted, is no error."""
        with suppress(OSError):
            os.unlink(self._at(name), dir_fd=self.fd)

    def temporary(self, name: str) -> tuple[str, BinaryIO]:
        """A new file that only this user may read and write."""
        name = f".{name[:40]}.{secrets.token_hex(6)}.tmp"  # any name leaves room for this
        fd = self.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        if hasattr(os, "fchmod"):
            os.fchmod(fd, 0o600)  # the umask may have taken these bits, too
        return name, open(fd, "wb")

    def all(self) -> Iterator[tuple[str, os.stat_result]]:
        """What is here, with sizes and times; what other processes delete meanwhile is left out."""
        for name in os.listdir(self.path if self.fd is None else self.fd):
            with suppress(FileNotFoundError):
                yield name, self.stat(name)

    def files(self) -> Iterator[tuple[str, os.stat_result]]:
        """The same for files only."""
        for name, status in self.all():
            if stat.S_ISREG(status.st_mode):
                yield name, status

    def sweep(self) -> None:
        """Delete the temporary files of processes that were killed."""
        old = time.time() - _STALE
        for name in [name for name, status in self.files() if _is_temporary(name) and status.st_mtime < old]:
            self.remove(name)

    def check(self, name: str, status: os.stat_result, most: float) -> None:
        """Raise Refused if an entry may not be used. The text has no name where all entries may have the same fault."""
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{self.path / name} isn't used: it is not a file; delete it")
        if why := _not_mine(status):
            raise Refused(f"files in {self.path} aren't used: {why}; new ones will replace them")
        if status.st_size > most:
            raise Refused(
                f"{self.path / name} isn't used: it has {status.st_size} bytes, too many; a new one will replace it"
            )

    def _at(self, name: str) -> str:
        return str(self.path / name) if self.fd is None else name


@contextmanager
def _opened(path: Path) -> Iterator[_Folder]:
    """A folder, open. Raises FileNotFoundError if there is none, Refused if it may not be used."""
    fd = None
    try:
        status = os.stat(path)
        _check_folder(path, status)
        if os.open in os.supports_dir_fd:
            fd = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
            _check_folder(path, os.fstat(fd))
    except OSError as error:
        if fd is not None:
            os.close(fd)
        if error.errno is None or isinstance(error, FileNotFoundError):
            raise
        raise _refused(path, os.strerror(error.errno)) from error
    try:
        yield _Folder(path, fd)
    finally:
        if fd is not None:
            os.close(fd)


def _check_folder(path: Path, status: os.stat_result) -> None:
    """Raise Refused if a folder may not be used."""
    place = shlex.quote(str(path))
    if not stat.S_ISDIR(status.st_mode):
        raise _refused(path, "it is not a folder", "delete it")
    if why := _not_mine(status):
        writable = status.st_mode & _OTHERS and _is_mine(status)
        raise _refused(path, why, f"run `chmod go-w {place}`" if writable else _own(place))
    for part in (path, path.parent):  # a link of another user could lead to any of this user's folders
        link = os.lstat(part)
        if stat.S_ISLNK(link.st_mode) and not _is_mine(link):
            raise _refused(path, f"{part} is a link of user {link.st_uid}", f"delete {part}")


def _refused(folder: Path, why: str, *ways_out: str) -> Refused:
    by_variable = folder.is_relative_to(cache_folder()) and sys.platform not in ("darwin", "win32")
    ways = ", or ".join((*ways_out, f"{'set XDG_CACHE_HOME to' if by_variable else 'choose'} another folder"))
    return Refused(f"{folder} isn't used as a cache: {why}; {ways}")


def _not_mine(status: os.stat_result) -> str | None:
    """Why a file or folder may be another user's work; None if only this user and root may write to it."""
    if not _is_mine(status):
        return f"the owner is user {status.st_uid}, not you"
    if _user is not None and status.st_mode & _OTHERS:
        return f"mode {stat.S_IMODE(status.st_mode):04o} lets other users write"
    return None


def _is_mine(status: os.stat_result) -> bool:
    """Whether the owner is this user or root."""
    return _user is None or status.st_uid in (0, _user())


def _is_root() -> bool:
    return _user is not None and _user() == 0


def _own(place: str) -> str:
    """How to own a folder."""
    if not _is_root():
        return f"delete it, or run `sudo chown $USER {place}`"
    return f"run `sudo -H` instead of `sudo`, or `chown root {place}`"


def _make(folder: Path) -> None:
    """Make a folder and those above it, for this user only. Raises Refused if that is impossible.

    Root makes none inside another user's folder, since that user couldn't use it. `sudo` may keep the user's HOME.
    """
    missing: list[Path] = []
    for part in (folder, *folder.parents):
        if os.path.lexists(part):
            break
        missing.append(part)
    try:
        if missing and _is_root() and not _is_mine(status := os.stat(part)):
            why = f"{part} belongs to user {status.st_uid}, and you are root"
            raise _refused(folder, why, "run `sudo -H` instead of `sudo`")
        for part in reversed(missing):
            with suppress(FileExistsError):  # another process was faster
                os.mkdir(part, 0o700)
            if os.lstat(part).st_mode & 0o700 != 0o700:
                os.chmod(part, 0o700)  # the umask took these bits, too
    except OSError as error:
        if error.errno is None:
            raise
        raise _refused(folder, os.strerror(error.errno)) from error
