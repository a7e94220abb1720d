"""The sets and surfaces of an Abaqus input file that are boundaries, and why the others are not.

Most sets have another purpose: materials, output, whole parts. A node set is one of these if it has all nodes of the
mesh, or only whole elements, or no exterior node. If some of its nodes are exterior and others aren't, it may be a
boundary with a wrong number: it is then a lost name (`Mesh.lost`).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from fem_core.io.abaqus.elements import LINE
from fem_core.io.abaqus.links import Links
from fem_core.io.abaqus.scopes import Scope, Set, Surface
from fem_core.io.abaqus.sets import Lookup, Members
from fem_core.io.abaqus.text import Block
from fem_core.io.checks import as_elements_have
from fem_core.mesh.cells import Cells
from fem_core.mesh.geometry import edges_among
from fem_core.mesh.mesh import NO_NAME, Boundary, is_valid_name
from fem_core.mesh.quad8 import EDGES
from fem_core.support.wording import name_all, name_some
from fem_core.types import Array, Ints

_NEEDED = ("inlet", "outlet")  # needed by the default problem: if one of these is no boundary, this is always reported


@dataclass(frozen=True, eq=False)
class Piece:
    """An instance, or the parts of the file outside of instances: where its nodes and elements begin in the mesh."""

    scope: Scope
    node: int
    line: int
    prefix: str  # before the numbers of its nodes in messages
    elements: dict[str, int] = field(default_factory=dict)  # by kind

    @property
    def labels(self) -> Array:
        """The numbers of its nodes for messages."""
        numbers = self.scope.node_numbers
        return np.char.add(self.prefix, numbers.astype(str)) if self.prefix else numbers

    @cached_property
    def cells(self) -> Array:
        """Where its elements stand in the mesh, in the order of `Scope.area_numbering`."""
        found = [self.elements[kind] + np.arange(self.scope.count(kind)) for kind in self.scope.areas]
        return np.concatenate([np.empty(0, dtype=np.int64), *found])


@dataclass(eq=False)
class _Named:
    """The sets and surfaces of one name: those that make a boundary, and why the others don't."""

    name: str
    internal: bool = True
    edges: list[Array] = field(default_factory=list)
    nodes: list[Array] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)  # why something looks like a boundary but is none
    has_sides: bool = False  # whether a surface or lines give its edges
    ordinary: str = ""  # why something is no boundary and wasn't meant as one

    @property
    def is_boundary(self) -> bool:
        return bool(self.edges or self.nodes)

    @property
    def lost(self) -> str:
        """Why it is no boundary, if this must be reported."""
        needed = self.name.casefold() in _NEEDED
        if self.is_boundary or (self.internal and not needed):
            return ""
        if self.reasons:
            return self.reasons[0]
        return (self.ordinary if needed else "") if self.ordinary else "it is empty"

    def boundary(self) -> Boundary:
        own = np.concatenate([np.empty((0, 3), dtype=np.int32), *self.edges])
        return Boundary(own, np.concatenate([own.ravel(), *self.nodes]).astype(np.int32))


