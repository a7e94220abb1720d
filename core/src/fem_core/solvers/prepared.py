"""A prepared solver is kept from solve to solve for as long as the matrix stays the same."""

import hashlib
from dataclasses import replace

import numpy as np
from scipy import sparse

from fem_core.assembly.system import LinearSystem, require_conditions
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.solver import LinearSolver, Prepared
from fem_core.problem import Problem
from fem_core.results import SolveResult, SolverOptions
from fem_core.support.last import Last
from fem_core.support.progress import Progress
from fem_core.types import Floats, Ints


class LastPrepared(Last[Prepared]):
    """The solver that was prepared last; its key is `key_of`."""

    def solve(
        self, solver: LinearSolver, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions,
        progress: Progress,
    ) -> SolveResult:  # fmt: skip
        """u of a system on the host, the lift included. Raises SolveError before `apply_bc`."""
        lift = require_conditions(system)
        key = key_of(mesh, options, system.fixed, probe(system.matrix))
        prepared = self.get(key, lambda: solver.prepare(system, mesh, problem, options))
        w = prepared.solve(system.rhs, options, progress)
        return replace(w, u=lift + w.u)


def key_of(mesh: Mesh, options: SolverOptions, fixed: Ints, probe: bytes) -> str:
    """What a prepared solver depends on: topology, method with its own options, fixed nodes and matrix.

    Parameters
    ----------
    fixed : int32 (m,)
        Nodes whose value is held.
    probe : bytes
        A fingerprint of the matrix: `probe`, or the same computed on a device.
    """
    digest = hashlib.blake2b(probe, digest_size=16)
    digest.update(fixed.tobytes())
    return f"{options.method} {sorted(options.extra.items())} {mesh.fingerprint} {digest.hexdigest()}"


def probe(K: "sparse.csr_array") -> bytes:
    """K v: ten times as fast as a hash of K. Changes of K below the rounding of K v don't change a solution."""
    return (K @ probing_vector(K.shape[0])).tobytes()  # type: ignore[no-any-return]


def probing_vector(n: int) -> Floats:
    """v: random, but always the same."""
    return np.random.default_rng(0).random(n)
