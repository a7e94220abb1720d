"""Collects the blocks of an Abaqus input file, one after the other."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fem_core.errors import MeshError
from fem_core.io.abaqus import elements, frames, generation
from fem_core.io.abaqus.frames import Frame
from fem_core.io.abaqus.keywords import concerns_mesh
from fem_core.io.abaqus.scopes import Entry, Kind, Names, Scope, Surface, spelling
from fem_core.io.abaqus.sets import Budget, Lookup, members_of
from fem_core.io.abaqus.text import Block
from fem_core.io.checks import node_labels
from fem_core.support.wording import name_all
from fem_core.types import Array

_NUMBER = re.compile(r"[0-9]{1,18}")
_SIDE = re.compile(r"[SE]([1-4])")
_FACE = re.compile(r"S[56]|SPOS|SNEG|POS|NEG|[NP]|END[12]")


@dataclass(eq=False)
class Instance:
    """A part with a position, and the nodes, elements and sets that the instance itself adds."""

    name: str
    block: Block
    part: str
    own: Scope
    frame: Frame | None = None


class Model:
    """The nodes, elements, sets and parts in the blocks that were read so far."""

    def __init__(self, size: int) -> None:
        self.budget = Budget(size)
        self.top = Scope()
        self.parts: Names[Scope] = Names()
        self.instances: Names[Instance] = Names()
        self.whole: Names[Scope] = Names()  # instances with the contents of their parts, at the end
        self.scope = self.top
        self.opened: Block | None = None  # the *PART or *INSTANCE that has no end yet
        self.in_step = False

    def take(self, block: Block) -> None:
        """Add the contents of `block` that concern a mesh. Raises MeshError for unsupported contents."""
        try:
            if block.key in ("STEP", "ENDSTEP"):
                self.in_step = block.key == "STEP"
            elif concerns_mesh(block, self.in_step):
                _DO[block.key](self, block)
        except MeshError as error:
            if not self.opened or self.opened.key != "PART" or block.key in ("PART", "INSTANCE", "ASSEMBLY"):
                raise
            self.scope.fault = self.scope.fault or error
        block.extents.clear()  # the text isn't needed any more

    def lookup(self, *, is_final: bool = False) -> Lookup:
        """A lookup of the sets that are defined so far; at the end also of the sets of instances."""
        return Lookup(self.top, self.whole, self.budget, is_final=is_final)

    # nodes and elements

    def node(self, block: Block) -> None:
        rows = block.table(float, 3, 7)[:, :4]  # what follows z is a normal
        numbers = node_labels(block.place, rows[:, 0])
        points = rows[:, 1:]
        kind = block.parameters.get("SYSTEM", "R").upper()
        if kind == "C":
            points = frames.cylindrical(points)
        elif kind not in ("R", ""):
            raise block.fail(f"SYSTEM={kind[:80]} isn't supported; give the nodes in SYSTEM=R or C")
        if self.scope.system:
            points = self.scope.system(points)
        self.scope.add_nodes(block, numbers, points)
        self.add_to_set(block, "node", "NSET", numbers)

    def element(self, block: Block) -> None:
        kind = block.name("TYPE").upper()
        if elements.is_left_aside(kind):
            rows = _left_aside(block)
            numbers = rows[:, 0]
            self.scope.aside[kind] += len(rows)
            self.scope.aside_numbers.append(numbers)
            if elements.is_link(kind):
                self.scope.links.append((kind, rows))
        elif cell := elements.kind_of(kind):
            rows = block.table(int, elements.WIDTHS[cell], elements.WIDTHS[cell])
            numbers = rows[:, 0]
            self.scope.add_elements(block, cell, rows)
        else:
            raise block.fail(elements.refusal(kind))
        self.add_to_set(block, "element", "ELSET", numbers)

    def add_to_set(self, block: Block, kind: Kind, parameter: str, numbers: Array) -> None:
        """Add `numbers` to the set that the parameter names, if the block has the parameter."""
        if parameter in block.parameters:
            self.scope.add_to_set(kind, block.name(parameter), Entry(block, [numbers]))

    def system(self, block: Block) -> None:
        self.scope.system = frames.system(block)

    # sets and surfaces

    def nset(self, block: Block) -> None:
        entry = Entry(block, [], block.parameters.get("INSTANCE", ""), block.parameters.get("ELSET", ""))
        if entry.elements and next(block.lines(), None):
            raise block.fail("lines of data together with ELSET=; put them into another *NSET")
        entry.parts += members_of(block, self.budget)
        self.scope.add_to_set("node", block.name("NSET"), entry)

    def elset(self, block: Block) -> None:
        entry = Entry(block, members_of(block, self.budget), block.parameters.get("INSTANCE", ""))
        self.scope.add_to_set("element", block.name("ELSET"), entry)

    def surface(self, block: Block) -> None:
        word = block.name("NAME")
        surface = self.scope.surfaces.join(Names.key(word), Surface(spelling(word)))
        surface.internal |= "INTERNAL" in block.parameters
        kind = block.parameters.get("TYPE", "ELEMENT").upper()
        if special := [f"TYPE={kind}"] * (kind != "ELEMENT") or [
            name for name in ("COMBINE", "CROP") if name in block.parameters
        ]:
            surface.reason = f"a surface with {special[0]} isn't read; list its elements and their sides S1 to S4"
            return
        numbers: list[int] = []
        sides: list[int] = []

        def close() -> None:
            if numbers:
                surface.faces.append((block, np.array(numbers), np.array(sides)))
                numbers.clear()
                sides.clear()

        for row in block.lines():
            side = _SIDE.fullmatch(row[1].upper()) if len(row) == 2 else None
            if side and _NUMBER.fullmatch(row[0]):
                numbers.append(int(row[0]))
                sides.append(int(side[1]) - 1)
            elif side:
                close()
                surface.faces.append((block, row[0], np.array([int(side[1]) - 1])))
            elif len(row) == 1 and not _NUMBER.fullmatch(row[0]):
                surface.reason = f"{spelling(row[0])[:80]!r} has no side there; list the sides S1 to S4"
            elif len(row) == 2 and _FACE.fullmatch(row[1].upper()):
                surface.reason = f"its side {row[1]} isn't an edge; edges are S1 to S4"
            else:
                raise block.fail(f"an element or a set and its side (S1 to S4) were expected, not {row[0][:80]!r}, …")
        close()

    # parts

    def part(self, block: Block) -> None:
        self._open(block, self.top)
        word = block.name("NAME")
        if self.parts.find(word) is not None:
            raise block.fail(f"the part {spelling(word)[:80]!r} occurs twice")
        self.scope = self.parts.join(Names.key(word), Scope(spelling(word)))

    def instance(self, block: Block) -> None:
        self._open(block, self.top)
        word = block.name("NAME")
        if self.instances.find(word) is not None:
            raise block.fail(f"the instance {spelling(word)[:80]!r} occurs twice")
        rows = list(block.lines())
        new = Instance(spelling(word), block, block.name("PART"), Scope(spelling(word)))
        new.frame = frames.placed(block, rows) if rows else None
        self.scope = self.instances.join(Names.key(word), new).own

    def _open(self, block: Block, scope: Scope) -> None:
        if self.opened:
            raise block.fail(f"the *{self.opened.keyword} above has no *END {self.opened.keyword}")
        self.opened, self.scope = block, scope

    def close(self, block: Block) -> None:
        if not self.opened or block.key != f"END{self.opened.key}":
            raise block.fail(f"there is no *{block.key.removeprefix('END')} above that it ends")
        self.opened, self.scope = None, self.top

    def assembly(self, block: Block) -> None:
        """The sets of the assembly belong to the top scope, like those of a file without parts."""
        if self.opened:
            raise block.fail(f"the *{self.opened.keyword} above has no *END {self.opened.keyword}")

    # at the end

    def placed(self) -> tuple[list[tuple[Scope, Frame | None]], list[str]]:
        """The instances as separate scopes with their positions, then the top scope; and notes on unused parts."""
        if self.opened:
            raise self.opened.fail(f"there is no *END {self.opened.keyword} below it")
        found: list[tuple[Scope, Frame | None]] = []
        used = set()
        for key, instance in self.instances.by_key.items():
            part = self.parts.find(instance.part)
            if part is None:
                raise instance.block.fail(f"there is no part {spelling(instance.part)[:80]!r}")
            if part.fault:
                raise part.fault
            if part in used:
                size = sum(len(numbers) for _, numbers, _ in part.nodes) + sum(map(part.count, part.areas))
                self.budget.make(instance.block, size)
            used.add(part)
            found.append((self.whole.join(key, part.joined(instance.own, instance.name)), instance.frame))
        left = [part.name for part in self.parts if part not in used]
        if not self.instances and len(self.parts) == 1:
            (only,) = self.parts
            if only.fault:
                raise only.fault
            return [(only, None), (self.top, None)], [
                f"no instance uses the part {only.name!r}, which is taken as it is"
            ]
        notes = [f"no instance uses {'the part' if len(left) == 1 else 'the parts'} {name_all(left)}: left out"]
        return [*found, (self.top, None)], notes if left else []


def _left_aside(block: Block) -> Array:
    """Rows of an element and its first two nodes; -1 for a missing number, or for a node of an instance."""
    rows = [[int(word) if _NUMBER.fullmatch(word) else -1 for word in [*row, "", ""][:3]] for row in block.lines()]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


_DO: dict[str, Callable[[Model, Block], None]] = {
    "NODE": Model.node,
    "ELEMENT": Model.element,
    "SYSTEM": Model.system,
    "NSET": Model.nset,
    "ELSET": Model.elset,
    "SURFACE": Model.surface,
    "PART": Model.part,
    "ENDPART": Model.close,
    "INSTANCE": Model.instance,
    "ENDINSTANCE": Model.close,
    "ASSEMBLY": Model.assembly,
    "ENDASSEMBLY": Model.assembly,
    "NGEN": lambda model, block: generation.ngen(model.scope, block, model.budget),
    "NFILL": lambda model, block: generation.nfill(model.scope, block, model.lookup()),
    "NCOPY": lambda model, block: generation.ncopy(model.scope, block, model.lookup()),
    "ELGEN": lambda model, block: generation.elgen(model.scope, block, model.budget),
    "ELCOPY": lambda model, block: generation.elcopy(model.scope, block, model.lookup()),
}
