"""Checks of the generators' parameters: one line that names the parameter, the value and what is accepted."""

import math
from numbers import Integral, Real

from fem_core.errors import MeshError

#: The size of a mesh for which neither a target nor counts were given.
DEFAULT_NODES = 2_000
#: Fewer nodes don't make an element; more don't fit the 32-bit numbers of the lattice.
_LEAST, MOST = 8, 500_000_000


def refuse(shape: str, name: str, value: object, accepted: str) -> MeshError:
    """The error for a parameter that isn't `accepted`."""
    return MeshError(f"{shape}: {name} must be {accepted}, not {value!r}")


def _is(kind: type, value: object) -> bool:
    """Whether `value` is such a number; True and False aren't."""
    return isinstance(value, kind) and not isinstance(value, bool)


def positive(shape: str, **values: float) -> None:
    """Raise MeshError unless every value is a positive, finite number."""
    for name, value in values.items():
        if not _is(Real, value) or not 0 < value < math.inf:
            raise refuse(shape, name, value, "a positive number")


def within(shape: str, name: str, value: float, least: float, most: float, why: str = "") -> None:
    """Raise MeshError unless least <= value <= most; `why` says where the limits come from."""
    if not _is(Real, value) or not least <= value <= most:
        accepted = f"at most {most:.6g}" if least == -math.inf else f"at least {least:.6g}"
        if math.isfinite(least) and math.isfinite(most):
            accepted = f"between {least:.6g} and {most:.6g}"
        raise refuse(shape, name, value, f"{accepted}{why and f' ({why})'}")


def size(shape: str, nodes: int | None, across: int | None, grading: float) -> int | tuple[int, ...]:
    """The target number of nodes, or the number of elements `across` alone; `grading` is checked as well."""
    within(shape, "grading", grading, 0.01, 100.0)
    return counts(shape, nodes, across=across)


def lengths(shape: str, unit: str, one: float, **values: float) -> None:
    """Raise MeshError unless every length is between 0.01 and 10,000 times `one`, a `unit`."""
    for name, value in values.items():
        within(shape, name, value, 0.01 * one, 10_000 * one, f"0.01 to 10,000 {unit}")


def counts(shape: str, nodes: int | None, **given: int | None) -> int | tuple[int, ...]:
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
            shape, "nodes", nodes, f"left out where {' and '.join(given)} {'is' if len(given) == 1 else 'are'} given"
        )
    if not _is(Integral, nodes) or not _LEAST <= nodes <= MOST:
        raise refuse(shape, "nodes", nodes, f"an integer between {_LEAST} and {MOST}")
    return int(nodes)
