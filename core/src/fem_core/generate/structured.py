"""Structured blocks and how they become a mesh: the machinery that the generators share.

A shape is a few blocks. A block is a logical rectangle (s, t) with a mapping to the plane and a
name for each of its corners; two blocks that name the same pair of corners share that edge and
its nodes, by index rather than by coordinates. A further shape is a list of blocks and the names
of its inlet and outlet::

    d────c          Block(corners=("a", "b", "c", "d"), s, t, mapping)
    │    │    t
    a────b    └─s   sides: (a,b) (b,c) (c,d) (d,a), counter-clockwise

For a mesh of quadrilaterals with E elements, B boundary edges and Euler characteristic χ (1 for a
disc, 0 for a ring) the number of corners and mid-sides together is N = 3E + B + χ.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fem_core.errors import MeshError
from fem_core.mesh.mesh import MOST_NODES, SAME_PLACE, Boundary, Mesh
from fem_core.types import Array, Floats, Ints

#: One or many points: x and y in metres.
Points: TypeAlias = tuple[Floats, Floats]
#: (s, t) -> (x, y), for arrays that broadcast; right-handed, so that ∂(x,y)/∂(s,t) > 0.
Plane: TypeAlias = Callable[[Floats, Floats], Points]
#: s -> (x, y)
Curve: TypeAlias = Callable[[Floats], Points]

#: Corners and mid-sides of an element in the lattice of half steps, in the order of `fem_core.mesh.quad8`.
_LATTICE = ((0, 0), (2, 0), (2, 2), (0, 2), (1, 0), (2, 1), (1, 2), (0, 1))


@dataclass(frozen=True, eq=False)
class Block:
    """A logical rectangle of elements.

    Parameters
    ----------
    corners : four names
        Of the corners (s₀,t₀), (s₁,t₀), (s₁,t₁), (s₀,t₁); a name used twice is one node.
    s, t : float64 (2n + 1,)
        Stations of the corners and, between them, of the mid-sides: see `stations`.
    mapping : (s, t) -> (x, y)
        Gives the place of every node, so that mid-sides lie on the true curve.
    column : int
        Where the block begins in the numbering: nodes and elements are numbered by column, that
        is by `column` plus the steps along s, then by block, then along t.
    """

    corners: tuple[str, str, str, str]
    s: Floats
    t: Floats
    mapping: Plane
    column: int = 0

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of elements along s and t."""
        return len(self.s) // 2, len(self.t) // 2

    @property
    def points(self) -> Points:
        """x and y of the lattice of half steps, each (2 n_s + 1, 2 n_t + 1)."""
        x, y = np.broadcast_arrays(*self.mapping(self.s[:, None], self.t[None, :]))
        return x, y

    @property
    def columns(self) -> Ints:
        """The column of each lattice node, in half steps, (2 n_s + 1, 2 n_t + 1)."""
        i = 2 * self.column + np.arange(len(self.s), dtype=np.int32)
        return np.repeat(i[:, None], len(self.t), axis=1)


def stations(start: float, stop: float, n: int, ratio: float = 1.0) -> Floats:
    """`n` intervals from `start` to `stop` with their midpoints, (2n + 1,).

    The lengths are a geometric sequence hᵢ = h₀ qⁱ whose last is `ratio` times the first; a
    midpoint halves its interval, so that straight elements stay affine.
    """
    q = ratio ** (1 / (n - 1)) if n > 1 else 1.0
    corners = np.concatenate([[0.0], np.cumsum(q ** np.arange(n))])
    return halved(start + (stop - start) * (corners / corners[-1]))


