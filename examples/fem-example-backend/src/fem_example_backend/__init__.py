"""The light half: what `fem backends` shows. It imports no more than the core's description of a backend."""

from fem_core.plugins import BackendInfo, Option

INFO = BackendInfo(
    name="product",
    summary="an example: K = GᵀWG as a product of sparse matrices",
    factory="fem_example_backend.backend:Product",  # imported when the backend is opened
    stages=("assemble_system",),  # everything else is left to the next in the chain, at last the core
    options=(Option("check_symmetry", bool, False, "refuse a matrix that isn't symmetric"),),
    rank=5,  # `auto` prefers what is faster
)
