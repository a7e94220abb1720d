"""Kernels and what they call: marked here, compiled by `fem_cuda.program`, or run by numba-cuda's simulator.

A kernel is compiled for the types of its annotations, so compiling needs no call. Arrays are bare pointers: a launch
passes one word for each; an array of numba-cuda has seven. Only atomic operations need an array.
"""

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias, TypeVar, get_type_hints

from numba import cuda, types

from fem_cuda.library import simulated

F = TypeVar("F", bound=Callable[..., Any])

#: Whether Python interprets the kernels. A few functions of `kernels.common` depend on it.
SIMULATED = simulated()

# A device's numbers aren't Python's: for mypy they are Any.
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
        return function  # a plain function is faster than one of the simulator
    return cuda.jit(function, device=True)  # type: ignore[no-any-return]


def signature(function: Callable[..., None]) -> tuple[Any, ...]:
    """The numba types of a kernel's arguments."""
    hints = get_type_hints(function, include_extras=True)
    return tuple(hint.__metadata__[0] for name, hint in hints.items() if name != "return")
