"""Kernels: importable functions `kernel(start, stop, inputs, outputs)` that executors run on batches.

`inputs` holds whole arrays, of which a kernel reads what elements start…stop-1 need; each array of
`outputs` holds just these elements, so that `outputs[name][0]` belongs to element `start`.

There are two of each. `vectorized` is the fast one. `loop` goes element by element in Python: it shows the
cost of an execution model when the interpreter dominates.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np

from fem_core.assembly.element import GRAIN, element_derived, element_load, element_stiffness
from fem_core.mesh import quad8 as q8
from fem_core.types import Array, Floats

Inputs: TypeAlias = Mapping[str, Array]
Outputs: TypeAlias = Mapping[str, Array]
Kernel: TypeAlias = Callable[[int, int, Inputs, Outputs], None]

#: Inputs that have a row for each node, and those that have one for each element.
PER_NODE = frozenset({"x", "y", "u"})
PER_ELEMENT = frozenset({"quad8", "k", "s"})

#: Elements whose matrices are summed together by `stiffness_sums`.
BLOCK = 128 * GRAIN

_TILE = 64 * GRAIN  # elements whose intermediate results stay in the cache


def grain_of(kernel: Kernel) -> int:
    """Ranges of this kernel start at multiples of it: its attribute `grain`, or GRAIN."""
    return int(getattr(kernel, "grain", GRAIN))


def _tiles(start: int, stop: int) -> Iterator[tuple[slice, slice]]:
    """(elements, their places in the outputs) in tiles that fit the cache."""
    for first in range(start, stop, _TILE):
        last = min(first + _TILE, stop)
        yield slice(first, last), slice(first - start, last - start)


def stiffness(start: int, stop: int, inputs: Inputs, outputs: Outputs) -> None:
    """Ke (8, 8) of each element from x, y (n_nodes,), quad8 and k (n_elements,)."""
    x, y, quad8, k = (inputs[name] for name in ("x", "y", "quad8", "k"))
    for elements, here in _tiles(start, stop):
        nodes = quad8[elements]
        element_stiffness(x[nodes], y[nodes], k[elements], out=outputs["Ke"][here])


def stiffness_sums(start: int, stop: int, inputs: Inputs, outputs: Outputs) -> None:
    """The sums of Ke over blocks of elements into the whole `values` (nnz,), and the contributions on `seams`.

    See `fem_core.assembly.blocks`, whose arrays it reads beside those of `stiffness`. Slots on seams are written too,
    by several blocks: `Blocks.close` overwrites them when all blocks are done.
    """
    local, slots, seams = (inputs[name] for name in ("local", "slots", "seams"))
    Ke = np.empty((min(BLOCK, stop - start), 8, 8))
    for first in range(start, stop, BLOCK):
        last, block = min(first + BLOCK, stop), first // BLOCK
        terms = Ke[: last - first]
        stiffness(first, last, inputs, {"Ke": terms})
        a, b = inputs["slot_bounds"][block : block + 2]
        outputs["values"][slots[a:b]] = np.bincount(local[first:last].ravel(), terms.ravel(), minlength=b - a)
        a, b = inputs["seam_bounds"][block : block + 2]
        outputs["contributions"][a:b] = terms.reshape(-1)[seams[a:b] - 64 * first]


stiffness_sums.grain = BLOCK  # type: ignore[attr-defined]


def load(start: int, stop: int, inputs: Inputs, outputs: Outputs) -> None:
    """fe (8,) of each element from x, y (n_nodes,), quad8 and s (n_elements, 8)."""
    x, y, quad8, s = (inputs[name] for name in ("x", "y", "quad8", "s"))
    for elements, here in _tiles(start, stop):
        nodes = quad8[elements]
        outputs["fe"][here] = element_load(x[nodes], y[nodes], s[elements])


def derived(start: int, stop: int, inputs: Inputs, outputs: Outputs) -> None:
    """velocity (2,) and speed () of each element from x, y, u (n_nodes,) and quad8."""
    x, y, u, quad8 = (inputs[name] for name in ("x", "y", "u", "quad8"))
    for elements, here in _tiles(start, stop):
        nodes = quad8[elements]
        outputs["velocity"][here], outputs["speed"][here] = element_derived(x[nodes], y[nodes], u[nodes])


def stiffness_loop(start: int, stop: int, inputs: Inputs, outputs: Outputs) -> None:
    """As `stiffness`, element by element."""
    for e in range(start, stop):
        nodes = inputs["quad8"][e]
        outputs["Ke"][e - start] = stiffness_of_one(inputs["x"][nodes], inputs["y"][nodes], inputs["k"][e])


def load_loop(start: int, stop: int, inputs: Inputs, outputs: Outputs) -> None:
    """As `load`, element by element."""
    for e in range(start, stop):
        nodes = inputs["quad8"][e]
        outputs["fe"][e - start] = load_of_one(inputs["x"][nodes], inputs["y"][nodes], inputs["s"][e])


def derived_loop(start: int, stop: int, inputs: Inputs, outputs: Outputs) -> None:
    """As `derived`, element by element."""
    for e in range(start, stop):
        nodes = inputs["quad8"][e]
        v, speed = derived_of_one(inputs["x"][nodes], inputs["y"][nodes], inputs["u"][nodes])
        outputs["velocity"][e - start], outputs["speed"][e - start] = v, speed


def stiffness_of_one(x: Floats, y: Floats, k: float) -> Floats:
    """Ke = Σ_q w_q k ∇Nᵀ ∇N det J of one element, (8, 8)."""
    X = np.column_stack([x, y])
    Ke = np.zeros((8, 8))
    for w, dN in zip(q8.WEIGHTS_3X3, q8.DN_3X3, strict=True):
        J = dN @ X
        B = np.linalg.solve(J, dN)  # ∇N in x and y, (2, 8)
        Ke += w * k * _det(J) * (B.T @ B)
    return Ke


def load_of_one(x: Floats, y: Floats, s: Floats) -> Floats:
    """fe = Σ_q w_q s(q) N det J of one element, (8,)."""
    X = np.column_stack([x, y])
    fe = np.zeros(8)
    for w, N, dN in zip(q8.WEIGHTS_3X3, q8.N_3X3, q8.DN_3X3, strict=True):
        fe += w * (N @ s) * _det(dN @ X) * N
    return fe


def derived_of_one(x: Floats, y: Floats, u: Floats) -> tuple[Floats, float]:
    """Mean of -∇u, (2,), and mean of |∇u| over the 2x2 Gauss points of one element."""
    X = np.column_stack([x, y])
    grad_u = np.array([np.linalg.solve(dN @ X, dN @ u) for dN in q8.DN_2X2])
    return -grad_u.mean(axis=0), float(np.linalg.norm(grad_u, axis=1).mean())


def _det(J: Floats) -> float:
    """det J. NumPy's `det` takes it from its logarithm, which costs digits the farther det J is from 1."""
    (x_ξ, y_ξ), (x_η, y_η) = J.tolist()
    return float(x_ξ * y_η - x_η * y_ξ)
