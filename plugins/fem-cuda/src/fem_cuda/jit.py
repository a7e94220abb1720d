"""Kernels and what they call: marked here, compiled by `fem_cuda.program`, or run by numba-cuda's simulator.

A kernel's annotations are the types it is compiled with, so compiling needs no call. Arrays are bare pointers: such a
launch has a word for each, where an array of numba-cuda has seven. Only what takes atomics has to be an array.
"""

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias, TypeVar, get_type_hints

from numba import cuda, types

from fem_cuda.library import simulated

F = TypeVar("F", bound=Callable[..., Any])

#: Whether Python interprets the kernels: this decides about a few functions below the kernels, in `kernels.common`.
SIMULATED = simulated()

# What a device computes with isn't Python's: mypy takes all of it as Any.
Int: TypeAlias = Annotated[Any, types.int32]
Float: TypeAlias = Annotated[Any, types.float64]
Ints: TypeAlias = Annotated[Any, types.CPointer(types.int32)]
Floats: TypeAlias = Annotated[Any, types.CPointer(types.float64)]
Floats32: TypeAlias = Annotated[Any, types.CPointer(types.float32)]
Counters: TypeAlias = Annotated[Any, types.Array(types.int32, 1, "C")]

#: The kernels by name, as functions that numba-cuda compiles.
KERNELS: dict[str, Callable[..., None]] = {}


def kernel(function: F) -> F:
    """For functions that the host launches: the first argument is the number of items."""
    KERNELS[function.__name__] = function
    return function


def device(function: F) -> F:
    """For functions that kernels call; they are inlined."""
    if SIMULATED and "cuda" not in function.__code__.co_names:
        return function  # needs nothing of the simulator, which takes its time
    return cuda.jit(function, device=True)  # type: ignore[no-any-return]


def signature(function: Callable[..., None]) -> tuple[Any, ...]:
    """The numba types of a kernel's arguments."""
    hints = get_type_hints(function, include_extras=True)
    return tuple(hint.__metadata__[0] for name, hint in hints.items() if name != "return")
