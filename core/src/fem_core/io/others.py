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
from fem_core.io.checks import as_elements_have, check_plane, lacking, left_aside, sides_between
from fem_core.io.vtu_mesh import TAGS
from fem_core.mesh.cells import KINDS, Cells
from fem_core.mesh.mesh import Boundary
from fem_core.support.wording import count, verb
from fem_core.types import Array

#: meshio's names of cells, as ours.
_AREAS = {"triangle": "triangle3", "triangle6": "triangle6", "quad": "quad4", "quad8": "quad8", "quad9": "quad9"}
_LINES, _POINT = ("line", "line3"), "vertex"


def endings() -> list[str]:
    """The endings that meshio reads; none if it isn't installed."""
    if lacking("", "convert", ("meshio",)):
        return []
    import meshio

    return sorted(meshio.extension_to_filetypes)


def read_cells(path: Path) -> Cells:
    """The cells in a file of another program. Raises MeshError naming the file and what can't be converted."""
    if problem := lacking(path.suffix, "convert", ("meshio",)):
        raise MeshError(f"{path}: {problem}")
    import meshio

    logging.getLogger("meshio").setLevel(logging.ERROR)
    # meshio prints its warnings, and ends the interpreter over some files.
    silent = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            warnings.simplefilter("ignore")
            found = meshio.read(path)
    except (Exception, SystemExit) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise MeshError(f"{path}: meshio can't read this file ({text})") from None
    return _cells(path, found)


def _cells(path: Path, found: Any) -> Cells:
    """The areas of what meshio found, and boundaries of its named sets, or of the tags on its lines and points."""
    blocks: dict[str, list[Array]] = {}
    for block in found.cells:
        if block.type in _AREAS:
            blocks.setdefault(_AREAS[block.type], []).append(np.asarray(block.data, dtype=np.int64))
        elif block.type not in (*_LINES, _POINT):
            raise MeshError(
                f"{path}: {count(len(block.data), 'cell')} of the type {block.type!r} can't be converted; the kinds "
                f"that can are {', '.join(kind.name + 's' for kind in KINDS.values())}"
            )
    if not blocks:
        raise MeshError(f"{path}: there are no triangles and no quadrilaterals")
    xyz = np.asarray(found.points, dtype=np.float64)
    areas = {kind: np.concatenate(parts) for kind, parts in blocks.items()}
    cells = Cells(xyz[:, 0].copy(), xyz[:, 1].copy(), areas, source=path.name)
    notes = check_plane(path, xyz, np.arange(len(xyz)), cells.used_nodes)
    edges: dict[str, list[Array]] = {}
    nodes: dict[str, list[Array]] = {name: [np.asarray(one).ravel()] for name, one in found.point_sets.items()}
    lost: dict[str, str] = {}
    aside = {_POINT: 0, "line": 0}
    for number, block in enumerate(found.cells):
        if block.type in _AREAS:
            continue
        members = np.asarray(block.data, dtype=np.int64)
        rest = np.ones(len(members), dtype=bool)
        for name, chosen in _named(found, number, block.type):
            rest[chosen] = False
            if block.type == _POINT:
                nodes.setdefault(name, []).append(members[chosen].ravel())
            elif why := _into(edges.setdefault(name, []), members[chosen], cells):
                lost[name] = why
        aside[_POINT if block.type == _POINT else "line"] += int(np.count_nonzero(rest))
    boundaries = {}
    for name in [name for name in dict.fromkeys([*edges, *nodes]) if name not in lost]:
        own = np.concatenate([np.empty((0, 3), dtype=np.int64), *edges.get(name, [])])
        boundaries[name] = Boundary(own, np.concatenate([own.ravel(), *nodes.get(name, [])]))
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


def _named(found: Any, number: int, kind: str) -> Iterator[tuple[str, Array]]:
    """The names in a block of lines or points, and the cells that have each."""
    sets = {name: parts[number] for name, parts in found.cell_sets.items() if not name.startswith("gmsh:")}
    own = {
        name: np.asarray(chosen, dtype=np.int64) for name, chosen in sets.items() if chosen is not None and len(chosen)
    }
    if own:
        yield from own.items()
        return
    dimension = 0 if kind == _POINT else 1
    names = {int(tag): name for name, (tag, of) in found.field_data.items() if int(of) == dimension}
    for array in TAGS:
        tags = found.cell_data.get(array)
        if tags is not None and (given := np.asarray(tags[number]).ravel()).any():
            for tag in np.unique(given[given != 0]).tolist():
                yield names.get(int(tag), f"{'' if dimension else 'point '}{int(tag)}"), np.flatnonzero(given == tag)
            return
