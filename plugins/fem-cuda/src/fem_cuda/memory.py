"""Memory of the device, allocated once and reused.

To allocate memory takes longer than most kernels, and to free it waits for all kernels. All work is on one stream, so
the next user of a block runs after its last user.
"""

from collections.abc import Callable

import numpy as np
from fem_core import BackendError
from numpy.typing import DTypeLike


class Pool:
    """Blocks by their size.

    Parameters
    ----------
    allocate : function
        The address of so many bytes of the device.
    release : function
        Frees an address, after the work that uses it.
    """

    def __init__(self, allocate: Callable[[int], int], release: Callable[[int], object]) -> None:
        self._allocate, self._release = allocate, release
        self._taken: dict[int, int] = {}  # bytes of each address
        self._free: dict[int, list[int]] = {}  # addresses of so many bytes
        self.closed = False

    @property
    def free(self) -> int:
        """Bytes of unused blocks."""
        return sum(size * len(blocks) for size, blocks in list(self._free.items()))

    def take(self, size: int) -> int:
        """The address of so many bytes; 0 for none."""
        if not size:
            return 0
        blocks = self._free.get(size)
        address = blocks.pop() if blocks else self._new(size)
        self._taken[address] = size
        return address

    def _new(self, size: int) -> int:
        try:
            return self._allocate(size)
        except Exception:
            if not self.trim():
                raise
            return self._allocate(size)

    def give(self, address: int) -> None:
        """Take a block back; none after `close`."""
        size = self._taken.pop(address, None)
        if size is not None:
            self._free.setdefault(size, []).append(address)

    def trim(self) -> bool:
        """Free all unused blocks. Returns whether there were any."""
        free, self._free = self._free, {}
        blocks = [address for some in free.values() for address in some]
        for address in blocks:
            self._release(address)
        return bool(blocks)

    def close(self) -> None:
        """Free all blocks, even those in use."""
        self.closed = True
        for address in list(self._taken):
            self.give(address)
        self.trim()


class DeviceArray:
    """A 1-D array on the device. At its end, its memory returns to the pool."""

    __slots__ = ("_address", "_pool", "dtype", "nbytes", "size")

    def __init__(self, pool: Pool, size: int, dtype: DTypeLike) -> None:
        self._pool, self.size, self.dtype = pool, size, np.dtype(dtype)
        self.nbytes, self._address = size * self.dtype.itemsize, 0
        self._address = pool.take(self.nbytes)

    @property
    def address(self) -> int:
        """Its address. Raises BackendError if the device was closed."""
        if self._pool.closed:
            raise BackendError("this memory was freed when the device was closed")
        return self._address

    def __del__(self) -> None:
        self._pool.give(self._address)
