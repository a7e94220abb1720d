"""Access to numba-cuda: its import, with a reason if it fails, and its errors as the core's."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fem_core import BackendUnavailable
from fem_core.device.errors import MEMORY, device_error, unavailable

from fem_cuda import INSTALL

_NAME = re.compile(r"\bCUDA_ERROR_\w+")


def load() -> Any:
    """The module `numba.cuda`. Raises BackendUnavailable with the reason."""
    try:
        from numba import cuda
    except Exception as error:  # a missing library of CUDA, NumPy too new
        text = " ".join(str(error).split())
        raise BackendUnavailable(f"numba-cuda can't be imported: {type(error).__name__}: {text}; {INSTALL}") from error
    if "numba_cuda" not in str(cuda.__file__):
        raise BackendUnavailable(f"numba.cuda is the deprecated module of numba, not that of numba-cuda: {INSTALL}")
    return cuda


def simulated() -> bool:
    """Whether numba-cuda was imported with NUMBA_ENABLE_CUDASIM=1: Python then interprets the kernels."""
    from numba.cuda.core import config

    return bool(config.ENABLE_CUDASIM)


def number(error: BaseException) -> int | None:
    """CUDA's number of an error of numba-cuda or cuda-core, or None if it isn't CUDA's.

    numba-cuda's errors have the number. Those of cuda-core and of the driver's start have only the name in their text.
    """
    if type(error).__name__ == "CudaAPIError":
        return int(error.code)  # type: ignore[attr-defined]
    if type(error).__name__ not in ("CUDAError", "CudaSupportError") or not (name := _NAME.search(str(error))):
        return None
    from cuda.bindings.driver import CUresult

    return int(getattr(CUresult, name[0], 0)) or None


@contextmanager
def opening() -> Iterator[None]:
    """Raise CUDA's errors in the block as the reason why the backend is unavailable."""
    try:
        yield
    except Exception as error:
        found, text = number(error), " ".join(str(error).split())
        if found is not None:
            raise unavailable(found, text) from error
        if type(error).__name__ == "CudaSupportError":
            raise BackendUnavailable(f"the NVIDIA driver can't be used ({text.rstrip(' .:')})") from error
        raise


@contextmanager
def running(memory: Callable[[], tuple[int, int] | None], wanted: int | None = None) -> Iterator[None]:
    """Raise CUDA's errors in the block as the core's.

    Parameters
    ----------
    memory : function
        Returns (free, total) in bytes, or None; called if memory ran out.
    wanted : int, optional
        Bytes of the array that is allocated.
    """
    try:
        yield
    except Exception as error:
        found = number(error)
        if found == MEMORY:
            raise device_error(MEMORY, "an array", wanted, memory()) from error
        if found is not None:
            raise device_error(found, str(error)) from error
        raise
