"""Meshes of other programs, as meshio reads them: Nastran, MED, Exodus, VTK, SU2, XDMF and more."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fem_core.errors import MeshError
from fem_core.io.checks import (
    as_elements_have,
    check_plane,
    check_tags,
    is_end,
    lacking,
    left_aside,
    sides_between,
    unknown_tags,
)
from fem_core.io.vtu_mesh import TAGS
from fem_core.mesh.cells import KINDS, Cells
from fem_core.mesh.mesh import Boundary
from fem_core.support.memory import lacks_memory
from fem_core.support.wording import count, pip_install, verb
from fem_core.types import Array

#: meshio's names of cells, as ours.
_AREAS = {"triangle": "triangle3", "triangle6": "triangle6", "quad": "quad4", "quad8": "quad8", "quad9": "quad9"}
_LINES, _POINT = ("line", "line3"), "vertex"
_EXODUS = (".e", ".exo", ".ex2")


def endings() -> tuple[str, ...]:
    """The endings that meshio reads; none if it isn't installed."""
    if lacking("", "convert", ("meshio",)):
        return ()
    import meshio

    return tuple(sorted(meshio.extension_to_filetypes))


def read_cells(path: Path) -> Cells:
    """The cells in a file of another program. Raises MeshError naming the file and what can't be converted."""
    if problem := lacking(path.suffix, "convert", ("meshio",)):
        raise MeshError(f"{path}: {problem}")
    import meshio

    logging.getLogger("meshio").setLevel(logging.ERROR)
    # meshio prints its warnings, and ends the interpreter over some files.
    said = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            warnings.simplefilter("ignore")
            found = meshio.read(path)
    except ModuleNotFoundError as error:
        raise MeshError(f"{path}: meshio needs {error.name} for this format: {pip_install(error.name or '')}") from None
    except (Exception, SystemExit) as error:
        if lacks_memory(error):
            raise
        why = said.getvalue() if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"
        text = " ".join(why.split())[:300]
        raise MeshError(f"{path}: meshio can't read this file ({text}); write it as .msh, .vtu or .inp") from None
    side_sets = _exodus_sets(path, found) if path.suffix.lower() in _EXODUS else ()
    names = _Names(path, found)
    names.others |= dict.fromkeys(side_sets, "sets of sides aren't read from Exodus; use a set of nodes")
    cells = _cells(path, found, names)
    if (text := " ".join(said.getvalue().split())) and not names.of_su2:
        cells = cells.having(notes=(*cells.notes, f"meshio says: {text[:300]}"))
    return cells


