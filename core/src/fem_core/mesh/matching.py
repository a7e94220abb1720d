"""Edges that elements have in common, and edges that should match but don't."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from fem_core.mesh import quad8 as q8
from fem_core.support.wording import name_some
from fem_core.types import Ints


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
