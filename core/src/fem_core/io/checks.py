"""The checks that every reader makes before it trusts a file, and the checks of a mesh before it is written."""

import codecs
import importlib.util
import re
import shlex
import warnings
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from fem_core.errors import MOST_ECHOED, MeshError, shortened
from fem_core.mesh.cells import Cells, as_mesh
from fem_core.mesh.geometry import find_edges
from fem_core.mesh.mesh import NO_NAME, SAME_PLACE, Boundary, Mesh, is_valid_name
from fem_core.mesh.quad8 import EDGES
from fem_core.support.wording import count, name_some, pip_install, verb
from fem_core.types import Array, Floats

#: Data over 1 MiB may be at most this many times larger than the stored bytes.
MAX_RATIO = 256
SMALL = 1 << 20

_ROWS = 1 << 14
_NAMED = 10  # arrays in a message
_LOOKED_AT = 1000  # arrays beside those of a mesh
_END = re.compile("inlet|outlet", re.IGNORECASE)


def check_claim(path: Path, what: str, claimed: int, stored: int, verb: str = "claims") -> None:
    """Refuse a decompression bomb before memory is allocated: `claimed` bytes that unpack from `stored` bytes."""
    if claimed > SMALL and claimed > MAX_RATIO * stored:
        raise MeshError(f"{path}: {what} {verb} {claimed:,} bytes but stores only {stored:,}, so the file is refused")


def check_plane(path: Path, points: Floats, labels: Array, quad8: Array | None = None) -> tuple[str, ...]:
    """Refuse points, (n, 2 or more), that don't lie in a plane z = constant; return the notes on the mesh.

    z may vary by rounding errors, 1e-9 of the extent. A plane other than z = 0 gets a note; the problem in it is the
    same. `labels` are the numbers of the points in the file. With `quad8`, only the nodes of elements count.
    """
    if points.shape[1] < 3 or not points[:, 2].any():
        return ()
    if quad8 is not None:
        used = np.unique(quad8)
        points, labels = points[used], labels[used]
    if not len(points):
        return ()
    z = points[:, 2]
    with np.errstate(over="ignore", invalid="ignore"):
        tolerance = SAME_PLACE * np.ptp(points[:, :2], axis=0).max()
        off = ~(np.abs(z) <= (tolerance if np.isfinite(tolerance) else 0))  # NaN is refused, too
        if not off.any():
            return ()
        if np.ptp(z) <= tolerance < np.inf:
            return (f"the mesh lies in the plane z = {np.median(z):g}, and is solved in it",)
    raise MeshError(
        f"{path}: {name_some(labels[off], 'node', 'have')} z other than 0, and z isn't the same everywhere "
        f"({z.min():g} to {z.max():g}); turn the mesh into the x-y plane or a plane parallel to it"
    )


def check_z(path: Path, x: Floats, y: Floats, z: Floats | None) -> tuple[str, ...]:
    """`check_plane` for coordinates in separate arrays; z may be absent."""
    if z is None or not (x.shape == y.shape == z.shape == (z.size,)):
        return ()
    return check_plane(path, np.stack([x, y, z], axis=1), np.arange(z.size)) if z.any() else ()


def without_bom(text: bytes) -> bytes:
    """The bytes of a text without the byte order mark that some editors put before it."""
    return text.removeprefix(codecs.BOM_UTF8)