def _cells(path: Path, found: Any, names: "_Names") -> Cells:
    """The areas of what meshio found, and boundaries of its named sets, or of the tags on its lines and points."""
    blocks: dict[str, list[Array]] = {}
    xyz = np.asarray(found.points, dtype=np.float64)
    for block in found.cells:
        nodes = np.asarray(block.data, dtype=np.int64)
        if block.type in _AREAS:
            blocks.setdefault(_AREAS[block.type], []).append(nodes)
        elif block.type not in (*_LINES, _POINT):
            raise MeshError(
                f"{path}: {count(len(nodes), 'cell')} of the type {block.type!r} can't be converted; the kinds "
                f"that can are {', '.join(kind.name + 's' for kind in KINDS.values())}"
            )
        if nodes.size and not 0 <= nodes.min() <= nodes.max() < len(xyz):
            raise MeshError(f"{path}: cells refer to nodes that the file doesn't have")
    if not blocks:
        raise MeshError(f"{path}: there are no triangles and no quadrilaterals")
    areas = {kind: np.concatenate(parts) for kind, parts in blocks.items()}
    cells = Cells(xyz[:, 0].copy(), xyz[:, 1].copy(), areas, source=path.name)
    notes = check_plane(path, xyz, np.arange(len(xyz)), cells.used_nodes)
    edges: dict[str, list[Array]] = {}
    nodes_of = names.node_sets(found)
    lost = names.lost(found)
    aside = {_POINT: 0, "line": 0}
    for number, block in enumerate(found.cells):
        if block.type in _AREAS:
            continue
        members = np.asarray(block.data, dtype=np.int64)
        rest = np.ones(len(members), dtype=bool)
        for name, chosen in names.of_block(found, number):
            rest[chosen] = False
            if block.type == _POINT:
                nodes_of.setdefault(name, []).append(members[chosen].ravel())
            elif why := _into(edges.setdefault(name, []), members[chosen], cells):
                lost[name] = why
        aside[_POINT if block.type == _POINT else "line"] += int(np.count_nonzero(rest))
    boundaries = {}
    for name in dict.fromkeys([*edges, *nodes_of]):
        if name not in lost:
            nodes = np.concatenate([np.empty(0, dtype=np.int64), *nodes_of.get(name, [])])
            own: Array = np.concatenate(edges[name]) if name in edges else cells.exterior_among(nodes)
            boundaries[name] = Boundary(own, nodes.astype(np.int32))
    lost |= {name: why for name, why in names.others.items() if name not in boundaries and name not in lost}
    notes += left_aside(aside[_POINT], aside["line"], "in no set and without a tag")
    return cells.having(boundaries=boundaries, notes=notes, lost=lost)


def _into(edges: list[Array], lines: Array, cells: Cells) -> str:
    """Add lines as edges (a, mid, b) of the cells; why they make no boundary, if they don't."""
    if lines.shape[1] == 3:
        found, fits = as_elements_have(lines[:, [0, 2, 1]], cells.outline), np.ones(len(lines), dtype=bool)
        fits = cells.edges.find(found) >= 0
    else:
        found, fits = sides_between(lines, cells.outline)
    edges.append(found)
    loose = int(np.count_nonzero(~fits))
    return f"{loose} of its {count(len(lines), 'line')} {verb(loose, 'are')} no side of an element" if loose else ""


