"""Compiled code kept on disk: an entry is whole or absent, and code that can't be used is compiled again.

An entry begins with the digest of the code.
"""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fem_core.support.atomic import replacing

T = TypeVar("T")

_log = logging.getLogger(__name__)

_DIGEST = 32  # bytes
_KEPT = 8  # entries: of other versions, interpreters, processors and devices


def load(path: Path, use: Callable[[bytes], T]) -> T | None:
    """What `use` makes of the code at `path`; None if there is none, or, with a warning, if it can't be used."""
    try:
        if not path.exists():
            return None
        content = path.read_bytes()
        if _digest(content[_DIGEST:]) != content[:_DIGEST]:
            raise ValueError("it is damaged")
        return use(content[_DIGEST:])
    except Exception as error:
        _log.warning("%s can't be used, so it is compiled again: %s", path, error)
        return None


def save(path: Path, code: bytes, entries: str) -> None:
    """Write an entry, and delete the oldest of those whose names match the pattern `entries`. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(_digest(code) + code)
    others = sorted(path.parent.glob(entries), key=lambda other: other.stat().st_mtime)
    for old in others[:-_KEPT]:
        old.unlink(missing_ok=True)


def _digest(code: bytes) -> bytes:
    return hashlib.blake2b(code, digest_size=_DIGEST).digest()
