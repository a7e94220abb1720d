"""Whether an error says that memory is short, and the error that says it in our words."""

import errno

from fem_core.errors import NotEnoughMemory
from fem_core.support.hardware import available_memory
from fem_core.support.wording import byte_size

#: What the system and libraries say, mostly where a limit such as `ulimit -v` holds; some of it is no MemoryError.
_SAID = (
    *("cannot allocate memory", "unable to allocate", "memory allocation failed", "malloc fails", "out of memory"),
    *("failed to map segment", "cannot map zero-fill pages", "can't start new thread"),
)


def lacks_memory(error: BaseException) -> bool:
    """Whether the reason of an error is that the process can't take more memory.

    >>> lacks_memory(ImportError("libx.so: failed to map segment from shared object")), lacks_memory(ImportError("x"))
    (True, False)
    """
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:  # errors that are raised again may lead back to themselves
        if _says_so(one):
            return True
        seen.append(one)
        one = one.__cause__ or one.__context__  # libraries put other words over the reason
    return False


def _says_so(error: BaseException) -> bool:
    """Whether the error itself, by its kind or in its words, says that memory is short."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    text = str(error).casefold()
    return isinstance(error, Exception) and any(words in text for words in _SAID)


def not_enough(
    what: str, error: BaseException, way: str = "use a smaller mesh, or allow more memory"
) -> NotEnoughMemory:
    """The error for `what`, which failed with an error for which `lacks_memory` is true."""
    left = available_memory()
    free = "" if left is None else f"; this process may take {byte_size(left)} more"
    why = " ".join(str(error).split())
    return NotEnoughMemory(f"not enough memory: {what}{f' ({why})' if why else ''}{free}; {way}")
