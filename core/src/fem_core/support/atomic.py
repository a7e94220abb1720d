"""Replaces a file as a whole: a reader finds the old file or the new one, never a part of it."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fem_core.errors import shortened


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file in the folder of `path`, which takes its place when the block succeeds.

    Raises OSError, naming `path` and the reason, if either can't be written.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with replacing(Path(folder.name) / "result.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> (Path(folder.name) / "result.txt").read_text()
    'whole'
    >>> folder.cleanup()
    """
    target = Path(os.path.realpath(path))  # a link stays, what it leads to is replaced
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        temporary.open("xb").close()
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), shortened(str(path))) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
