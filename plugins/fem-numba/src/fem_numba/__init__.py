"""Every stage compiled by Numba, parallel over the cores: what `fem backends` shows of it."""

from fem_core.backend import BackendInfo, Option

__version__ = "1.0.0"

INFO = BackendInfo(
    name="numba",
    summary="every stage compiled, parallel over the cores",
    factory="fem_numba.backend:Numba",
    stages=("compute_sparsity", "assemble_system", "apply_bc", "solve_system", "compute_derived"),
    solver_methods=("cg", "mg"),
    options=(Option("threads", int, None, "threads; by default the cores this process may use", minimum=1),),
    rank=20,
)
