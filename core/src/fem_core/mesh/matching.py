"""Edges that elements have in common, and edges that should match but don't."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property

import numpy as np

from fem_core.mesh import quad8 as q8
from fem_core.support.wording import name_some
from fem_core.types import Array, Ints


class Mismatch(Enum):
    """The ways in which edges don't match."""

    THRICE, TORN, OVERLAP = auto(), auto(), auto()


#: The cause and the remedy for each.
_WORDS = {
    Mismatch.THRICE: ("more than two elements share an edge", "merge or remove the duplicates"),
    Mismatch.TORN: (
        "neighbours share the corners of an edge but not its mid-side node",
        "merge coincident nodes first",
    ),
    Mismatch.OVERLAP: ("neighbours lie on the same side of an edge, so they overlap", "remove the duplicates"),
}


class KnownEdges:
    """Edges (a, mid, b) that others are looked up among: they are sorted once, for any number of searches."""

    def __init__(self, edges: Ints) -> None:
        self.edges = edges
        self._n = int(edges.max(initial=-1)) + 1
        ends = self._ends(edges)
        self._order = np.argsort(ends)
        self._ends_in_order = ends[self._order]

    def _ends(self, edges: Ints) -> Array:
        a, b = edges[:, 0].astype(np.int64), edges[:, 2].astype(np.int64)
        return np.minimum(a, b) * self._n + np.maximum(a, b)

    def find(self, edges: Ints) -> Ints:
        """The index of each of `edges`, in either direction; -1 for an edge that isn't known."""
        if not len(self.edges) or not len(edges):
            return np.full(len(edges), -1, dtype=np.int64)
        wanted = self._ends(edges)
        at = np.minimum(np.searchsorted(self._ends_in_order, wanted), len(self.edges) - 1)
        place = self._order[at]
        # a node beyond the known ones could give the ends of another edge: the middle and the ends must fit
        same = (self._ends_in_order[at] == wanted) & (self.edges[place, 1] == edges[:, 1])
        found: Ints = np.where(same & (edges[:, [0, 2]] < self._n).all(axis=1), place, -1)
        return found


@dataclass(frozen=True, eq=False)
class MatchedEdges:
    """The edges of a mesh, compared with each other.

    Parameters
    ----------
    exterior : int32 (n, 3)
        Edges that belong to one element only, as nodes (a, mid, b), in element order.
    mismatches : mapping of Mismatch to int32 (m,)
        The elements whose edges don't match. It contains only the kinds that occur, the most basic first.
    """

    exterior: Ints
    mismatches: Mapping[Mismatch, Ints]

    @cached_property
    def known(self) -> KnownEdges:
        """The exterior edges, to look up others among them."""
        return KnownEdges(self.exterior)

    def at(self, nodes: Ints) -> Ints:
        """The indices of the exterior edges that have one of `nodes`, in ascending order."""
        first, edges = self._by_node
        nodes = nodes[(nodes >= 0) & (nodes < len(first) - 1)]
        begin, number = first[nodes], first[nodes + 1] - first[nodes]
        within = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
        found: Ints = np.unique(edges[np.repeat(begin, number) + within])
        return found

    @cached_property
    def _by_node(self) -> tuple[Array, Array]:
        """Where the exterior edges of each node begin, and these edges, node by node."""
        flat = self.exterior.ravel()
        order = np.argsort(flat, kind="stable")
        first = np.concatenate([[0], np.cumsum(np.bincount(flat))])
        return first, order // 3


def match_edges(quad8: Ints, n_nodes: int) -> MatchedEdges:
    """Compare the edges of elements: after sorting, edges with the same corners are neighbours."""
    a, mid, b = (quad8[:, nodes].ravel() for nodes in q8.EDGES.T)
    key = np.minimum(a, b).astype(np.int64) * n_nodes + np.maximum(a, b)
    order = np.argsort(key, kind="stable")
    key, mid_, a_ = key[order], mid[order], a[order]
    same = key[1:] == key[:-1]
    wrong = {
        Mismatch.THRICE: np.append(same[1:] & same[:-1], False) if len(same) else same,
        Mismatch.TORN: same & (mid_[1:] != mid_[:-1]),
        Mismatch.OVERLAP: same & (a_[1:] == a_[:-1]),
    }
    once = np.ones(len(key), dtype=bool)
    once[1:] &= ~same
    once[:-1] &= ~same
    exterior = np.sort(order[once])
    return MatchedEdges(
        np.stack([a[exterior], mid[exterior], b[exterior]], axis=1),
        {kind: np.unique(order[1:][at] // 4).astype(np.int32) for kind, at in wrong.items() if at.any()},
    )


def mismatch_text(kind: Mismatch, elements: Ints) -> str:
    """The cause, the elements and the remedy for edges that don't match."""
    what, remedy = _WORDS[kind]
    return f"{what}, at {name_some(elements, 'element')}; {remedy}"
