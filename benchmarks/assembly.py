"""NumPy assembly beside scikit-fem's: the same space (exact serendipity map), mesh, machine and thread count."""

from functools import partial

import fem_core as fem
import numpy as np
from fem_core.tools.bench import side_by_side
from meshes import y_tube_195k
from scipy.sparse import diags_array


def run(repeats: int) -> dict[str, object]:
    mesh = y_tube_195k()
    problem = fem.Problem()
    sparsity = fem.compute_sparsity(mesh)
    session = fem.open_backend("numpy")
    cases = {
        "fem-core, symbolic": partial(fem.compute_sparsity, mesh),
        "fem-core, numeric": lambda: fem.assemble_system(mesh, problem, sparsity, backend=session),
        "fem-core, both": lambda: fem.assemble_system(mesh, problem, fem.compute_sparsity(mesh), backend=session),
    }
    try:
        peer = ScikitFem(mesh)
    except ImportError:
        print("scikit-fem is not installed: nothing to compare with")
    else:
        wanted = peer.assemble()[peer.order][:, peer.order]
        found = fem.assemble_system(mesh, problem, sparsity).matrix[mesh.used_nodes][:, mesh.used_nodes]
        scale = diags_array(found.diagonal() ** -0.5)
        difference = abs(scale @ (wanted - found) @ scale).max()
        assert difference < 1e-11, f"the matrices differ by {difference:.1e}"
        cases |= {"scikit-fem, basis + assembly": peer.both, "scikit-fem, assembly": peer.assemble}
    timings = side_by_side(cases, repeats)
    for name, timing in timings.items():
        print(f"{name:32} {1e3 * timing.median:8.1f} ms")
    results: dict[str, object] = {"mesh": repr(mesh), "timings": timings}
    if "scikit-fem, assembly" in timings:
        ratios = {
            "both": timings["scikit-fem, basis + assembly"].median / timings["fem-core, both"].median,
            "numeric": timings["scikit-fem, assembly"].median / timings["fem-core, numeric"].median,
        }
        print(f"{'ratio, symbolic + numeric':32} {ratios['both']:8.2f}")
        print(f"{'ratio, numeric':32} {ratios['numeric']:8.2f}")
        results |= {"ratios": ratios, "difference": difference}
    return results


class ScikitFem:
    """ElementQuadS2 on a 9-node geometry: centres at -¼ Σ corners + ½ Σ mid-sides make the map the serendipity one."""

    def __init__(self, mesh: fem.Mesh) -> None:
        from skfem import BilinearForm, ElementQuadS2, MeshQuad, MeshQuad2
        from skfem.helpers import dot, grad

        @BilinearForm
        def laplace(u, v, w):
            return dot(grad(u), grad(v))

        self.element, self.form = ElementQuadS2(), laplace
        # scikit-fem needs mid-sides and centres after the corners, ordered like its facets: build its mesh first
        corners, inverse = np.unique(mesh.quad8[:, :4], return_inverse=True)
        t = inverse.reshape(-1, 4).T
        linear = MeshQuad(np.vstack([mesh.x[corners], mesh.y[corners]]), np.ascontiguousarray(t))
        facets = linear.t2f  # local facets (0,1) (1,2) (2,3) (0,3), the order of our mid-sides
        mid = np.empty(linear.facets.shape[1], dtype=np.int64)
        mid[facets.T] = mesh.quad8[:, 4:]
        X = np.vstack([mesh.x, mesh.y])
        centre = -0.25 * X[:, mesh.quad8[:, :4]].sum(axis=2) + 0.5 * X[:, mesh.quad8[:, 4:]].sum(axis=2)
        self.mesh = MeshQuad2(np.hstack([X[:, corners], X[:, mid], centre]), linear.t)
        self.basis = self._basis()
        # scikit-fem's unknowns: vertices, then facets; ours among the used nodes
        names = np.searchsorted(mesh.used_nodes, np.concatenate([corners, mid]))
        dofs = np.concatenate([self.basis.nodal_dofs[0], self.basis.facet_dofs[0]])
        self.order = np.empty(len(names), dtype=np.int64)
        self.order[names] = dofs

    def _basis(self):
        from skfem import Basis

        return Basis(self.mesh, self.element, intorder=5)

    def both(self):
        return self.form.assemble(self._basis())

    def assemble(self):
        return self.form.assemble(self.basis)
