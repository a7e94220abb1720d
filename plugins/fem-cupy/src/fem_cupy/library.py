"""Access to CuPy: its import, with a reason if it fails, and its errors as the core's."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fem_core import BackendError, BackendUnavailable
from fem_core.device.errors import MEMORY, device_error, unavailable
from fem_core.support import caches

from fem_cupy import INSTALL, folder

_log = logging.getLogger(__name__)


def load() -> Any:
    """The module `cupy`. Raises BackendUnavailable with the reason."""
    _keep_or_not()
    try:
        import cupy
    except Exception as error:  # a missing library of CUDA, two CuPys side by side, NumPy too old
        text = " ".join(str(error).split())
        raise BackendUnavailable(f"CuPy can't be imported: {type(error).__name__}: {text}; {INSTALL}") from error
    return cupy


def _keep_or_not() -> None:
    """Let CuPy compile in memory if its folder isn't writable, or holds what may be of another user.

    CuPy reads any file there, whoever wrote it, and its import fails where it can't write.
    """
    kept = folder()
    try:
        caches.prepare(kept)
        caches.check(kept)
    except OSError as error:
        _log.warning("compiled kernels can't be saved in %s (%s); set CUPY_CACHE_DIR to another folder", kept, error)
        os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
        os.environ["CUPY_CACHE_DIR"] = tempfile.gettempdir()  # must be a folder; nothing is written to it


def number(error: BaseException) -> int | None:
    """CUDA's number of an error of CuPy, or None if it isn't CUDA's."""
    if isinstance(error, MemoryError):
        return MEMORY
    status = getattr(error, "status", None)
    cuda = type(error).__name__ in ("CUDARuntimeError", "CUDADriverError")
    return status if cuda and isinstance(status, int) else None


@contextmanager
def opening() -> Iterator[None]:
    """Raise CUDA's errors in the block as the reason why the backend is unavailable."""
    try:
        yield
    except Exception as error:
        found = number(error)
        if found is None:
            raise
        raise unavailable(found, str(error)) from error


@contextmanager
def running(memory: Any) -> Iterator[None]:
    """Raise CuPy's errors in the block as the core's.

    Parameters
    ----------
    memory : function
        Returns (free, total) in bytes, or None; called if memory ran out.
    """
    try:
        yield
    except Exception as error:
        found = number(error)
        if found == MEMORY:
            wanted = getattr(error, "_size", None)  # of CuPy's OutOfMemoryError; cudaErrorMemoryAllocation has none
            raise device_error(MEMORY, "an array", wanted, memory()) from error
        if found is not None:
            raise device_error(found, str(error)) from error
        if type(error).__name__ in ("CompileException", "NVRTCError"):
            text = " ".join(str(error).split())
            raise BackendError(f"NVRTC can't compile the kernels: {text[:500]}") from error
        raise
