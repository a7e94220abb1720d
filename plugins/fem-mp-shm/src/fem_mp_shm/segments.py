"""Named memory that several processes map. It is reserved before use, and always freed in the end.

Segments of dead processes are found by their names, and deleted. Python's resource tracker isn't used where segments
can be listed: before 3.13 it deleted a segment when a reader ended.
"""

import errno
import mmap
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import shared_memory
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias

import numpy as np
from fem_core.errors import BackendError
from fem_core.support.wording import byte_size
from fem_core.types import Array

from fem_mp_shm import limits
from fem_mp_shm.names import SHM, new_name, temporary

Storage: TypeAlias = Literal["shm", "file"]

_POPULATE_READ = 22  # MADV_POPULATE_READ
_NO_ROOM = errno.ENOSPC, errno.ENOMEM, errno.EFBIG, errno.EDQUOT, errno.EPERM
_lock = threading.Lock()


class Segment:
    """A block of memory by name; made by `create` in the owner, by `attach` in other processes.

    The mapping lives as long as an array on it, even after `unlink`. Only the process that made a segment deletes it: a
    process that was forked since has a copy of this object, and ends with the same finalizers.
    """

    def __init__(self, name: str, size: int, storage: Storage, mapping: mmap.mmap, owner: int = 0) -> None:
        self.name, self.size, self.storage = name, size, storage
        self._mapping, self._owner = mapping, owner

    @classmethod
    def create(cls, size: int, storage: Storage) -> "Segment":
        """A new segment. Its pages are reserved, so that writing can't fail later.

        Raises BackendError if there isn't enough room, or no place for it.
        """
        name, size = new_name(), max(64, size)
        where = temporary() if storage == "file" else SHM
        try:
            mapping = _map_file(name, size, True) if storage == "file" else _map_shm(name, size, True)
        except OSError as error:
            full = error.errno in _NO_ROOM
            if storage == "shm":
                remedy = "use storage=file or enlarge it" if full else "use storage=file"
            else:
                remedy = f"set TMPDIR to a folder {'with more room' if full else 'that can be written to'}"
            what = f"no room for {byte_size(size)} in {where}" if full else f"no memory can be shared in {where}"
            raise BackendError(f"{what}: {limits.told(error, remedy)}") from error
        return cls(name, size, storage, mapping, os.getpid())

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
        """Delete the name; may be called again, and does nothing in another process than its owner."""
        if self._owner == os.getpid():
            _unlink(self.name, self.storage)


def _map_file(name: str, size: int, create: bool) -> mmap.mmap:
    path = temporary() / name
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
            options["track"] = create and not SHM.is_dir()  # segments that can't be listed can't be found later
        memory: Any = shared_memory.SharedMemory(name, create=create, size=size if create else 0, **options)
        # The object would close its mapping at its end, even with arrays left on it: keep only the mapping.
        memory._buf.release()
        mapping: mmap.mmap = memory._mmap
        memory._buf = memory._mmap = None
        memory.close()
        path = SHM / name
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
    if storage == "file" or SHM.is_dir():
        with suppress(FileNotFoundError, PermissionError):  # Windows keeps a mapped file
            os.unlink((temporary() if storage == "file" else SHM) / name)
    elif os.name == "posix":
        with suppress(FileNotFoundError):
            memory = shared_memory.SharedMemory(name)
            memory.close()
            memory.unlink()


@contextmanager
def _untracked(create: bool) -> Iterator[None]:
    """Before 3.13: hide a segment from the resource tracker, unless only the tracker could delete it."""
    if sys.version_info >= (3, 13) or os.name != "posix" or (create and not SHM.is_dir()):
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
