"""Abaqus input files (.inp): elements of the plane; sets and surfaces on the boundary become boundaries.

Elements may be of solid mechanics (CPS8, CPE8, S8R) or heat transfer (DC2D8): geometry and node order are the
same, and nothing else of them is read. Those of 8 nodes are solved; triangles and other quadrilaterals can be
converted. A boundary comes from

- a node set whose nodes all lie on the boundary of the mesh: these nodes, with the edges they complete;
- an element set of quadratic line elements (T2D3, T3D3, B22, DC1D3), as gmsh writes them: these lines;
  lines of 2 nodes (T2D2, B21) count where elements have no mid-side nodes;
- a surface of element sides (`*SURFACE, TYPE=ELEMENT`, S1 to S4): these edges.

Sets of other elements are left alone. What one name has of each is joined. `keywords` lists what is done, what
doesn't concern a mesh, and what is refused. The file is read once from top to bottom (`model`); sets are looked up
when all of it is known (`sets`), so that their order doesn't matter.
"""

from fem_core.io.abaqus.reading import read, read_cells
from fem_core.io.abaqus.writing import write

__all__ = ["read", "read_cells", "write"]
