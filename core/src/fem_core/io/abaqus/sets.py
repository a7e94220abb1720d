"""Lookup of sets of nodes and elements after the whole file is read: a set may be used above its definition."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fem_core.io.abaqus.scopes import Kind, Names, Scope, Set, spelling
from fem_core.io.abaqus.text import Block
from fem_core.io.checks import SMALL
from fem_core.support.wording import name_some, nearest
from fem_core.types import Array

_NUMBER = re.compile(r"[0-9]{1,18}")
_DEEPEST = 100  # sets in sets

#: The largest number of nodes and elements that may be generated from others.
MOST_MADE = 1 << 20


class Budget:
    """Limits for a file: a few lines of text could otherwise ask for any amount of memory."""

    def __init__(self, size: int) -> None:
        self.members = (SMALL + 2 * size) // 8  # members that sets may have without listing them one by one
        self.made = MOST_MADE

    def spend(self, block: Block, members: int) -> None:
        self.members -= members
        if self.members < 0:
            raise block.fail("the sets are far larger than the file, so the file is refused")

    def make(self, block: Block, number: int) -> None:
        """Count nodes or elements that are generated from others; sets may have them as members, too."""
        self.made -= number
        self.members += 2 * number
        if self.made < 0:
            raise block.fail(f"more than {MOST_MADE:,} nodes and elements are to be made; write them to the file")


def members_of(block: Block, budget: Budget) -> list[Array | str]:
    """The data of an *NSET or *ELSET: numbers, names of sets, or with GENERATE first, last and step."""
    if "GENERATE" in block.parameters:
        return [_range(block, fields, budget) for fields in block.lines()]
    found: list[Array | str] = []
    single: list[int] = []

    def close() -> None:
        if single:
            found.append(np.array(single, dtype=np.int64))
            single.clear()

    for piece in block.pieces():
        if (listed := block.listed(piece)) is not None:
            close()
            found.append(listed)
            continue
        for word in (word for words in block.lines_of(piece) for word in words):
            if _NUMBER.fullmatch(word):
                single.append(int(word))
            elif word:
                close()
                found.append(word)
    close()
    return found


def _range(block: Block, fields: Sequence[str], budget: Budget) -> Array:
    numbers = [int(word) for word in fields if _NUMBER.fullmatch(word)]
    first, last, step = [*numbers, 1, 1][:3] if len(numbers) == 2 else [*numbers, 0, 0, 0][:3]
    if not 2 <= len(fields) == len(numbers) <= 3 or first > last or step < 1:
        raise block.fail(f"first, last and step were expected, not {', '.join(fields)[:80]}")
    budget.spend(block, (last - first) // step + 1)
    return np.arange(first, last + 1, step)


@dataclass(eq=False)
class Members:
    """The members of a set: numbers by block, and the scope to which the numbers belong."""

    parts: list[tuple[Block, Scope, Array]] = field(default_factory=list)
    reason: str = ""  # why some members are unknown

    def __len__(self) -> int:
        return sum(len(numbers) for *_, numbers in self.parts)

    def __iadd__(self, other: "Members") -> "Members":
        self.parts += other.parts
        self.reason = self.reason or other.reason
        return self


class Lookup:
    """Finds sets by name in a scope and, from the top scope, in the instances."""

    def __init__(self, top: Scope, instances: Names[Scope], budget: Budget, *, is_final: bool) -> None:
        self.top, self.instances, self.budget = top, instances, budget
        self.is_final = is_final  # whether the whole file is read
        self.known: dict[Set, Members] = {}
        self.open: list[Set] = []

    def members(self, scope: Scope, kind: Kind, one: Set) -> Members:
        if one in self.known:
            return self.known[one]
        if one in self.open:
            raise one.entries[0].block.fail(f"the set {one.name!r} is a member of itself")
        if len(self.open) == _DEEPEST:
            raise one.entries[0].block.fail(f"sets are members of sets more than {_DEEPEST} deep")
        self.open.append(one)
        found = Members()
        for entry in one.entries:
            within = self.instance(scope, entry.block, entry.instance) if entry.instance else scope
            if entry.elements:
                found += self._nodes_of(entry.block, self.named(within, entry.block, "element", entry.elements))
            for part in entry.parts:
                if isinstance(part, str):
                    found += self.named(within, entry.block, kind, part)
                else:
                    found.parts.append((entry.block, within, part))
        self.open.pop()
        self.known[one] = found
        return found

    def named(self, scope: Scope, block: Block, kind: Kind, word: str) -> Members:
        """The member with the number `word`, or the members of the set of this name; both may belong to an instance."""
        if _NUMBER.fullmatch(word):
            return Members([(block, scope, np.array([int(word)]))])
        if (one := scope.sets[kind].find(word)) is not None:
            found = self.members(scope, kind, one)
            self.budget.spend(block, len(found) + 100)
            return found
        for dot in [at for at, letter in enumerate(word) if letter == "."] if scope is self.top else []:
            if (instance := self.instances.find(word[:dot])) is not None:
                return self.named(instance, block, kind, word[dot + 1 :])
        names = [one.name for one in scope.sets[kind]]
        if scope is self.top:
            names += [f"{of.name}.{one.name}" for of in self.instances for one in of.sets[kind]]
        near = nearest(spelling(word), names)
        hint = f"; did you mean {near!r}?" if near else ""
        raise block.fail(f"neither a number nor a set of {kind}s: {spelling(word)[:80]!r}{hint}")

    def instance(self, scope: Scope, block: Block, word: str) -> Scope:
        found = self.instances.find(word) if scope is self.top else None
        if found is None:
            raise block.fail(f"there is no instance {spelling(word)[:80]!r}")
        return found

    def _nodes_of(self, block: Block, elements: Members) -> Members:
        if not self.is_final:
            raise block.fail("copies of a node set that comes from an element set aren't supported; list the nodes")
        found = Members(reason=elements.reason)
        for _, scope, numbers in elements.parts:
            of_areas = scope.area_numbering.find(numbers)
            rest = numbers[of_areas < 0]
            of_lines = scope.line_numbering.find(rest)
            rest = rest[of_lines < 0]
            for at, nodes_of in ((of_areas, scope.nodes_of_areas), (of_lines, scope.nodes_of_lines)):
                if (at >= 0).any():
                    nodes = nodes_of(at[at >= 0])
                    self.budget.spend(block, len(nodes))
                    found.parts.append((block, scope, nodes))
            aside = scope.aside_numbering.find(rest) >= 0
            if aside.any():
                found.reason = f"{name_some(rest[aside], 'element', 'are')} left aside, so that its nodes aren't known"
            if not aside.all():
                raise block.fail(f"{name_some(rest[~aside], 'element', 'are')} referred to but not defined")
        return found
