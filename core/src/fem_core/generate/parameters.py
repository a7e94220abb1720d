"""What the parameters of shapes are: their units, the accepted values, and the messages for other values.

A shape's function declares each of its parameters once, in the signature, as in
`width: Annotated[float, Length("Distance between the walls")]`. `fem_core.generate.shape` checks the values by it and
writes the docstring's section; `fem mesh` makes its options from it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Annotated, Any, ClassVar, TypeAlias

from fem_core.errors import MeshError
from fem_core.mesh.mesh import MOST_NODES

#: The size of a mesh for which neither a target nor counts were given.
DEFAULT_NODES = 2_000
#: Fewer nodes don't make an element.
_LEAST = 8
#: The lengths in metres from which all products of coordinates are floating-point numbers.
_SHORTEST, _LONGEST = 1e-60, 1e60

#: The least and the largest value of a parameter, given the values of those before it by name.
Limits: TypeAlias = Callable[[Mapping[str, Any]], tuple[float, float]]


@dataclass(frozen=True)
class Parameter(ABC):
    """What a parameter is, in a few words."""

    what: str

    @property
    @abstractmethod
    def type(self) -> str:
        """As docstrings name it."""

    @property
    def help(self) -> str:
        """A sentence: what it is, the unit and what is accepted."""
        return f"{self.what}."

    def check(self, shape: str, name: str, values: Mapping[str, Any]) -> None:
        """Raise MeshError unless the value of the parameter `name` is accepted beside those of the others."""


@dataclass(frozen=True)
class Number(Parameter):
    """A number without a unit. A number without limits must be positive.

    Parameters
    ----------
    least, most : float, optional
        The limits.
    of : str, optional
        A parameter; the limits are multiples of it.
    limits : Limits, optional
        A function that computes the limits from other parameters.
    why : str, optional
        Where the limits come from, for errors.
    told : str, optional
        The help's text about the limits, after the unit.
    positive : bool
        Whether a number that isn't positive has a message of its own, before the limits are checked.
    or_zero : bool
        Whether 0 is accepted too, outside of the limits.
    """

    least: float = 0.0
    most: float = math.inf
    of: str = ""
    limits: Limits | None = None
    why: str | None = None
    told: str | None = None
    positive: bool = False
    or_zero: bool = False

    unit: ClassVar[str] = ""

    type = "float"

    @property
    def help(self) -> str:
        unit, told = f", in {self.unit}" if self.unit else "", self.told
        if told is None:
            told = self._words and f"{':' if unit else ','} {self._words}"
        return f"{self.what}{unit}{told}."

    @property
    def _words(self) -> str:
        """The limits in words, if they are numbers."""
        if self.most == math.inf:
            return ""
        of = f" {self.of.replace('_', ' ')}s" if self.of else ""
        return f"{self.least:g} to {self.most:,g}{of}{', or 0' if self.or_zero else ''}"

    @property
    def limited(self) -> bool:
        """Whether it has limits."""
        return self.limits is not None or self.most < math.inf

    def check(self, shape: str, name: str, values: Mapping[str, Any]) -> None:
        value = values[name]
        if (self.positive or not self.limited) and not (_is(Real, value) and 0 < value < math.inf):
            raise refuse(shape, name, value, "a positive number")
        if self.limited and not (self.or_zero and value == 0):
            one = values[self.of] if self.of else 1
            least, most = self.limits(values) if self.limits else (self.least * one, self.most * one)
            usual = {"metres": self._words, "radians": "radians"}.get(self.unit, "")
            within(shape, name, value, least, most, usual if self.why is None else self.why)


@dataclass(frozen=True)
class Length(Number):
    """A length in metres."""

    unit: ClassVar[str] = "metres"

    def check(self, shape: str, name: str, values: Mapping[str, Any]) -> None:
        super().check(shape, name, values)
        if not self.limited:  # the others are multiples of one that isn't
            within(shape, name, values[name], _SHORTEST, _LONGEST, "metres")


@dataclass(frozen=True)
class Angle(Number):
    """An angle in radians; on the command line also in degrees."""

    unit: ClassVar[str] = "radians"


@dataclass(frozen=True)
class Count(Parameter):
    """A number of something, or None; `wanted_size` looks at all of them together."""

    type = "int, optional"


@dataclass(frozen=True)
class Choice(Parameter):
    """One of some words."""

    words: tuple[str, ...]

    @property
    def type(self) -> str:
        return " or ".join(f'"{word}"' for word in self.words)

    def check(self, shape: str, name: str, values: Mapping[str, Any]) -> None:
        if values[name] not in self.words:
            raise refuse(shape, name, values[name], " or ".join(map(repr, self.words)))


def elements(where: str, *others: str) -> Count:
    """The number of elements somewhere; `others` are the counts that belong to it."""
    *some, last = others or ("it",)
    together = f"{', '.join(some)} and {last}" if some else last
    return Count(f"Number of elements {where}; give {'it with ' if others else ''}{together} instead of nodes")


def grading_over(where: str) -> Number:
    """The ratio of the element sizes at two places."""
    return Number(f"Size of the elements {where}", 0.01, 100, told=", 0.01 to 100; 1 gives equal sizes")


def _nodes(unless: str) -> Count:
    return Count(f"Approximate number of nodes, with near-square elements; default {DEFAULT_NODES:,} if {unless} given")


#: Parameters of many shapes: the number of nodes (for shapes with the count `across`, or with others), and more.
NodesOrAcross: TypeAlias = Annotated[int | None, _nodes("across isn't")]
NodesOrCounts: TypeAlias = Annotated[int | None, _nodes("no counts are")]
AcrossChannel: TypeAlias = Annotated[int | None, elements("across the channel")]
AcrossInlet: TypeAlias = Annotated[int | None, elements("across the inlet")]
WallGrading: TypeAlias = Annotated[float, grading_over("in the middle divided by the size at the walls")]


def straight(where: str, of: str) -> Length:
    """The length of a straight part of the channel; its limits are multiples of the width `of`."""
    return Length(f"Straight length {where}", 0.01, 10_000, of)


def corner_radius(limits: Limits, why: str, told: str) -> Length:
    """The radius of the rounded corners of walls."""
    return Length("Radius of the rounded corners", limits=limits, why=why, told=told, positive=True)


def refuse(shape: str, name: str, value: object, accepted: str) -> MeshError:
    """The error for a parameter that isn't `accepted`."""
    return MeshError(f"{shape}: {name} must be {accepted}, not {value!r}")


