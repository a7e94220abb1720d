"""Lines of 2 nodes: they mark sides of elements that have no mid-side nodes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fem_core.io.checks import Numbering, sides_between
from fem_core.mesh.cells import Cells
from fem_core.types import Array


@dataclass(eq=False)
class Links:
    """The 2-node lines of a scope.

    On a side with a mid-side node, such a line is no edge: in Abaqus it would leave that node free.

    Attributes
    ----------
    types, numbers : of the elements (n,)
    ends : their nodes in the mesh, -1 for those that aren't known (n, 2)
    edges : sides of cells (a, mid, b) between the ends (n, 3)
    joins_corners : whether there is such a side (n,)
    is_side : whether it has no mid-side node in the file (n,)
    is_needed : whether a boundary has the line (n,)
    """

    types: Array
    numbers: Array
    ends: Array
    edges: Array
    joins_corners: Array
    is_side: Array
    is_needed: Array

    @cached_property
    def numbering(self) -> Numbering:
        return Numbering(self.numbers)

    @classmethod
    def of(cls, given: list[tuple[str, Array]], ends: Array, cells: Cells) -> "Links":
        """The lines of each type, one behind the other, with these ends."""
        n = len(ends)
        types = np.array([kind for kind, rows in given for _ in rows], dtype=str)
        numbers = np.concatenate([np.empty(0, dtype=np.int64), *(rows[:, 0] for _, rows in given)])
        edges, joins = np.zeros((n, 3), dtype=np.int64), np.zeros(n, dtype=bool)
        known = (ends >= 0).all(axis=1)
        if cells.others and known.any():
            edges[known], joins[known] = sides_between(ends[known], cells.outline)
        return cls(types, numbers, ends, edges, joins, joins & (edges[:, 1] >= len(cells.x)), np.zeros(n, dtype=bool))
