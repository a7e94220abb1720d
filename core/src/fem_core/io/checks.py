"""What every reader of strangers' files checks before it believes one, and what writers check of a mesh."""

import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fem_core.errors import MeshError
from fem_core.mesh.geometry import find_edges
from fem_core.mesh.mesh import Mesh
from fem_core.mesh.quad8 import EDGES
from fem_core.support.wording import name_some, pip_install
from fem_core.types import Array, Floats

#: Data over 1 MiB may be at most this many times larger than what is stored of it.
MAX_RATIO = 256
SMALL = 1 << 20

_ROWS = 1 << 14


def check_claim(path: Path, what: str, claimed: int, stored: int, verb: str = "claims") -> None:
    """Refuse a bomb, before memory is asked for: `claimed` bytes to be unpacked from `stored` ones."""
    if claimed > SMALL and claimed > MAX_RATIO * stored:
        raise MeshError(f"{path}: {what} {verb} {claimed:,} bytes but stores only {stored:,}, so the file is refused")


def check_plane(path: Path, points: Floats, labels: Array) -> None:
    """Refuse points, (n, 2 or more), that aren't in the plane z = 0; `labels` are their numbers in the file."""
    if points.shape[1] > 2 and len(bad := np.flatnonzero(points[:, 2])):
        raise MeshError(
            f"{path}: {name_some(labels[bad], 'node', 'have')} z other than 0; the mesh must lie in the x-y plane"
        )


def check_names(mesh: Mesh) -> None:
    """Refuse names of boundaries that a text format can't hold."""
    for name in mesh.boundaries:
        if not name.isprintable() or set(name) & set('",=') or name != name.strip() or len(name) > 80:
            raise MeshError(
                f"the boundary name {name!r} can't be written in this format: a name has at most 80 characters, "
                'no comma, no = and no "'
            )


def lacking(suffix: str, extra: str, packages: Sequence[str]) -> str:
    """What to install before files of this ending can be used; empty if all `packages` are there."""
    if all(importlib.util.find_spec(package) for package in packages):
        return ""
    return f"{suffix} needs {' and '.join(packages)}, the extra `{extra}`: {pip_install(*packages)}"


def numbers(text: bytes, dtype: type) -> Array:
    """The numbers in `text`, separated by white space. Raises ValueError where something else stands."""
    if not text or text.isspace():  # NumPy would make a number of it
        return np.empty(0, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # what NumPy gives instead of an error before 2.3
        try:
            return np.fromstring(text, dtype=dtype, sep=" ")
        except (DeprecationWarning, ValueError):
            raise ValueError("something that isn't a number") from None


def node_labels(path: Path, column: Floats) -> Array:
    """The numbers of nodes that were read beside their coordinates, int64."""
    if not (np.isfinite(column) & (np.floor(column) == column) & (np.abs(column) < 2**53)).all():
        raise MeshError(f"{path}: the node numbers must be whole numbers")
    return column.astype(np.int64)


class Numbering:
    """Where each number of a file stands, such as those of its nodes."""

    def __init__(self, numbers: Array) -> None:
        self.in_a_row = bool((np.diff(numbers) == 1).all())
        self.order = np.empty(0, dtype=np.int64) if self.in_a_row else np.argsort(numbers, kind="stable")
        self.ordered = numbers if self.in_a_row else numbers[self.order]

    @property
    def repeated(self) -> Array:
        """The numbers that are there more than once."""
        same: Array = self.ordered[1:][self.ordered[1:] == self.ordered[:-1]]
        return same

    def find(self, wanted: Array) -> Array:
        """Where each of `wanted` stands, -1 for those that aren't there: int32 of the shape of `wanted`."""
        found = np.empty(wanted.shape, dtype=np.int32)
        ordered = self.ordered
        if not len(ordered):
            found[...] = -1
            return found
        for start in range(0, len(wanted), _ROWS):  # piece by piece, for the sake of memory
            piece = wanted[start : start + _ROWS].astype(np.int64)
            place = piece - ordered[0] if self.in_a_row else np.searchsorted(ordered, piece)
            place = np.clip(place, 0, len(ordered) - 1)
            known = ordered[place] == piece
            place = place if self.in_a_row else self.order[place]
            found[start : start + _ROWS] = place if known.all() else np.where(known, place, -1)
        return found


def positions(path: Path, numbers: Array, wanted: Array) -> Array:
    """Where each of `wanted` stands in `numbers`, the node numbers of a file: int32 of the shape of `wanted`."""
    numbering = Numbering(numbers)
    if len(twice := numbering.repeated):
        raise MeshError(f"{path}: {name_some(twice, 'node', 'are')} defined twice")
    found = numbering.find(wanted)
    if (found < 0).any():
        lost = name_some(np.unique(wanted[found < 0]), "node", "are")
        raise MeshError(f"{path}: {lost} referred to but not defined")
    return found


def as_elements_have(edges: Array, quad8: Array) -> Array:
    """`edges` (a, mid, b), each in the direction of an element that has it; others stay as they are."""
    is_middle = np.zeros(max(quad8.max(initial=0), edges.max(initial=0)) + 1, dtype=bool)
    is_middle[edges[:, 1]] = True
    element, side = np.nonzero(is_middle[quad8[:, 4:]])
    known = quad8[element[:, None], EDGES[side]]
    place = find_edges(edges, known)
    found = place >= 0
    turned: Array = edges.copy()
    turned[found] = known[place[found]]
    return turned