def graded(n: int, ratio: float) -> Floats:
    """`n` intervals of [0, 1] with their midpoints, those in the middle `ratio` times as long as those at the ends."""
    lengths = ratio ** (np.minimum(np.arange(n), np.arange(n)[::-1]) / max(1, (n - 1) // 2))
    corners = np.concatenate([[0.0], np.cumsum(lengths)])
    return halved(corners / corners[-1])


def halved(corners: Floats) -> Floats:
    """`corners` (n + 1,) with the midpoints between them, (2n + 1,)."""
    values = np.empty(2 * len(corners) - 1)
    values[::2] = corners
    values[1::2] = 0.5 * (corners[1:] + corners[:-1])
    return values


def ruled(lower: Curve, upper: Curve) -> Plane:
    """The surface of straight lines between two curves: P(s, t) = (1-t) lower(s) + t upper(s), t in [0, 1]."""

    def plane(s: Floats, t: Floats) -> Points:
        (x0, y0), (x1, y1) = lower(s), upper(s)
        return (1 - t) * x0 + t * x1, (1 - t) * y0 + t * y1

    return plane


def line(start: complex, stop: complex) -> Curve:
    """The straight line s -> (1-s) start + s stop between two points x + iy."""
    return lambda s: ((1 - s) * start.real + s * stop.real, (1 - s) * start.imag + s * stop.imag)


def bilinear(
    names: tuple[str, str, str, str], corners: Mapping[str, complex], s: Floats, t: Floats, column: int = 0
) -> Block:
    """The block with straight sides between the named `corners`, points x + iy; s and t in [0, 1]."""
    a, b, c, d = (complex(corners[name]) for name in names)
    return Block(names, s, t, ruled(line(a, b), line(d, c)), column)


def swapped(plane: Plane) -> Plane:
    """`plane` with s and t exchanged."""
    return lambda s, t: plane(t, s)


def count_nodes(blocks: Sequence[Block]) -> int:
    """The number of nodes N = 3E + B + χ of the mesh that `assemble` makes of `blocks`."""
    elements, uses = 0, Counter[tuple[str, str]]()
    along: dict[tuple[str, str], int] = {}
    for block in blocks:
        n_s, n_t = block.counts
        elements += n_s * n_t
        for pair, n in zip(_pairs(block), (n_s, n_t, n_s, n_t), strict=True):
            key = min(pair), max(pair)
            along[key] = n
            uses[key] += 1
    χ = len({corner for block in blocks for corner in block.corners}) - len(uses) + len(blocks)
    return 3 * elements + sum(n for key, n in along.items() if uses[key] == 1) + χ


def fitted(
    source: str,
    wanted: int | tuple[int, ...],
    lengths: Sequence[float],
    count: Callable[..., int],
    least: Sequence[int] = (),
) -> tuple[int, ...]:
    """Counts nᵢ in proportion to `lengths`, for elements that are as long as they are wide.

    Parameters
    ----------
    source : str
        The shape's name.
    wanted : int or tuple of one int
        The number of nodes to aim at, or the first count.
    lengths : positive floats
        What each count divides, in one unit.
    count : (*counts) -> int
        The number of nodes, linear in each count.
    least : ints, optional
        The least each count may be; 1 if not given.

    Raises
    ------
    MeshError
        If the first count makes too many nodes.
    """
    least = least or [1] * len(lengths)

    def of(h: float) -> list[int]:
        return [max(low, round(length / h)) for low, length in zip(least, lengths, strict=True)]

    if isinstance(wanted, tuple):
        counts = [wanted[0], *of(lengths[0] / wanted[0])[1:]]
        if max(counts) > MOST_NODES or count(*counts) > MOST_NODES:
            raise MeshError(f"{source}: {wanted[0]:,} elements across give more than {MOST_NODES:,} nodes; use fewer")
        return tuple(counts)
    fine, coarse = max(lengths) / wanted, 2 * max(lengths)  # count(of(fine)) >= wanted
    while coarse / fine > 1 + 1e-9:
        h = math.sqrt(fine * coarse)
        fine, coarse = (h, coarse) if count(*of(h)) >= wanted else (fine, h)
    # One more step along the largest count changes N by less than any other: it makes up the rest.
    counts = min(of(fine), of(coarse), key=lambda counts: abs(count(*counts) - wanted))
    k = int(np.argmax(counts))
    more = [n + (i == k) for i, n in enumerate(counts)]
    step = count(*more) - count(*counts)
    counts[k] = max(least[k], counts[k] - round((count(*counts) - wanted) / step))
    return tuple(counts)


def built(
    source: str,
    wanted: int | tuple[int, ...],
    lengths: Sequence[float],
    blocks: Callable[..., Sequence[Block]],
    named: Mapping[str, Sequence[tuple[str, str]]],
) -> Mesh:
    """The mesh of `blocks(*counts)`, with the counts of `fitted`; the sides of its boundaries are `named`."""
    counts = fitted(source, wanted, lengths, lambda *counts: count_nodes(blocks(*counts)))
    return assemble(blocks(*counts), named, source)


def grid_nodes(m: int, n: int) -> int:
    """The number of nodes of a grid of m by n elements."""
    return 3 * m * n + 2 * (m + n) + 1


def assemble(blocks: Sequence[Block], named: Mapping[str, Sequence[tuple[str, str]]], source: str) -> Mesh:
    """The mesh made of `blocks`.

    Parameters
    ----------
    blocks : sequence of Block
        Blocks that share an edge must have the same number of elements along it.
    named : mapping of boundary to sides
        Sides as pairs of corners, in either order. Every other side that is not shared belongs to
        `walls`.
    source : str
        The shape's name.

    Raises
    ------
    MeshError
        For too many nodes. Also where blocks don't fit together or `named` names a side that isn't
        exterior: a mistake in the shape, not in its parameters.
    """
    if (n := count_nodes(blocks)) > MOST_NODES:
        raise MeshError(f"{source}: these counts give {n:,} nodes; the limit is {MOST_NODES:,}; use smaller counts")
    points = [block.points for block in blocks]
    x, y = (np.concatenate([point[axis].ravel() for point in points]) for axis in (0, 1))
    columns = np.concatenate([block.columns.ravel() for block in blocks])
    lattices = _weld(blocks, x, y, source)

    # Keep one node of each welded set, and none in the middle of elements; then number by column.
    keep = np.zeros(len(x), dtype=bool)
    for lattice in lattices:
        keep[lattice] = True
        keep[lattice[1::2, 1::2]] = False
    old = np.flatnonzero(keep)
    old = old[np.argsort(columns[old], kind="stable")]
    new = np.full(len(x), -1, dtype=np.int32)
    new[old] = np.arange(len(old), dtype=np.int32)
    lattices = [new[lattice] for lattice in lattices]

    quad8 = np.concatenate([_elements(lattice) for lattice in lattices])
    order = np.argsort(np.concatenate([block.columns[1::2, 1::2].ravel() for block in blocks]), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return Mesh(x[old], y[old], quad8[order], _boundaries(blocks, lattices, rank, named, source), source)


def _elements(lattice: Ints) -> Ints:
    """The elements of one lattice of node numbers, (n_s · n_t, 8), t running first."""
    a, b = (n - 2 for n in lattice.shape)
    return np.stack([lattice[i : i + a + 1 : 2, j : j + b + 1 : 2].ravel() for i, j in _LATTICE], axis=1)


def _sides(lattice: Array) -> list[Array]:
    """The four sides of a lattice, each in counter-clockwise direction."""
    return [lattice[:, 0], lattice[-1, :], lattice[::-1, -1], lattice[0, ::-1]]


def _pairs(block: Block) -> list[tuple[str, str]]:
    """The corners (from, to) of the four sides."""
    a, b, c, d = block.corners
    return [(a, b), (b, c), (c, d), (d, a)]


def _weld(blocks: Sequence[Block], x: Floats, y: Floats, source: str) -> list[Array]:
    """Lattices of provisional numbers, in which shared corners and edges have the number of their first block."""
    corner: dict[str, int] = {}
    edge: dict[tuple[str, str], Array] = {}
    lattices: list[Array] = []
    shared: list[tuple[Array, Array]] = []
    size = 0
    for block in blocks:
        shape = len(block.s), len(block.t)
        lattice = size + np.arange(shape[0] * shape[1]).reshape(shape)
        size += lattice.size
        for (a, b), side in zip(_pairs(block), _sides(lattice), strict=True):
            key, along = ((a, b), side) if a <= b else ((b, a), side[::-1])
            first = edge.setdefault(key, along.copy())
            if len(first) != len(along):
                raise MeshError(f"{source}: blocks disagree about the elements on the side {a}-{b}")
            first[0], first[-1] = corner.setdefault(key[0], first[0]), corner.setdefault(key[1], first[-1])
            shared.append((first, along.copy()))
            along[:] = first
        lattices.append(lattice)
    first, second = (np.concatenate(numbers) for numbers in zip(*shared, strict=True))
    gap = np.hypot(x[first] - x[second], y[first] - y[second]).max()
    if not gap <= SAME_PLACE * max(np.ptp(x), np.ptp(y)):
        raise MeshError(f"{source}: blocks place a shared node {gap:.3g} m apart")
    return lattices


def _boundaries(
    blocks: Sequence[Block],
    lattices: Sequence[Ints],
    rank: Array,
    named: Mapping[str, Sequence[tuple[str, str]]],
    source: str,
) -> dict[str, Boundary]:
    """Boundaries by name, their edges (a, mid, b) in element order; `rank` is the new number of each element."""
    sides: dict[tuple[str, str], list[tuple[Array, Ints]]] = {}
    start = 0
    for block, lattice in zip(blocks, lattices, strict=True):
        elements = rank[start : start + block.counts[0] * block.counts[1]].reshape(block.counts)
        start += elements.size
        for local, (pair, side, of) in enumerate(zip(_pairs(block), _sides(lattice), _sides(elements), strict=True)):
            edges = np.stack([side[:-1:2], side[1::2], side[2::2]], axis=1)
            sides.setdefault((min(pair), max(pair)), []).append((4 * of + local, edges))
    exterior = {pair: once[0] for pair, once in sides.items() if len(once) == 1}

    boundaries = {}
    for name, pairs in named.items():
        wanted = [(min(pair), max(pair)) for pair in pairs]
        if missing := [pair for pair in wanted if pair not in exterior]:
            raise MeshError(f"{source}: the side {'-'.join(missing[0])} of {name} isn't exterior")
        boundaries[name] = _boundary([exterior.pop(pair) for pair in wanted])
    return {**boundaries, "walls": _boundary(list(exterior.values()))}


def _boundary(parts: Sequence[tuple[Array, Ints]]) -> Boundary:
    """The boundary of some (places, edges), its edges in the order of their places."""
    if not parts:
        return Boundary.from_edges(np.empty((0, 3), dtype=np.int32))
    places, edges = (np.concatenate(values) for values in zip(*parts, strict=True))
    return Boundary.from_edges(edges[np.argsort(places, kind="stable")])
