"""Two execution models, one matrix: compared entry by entry.

`baseline` computes one element after the other in Python, as the mathematics is written; `numpy` all of
a batch at once. Their sums run in another order, so their entries may differ by rounding: a few ε times
what can be added up in them, Σ √(Kᵢᵢ Kⱼⱼ) over the elements (Cauchy and Schwarz), and no more. `fem
verify` does this, and much else, for any backend.
"""

import fem_core as fem
import numpy as np


def main() -> dict[str, float]:
    mesh = fem.generate.s_duct(nodes=1_500)
    K, other = (fem.assemble_system(mesh, backend=name).matrix for name in ("baseline", "numpy"))
    same = np.array_equal(K.indptr, other.indptr) and np.array_equal(K.indices, other.indices)

    elements = fem.assembly.element_stiffness(mesh.x[mesh.quad8], mesh.y[mesh.quad8], np.ones(mesh.n_elements))
    root = np.sqrt(np.einsum("eii->ei", elements))
    scale = fem.compute_sparsity(mesh).scatter(root[:, :, None] * root[:, None, :])
    difference = (abs(K.data - other.data) / scale).max() / np.finfo(float).eps
    print(f"{K.nnz} entries in the same places; they differ by at most {difference:.1f} ε of what is summed")
    return {"same pattern": same, "difference in ε": float(difference)}


if __name__ == "__main__":
    main()
