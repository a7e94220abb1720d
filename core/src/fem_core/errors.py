"""The errors a caller can meet, each one line that says what, where and the way out."""

import re

#: The most characters of a name, a path or any other input that a message repeats.
MOST_ECHOED = 200

_LONGEST = 2_000  # characters of a message: what is longer has a list of inputs that nobody reads
_WORD = re.compile(rf"\S{{{MOST_ECHOED + 1},}}")
_PATH = re.compile(r"[/\\]|\.\w+$")  # in a path, which may have spaces
_END = re.compile("[:,] ")  # of the file at the beginning; without one, the message begins with no file
_QUOTED = re.compile(r"""(?<!\w)(?:'(?:[^']|\b'\b)*+'|"[^"]*+")(?!\w)""")  # an apostrophe inside a word ends nothing


def shortened(text: str, most: int = MOST_ECHOED) -> str:
    """`text`; without its middle, if it has more than `most` characters.

    >>> shortened("a-name-of-many-characters", 10), shortened("inlet", 10)
    ('a-name…ers', 'inlet')
    """
    tail = most // 3
    return text if len(text) <= most else f"{text[: most - tail - 1]}…{text[-tail:]}"


def brief(message: str) -> str:
    """A message in which each input is `shortened`: the file at its beginning, words, and what is in quotes.

    >>> len(brief(f"there is no boundary {'inlet' * 1000!r}; name one"))
    230
    """
    if len(message) <= MOST_ECHOED:
        return message
    message = shortened(_WORD.sub(lambda word: shortened(word[0]), message), _LONGEST)
    if (end := _END.search(message)) and _PATH.search(place := message[: end.start()]):
        message = shortened(place) + message[end.start() :]
    return _QUOTED.sub(lambda quoted: shortened(quoted[0]), message)


class FemError(Exception):
    """Base class of all errors that `fem_core` reports. Long inputs in the message are shortened: `brief`."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(brief(one) if isinstance(one, str) else one for one in args))


class OutputError(FemError, OSError):
    """A file can't be written: its name is that of a device, a pipe or a folder, or it is read-only."""


class MeshError(FemError):
    """The mesh can't be read or isn't a valid mesh of 8-node quadrilaterals."""


class ProblemError(FemError):
    """The problem with these conditions and coefficients can't be solved on this mesh."""


class BackendError(FemError):
    """A backend failed or broke its contract; the message names the backend and the stage."""


class BackendUnavailable(BackendError):
    """The requested backend can't run here; the message gives the reason."""


class DeviceMissing(BackendUnavailable):
    """The machine has no device of the kind that the backend needs; `auto` reports a note, not a warning."""


class WorkerLost(BackendError):
    """A worker of a backend ended unexpectedly; the message names the backend, the stage and the batch."""


class DeviceError(BackendError):
    """A device failed or its memory is full; with fallback=True the run is repeated without this backend."""

    #: The backend that it happened to.
    provider: str | None = None


class SolveError(FemError):
    """The linear system can't be solved with the requested method."""


class NotEnoughMemory(FemError, MemoryError):
    """The process may not take the memory that is needed; the message says for what."""


class Cancelled(FemError):
    """The run was stopped through its `CancelToken`."""


class OptionError(FemError, ValueError):
    """An option has an unknown name or a wrong value; the message lists what is accepted."""
