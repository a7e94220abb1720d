"""The buffers of OpenBLAS, taken while there is room.

NumPy and SciPy each bring an OpenBLAS. At its first call it takes a buffer, and if the process has reached a limit of
its memory by then (`ulimit -v`), NumPy's ends the process, and SciPy's tries again for ever.
"""

from functools import cache

from fem_core.errors import NotEnoughMemory
from fem_core.support.hardware import process_memory
from fem_core.support.wording import byte_size

_NEEDED = 100e6  # bytes of address space for both, and for what loads SciPy's


@cache
def reserve_buffers() -> None:
    """Take the buffers, if this process has a limit. Raises NotEnoughMemory if there is no room for them."""
    if not (left := process_memory()):
        return
    if min(left) < _NEEDED:
        raise NotEnoughMemory(
            f"not enough memory: linear algebra needs {byte_size(_NEEDED)}, and the limits of this process leave "
            f"{byte_size(max(0, min(left)))}; allow more memory (ulimit -v)"
        )
    import numpy as np
    from scipy.linalg.blas import dtrsv

    square = np.eye(2)
    dtrsv(square @ square, np.ones(2))
