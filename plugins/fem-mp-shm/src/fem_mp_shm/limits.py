"""Limits of the system that end the start of processes or the making of files, and the way out of each."""

import errno
import os
import sys


def told(error: OSError | MemoryError, otherwise: str) -> str:
    """The reason of the system and the way out: of the limit if it is one, `otherwise` if not."""
    if isinstance(error, MemoryError):
        return f"not enough memory; {otherwise}"
    match error.errno:
        case errno.EMFILE | errno.ENFILE:
            limit, way_out = _allowed("RLIMIT_NOFILE"), "allow more open files with `ulimit -n`, or use fewer workers"
        case errno.EAGAIN:
            limit, way_out = _allowed("RLIMIT_NPROC"), "allow more processes with `ulimit -u`, or use fewer workers"
        case _:
            limit, way_out = "", otherwise
    return f"{os.strerror(error.errno) if error.errno else error}{limit}; {way_out}"


def few_files() -> str:
    """A hint, if this process may open so few files that another process could fail by it."""
    limit = _limit("RLIMIT_NOFILE")
    return f" (only {limit} files may be open; allow more with `ulimit -n`)" if limit is not None and limit < 64 else ""


def _allowed(name: str) -> str:
    return "" if (limit := _limit(name)) is None else f" (the limit is {limit})"


def _limit(name: str) -> int | None:
    """The limit of this name; None where the system doesn't tell."""
    if sys.platform == "win32":
        return None
    else:
        import resource

        return resource.getrlimit(getattr(resource, name))[0]
