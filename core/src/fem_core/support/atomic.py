"""Replaces a file as a whole: a reader finds the old file or the new one, never a part of it."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fem_core.errors import shortened
from fem_core.support.outputs import replaceable


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file in the folder of `path`, which takes its place when the block succeeds.

    The new file has the mode of the old one, and its owner and its group where that is allowed.

    Raises OSError, naming `path` and the reason, if either can't be written, or if `path` isn't a file.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with replacing(Path(folder.name) / "result.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> (Path(folder.name) / "result.txt").read_text()
    'whole'
    >>> folder.cleanup()
    """
    old = replaceable(path)
    target = Path(os.path.realpath(path))  # a link stays, what it leads to is replaced
    temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(6)}.tmp")  # any name leaves room for this
    try:
        temporary.touch(0o666 if old is None else 0o600, exist_ok=False)  # never more readable than the old file
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        if old is not None:
            _own_as(temporary, old)
        temporary.replace(target)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), shortened(str(path))) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _own_as(path: Path, old: os.stat_result) -> None:
    """Give a file the owner, the group and the mode of the `old` file, each if that is allowed."""
    chown = getattr(os, "chown", None)  # Windows has none
    new = path.stat()
    if chown and new.st_gid != old.st_gid:  # before the owner, who may be another one afterwards
        with suppress(OSError):  # other users than root may only give a file to their own groups
            chown(path, -1, old.st_gid)
    if chown and new.st_uid != old.st_uid:
        with suppress(OSError):  # only root may give a file away
            chown(path, old.st_uid, -1)
    path.chmod(stat.S_IMODE(old.st_mode))
