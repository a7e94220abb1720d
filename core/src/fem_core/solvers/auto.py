"""`auto`: the solver that is probably the fastest."""

from collections.abc import Iterable

from fem_core.plugins.backend import BackendInfo

#: Up to this number of nodes a factorisation takes no longer than the setup of a hierarchy.
_SMALL = 4_000


def choose(n_nodes: int, backends: Iterable[BackendInfo]) -> tuple[str, str]:
    """The method and the reason: a factorisation for small meshes, multigrid for large ones.

    A device with `cg` but without `mg` uses its `cg`; otherwise the host would have to solve.
    """
    for info in backends:
        if info.device != "cpu" and "cg" in info.solver_methods and "mg" not in info.solver_methods:
            return "cg", f"which {info.name} solves on its device"
    if n_nodes <= _SMALL:
        return "direct", f"for {n_nodes:,} nodes"
    return "mg", f"for {n_nodes:,} nodes"
