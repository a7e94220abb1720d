"""Large arrays on large pages, and vectors whose memory is used again once nobody holds them.

On pages of 4 KB a row of a badly numbered matrix is on a page of its own, and each access waits for the page table too:
an assembly takes 1.6 times as long. What `malloc` gives is on large pages or not, depending on who had it before. And a
page that is touched for the first time is cleared by the system first, which takes as long as filling it.

Large arrays begin at 31 places of a large page, in turn. AMD's processors tell the lines of the first cache apart by a
hash of 28 bits of the address (Lipp et al., Take a way, 2020). Where two arrays that are read side by side lie a
multiple of 256 MB apart, up to 16 KB more or less, each drives out what was fetched ahead for the other: on a Zen 4 a
product with a sparse matrix then takes 1.2 to 2.4 times as long.
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
_SHIFT, _SHIFTS = 1 << 15, 31  # arrays begin so many bytes into a large page, once, twice, ... in turn
_turn = itertools.count()


def empty(shape: int | tuple[int, ...], dtype: Any = np.float64) -> Array:
    """As `np.empty`, on large pages where the system has them."""
    count = prod(shape) if isinstance(shape, tuple) else shape
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

    Processors fetch ahead of what they read, up to the end of the page, and so take from each other what lies side by
    side. Where two cores have no cache in common that made an assembly 1.4 times as long.
    """
    return np.empty((threads, size + mmap.PAGESIZE // 8))


def _pages(size: int) -> tuple[mmap.mmap, int]:
    """Large pages, and where an array of `size` bytes shall begin in them."""
    start = next(_turn) % _SHIFTS * _SHIFT
    size = -(-(start + size) // _LARGE) * _LARGE
    if sys.platform == "win32":
        return mmap.mmap(-1, size), start
    else:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if sys.platform == "linux":
            with suppress(OSError):  # a kernel without them
                pages.madvise(mmap.MADV_HUGEPAGE)
        return pages, start


class Recycled:
    """Vectors of float64 whose memory comes back when the last reference to them, or to a view of them, is gone.

    A view's base is the vector, as the memory below it isn't NumPy's; so the vector lives as long as its views.
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
        self._free = fitting[1:]  # memory of another mesh isn't kept
        vector = np.frombuffer(pages, count=n, offset=start)

        def back(_: object) -> None:
            del self._lent[id(pages)]
            self._free.append((pages, start))

        self._lent[id(pages)] = weakref.ref(vector, back)
        return vector