class Boundaries:
    """The boundaries of a mesh by name, the lost names with their reasons, and notes."""

    def __init__(self, pieces: list[Piece], cells: Cells, lookup: Lookup) -> None:
        self.cells, self.lookup = cells, lookup
        self.n_nodes = len(cells.x)
        self.nowhere = self.n_nodes + (len(cells.edges.x) if cells.others else 0)  # the node of `Cells.outline`
        self.pieces = pieces
        self.piece = {piece.scope: piece for piece in pieces}
        self.sides = cells.outline[:, EDGES]
        self.named: dict[str, Boundary] = {}
        self.lost: dict[str, str] = {}
        self.notes: list[str] = []
        self._find_exterior()
        self._find_lines()
        self._give_names([(piece.scope, self._names_of(piece.scope)) for piece in pieces])
        self._note_elements()

    def _find_exterior(self) -> None:
        self.exterior = self.cells.exterior
        self.straight = self.exterior[self.exterior[:, 1] >= self.n_nodes]  # without a mid-side node in the file
        self.outer, self.used, self.holds = (np.zeros(self.nowhere + 1, dtype=bool) for _ in range(3))
        self.outer[self.exterior] = True
        self.edge_of = np.full(self.nowhere + 1, -1, dtype=np.int32)  # of exterior mid-sides
        self.edge_of[self.exterior[:, 1]] = np.arange(len(self.exterior))
        self.used[self.cells.used_nodes] = True
        self.n_used = int(np.count_nonzero(self.used))

    def _find_lines(self) -> None:
        """The line elements as edges (a, mid, b), in the direction of an element that has them."""
        found = [piece.scope.placed(LINE) + piece.node for piece in self.pieces]
        lines = np.concatenate([np.empty((0, 3), dtype=np.int32), *found])
        is_middle = np.zeros(self.nowhere + 1, dtype=bool)
        is_middle[self.cells.outline[:, 4:]] = True
        second = is_middle[lines[:, 1]]  # Abaqus' own order is end, middle, end; some programs write the middle last
        lines = np.where(second[:, None], lines, lines[:, [0, 2, 1]])
        self.lines = as_elements_have(lines, self.cells.outline) if len(lines) else lines
        self.is_side = edges_among(self.lines, self.sides.reshape(-1, 3)) if len(lines) else np.empty(0, dtype=bool)
        self.is_needed = np.zeros(len(lines), dtype=bool)
        self.links = {piece.scope: self._links(piece) for piece in self.pieces}

    def _links(self, piece: Piece) -> Links:
        rows = [rows[:, 1:] for _, rows in piece.scope.links]
        at = piece.scope.node_numbering.find(np.concatenate([np.empty((0, 2), dtype=np.int64), *rows]))
        return Links.of(piece.scope.links, np.where(at >= 0, at + piece.node, -1), self.cells)

    # the sets and surfaces of each name

    def _names_of(self, scope: Scope) -> dict[str, _Named]:
        found: dict[str, _Named] = {}
        keys: dict[str, str] = {}  # by name: the same name may be with and without quotes

        def into(key: str, one: Surface | Set) -> _Named:
            named = found.setdefault(keys.setdefault(one.name, key) if key not in found else key, _Named(one.name))
            named.internal &= one.internal
            return named

        for key, surface in scope.surfaces.by_key.items():
            self._surface(scope, surface, into(key, surface))
        for key, one in scope.sets["element"].by_key.items():
            self._elements(self.lookup.members(scope, "element", one), into(key, one))
        for key, one in scope.sets["node"].by_key.items():
            self._nodes(self.lookup.members(scope, "node", one), into(key, one))
        return found

    def _surface(self, scope: Scope, surface: Surface, into: _Named) -> None:
        edges, reason = [], surface.reason
        into.has_sides = not reason
        for block, elements, sides in surface.faces:
            if isinstance(elements, str):
                members = self.lookup.named(scope, block, "element", elements)
            else:
                members = Members([(block, scope, elements)])
            reason = reason or members.reason
            for _, of, numbers in members.parts:
                at = of.area_numbering.find(numbers)
                if (at < 0).any():
                    reason = reason or self._not_areas(block, surface, of, numbers[at < 0])
                elif (of.reflected_numbering.find(numbers) >= 0).any():
                    reason = reason or "the sides of elements of *ELCOPY, REFLECT aren't known; use a node set"
                else:
                    found = self.sides[self.piece[of].cells[at], sides]
                    edges.append(found)
                    if len(lacking := numbers[found[:, 1] == self.nowhere]):
                        reason = reason or f"{name_some(lacking, 'element', 'have')} 3 sides, but it gives a side S4"
        if reason:
            into.reasons.append(reason)
        else:
            into.edges += edges

    def _not_areas(self, block: Block, surface: Surface, scope: Scope, numbers: Array) -> str:
        if len(unknown := numbers[~_has_other(scope, numbers)]):
            raise block.fail(
                f"the surface {surface.name!r} refers to {name_some(unknown, 'element')}, not found in the file"
            )
        return f"{name_some(numbers, 'element', 'are')} no area"

    def _elements(self, members: Members, into: _Named) -> None:
        edges = []
        for scope, numbers in _by_scope(members):
            found, reason = self._lines_among(scope, numbers)
            edges += found
            if reason:
                into.reasons.append(reason)
            elif not found:
                into.ordinary = "it is a set of elements; name their sides in a *SURFACE, or a set of nodes"
        if not into.reasons:
            into.edges += edges
            into.has_sides |= bool(edges)

    def _lines_among(self, scope: Scope, numbers: Array) -> tuple[list[Array], str]:
        """The edges that elements of these numbers are, if any are lines, and why they make no boundary."""
        begin, links = self.piece[scope].line, self.links[scope]
        chosen = begin + scope.line_numbering.every(numbers)
        linked = links.numbering.every(numbers)
        sides = linked[links.is_side[linked]]
        bad = scope.line_numbers[chosen[~self.is_side[chosen]] - begin]
        if len(sides):
            bad = np.concatenate([bad, links.numbers[linked[~links.is_side[linked]]]])
        elif not len(chosen) and len(linked) == len(numbers) > 0 and self._are_outer(links.ends[linked]):
            if not self.cells.others or links.joins_corners[linked].all():
                return [], "its lines have no mid-side nodes; use lines of 3 nodes, or a node set"
            bad = numbers
        if len(bad):
            return [], f"{name_some(bad, 'line element', 'are')} no side of an element"
        if len(chosen) or len(sides):
            self.is_needed[chosen] = links.is_needed[sides] = True
            return [self.lines[chosen], links.edges[sides]], self._undefined(scope, numbers)
        is_area = scope.area_numbering.find(numbers) >= 0
        return [], "" if is_area.any() else self._undefined(scope, numbers)

    def _undefined(self, scope: Scope, numbers: Array) -> str:
        unknown = numbers[(scope.area_numbering.find(numbers) < 0) & ~_has_other(scope, numbers)]
        return f"{name_some(np.unique(unknown), 'element', 'are')} not defined" if len(unknown) else ""

    def _are_outer(self, ends: Array) -> bool:
        """Whether all these nodes are there and on the boundary of the mesh."""
        return bool((ends >= 0).all() and self.outer[ends].all())

    def _nodes(self, members: Members, into: _Named) -> None:
        if members.reason:
            into.reasons.append(members.reason)
            return
        of_block: dict[tuple[Block, Scope], list[Array]] = {}
        for block, scope, numbers in members.parts:
            of_block.setdefault((block, scope), []).append(numbers)
        found = [
            scope.nodes_at(block, numbers[0] if len(numbers) == 1 else np.concatenate(numbers)) + self.piece[scope].node
            for (block, scope), numbers in of_block.items()
        ]
        nodes = np.concatenate([np.empty(0, dtype=np.int32), *found])
        if not len(nodes):
            return
        self.holds[nodes] = True
        self._node_set(nodes, into)
        self.holds[nodes] = False

    def _node_set(self, nodes: Ints, into: _Named) -> None:
        """Take the node set that `holds` marks: a boundary, another set, or perhaps a damaged boundary."""
        if len(nodes) >= self.n_used and self.holds[self.used].all() and not into.has_sides:
            into.ordinary = "it holds all nodes of the mesh"
        elif not len(inside := nodes[~self.outer[nodes]]):
            into.nodes.append(nodes)
            if not into.has_sides:
                middle = self.edge_of[nodes]
                edges = self.exterior[np.unique(middle[middle >= 0])]
                both_ends = self.holds[self.straight[:, 0]] & self.holds[self.straight[:, 2]]
                into.edges += [edges[self.holds[edges].all(axis=1)], self.straight[both_ends]]
        else:
            inner = inside[self.used[inside]]
            where = "is inside the mesh" if len(inner) else "belongs to no element"
            why = f"node {self._label((inner if len(inner) else inside).min())} {where}"
            if len(inside) == len(nodes) or self._are_areas(nodes):
                into.ordinary = why
            else:
                into.reasons.append(why)

    def _are_areas(self, nodes: Ints) -> bool:
        """Whether all these nodes belong to elements of which all nodes are among them."""
        covered = np.zeros(self.nowhere + 1, dtype=bool)
        for elements in self.cells.blocks.values():
            covered[elements[self.holds[elements].all(axis=1)]] = True
        return bool((covered | ~self.used)[nodes].all())

    def _label(self, node: int) -> str:
        """The number of a node in the file, with its instance if there are several."""
        piece = next(piece for piece in reversed(self.pieces) if piece.node <= node)
        return f"{piece.prefix}{piece.scope.node_numbers[node - piece.node]}"

    # the name of each boundary

    def _give_names(self, found: list[tuple[Scope, dict[str, _Named]]]) -> None:
        """Sets of the assembly keep their names. A set of an instance does if no other one has the name."""
        several = Counter(key for _, names in found for key in names)
        shared: dict[str, list[str]] = {}
        for scope, names in found:
            for key, one in names.items():
                name = one.name
                if scope is not self.lookup.top and several[key] > 1:
                    name = f"{scope.name}.{one.name}"
                    if one.is_boundary or one.lost:
                        shared.setdefault(one.name, []).append(name)
                self._give(one, name)
        for plain, names_of_it in shared.items():
            if plain not in self.named and plain not in self.lost:
                listed = name_all(names_of_it)
                self.lost[plain] = f"several instances have it: {listed}; take these, or join them in the assembly"

    def _give(self, one: _Named, name: str) -> None:
        if one.is_boundary and not is_valid_name(name):
            self.lost[name] = f"a boundary can't have this name; {NO_NAME}"
        elif one.is_boundary:
            self.named[name] = one.boundary()
            if one.reasons:
                self.notes.append(
                    f"{name!r}: one of its sets and surfaces isn't part of the boundary: {one.reasons[0]}"
                )
        elif one.lost:
            self.lost[name] = one.lost

    def _note_elements(self) -> None:
        aside = sum((piece.scope.aside for piece in self.pieces), Counter[str]())
        for links in self.links.values():
            aside.subtract(links.types[links.is_needed].tolist())
        kinds = [f"{number:,} {kind}" for kind, number in aside.items() if number]
        if lines := np.count_nonzero(~self.is_needed):
            kinds.append(f"{lines:,} with 3 nodes on a line")
        if kinds:
            self.notes.append(f"elements left aside, because no boundary needs them: {', '.join(kinds)}")


def _has_other(scope: Scope, numbers: Array) -> Array:
    """Whether each number is that of a line or of an element that is left aside."""
    found: Array = (scope.line_numbering.find(numbers) >= 0) | (scope.aside_numbering.find(numbers) >= 0)
    return found


def _by_scope(members: Members) -> Iterator[tuple[Scope, Array]]:
    found: dict[Scope, list[Array]] = {}
    for _, scope, numbers in members.parts:
        found.setdefault(scope, []).append(numbers)
    for scope, parts in found.items():
        yield scope, np.concatenate(parts)
