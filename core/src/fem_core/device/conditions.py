"""Boundary conditions: edge integrals, lifted values, fixed nodes."""

from dataclasses import replace

import numpy as np

from fem_core.assembly.system import PENALTY, robin_terms
from fem_core.device import ledger
from fem_core.device.device import Device
from fem_core.device.values import DeviceSystem
from fem_core.mesh.mesh import Mesh
from fem_core.problem import Problem
from fem_core.types import Array


def apply(device: Device, system: DeviceSystem, mesh: Mesh, problem: Problem) -> DeviceSystem:
    """As `fem_core.assembly.system.apply_conditions`: a new system of the same pattern."""
    N, Z = system.n_nodes, system.nnz
    terms = list(robin_terms(mesh, problem))
    fixed, lift = problem.fixed_on(mesh)
    at = device.mesh(mesh)
    wanted = ledger.conditions_bytes(N, Z, sum(len(edges) for edges, _, _ in terms))
    with device.stage("apply_bc", wanted) as runtime:
        values, rhs = runtime.empty(Z, np.float64), runtime.empty(N, np.float64)
        runtime.copy(system.values, values)
        runtime.copy(system.rhs, rhs)
        K = system.indptr, system.indices, values
        for edges, p, γ in terms:
            nodes, starts, places = _by_node(edges)
            given = [runtime.upload(array) for array in (nodes, starts, places, edges)]
            robin = [runtime.upload(array) for array in (p, γ)]
            runtime.launch("add_robin", len(nodes), *given, at.x, at.y, *robin, *K, rhs)
        held = runtime.upload(fixed)
        if lift.any():
            g = runtime.upload(lift)
            runtime.launch("subtract_product", N, *K, g, rhs)
        else:
            g = runtime.zeros(N, np.float64)
        if problem.dirichlet == "penalty":
            runtime.launch("penalize", len(fixed), held, *K, rhs, PENALTY)
        else:
            flags = np.zeros(N, np.int32)
            flags[fixed] = 1
            runtime.launch("eliminate", N, runtime.upload(flags), *K, rhs)
    return replace(system, values=values, rhs=rhs, fixed=fixed, held=held, lift=g)


def _by_node(edges: Array) -> tuple[Array, Array, Array]:
    """The nodes of edges, ascending, and the places 3 edge + local of node t from starts[t] to starts[t + 1]; int32."""
    nodes, of = np.unique(edges, return_inverse=True)
    of = of.ravel()
    starts = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=len(nodes)))])
    return nodes.astype(np.int32), starts.astype(np.int32), np.argsort(of, kind="stable").astype(np.int32)
