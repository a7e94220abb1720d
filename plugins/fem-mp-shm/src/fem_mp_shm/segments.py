"""Named memory that several processes map. It is reserved before use, and always freed in the end.

A segment's name contains its owner: pid namespace, pid and start time. So the segments of dead processes
can be found and deleted. Python's resource tracker isn't used where segments can be listed: before 3.13 it
deleted a segment when a reader ended.
"""

import errno
import mmap
import os
import secrets
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from multiprocessing import shared_memory
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias

import numpy as np
from fem_core.errors import BackendError
from fem_core.support.wording import byte_size
from fem_core.types import Array

Storage: TypeAlias = Literal["shm", "file"]

#: Where Linux shows shared memory by name.
_SHM = Path("/dev/shm")
_NONCE = secrets.token_hex(4)
_numbers = count()
_POPULATE_READ = 22  # MADV_POPULATE_READ
_lock = threading.Lock()


class Segment:
    """A block of memory by name; made by `create` in the owner, by `attach` in other processes.

    The mapping lives as long as an array on it, even after `unlink`.
    """

    def __init__(self, name: str, size: int, storage: Storage, mapping: mmap.mmap) -> None:
        self.name, self.size, self.storage = name, size, storage
        self._mapping = mapping

    @classmethod
    def create(cls, size: int, storage: Storage) -> "Segment":
        """A new segment. Its pages are reserved, so that writing can't fail later.

        Raises BackendError if there isn't enough room.
        """
        name = f"fem-{_namespace()}-{os.getpid()}-{_started(os.getpid())}-{_NONCE}-{next(_numbers)}"
        size = max(64, size)
        try:
            mapping = _map_file(name, size, True) if storage == "file" else _map_shm(name, size, True)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG, errno.EDQUOT, errno.EPERM):
                raise
            where = "/dev/shm" if storage == "shm" else tempfile.gettempdir()
            raise BackendError(
                f"no room for {byte_size(size)} in {where} ({os.strerror(error.errno or 0)}); "
                + ("use storage=file or enlarge it" if storage == "shm" else "set TMPDIR to a folder with more room")
            ) from error
        return cls(name, size, storage, mapping)

    @classmethod
    def attach(cls, name: str, size: int, storage: Storage) -> "Segment":
        """The segment of this name from another process."""
        return cls(name, size, storage, (_map_file if storage == "file" else _map_shm)(name, size, False))

    def array(self, offset: int, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array on a part of it."""
        return np.ndarray(shape, dtype, buffer=self._mapping, offset=offset)

    def populate(self, start: int, stop: int) -> None:
        """On Linux, map all pages of a range at once: four times as fast as one page fault after the other."""
        start -= start % mmap.PAGESIZE
        if sys.platform == "linux" and stop > start:
            with suppress(OSError, ValueError):  # before Linux 5.14
                self._mapping.madvise(_POPULATE_READ, start, stop - start)

    def let_go(self) -> None:
        """On Linux, unmap all pages until they are used again. The content stays, for all processes."""
        if sys.platform == "linux":
            self._mapping.madvise(mmap.MADV_DONTNEED)

    def unlink(self) -> None:
        """Delete the name; may be called again."""
        _unlink(self.name, self.storage)


def sweep(dead: int | None = None) -> list[str]:
    """Delete the segments of dead processes of this machine. Returns their names.

    `dead` is the pid of a process that has ended, even if the system still lists it.
    """
    swept = []
    for folder in (_SHM, Path(tempfile.gettempdir())):
        for path in folder.glob(f"fem-{_namespace()}-*-*-*-*") if folder.is_dir() else ():
            _, _, pid, started, *_ = path.name.split("-")
            if not (pid.isdecimal() and started.isdecimal()):
                continue
            if int(pid) == dead or not _alive(int(pid), int(started)):
                with suppress(OSError):
                    path.unlink()
                    swept.append(path.name)
    return swept


def _alive(pid: int, started: int) -> bool:
    """Whether the process that began at `started` still runs. Another process may have got its pid since."""
    if os.name != "posix":
        return True  # Windows frees shared memory with its last user
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return not started or _started(pid) == started


def _started(pid: int) -> int:
    """Start of the process in ticks after the machine's; 0 if the system doesn't tell or the process has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def _namespace() -> str:
    """The pid namespace: containers may share /dev/shm, but number their processes separately."""
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return "0"


def _map_file(name: str, size: int, create: bool) -> mmap.mmap:
    path = Path(tempfile.gettempdir()) / name
    fd = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0) | getattr(os, "O_BINARY", 0), 0o600)
    try:
        if create:
            _reserve(fd, size)
        return mmap.mmap(fd, size)
    except BaseException:
        if create:
            path.unlink()
        raise
    finally:
        os.close(fd)


def _map_shm(name: str, size: int, create: bool) -> mmap.mmap:
    with _untracked(create):
        options: dict[str, Any] = {}
        if sys.version_info >= (3, 13):
            options["track"] = create and not _SHM.is_dir()  # segments that can't be listed can't be found later
        memory: Any = shared_memory.SharedMemory(name, create=create, size=size if create else 0, **options)
        # The object would close its mapping at its end, even with arrays left on it: keep only the mapping.
        memory._buf.release()
        mapping: mmap.mmap = memory._mmap
        memory._buf = memory._mmap = None
        memory.close()
        path = _SHM / name
        if create and path.exists():
            try:
                fd = os.open(path, os.O_RDWR)
                try:
                    _reserve(fd, size)
                finally:
                    os.close(fd)
            except BaseException:
                mapping.close()
                path.unlink()
                raise
    return mapping


def _reserve(fd: int, size: int) -> None:
    """Give a file its size and its pages. Without room this fails here; later it would be a SIGBUS."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    else:
        os.truncate(fd, size)


def _unlink(name: str, storage: Storage) -> None:
    if storage == "file" or _SHM.is_dir():
        with suppress(FileNotFoundError, PermissionError):  # Windows keeps a mapped file
            os.unlink((Path(tempfile.gettempdir()) if storage == "file" else _SHM) / name)
    elif os.name == "posix":
        with suppress(FileNotFoundError):
            memory = shared_memory.SharedMemory(name)
            memory.close()
            memory.unlink()


@contextmanager
def _untracked(create: bool) -> Iterator[None]:
    """Before 3.13: hide a segment from the resource tracker, unless only the tracker could delete it."""
    if sys.version_info >= (3, 13) or os.name != "posix" or (create and not _SHM.is_dir()):
        yield
        return
    module: Any = shared_memory
    with _lock:
        tracker = module.resource_tracker
        module.resource_tracker = SimpleNamespace(register=_nothing, unregister=_nothing)
        try:
            yield
        finally:
            module.resource_tracker = tracker


def _nothing(name: str, kind: str) -> None:
    """Replaces the tracker's functions."""
