"""Compiled code kept on disk: an entry is whole or absent, and code that can't be used is compiled again.

An entry begins with the digest of its name and of the code. So an entry under the name of another is not used.
"""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fem_core.support import caches

T = TypeVar("T")

_log = logging.getLogger(__name__)

_DIGEST = 32  # bytes
_KEPT = 8  # entries: of other versions, interpreters, processors and devices
_MOST = 1e8  # bytes of an entry


def load(path: Path, use: Callable[[bytes], T]) -> T | None:
    """What `use` makes of the code at `path`; None if there is none, or, with a warning, if it can't be used."""
    try:
        with caches.reading(path, _MOST) as file:
            content = file.read()
        digest, code = content[:_DIGEST], content[_DIGEST:]
        if _digest(path, code) != digest:
            raise ValueError("it is damaged, or has the name of another")
    except FileNotFoundError:
        return None
    except caches.Refused as error:
        caches.warn(str(error))
        return None
    except (OSError, ValueError) as error:
        _warn(path, error)
        return None
    try:
        return use(code)
    except Exception as error:
        _warn(path, error)
        return None


def _warn(path: Path, why: Exception) -> None:
    _log.warning("%s can't be used, so it is compiled again: %s", path, why)


def save(path: Path, code: bytes, entries: str) -> bool:
    """Write an entry, and delete the oldest of those whose names match the pattern `entries`.

    Returns whether it was written. A full or read-only disk is only a warning, one for each folder.
    """
    try:
        with caches.writing(path) as file:
            file.write(_digest(path, code) + code)
        caches.shrink(path.parent, entries, files=_KEPT)
        return True
    except caches.Refused as error:
        caches.warn(str(error))
    except OSError as error:
        why = error.strerror or error
        caches.warn(f"compiled code can't be saved in {path.parent}, so the next process compiles it again: {why}")
    return False


def _digest(path: Path, code: bytes) -> bytes:
    """The digest of an entry: of its name and its code."""
    digest = hashlib.blake2b(path.name.encode() + b"\0", digest_size=_DIGEST)
    digest.update(code)
    return digest.digest()
