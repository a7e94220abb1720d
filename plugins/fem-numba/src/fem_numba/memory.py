"""Large arrays on large pages, and vectors whose memory is reused.

On pages of 4 KB each row of a badly numbered matrix is on another page, and each access waits for the page table too:
assembly takes 1.6 times as long. Memory from `malloc` may be on large pages or not, depending on its earlier use. And
the system clears a page at its first use, which takes as long as filling it.

Large arrays begin at 31 places of a large page, in turn. AMD's processors find a line of the first cache by a hash of
28 bits of the address (Lipp et al., Take a way, 2020). If the distance of two arrays that are read together is a
multiple of 256 MB, up to 16 KB more or less, each evicts the lines prefetched for the other: on a Zen 4 a product with
a sparse matrix then takes 1.2 to 2.4 times as long.
"""

import itertools
import mmap
import sys
import weakref
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np
from fem_core.types import Array, Floats

_LARGE = 1 << 21  # bytes of a large page
_SHIFT, _SHIFTS = 1 << 15, 31  # in turn, arrays begin 0, 1, 2, … times so many bytes after the start of a large page
_turn = itertools.count()


def empty(shape: int | tuple[int, ...], dtype: Any = np.float64) -> Array:
    """As `np.empty`, on large pages where the system has them."""
    count = prod(shape) if isinstance(shape, tuple) else int(shape)  # of a 32-bit count, the bytes may need 64
    if count * np.dtype(dtype).itemsize < _LARGE:
        return np.empty(shape, dtype=dtype)
    pages, start = _pages(count * np.dtype(dtype).itemsize)
    return np.frombuffer(pages, dtype, count, start).reshape(shape)


def zeros(n: int, dtype: Any = np.float64) -> Array:
    """As `np.zeros`, on large pages where the system has them."""
    array = empty(n, dtype)
    array[:] = 0
    return array


def workspaces(threads: int, size: int) -> Floats:
    """`size` numbers or more for each thread to work in, a page apart.

    Processors prefetch up to the end of a page, so neighbouring workspaces would disturb each other: on two cores
    without a common cache, assembly took 1.4 times as long.
    """
    return np.empty((threads, size + mmap.PAGESIZE // 8))


def _pages(size: int) -> tuple[mmap.mmap, int]:
    """Large pages, and the offset in them at which an array of `size` bytes begins."""
    start = next(_turn) % _SHIFTS * _SHIFT
    size = -(-(start + size) // _LARGE) * _LARGE
    if sys.platform == "win32":
        return mmap.mmap(-1, size), start
    else:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if sys.platform == "linux":
            with suppress(OSError):  # the kernel has no large pages
                pages.madvise(mmap.MADV_HUGEPAGE)
        return pages, start


class Recycled:
    """Vectors of float64. Their memory is reused after the last reference to the vector or to a view of it is gone.

    The base of a view is the vector, because NumPy doesn't own the memory; so the vector lives as long as its views.
    """

    def __init__(self) -> None:
        self._free: list[tuple[mmap.mmap, int]] = []
        self._lent: dict[int, weakref.ref[Floats]] = {}

    def empty(self, n: int) -> Floats:
        """A vector of n; its values are undefined."""
        if 8 * n < _LARGE:
            return np.empty(n)
        fitting = [(pages, start) for pages, start in self._free if 0 <= len(pages) - start - 8 * n < _LARGE]
        pages, start = fitting[0] if fitting else _pages(8 * n)
        self._free = fitting[1:]  # other memory, from another mesh, is freed
        vector = np.frombuffer(pages, count=n, offset=start)

        def back(_: object) -> None:
            del self._lent[id(pages)]
            self._free.append((pages, start))

        self._lent[id(pages)] = weakref.ref(vector, back)
        return vector
