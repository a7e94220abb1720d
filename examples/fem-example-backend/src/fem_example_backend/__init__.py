"""The light half: the entry in `fem backends`. It imports only the core's description of a backend."""

from fem_core.plugins import BackendInfo, Option

INFO = BackendInfo(
    name="product",
    summary="an example: K = GᵀWG as a product of sparse matrices",
    factory="fem_example_backend.backend:Product",  # imported when the backend is opened
    stages=("assemble_system",),  # the other stages go to the next backend in the chain, in the end the core
    options=(Option("check_symmetry", bool, False, "refuse a matrix that isn't symmetric"),),
    rank=5,  # `auto` prefers faster backends
)
