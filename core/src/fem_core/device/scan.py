"""Exclusive prefix sums: where each part of a list begins, from the lengths of the parts."""

from typing import Any

import numpy as np

from fem_core.assembly.sparsity import require_places
from fem_core.device.runtime import CHUNK, Runtime


def starts(runtime: Runtime, counts: Any, length: int) -> tuple[Any, int]:
    """Exclusive prefix sums of int32 counts, and their total. Raises BackendError if int32 can't hold it.

    The host adds up the sums of the chunks: they are few.
    """
    n = -(-length // CHUNK)
    sums = runtime.empty(n, np.int32)
    runtime.launch("sum_chunks", n, length, counts, sums)
    ends = np.cumsum(runtime.download(sums), dtype=np.int64)
    require_places(int(ends[-1]), "entries of the matrix", "device")
    offsets = runtime.upload(np.concatenate([[0], ends[:-1]]).astype(np.int32))
    found = runtime.empty(length, np.int32)
    runtime.launch("scan_chunks", n, length, counts, offsets, found)
    return found, int(ends[-1])
