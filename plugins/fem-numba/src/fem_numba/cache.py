"""Compiled functions kept on disk: an entry is whole or it isn't there, and a bad one is compiled again.

Numba's own cache takes a changed helper in another module for no change, and fails where a file is truncated or no
folder can be written to. Here an entry belongs to the sources of the whole package, begins with the digest of the rest,
and whatever goes wrong with it is no more than a warning.
"""

import hashlib
import logging
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

from fem_core.support.atomic import replacing
from numba.core import caching
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys

from fem_numba import complete, folder, stamp

_log = logging.getLogger(__name__)

_DIGEST = 32
_lost = False  # whether something couldn't be kept

_KEPT = 8  # entries of a function: of other versions, interpreters and processors


class Cache(caching._Cache):  # type: ignore[misc]
    """The entries of one function, in place of the cache that its dispatcher has."""

    def __init__(self, function: Any) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"

    @property
    def cache_path(self) -> str:
        return str(folder())

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...

    def _path(self, signature: Any, codegen: Any) -> Path:
        key = hashlib.blake2b(stamp() + repr((self._name, signature, codegen.magic_tuple())).encode(), digest_size=16)
        return folder() / f"{self._name}-{key.hexdigest()}.bin"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function, or None if there is none that can be used."""
        rtsys.initialize(target_context)  # all that is needed; `refresh` takes 0.3 s, and compiling calls it
        path = self._path(sig, target_context.codegen())
        try:
            if not path.exists():
                return None
            content = path.read_bytes()
            if hashlib.blake2b(content[_DIGEST:], digest_size=_DIGEST).digest() != content[:_DIGEST]:
                raise ValueError("it is damaged")
            return CompileResult._rebuild(target_context, *pickle.loads(content[_DIGEST:]))
        except Exception as error:
            _log.warning("%s can't be used, so it is compiled again: %s", path, error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function; a disk that is full or read-only is no error."""
        path = self._path(sig, data.codegen)
        try:
            content = caching.dumps(data._reduce())
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(hashlib.blake2b(content, digest_size=_DIGEST).digest() + content)
            others = sorted(path.parent.glob(f"{self._name}-*.bin"), key=lambda other: other.stat().st_mtime)
            for old in others[:-_KEPT]:
                old.unlink(missing_ok=True)
        except Exception as error:
            global _lost
            if not _lost:  # the folder is the same for all
                _log.warning(
                    "the compiled code can't be saved, so it will be compiled again in the next process: %s", error
                )
            _lost = True


def all_kept() -> None:
    """Note that every function is on disk, if it is."""
    with suppress(OSError):
        if not _lost and not complete().exists() and folder().is_dir():
            complete().touch()
