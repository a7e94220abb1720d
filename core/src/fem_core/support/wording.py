"""Words in messages: singular and plural, bytes, seconds, similar names, commands that install something."""

import difflib
import shlex
import sys
from collections.abc import Collection, Iterable
from itertools import islice

from fem_core.errors import shortened
from fem_core.types import Array

#: The largest number of items that a message names.
_NAMED = 5
#: The largest number of names that a list of what there is gives.
_LISTED = 16
#: The most characters of each of several names, and of a name that is compared with others: that takes its square.
_LONGEST_NAME = 80


def count(number: int, what: str, do: str = "") -> str:
    """`1 edge`, `1,200 edges`; with the plural of a verb in `do`: `1 edge is`, `2 edges are`."""
    many = f"{what[:-1]}ies" if what.endswith("ary") else f"{what}s"
    return _with(f"{number:,} {what if number == 1 else many}", number, do)


def name_some(items: Array, what: str = "", do: str = "") -> str:
    """`element 7`, or `elements 7, 12, 30, 31, 40, … (214 in all)`; `do` is the plural of a verb, as in `count`."""
    first = ", ".join(str(i) for i in items[:_NAMED])
    named = first if len(items) <= _NAMED else f"{first}, … ({len(items)} in all)"
    return _with(f"{what}{'s' * (len(items) != 1)} {named}" if what else named, len(items), do)


def name_all(names: Collection[str], word: str = ", ") -> str:
    """Names in quotes, the first of very many, joined by `word`.

    >>> name_all(["inlet", "outlet"], word=" and ")
    "'inlet' and 'outlet'"
    >>> name_all([str(k) for k in range(1000)])
    "'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12', '13', '14', '15', … (1,000 in all)"
    """
    first = [repr(shortened(name, _LONGEST_NAME)) for name in islice(names, _LISTED)]
    return word.join(first) if len(names) <= _LISTED else f"{word.join(first)}, … ({len(names):,} in all)"


def more_faults(number: int) -> str:
    """To follow the first fault of a mesh: how many more there are, and what lists them; or nothing.

    >>> "det J <= 0 at element 7" + more_faults(1)
    'det J <= 0 at element 7; 1 more fault: fem check lists all'
    """
    return f"; {count(number, 'more fault')}: fem check lists all" if number else ""


def verb(number: int, plural: str) -> str:
    """The verb for a number of things: `is` or `are`, `has` or `have`, `names` or `name`.

    >>> f"{count(1, 'edge')} of the inlet {verb(1, 'lie')} inside"
    '1 edge of the inlet lies inside'
    """
    return plural if number != 1 else {"are": "is", "were": "was", "have": "has"}.get(plural, f"{plural}s")


def byte_size(count: float) -> str:
    """A number of bytes.

    >>> byte_size(1_234_567_890), byte_size(56e6)
    ('1.23 GB', '56 MB')
    """
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def duration(seconds: float) -> str:
    """A time in two digits.

    >>> [duration(time) for time in (0.0123, 1.64, 94.2, 340, 9000)]
    ['0.012 s', '1.6 s', '94 s', '6 min', '2.5 h']
    """
    if seconds < 99.5:
        return f"{float(f'{seconds:.1e}'):g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that is most similar to `name`; None if none is similar, or if the name is very long."""
    if len(name) > _LONGEST_NAME:
        return None
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return near[0] if near else None


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """A hint to follow an unknown name: ` (did you mean NAME?)`, or nothing.

    >>> did_you_mean("wrokers", ["workers", "batch_size"])
    ' (did you mean workers?)'
    """
    near = nearest(name, known, cutoff)
    return f" (did you mean {near}?)" if near else ""


def visible(text: str) -> str:
    r"""`text` as one line that shows each character: those that act on a terminal or can't be seen are escaped.

    >>> print(visible("in\x1b[2Klet\n"), visible("\u202eteltuo"), visible("Äußere Wand"))
    in\x1b[2Klet\n \u202eteltuo Äußere Wand
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def pip_install(*requirements: str) -> str:
    """The command that installs distributions into this Python."""
    return f"{shlex.quote(sys.executable)} -m pip install {shlex.join(requirements)}"


def _with(text: str, number: int, do: str) -> str:
    return f"{text} {verb(number, do)}" if do else text