class _Names:
    """What a file calls its lines and points.

    Attributes
    ----------
    of_tag : names by dimension and tag
    others : names that can be boundaries only if lines or points have them, and what is said if none do
    tags : the tags of each block, if the file has any on lines or points
    """

    def __init__(self, path: Path, found: Any) -> None:
        self.of_tag: dict[tuple[int, int], list[str]] = {}
        for name, value in found.field_data.items():
            pair = np.asarray(value).ravel()
            if pair.dtype.kind in "iu" and pair.size == 2:  # else it is a number such as a time
                self._add(int(pair[1]), int(pair[0]), name)
        # of MED: an element is in one family, and that in several groups
        families = getattr(found, "cell_tags", {})
        of_blocks = [np.unique(tags).tolist() for tags in found.cell_data.get("cell_tags", [])] if families else []
        for block, tags in zip(found.cells, of_blocks, strict=False):
            for tag in tags:
                self._add(2 if block.type in _AREAS else int(block.type in _LINES), tag, *families.get(tag, []))
        for tag in set(families).difference(*of_blocks):
            self._add(1, tag, *families[tag])
        for tag, of_nodes in getattr(found, "point_tags", {}).items():
            self._add(0, tag, *of_nodes)
        markers = _su2_markers(path) if path.suffix.lower() == ".su2" else {}
        for tag, name in markers.items():
            self._add(1, tag, name)
        self.of_su2 = bool(markers)
        at = [k for k, block in enumerate(found.cells) if block.type not in _AREAS]
        self.tags: list[Array] | None = None
        for name in [name for name in TAGS if name in found.cell_data]:
            tags = [check_tags(path, name, np.asarray(part).ravel()) for part in found.cell_data[name]]
            if any(tags[k].any() for k in at):
                self.tags = tags
                break
        reason = "no line and no point of the file has this name"
        named = [name for (dimension, _), names in self.of_tag.items() if dimension < 2 for name in names]
        ends = [name for names in self.of_tag.values() for name in names if is_end(name)]
        ends += [name for kind in (found.cell_sets, found.cell_data, found.point_data) for name in kind if is_end(name)]
        self.others = dict.fromkeys([*named, *ends], reason)

    def _add(self, dimension: int, tag: int, *names: str) -> None:
        known = self.of_tag.setdefault((dimension, tag), [])
        known += [name for name in names if name not in known]

    def node_sets(self, found: Any) -> dict[str, list[Array]]:
        """The sets of nodes."""
        sets = {name: [np.asarray(one).ravel().astype(np.int64)] for name, one in found.point_sets.items()}
        tags = found.point_data.get("point_tags")
        for (dimension, tag), names in self.of_tag.items():
            if dimension == 0 and tags is not None and len(at := np.flatnonzero(np.asarray(tags) == tag)):
                for name in names:
                    sets.setdefault(name, []).append(at)
        return sets

    def lost(self, found: Any) -> dict[str, str]:
        """Arrays that may be tags of boundaries, under other names."""
        if self.tags is not None:
            return {}
        lines = [k for k, block in enumerate(found.cells) if block.type in _LINES]
        return unknown_tags(
            (name, np.concatenate([np.asarray(parts[k]).ravel() for k in lines]))
            for name, parts in found.cell_data.items()
            if lines and name not in TAGS and not name.startswith("vtk") and np.ndim(parts[lines[0]]) == 1
        )

    def of_block(self, found: Any, number: int) -> Iterator[tuple[str, Array]]:
        """The names in a block of lines or points, and the cells that have each: of its sets, else by its tags."""
        own = {
            name: np.asarray(parts[number], dtype=np.int64)
            for name, parts in found.cell_sets.items()
            if not name.startswith("gmsh:") and parts[number] is not None and len(parts[number])
        }
        if own or self.tags is None:
            yield from own.items()
            return
        dimension = 0 if found.cells[number].type == _POINT else 1
        for tag in np.unique(self.tags[number]).tolist():
            names = self.of_tag.get((dimension, tag)) or [f"{'' if dimension else 'point '}{tag}"] * (tag != 0)
            for name in names:
                yield name, np.flatnonzero(self.tags[number] == tag)


def _su2_markers(path: Path) -> dict[int, str]:
    """The names of markers by the numbers that meshio gives them: their own, or one more than the one before."""
    names: dict[int, str] = {}
    tag = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            key, _, text = line.strip().partition("=")
            if key.strip() == "MARKER_TAG":
                name = text.strip()
                tag = int(name) if name.lstrip("-").isdecimal() else tag + 1
                if names.setdefault(tag, name) != name:
                    raise MeshError(
                        f"{path}: the markers {names[tag]!r} and {name!r} can't be told apart; give each a name "
                        "that isn't a number"
                    )
    return names


def _exodus_sets(path: Path, found: Any) -> list[str]:
    """Give `found` all sets of nodes, also those without a name; returns the names of the sets of sides."""
    import netCDF4

    with netCDF4.Dataset(path) as file:

        def names(kind: str, number: str) -> list[str]:
            if number not in file.dimensions:
                return []
            n = len(file.dimensions[number])
            own = file.variables.get(f"{kind}_names")
            texts = [""] * n if own is None else [str(name).strip() for name in netCDF4.chartostring(own[:])]
            tags = file.variables.get(f"{kind}_prop1")
            return [text or str(k + 1 if tags is None else int(tags[k])) for k, text in enumerate(texts)]

        found.point_sets = {
            name: np.asarray(file.variables[f"node_ns{k}"][:], dtype=np.int64) - 1
            for k, name in enumerate(names("ns", "num_node_sets"), start=1)
            if f"node_ns{k}" in file.variables  # an empty set has none
        }
        return names("ss", "num_side_sets")
