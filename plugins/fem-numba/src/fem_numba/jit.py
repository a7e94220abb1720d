"""How functions are compiled: with explicit types, cached on disk, all of them in the stage `compile`."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba import types

F = TypeVar("F", bound=Callable[..., Any])

# Types of arguments: what is only read may be read-only or writable, contiguous, in 1 or 2 dimensions.
f8 = types.float64
i4 = types.int32
i8 = types.int64
u1 = types.uint8
In = {(t, d): types.Array(t, d, "C", readonly=True) for t in (f8, i4, i8, u1) for d in (1, 2, 3)}
Out = {(t, d): types.Array(t, d, "C") for t in (f8, i4, i8, u1) for d in (1, 2, 3)}

#: Functions that the backend calls, with their types, in the order they were defined.
_ENTRIES: list[tuple[Any, tuple[Any, ...]]] = []


def inlined(function: F) -> F:
    """For functions that compiled functions call."""
    return numba.njit(error_model="numpy", fastmath={"contract"})(function)  # type: ignore[no-any-return]


def compiled(*arguments: Any, parallel: bool = False) -> Callable[[F], F]:
    """For functions that Python calls with `arguments` of these types; compiled by `compile_all`, not before."""

    def decorate(function: F) -> F:
        dispatcher = numba.njit(
            parallel=parallel, nogil=True, cache=True, error_model="numpy", fastmath={"contract"}
        )(function)
        _ENTRIES.append((dispatcher, arguments))
        return dispatcher  # type: ignore[no-any-return]

    return decorate


def compile_all() -> None:
    """Compile every function, or take it from the cache."""
    for dispatcher, arguments in _ENTRIES:
        if not dispatcher.signatures:
            dispatcher.compile(arguments)
            dispatcher.disable_compile()
