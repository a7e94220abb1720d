"""The mesh: its elements, edges and boundaries, what makes it valid, how good it is, and how it is mended."""

from fem_core.mesh.geometry import det_jacobian
from fem_core.mesh.mesh import Boundary, Mesh

__all__ = ["Boundary", "Mesh", "det_jacobian"]
