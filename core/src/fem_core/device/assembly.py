"""Assembly on a device: element matrices, summed by gathering each entry's terms or by sorting COO entries."""

import numpy as np

from fem_core.device import ledger
from fem_core.device.device import Device
from fem_core.device.values import DevicePattern, DeviceSystem
from fem_core.mesh.mesh import Mesh
from fem_core.problem import Problem
from fem_core.types import Ints


def assemble(device: Device, mesh: Mesh, problem: Problem, pattern: DevicePattern, coo: bool) -> DeviceSystem:
    """K and f before boundary conditions."""
    N, M, Z = mesh.n_nodes, mesh.n_elements, pattern.nnz
    k, s = problem.conductivity_on(mesh), problem.source_on(mesh)
    if np.ndim(problem.conductivity) == 0:
        k = k[:1]
    orphans: Ints = mesh.orphan_nodes.astype(np.int32)
    at = device.mesh(mesh)
    with device.stage("assemble_system", ledger.assembly_bytes(N, M, Z, s is not None, coo)) as runtime:
        Ke = runtime.empty(36 * M, np.float64)
        of_k = runtime.upload(k)
        runtime.launch("element_stiffness", M, at.x, at.y, at.quad8, of_k, int(len(k) > 1), Ke)
        if coo:
            n = 64 * M + len(orphans)
            rows, columns, terms = (runtime.empty(n, dtype) for dtype in (np.int32, np.int32, np.float64))
            runtime.launch("coo_entries", n, at.quad8, Ke, M, runtime.upload(orphans), rows, columns, terms)
            indptr, indices, values = runtime.coo_to_csr(rows, columns, terms, N)
            del rows, columns, terms
        else:
            indptr, indices, values = pattern.indptr, pattern.indices, runtime.empty(Z, np.float64)
            runtime.launch("sum_entries", Z, pattern.source_start, pattern.source, Ke, values)
        del Ke, of_k
        if s is None:
            rhs = runtime.zeros(N, np.float64)
        else:
            fe, rhs = runtime.empty(8 * M, np.float64), runtime.empty(N, np.float64)
            runtime.launch("element_load", M, at.x, at.y, at.quad8, runtime.upload(s), fe)
            runtime.launch("sum_loads", N, pattern.start, pattern.place, fe, rhs)
    return DeviceSystem(device, N, Z, indptr, indices, values, rhs, np.empty(0, np.int32))
