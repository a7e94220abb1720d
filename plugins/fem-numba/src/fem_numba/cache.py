"""Compiled functions kept on disk.

Numba's own cache doesn't notice a change of a helper in another module, runs what another user wrote, and fails where a
file is truncated or no folder can be written to. Here an entry depends on the sources of the whole package, and any
problem with an entry is only a warning.
"""

import hashlib
import logging
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

from fem_core.support import caches, compiled
from numba.core import caching
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys

from fem_numba import complete, folder, stamp

_log = logging.getLogger(__name__)

_lost = False  # whether an entry couldn't be saved


class Cache(caching._Cache):  # type: ignore[misc]
    """The entries of one function; replaces the cache of its dispatcher."""

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
        """The compiled function, or None if there is no usable one."""
        rtsys.initialize(target_context)  # enough here; `refresh` takes 0.3 s, and compiling calls it
        path = self._path(sig, target_context.codegen())
        return compiled.load(path, lambda code: CompileResult._rebuild(target_context, *pickle.loads(code)))

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function. A full or read-only disk is only a warning."""
        global _lost
        try:
            code = caching.dumps(data._reduce())
        except Exception as error:
            _log.warning("the compiled %s can't be saved: %s", self._name, error)
            _lost = True
            return
        if not compiled.save(self._path(sig, data.codegen), code, f"{self._name}-*.bin"):
            _lost = True


def all_kept() -> None:
    """Mark the cache as complete, if every function is in it."""
    with suppress(OSError):
        if not _lost and not caches.holds(complete()) and folder().is_dir():
            with caches.writing(complete()):
                pass  # that it is there says it
