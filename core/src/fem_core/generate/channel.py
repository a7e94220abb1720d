"""Channels: one block between an inlet, two walls and an outlet."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from fem_core.generate.parameters import wanted_size
from fem_core.generate.paths import Path
from fem_core.generate.structured import Block, Plane, Points, assemble, fitted, graded, grid_nodes, halved
from fem_core.mesh.mesh import Mesh
from fem_core.types import Floats, Ints

#: A wall turns by at most this angle within one element, in radians.
_WIDEST = math.pi / 4
#: Points of a piece at which the size of elements is evaluated.
_FINE = 200


def channel(
    source: str,
    plane: Plane,
    ends: Floats,
    turns: Floats,
    size: Callable[[Floats], Floats],
    nodes: int | None,
    across: int | None,
    grading: float,
    join: float = 0.0,
) -> Mesh:
    """The mesh of a channel of near-square elements.

    Parameters
    ----------
    source : str
        The shape's name.
    plane : (s, t) -> (x, y)
        s runs along the channel, t from 0 at the wall on the right to 1 at that on the left.
    ends : float64 (n_pieces + 1,)
        The s at which smooth pieces begin and end; elements begin and end there too.
    turns : float64 (n_pieces,)
        The angle by which the walls of each piece turn, in radians.
    size : s -> float64
        The length along s that equals the width of the channel.
    nodes, across : int or None
        The number of nodes to aim at, or the number of elements across.
    grading : float
        Size of the elements in the middle over that at the walls.
    join : float
        A piece that is shorter than so many elements is joined with the one before.
    """
    s = np.append(np.concatenate([np.linspace(a, b, _FINE, endpoint=False) for a, b in pairwise(ends)]), ends[-1])
    # τ = ∫ ds / size counts widths: elements are as many widths long as they are wide.
    density = 1 / size(s)
    τ = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(s))])
    turned = np.concatenate([[0.0], np.cumsum(turns)])

    def block(m: int, n: int) -> Block:
        at = τ[::_FINE] * (n / τ[-1])
        kept = _apart(at, join)
        knots = _whole(at[kept], np.concatenate([[0], np.cumsum(_least(np.diff(turned[kept])))]))
        corners = np.interp(np.interp(np.arange(n + 1), knots, at[kept]), τ * (n / τ[-1]), s)
        corners[knots] = ends[kept]
        names = "inlet right", "outlet right", "outlet left", "inlet left"
        return Block(names, halved(corners), graded(m, grading), plane)

    least = 1, int(_least(turns).sum())
    m, n = fitted(source, wanted_size(source, nodes, across=across), (1.0, τ[-1]), grid_nodes, least)
    sides = {"inlet": [("inlet right", "inlet left")], "outlet": [("outlet right", "outlet left")]}
    return assemble([block(m, n)], sides, source)


def _least(turns: Floats) -> Ints:
    """The least numbers of elements for these turns."""
    return np.asarray(np.maximum(1, np.ceil(turns / _WIDEST - 1e-9)), np.int32)


def _apart(at: Floats, join: float) -> list[int]:
    """Indices of the ends of pieces that are `join` elements apart; `at` counts the elements up to each end."""
    kept = [0]
    for k in range(1, len(at) - 1):
        if min(at[k] - at[kept[-1]], at[-1] - at[k]) >= join:
            kept.append(k)
    return [*kept, len(at) - 1]


def _whole(at: Floats, least: Ints) -> Ints:
    """`at` in whole numbers, with at least as many in each piece as `least` (cumulative) has."""
    spare = np.rint(at).astype(np.int32) - least
    return np.asarray(np.minimum(np.maximum.accumulate(spare), spare[-1]) + least)


def along_path(source: str, path: Path, width: float, nodes: int | None, across: int | None, grading: float) -> Mesh:
    """The channel of this `width` whose centreline is `path`."""

    def plane(s: Floats, t: Floats) -> Points:
        return path.at(s, (t - 0.5) * width)

    return channel(source, plane, path.ends, path.turns, lambda s: np.full_like(s, width), nodes, across, grading)


def below_wall(source: str, wall: Path, nodes: int | None, across: int | None, grading: float) -> Mesh:
    """The channel between `wall` and its mirror image below the axis y = 0."""

    def plane(s: Floats, t: Floats) -> Points:
        x, y = wall.at(s)
        return x, (2 * t - 1) * y

    return channel(source, plane, wall.ends, wall.turns, lambda s: 2 * wall.at(s)[1], nodes, across, grading, 0.5)
