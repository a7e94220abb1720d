"""Array types and the names of the stages, used in signatures throughout."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int32]
Bools: TypeAlias = NDArray[np.bool_]
Array: TypeAlias = NDArray[Any]

#: A coefficient: a constant, an array, or a function of the coordinates.
Value: TypeAlias = float | Floats | Callable[[Floats, Floats], Any]

Stage: TypeAlias = Literal[
    "open_backend",
    "compile",
    "load_mesh",
    "compute_sparsity",
    "assemble_system",
    "apply_bc",
    "solve_system",
    "compute_derived",
    "write",
]


def read_only(array: Array) -> Array:
    """A view of `array` that can't be written to."""
    view = array.view()
    view.flags.writeable = False
    return view
