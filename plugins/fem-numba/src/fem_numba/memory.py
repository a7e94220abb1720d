"""Large arrays on large pages, and vectors whose memory is used again once nobody holds them.

On pages of 4 KB a row of a badly numbered matrix is on a page of its own, and each access waits for the page table too:
an assembly takes 1.6 times as long. What `malloc` gives is on large pages or not, depending on who had it before. And a
page that is touched for the first time is cleared by the system first, which takes as long as filling it.

No two arrays begin at the same place of a page. Where they do and lie a multiple of 256 MB apart, AMD's processors take
the lines of one for those of the other, which they tell apart by a hash of 28 bits of the address (Lipp et al., Take a
way, 2020): a loop over the values and the column numbers of a matrix takes twice as long.
"""

import itertools
import mmap
import weakref
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np
from fem_core.types import Array, Floats

_LARGE = 1 << 21  # bytes of a large page
_LINE, _LINES = 64, 61  # bytes of a line of the cache; so many lines in turn are where arrays begin, nearly a page
_turn = itertools.count()


def empty(shape: int | tuple[int, ...], dtype: Any = np.float64) -> Array:
    """As `np.empty`, on large pages where the system has them."""
    count = prod(shape) if isinstance(shape, tuple) else shape
    if count * np.dtype(dtype).itemsize < _LARGE:
        return np.empty(shape, dtype=dtype)
    return _array(_pages(count * np.dtype(dtype).itemsize), count, dtype).reshape(shape)


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


def _array(pages: mmap.mmap, count: int, dtype: Any) -> Array:
    return np.frombuffer(pages, dtype, count, offset=next(_turn) % _LINES * _LINE)


def _pages(size: int) -> mmap.mmap:
    """Room for `size` bytes from any of the lines on."""
    size = -(-(size + _LINES * _LINE) // _LARGE) * _LARGE
    if not hasattr(mmap, "MAP_PRIVATE"):  # Windows
        return mmap.mmap(-1, size)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            pages.madvise(mmap.MADV_HUGEPAGE)
    return pages


class Recycled:
    """Vectors of float64 whose memory comes back when the last reference to them, or to a view of them, is gone.

    A view's base is the vector, as the memory below it isn't NumPy's; so the vector lives as long as its views.
    """

    def __init__(self) -> None:
        self._free: list[mmap.mmap] = []
        self._lent: dict[int, weakref.ref[Floats]] = {}

    def empty(self, n: int) -> Floats:
        """A vector of n; its values are undefined."""
        if 8 * n < _LARGE:
            return np.empty(n)
        fitting = [pages for pages in self._free if 8 * n + _LINES * _LINE <= len(pages) < 8 * n + 2 * _LARGE]
        pages = fitting[0] if fitting else _pages(8 * n)
        self._free = fitting[1:]  # memory of another mesh isn't kept
        vector = _array(pages, n, np.float64)

        def back(_: object) -> None:
            del self._lent[id(pages)]
            self._free.append(pages)

        self._lent[id(pages)] = weakref.ref(vector, back)
        return vector
