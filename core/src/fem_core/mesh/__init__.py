"""The mesh: its elements, edges and boundaries, its checks, its quality, and its repair."""

from fem_core.mesh.geometry import det_jacobian
from fem_core.mesh.mesh import Boundary, Mesh

__all__ = ["Boundary", "Mesh", "det_jacobian"]