def _is(kind: type, value: object) -> bool:
    """Whether `value` is a number of this kind; True and False aren't."""
    return isinstance(value, kind) and not isinstance(value, bool)


def within(shape: str, name: str, value: float, least: float, most: float, why: str = "") -> None:
    """Raise MeshError unless least <= value <= most; `why` says where the limits come from."""
    if not _is(Real, value) or not least <= value <= most:
        accepted = f"at most {most:.6g}" if least == -math.inf else f"at least {least:.6g}"
        if math.isfinite(least) and math.isfinite(most):
            accepted = f"between {least:.6g} and {most:.6g}"
        raise refuse(shape, name, value, f"{accepted}{why and f' ({why})'}")


def wanted_size(shape: str, nodes: int | None, **given: int | None) -> int | tuple[int, ...]:
    """The target number of nodes, or the element counts where all of them are `given` instead.

    Raises MeshError where both or only some counts are given, or where one isn't a positive integer.
    """
    for name, count in given.items():
        if count is not None and (not _is(Integral, count) or count < 1):
            raise refuse(shape, name, count, "a positive integer")
    some = {name: count for name, count in given.items() if count is not None}
    if nodes is None and not some:
        return DEFAULT_NODES
    if nodes is None:
        if missing := [name for name in given if name not in some]:
            *others, last = given
            together = f"{', '.join(others)} and {last} must be given together"
            raise MeshError(f"{shape}: {together}; missing: {', '.join(missing)}")
        return tuple(int(count) for count in some.values())
    if some:
        raise refuse(
            shape, "nodes", nodes, f"omitted if {' and '.join(given)} {'is' if len(given) == 1 else 'are'} given"
        )
    if not _is(Integral, nodes) or not _LEAST <= nodes <= MOST_NODES:
        raise refuse(shape, "nodes", nodes, f"an integer between {_LEAST} and {MOST_NODES}")
    return int(nodes)
