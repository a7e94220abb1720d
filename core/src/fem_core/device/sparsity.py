"""The symbolic half: which nodes share an element, and where each entry's terms are."""

from dataclasses import replace

import numpy as np

from fem_core.assembly.sparsity import Sparsity
from fem_core.device import ledger
from fem_core.device.device import Device
from fem_core.device.scan import starts
from fem_core.device.values import DevicePattern
from fem_core.mesh.mesh import Mesh


def compute_pattern(device: Device, mesh: Mesh, sources: bool, known: Sparsity | None = None) -> DevicePattern:
    """The pattern of a mesh, with the terms of each entry if `sources`.

    Parameters
    ----------
    known : Sparsity, optional
        The pattern from another backend: its indices are uploaded.
    """
    N, M = mesh.n_nodes, mesh.n_elements
    quad8 = device.mesh(mesh).quad8
    Z = known.nnz if known else 64 * M + len(mesh.orphan_nodes)
    with device.stage("compute_sparsity", ledger.pattern_bytes(N, M, Z, sources)) as runtime:
        count = runtime.zeros(N + 1, np.int32)
        runtime.launch("count_places", 8 * M, quad8, count)
        start, _ = starts(runtime, count, N + 1)
        del count
        cursor, place = runtime.zeros(N, np.int32), runtime.empty(8 * M, np.int32)
        runtime.launch("list_places", 8 * M, quad8, start, cursor, place)
        del cursor
        runtime.launch("sort_places", N, start, place)
        at = start, place, quad8
        if known is None:
            room, length = runtime.empty(64 * M, np.int32), runtime.zeros(N + 1, np.int32)
            runtime.launch("list_columns", N, *at, room, length)
            indptr, Z = starts(runtime, length, N + 1)
            indices = runtime.empty(Z, np.int32)
            runtime.launch("pack_columns", N, start, room, indptr, indices)
            del room, length
        else:
            indptr, indices = runtime.upload(known.indptr), runtime.upload(known.indices)
        pattern = DevicePattern(device, N, M, Z, quad8, indptr, indices, start, place)
        if not sources:
            return pattern
        count = runtime.zeros(Z + 1, np.int32)
        runtime.launch("count_sources", N, *at, indptr, indices, count)
        source_start, _ = starts(runtime, count, Z + 1)
        del count
        cursor, source = runtime.zeros(Z, np.int32), runtime.empty(64 * M, np.int32)
        runtime.launch("list_sources", N, *at, indptr, indices, source_start, cursor, source, M)
        return replace(pattern, source_start=source_start, source=source)
