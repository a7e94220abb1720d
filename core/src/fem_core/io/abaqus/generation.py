"""Nodes and elements that are generated from others above: *NGEN, *NFILL, *NCOPY, *ELGEN and *ELCOPY.

Nodes, elements and sets must be defined above the keyword that uses them, as in Abaqus. Numbers that exist already are
refused.
"""

import math

import numpy as np

from fem_core.errors import MeshError
from fem_core.io.abaqus import frames
from fem_core.io.abaqus.elements import LINE, reversed_order
from fem_core.io.abaqus.scopes import Entry, Kind, Scope
from fem_core.io.abaqus.sets import Budget, Lookup
from fem_core.io.abaqus.text import Block
from fem_core.mesh.mesh import SAME_PLACE
from fem_core.types import Array, Floats


def ngen(scope: Scope, block: Block, budget: Budget) -> None:
    """Nodes at equal distances between two nodes, on a line or (LINE=C) at equal angles on an arc."""
    line = block.parameters.get("LINE", "").upper()
    if line not in ("", "C"):
        raise block.fail(f"LINE={line[:80]} isn't supported; straight lines and arcs (LINE=C) are")
    if block.parameters.get("SYSTEM", "RC").upper() != "RC":
        raise block.fail("only SYSTEM=RC is supported; give the centre by its x and y")
    for fields in block.lines():
        what = "two nodes and a step" + (", and the centre as a node or by its coordinates," if line else "")
        if len(fields) > (7 if line else 3):
            raise block.fail(
                f"{what} were expected, not {', '.join(fields)[:80]!r}; arcs of 180° or more aren't supported"
            )
        first, last, step = block.whole_row(fields[:3], [None, None, 1], what)
        step = abs(step) if last >= first else -abs(step)
        if step == 0 or (last - first) % step or last == first:
            raise block.fail(f"no steps of {step} lead from node {first} to node {last}")
        budget.make(block, abs((last - first) // step) + 1)
        numbers = np.arange(first, last + np.sign(step), step)
        a, b = scope.places.at(block, numbers[[0, -1]])
        t = np.linspace(0, 1, len(numbers))[1:-1, None]
        if line:
            points = _arc(block, a, b, _centre(scope, block, fields[3:]), t)
        else:
            points = a + t * (b - a)
        if len(numbers) > 2:
            scope.add_nodes(block, numbers[1:-1], points)
        _put(scope, block, "node", "NSET", numbers)


def _centre(scope: Scope, block: Block, fields: list[str]) -> Floats:
    if len(fields) == 1:
        point: Floats = scope.places.at(block, np.array(block.whole_row(fields, [None], "the node at the centre")))[0]
        return point
    if not fields or fields[0]:
        raise block.fail("the centre of the arc is missing: a node, or its coordinates in the fields 5 to 7")
    if scope.system:
        raise block.fail("coordinates of the centre below a *SYSTEM aren't supported; give a node")
    x, y, z = [*block.row(fields[1:], 1, 3, "the coordinates of the centre"), 0.0, 0.0][:3]
    return np.array([x, y, z])


def _arc(block: Block, a: Floats, b: Floats, centre: Floats, t: Floats) -> Floats:
    """The points at the fractions `t` of the angle between a and b, on the shorter arc round the centre."""
    p, q = a - centre, b - centre
    r = math.hypot(*p)
    if not (r > 0 and abs(math.hypot(*q) - r) <= 1e-6 * r):
        raise block.fail("the ends of an arc aren't at the same distance from its centre")
    c = max(-1.0, min(1.0, float(p @ q) / (r * r)))
    if c < -1 + SAME_PLACE or c == 1:
        raise block.fail("the ends of an arc coincide or are opposite, so that its direction isn't known")
    angle = math.acos(c)
    across = (q - c * p) / math.sin(angle)
    points: Floats = centre + np.cos(t * angle) * p + np.sin(t * angle) * across
    return points


def nfill(scope: Scope, block: Block, lookup: Lookup) -> None:
    """Nodes at equal distances between the nodes of two sets, in the order of their numbers."""
    for fields in block.lines():
        what = "two sets of nodes, the number of intervals and a step"
        if len(fields) < 3:
            raise block.fail(f"{what} were expected, not {', '.join(fields)[:80]!r}")
        intervals, step = block.whole_row(fields[2:], [None, 1], what)
        first, last = (_copied(scope, block, lookup, "node", word) for word in fields[:2])
        if len(first) != len(last):
            raise block.fail(f"the sets have {len(first)} and {len(last)} nodes; they must have equally many")
        if intervals < 1 or step == 0 or intervals > lookup.budget.made:
            raise block.fail(f"{intervals} intervals with a step of {step} can't be made")
        lookup.budget.make(block, len(first) * (intervals + 1))
        a, b = scope.places.at(block, first), scope.places.at(block, last)
        inside = np.arange(1, intervals)
        numbers = (first[:, None] + step * inside).ravel()
        points = a[:, None] + (inside / intervals)[:, None] * (b - a)[:, None]
        if len(numbers):
            scope.add_nodes(block, numbers, points.reshape(-1, 3))
        _put(scope, block, "node", "NSET", np.concatenate([first, numbers, last]))


def ncopy(scope: Scope, block: Block, lookup: Lookup) -> None:
    """Copies of a set of nodes, moved, rotated or reflected."""
    shift = block.whole("CHANGENUMBER")
    numbers = _copied(scope, block, lookup, "node", block.name("OLDSET"))
    rows = list(block.lines())
    if ("SHIFT" in block.parameters) == ("REFLECT" in block.parameters):
        raise block.fail("one of SHIFT and REFLECT is needed; others, such as POLE, aren't supported")
    if scope.system:
        raise block.fail("copies of nodes below a *SYSTEM aren't supported; put a *SYSTEM without data above it")
    if "SHIFT" in block.parameters:
        frame = frames.placed(block, rows)
    else:
        frame = frames.reflected(block, block.name("REFLECT").upper(), rows)
    lookup.budget.make(block, len(numbers))
    scope.add_nodes(block, numbers + shift, frame(scope.places.at(block, numbers)))
    _put(scope, block, "node", "NEWSET", numbers + shift)


def elgen(scope: Scope, block: Block, budget: Budget) -> None:
    """Rows and layers of elements from one element: its node numbers are increased."""
    for fields in block.lines():
        what = "an element and up to three times a number, a step of nodes and a step of elements"
        master, *counts = block.whole_row(fields, [None, 1, 1, 1, 1, 1, 1, 1, 1, 1], what)
        kind, new = _element(scope, block, master)
        for number, nodes, elements in zip(counts[::3], counts[1::3], counts[2::3], strict=True):
            if number < 1:
                raise block.fail(f"{number} elements can't be made")
            budget.make(block, (number - 1) * len(new))
            steps = np.arange(number)[:, None, None] * np.array([elements, *[nodes] * (new.shape[1] - 1)])
            new = (new + steps).reshape(-1, new.shape[1])
        if len(new) > 1:
            scope.add_elements(block, kind, new[1:])
        _put(scope, block, "element", "ELSET", new[:, 0])


def _element(scope: Scope, block: Block, number: int) -> tuple[str, Array]:
    """An element that is there: its kind and its row."""
    for kind, table in scope.tables.items():
        row, _ = table.find(np.array([number]))
        if len(row):
            return kind, row
    raise _missing(block, number)


def elcopy(scope: Scope, block: Block, lookup: Lookup) -> None:
    """Copies of a set of elements: the numbers of the elements and of their nodes are increased."""
    shift, of_nodes = block.whole("ELEMENTSHIFT"), block.whole("SHIFTNODES")
    numbers = _copied(scope, block, lookup, "element", block.name("OLDSET"))
    lookup.budget.make(block, len(numbers))
    _put(scope, block, "element", "NEWSET", numbers + shift)
    for kind, table in scope.tables.items():
        old, numbers = table.find(numbers)
        new = old + np.array([shift, *[of_nodes] * (old.shape[1] - 1)])
        if "REFLECT" in block.parameters and kind != LINE:
            new[:, 1:] = new[:, 1:][:, reversed_order(kind)]
            scope.reflected.append(new[:, 0])
        if len(new):
            scope.add_elements(block, kind, new)
    if len(numbers):
        raise _missing(block, numbers[0])


def _missing(block: Block, number: int) -> MeshError:
    return block.fail(f"element {number} isn't defined above, or is left aside")


def _copied(scope: Scope, block: Block, lookup: Lookup, kind: Kind, word: str) -> Array:
    """The numbers in a set above, sorted."""
    one = scope.sets[kind].find(word)
    if one is None:
        raise block.fail(f"there is no set of {kind}s {word[:80]!r} above")
    if any("UNSORTED" in entry.block.parameters for entry in one.entries):
        raise block.fail(f"the set {one.name!r} is unsorted, which isn't supported")
    members = lookup.members(scope, kind, one)
    for also in lookup.known:  # the sets that it contains
        also.is_copied = True
    if members.reason:
        raise block.fail(f"the set {one.name!r} can't be copied: {members.reason}")
    return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *(numbers for *_, numbers in members.parts)]))


def _put(scope: Scope, block: Block, kind: Kind, parameter: str, numbers: Array) -> None:
    if parameter in block.parameters:
        scope.add_to_set(kind, block.name(parameter), Entry(block, [numbers]))
