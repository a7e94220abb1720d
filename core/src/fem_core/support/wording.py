"""How messages speak of one thing or of several."""

from fem_core.types import Array

#: How many items a message names.
_NAMED = 5


def count(number: int, what: str, do: str = "") -> str:
    """`1 edge`, `1,200 edges`; with what they `do`, in the plural: `1 edge is`, `2 edges are`."""
    return _with(f"{number:,} {what}{'s' * (number != 1)}", number, do)


def name_some(items: Array, what: str = "", do: str = "") -> str:
    """`element 7`, or `elements 7, 12, 30, 31, 40, … (214 in all)`, and what they `do`; without `what`, the numbers."""
    first = ", ".join(str(i) for i in items[:_NAMED])
    named = first if len(items) <= _NAMED else f"{first}, … ({len(items)} in all)"
    return _with(f"{what}{'s' * (len(items) != 1)} {named}" if what else named, len(items), do)


def verb(number: int, plural: str) -> str:
    """`is` or `are`, `has` or `have`, `names` or `name`: what so many do.

    >>> f"{count(1, 'edge')} of the inlet {verb(1, 'lie')} inside"
    '1 edge of the inlet lies inside'
    """
    return plural if number != 1 else {"are": "is", "were": "was", "have": "has"}.get(plural, f"{plural}s")


def _with(text: str, number: int, do: str) -> str:
    return f"{text} {verb(number, do)}" if do else text
