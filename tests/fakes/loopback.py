"""The core's own numerics through the plugin path: all five stages by a backend, under the name `numpy`.

Where it is installed, every run on `numpy` takes the way of a plugin that provides everything. Its
values are copies, so whoever relies on shared storage notices.
"""

import os
from dataclasses import replace

import fem_core as fem
from fem_core.backends import NUMPY
from fem_core.backends.default import DefaultBackend

#: Whether the suite runs on it (`--loopback` or FEM_LOOPBACK=1 with `-p fakes.plugin`).
active = False


class Loopback(fem.backends.BatchedBackend):
    """Calls what the core calls."""

    def __init__(self, kernel="vectorized", batch_size: int = 8192) -> None:
        super().__init__(fem.execution.SerialExecutor(batch_size), kernel)
        self.core = DefaultBackend()

    def close(self) -> None:
        self.core.close()
        super().close()

    @fem.plugins.hookimpl
    def fem_sparsity(self, mesh, progress):
        progress.check()
        return self.core.fem_sparsity(mesh, progress)

    @fem.plugins.hookimpl
    def fem_apply_bc(self, system, mesh, problem, progress):
        system = system.to_host()
        system = replace(system, matrix=system.matrix.copy(), rhs=system.rhs.copy())
        return self.core.fem_apply_bc(system, mesh, problem, progress)

    @fem.plugins.hookimpl
    def fem_solve(self, system, mesh, problem, options, progress):
        result = self.core.fem_solve(system, mesh, problem, options, progress)
        return replace(result, u=result.u.copy())


INFO = replace(
    NUMPY,
    factory="fakes.loopback:Loopback",
    stages=("compute_sparsity", "assemble_system", "apply_bc", "solve_system", "compute_derived"),
    solver_methods=("cg", "direct"),
)


def install() -> None:
    """Let `numpy` be the loopback in this process."""
    global active
    active = True
    fem.plugins.register_backend(INFO)


def wanted() -> bool:
    return os.environ.get("FEM_LOOPBACK", "") not in ("", "0")