def lacks(path: Path, wanted: str, found: Iterable[str]) -> MeshError:
    """The error for a file without the array `wanted`; it lists some of the arrays `found`, each with its shape."""
    described = (shortened(one, MOST_ECHOED // _NAMED) for one in islice(found, _NAMED + 1))
    first = [one if one.isprintable() else repr(one) for one in described]
    there = ", ".join([*first[:_NAMED], *["…"][: len(first) - _NAMED]])
    return MeshError(
        f"{path}: there is no {wanted!r}; found: {there or 'nothing'}; a mesh has x and y (n_nodes,) and quad8 "
        "(n_elements, 8), under these names"
    )


def is_end(name: str) -> bool:
    """Whether a name speaks of an inlet or outlet: then nothing is guessed, whatever it is the name of.

    >>> is_end("Inlet_nodes"), is_end("left")
    (True, False)
    """
    return bool(_END.search(name))


def unread(arrays: Iterable[tuple[str, str, tuple[int, ...]]], n_nodes: int, n_elements: int) -> dict[str, str]:
    """The lost names of a file: arrays beside those of a mesh that may be meant as boundaries, with the reason.

    `arrays` are names with NumPy's kind of numbers and the shape. Lost are those with a name that speaks of a boundary,
    and whole numbers that can be edges or lists of nodes: pairs, triples, and rows of another length than the nodes or
    the elements.
    """
    reason = "the array isn't read; the edges of a boundary are boundaries/NAME/edges, (n, 3: end, mid-side, end)"

    def may_be_meant(name: str, kind: str, shape: tuple[int, ...]) -> bool:
        if is_end(name) or "boundar" in name.casefold():
            return True
        if kind not in "iu" or 0 in shape:
            return False
        return shape[1:] in ((2,), (3,)) or (len(shape) == 1 and shape[0] not in (n_nodes, n_elements))

    return {name: reason for name, kind, shape in islice(arrays, _LOOKED_AT) if may_be_meant(name, kind, shape)}


def with_valid_names(boundaries: dict[str, Boundary]) -> tuple[dict[str, Boundary], dict[str, str]]:
    """The boundaries of a file that have valid names, and the other names, which are lost, with the reason."""
    lost = {name: f"a boundary can't have this name; {NO_NAME}" for name in boundaries if not is_valid_name(name)}
    return {name: one for name, one in boundaries.items() if name not in lost}, lost


def result_warning(path: Path) -> str:
    """The warning for a result that is read as a mesh, in a format that doesn't store the problem."""
    return (
        f"the file is a result, but {path.suffix} doesn't store its problem: the problem given here is solved, or the "
        "default one; a result in .h5 stores its problem"
    )


def is_plain(name: str) -> bool:
    """Whether every format can hold the name of a boundary."""
    fits = name.isprintable() and not set(name) & set('",=/') and name == name.strip() and len(name) <= 80
    return fits and name not in ("", ".", "..")


def check_names(mesh: Mesh) -> None:
    """Refuse names of boundaries that can't be written in a text format."""
    for name in mesh.boundaries:
        if not is_plain(name):
            raise MeshError(
                f"the boundary name {name!r} can't be written in this format: a name has at most 80 characters, "
                'no comma, no = and no "'
            )


def lacking(suffix: str, extra: str, packages: Sequence[str]) -> str:
    """What to install before files with this ending can be used; empty if all `packages` are installed."""
    if all(importlib.util.find_spec(package) for package in packages):
        return ""
    return f"{suffix} needs {' and '.join(packages)}, the extra `{extra}`: {pip_install(*packages)}"


def numbers(text: bytes, dtype: type) -> Array:
    """The numbers in `text`, separated by white space. Raises ValueError if the text has anything else."""
    if not text or text.isspace():  # NumPy would read it as a number
        return np.empty(0, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # NumPy before 2.3 gives this instead of an error
        try:
            return np.fromstring(text, dtype=dtype, sep=" ")
        except (DeprecationWarning, ValueError):
            raise ValueError("something that isn't a number") from None


def node_labels(place: Path | str, column: Floats) -> Array:
    """The numbers of nodes that were read beside their coordinates, int64; `place` is where, for a refusal."""
    if not (np.isfinite(column) & (np.floor(column) == column) & (np.abs(column) < 2**53)).all():
        raise MeshError(f"{place}: the node numbers must be whole numbers below {2**53:,}")
    return column.astype(np.int64)


class Numbering:
    """The position of each number of a file, for example of the node numbers."""

    def __init__(self, numbers: Array) -> None:
        self.in_a_row = bool((np.diff(numbers) == 1).all())
        self.order = np.empty(0, dtype=np.int64) if self.in_a_row else np.argsort(numbers, kind="stable")
        self.ordered = numbers if self.in_a_row else numbers[self.order]

    @property
    def repeated(self) -> Array:
        """The numbers that occur more than once."""
        same: Array = self.ordered[1:][self.ordered[1:] == self.ordered[:-1]]
        return same

    def every(self, wanted: Array) -> Array:
        """The positions of all numbers that are in `wanted`, in ascending order; also of repeated numbers."""
        wanted = np.unique(wanted)
        first, last = (np.searchsorted(self.ordered, wanted, side) for side in ("left", "right"))
        begin = np.cumsum(last - first) - (last - first)
        at = np.arange((last - first).sum()) + np.repeat(first - begin, last - first)
        return at if self.in_a_row else np.sort(self.order[at])

    def find(self, wanted: Array) -> Array:
        """The position of each of `wanted`, -1 for a number that doesn't occur: int32 of the shape of `wanted`."""
        found = np.empty(wanted.shape, dtype=np.int32)
        ordered = self.ordered
        if not len(ordered):
            found[...] = -1
            return found
        for start in range(0, len(wanted), _ROWS):  # in pieces, to save memory
            piece = wanted[start : start + _ROWS].astype(np.int64)
            place = piece - ordered[0] if self.in_a_row else np.searchsorted(ordered, piece)
            place = np.clip(place, 0, len(ordered) - 1)
            known = ordered[place] == piece
            place = place if self.in_a_row else self.order[place]
            found[start : start + _ROWS] = place if known.all() else np.where(known, place, -1)
        return found


def positions(path: Path, numbers: Array, wanted: Array) -> Array:
    """The position of each of `wanted` in `numbers`, the node numbers of a file: int32 of the shape of `wanted`."""
    numbering = Numbering(numbers)
    if len(twice := numbering.repeated):
        raise MeshError(f"{path}: {name_some(twice, 'node', 'are')} defined twice")
    found = numbering.find(wanted)
    if (found < 0).any():
        lost = name_some(np.unique(wanted[found < 0]), "node", "are")
        raise MeshError(f"{path}: {lost} referred to but not defined")
    return found


def as_elements_have(edges: Array, quad8: Array) -> Array:
    """`edges` (a, mid, b), each in the direction of an element that has it; edges of no element are unchanged."""
    is_middle = np.zeros(max(quad8.max(initial=0), edges.max(initial=0)) + 1, dtype=bool)
    is_middle[edges[:, 1]] = True
    element, side = np.nonzero(is_middle[quad8[:, 4:]])
    known = quad8[element[:, None], EDGES[side]]
    place = find_edges(edges, known)
    found = place >= 0
    turned: Array = edges.copy()
    turned[found] = known[place[found]]
    return turned


def convert_command(path: Path) -> str:
    """The command that converts the mesh in a file."""
    return f"fem convert {shlex.quote(str(path))} -o {shlex.quote(f'{path.stem}-quads.h5')}"


def solvable(path: Path, cells: Cells, way_out: str = "") -> Mesh:
    """The mesh of cells that are all 8-node quadrilaterals. Raises MeshError for others, naming the ways out."""
    if cells.others:
        raise MeshError(
            f"{path}: {cells.others}, but only 8-node quadrilaterals are solved; convert the mesh: "
            + convert_command(path)
            + (f"; or {way_out}" if way_out else "")
        )
    return as_mesh(cells)


def sides_between(ends: Array, quad8: Array) -> tuple[Array, Array]:
    """The sides of elements (a, mid, b) between the `ends` of 2-node lines (n, 2), and whether there is one: (n,)."""
    if not len(ends):
        return np.empty((0, 3), dtype=quad8.dtype), np.empty(0, dtype=bool)
    is_end = np.zeros(max(quad8.max(initial=0), ends.max(initial=0)) + 1, dtype=bool)
    is_end[ends] = True
    element, side = np.nonzero(is_end[quad8[:, EDGES[:, 0]]] & is_end[quad8[:, EDGES[:, 2]]])
    known = quad8[element[:, None], EDGES[side]]
    known = known[known[:, 0] != known[:, 2]]  # the fourth side of a triangle's outline is none
    if not len(known):
        return np.zeros((len(ends), 3), dtype=quad8.dtype), np.zeros(len(ends), dtype=bool)
    key, wanted = (np.sort(pairs, axis=1) @ np.array([len(is_end), 1]) for pairs in (known[:, [0, 2]], ends))
    order = np.argsort(key, kind="stable")
    place = order[np.minimum(np.searchsorted(key, wanted, sorter=order), len(key) - 1)]
    return known[place], key[place] == wanted


def left_aside(points: int, lines: int, where: str) -> tuple[str, ...]:
    """The note on points and lines that no boundary needs; `where` says where they are."""
    named = " and ".join(count(number, what) for number, what in ((points, "point"), (lines, "line")) if number)
    return (f"{named} {where} {verb(points + lines, 'are')} left aside",) if named else ()


def check_tags(path: Path, name: str, tags: Array) -> Array:
    """The tags of cells as int64. Raises MeshError if the array `name` holds other numbers."""
    if not (np.abs(tags) < 2**53).all() or (tags != np.floor(tags)).any():
        raise MeshError(f"{path}: CellData/{name} must hold whole numbers, the tags of boundaries")
    return tags.astype(np.int64)


def unknown_tags(of_lines: Iterable[tuple[str, Array]]) -> dict[str, str]:
    """Arrays that may be tags of boundaries, under names that aren't known for them, as lost names with the reason."""

    def may_be_tags(values: Array) -> bool:  # of a type with fractions, one number on all lines is a field
        whole = values.dtype.kind in "iuf" and values.any() and (values == np.floor(values)).all()
        return bool(whole and (values.dtype.kind != "f" or np.ptp(values)))

    reason = (
        "whole numbers on the line cells, under a name that isn't known for tags of boundaries; "
        "if they are tags, name the array gmsh:physical"
    )
    return {name: reason for name, values in of_lines if may_be_tags(values)}
