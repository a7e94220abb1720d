"""Compiling: each function for the types of its arguments, all in the stage `compile`."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba import types

from fem_numba.cache import Cache, all_kept
from fem_numba.threads import start

F = TypeVar("F", bound=Callable[..., Any])

f8, i8, i4, u4, u2, b1 = types.float64, types.int64, types.int32, types.uint32, types.uint16, types.boolean
f4 = types.float32

#: Types of contiguous arrays. An input (`In[f8, 1]`) may be read-only.
In = {(t, d): types.Array(t, d, "C", readonly=True) for t in (f8, f4, i8, i4, u4, u2, b1) for d in (1, 2, 3)}
Out = {(t, d): types.Array(t, d, "C") for t in (f8, f4, i8, i4, u4, u2, b1) for d in (1, 2, 3)}

#: Types of `cycle.arrays` of a CSR matrix, by the type of its values.
CSR = {t: (In[i4, 1], In[u4, 1], In[t, 1]) for t in (f4, f8)}

# Multiply-adds are fused, but sums are not reordered. Division by zero gives inf.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}

#: The functions that Python calls, with the types of their arguments.
_ENTRIES: list[tuple[Any, tuple[Any, ...]]] = []

_compiling = threading.Lock()


def inlined(function: F) -> F:
    """For functions that compiled functions call."""
    return numba.njit(**_OPTIONS)(function)  # type: ignore[no-any-return]


@inlined
def added(sums: Any) -> float:
    """The sum, in order: `sums.sum()` would be divided among the threads."""
    total = 0.0
    for piece in sums:
        total += piece
    return total


def compiled(*arguments: Any, parallel: bool = False) -> Callable[[F], F]:
    """For functions that Python calls with arguments of these types; `compile_all` compiles them."""

    def decorate(function: F) -> F:
        dispatcher = numba.njit(parallel=parallel, **_OPTIONS)(function)
        dispatcher._cache = Cache(function)
        _ENTRIES.append((dispatcher, arguments))
        return dispatcher  # type: ignore[no-any-return]

    return decorate


def compile_all() -> None:
    """Compile every function, or load it from the cache. Arguments of other types are errors from then on."""
    with _compiling:
        start()
        for dispatcher, arguments in _ENTRIES:
            if not dispatcher.signatures:
                dispatcher.compile(arguments)
                dispatcher.disable_compile()
        all_kept()


def most_threads() -> int:
    """The threads that Numba can start in this process."""
    return int(numba.config.NUMBA_NUM_THREADS)


def switched_off() -> bool:
    """Whether NUMBA_DISABLE_JIT is set."""
    return bool(numba.config.DISABLE_JIT)
