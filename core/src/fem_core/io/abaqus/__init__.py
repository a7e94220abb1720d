"""Abaqus input files (.inp): elements of the plane; sets and surfaces on the boundary become boundaries.

Elements may be of solid mechanics (CPS8, CPE8, S8R) or heat transfer (DC2D8): geometry and node order are the
same, and nothing else of them is read. Those of 8 nodes are solved; triangles and other quadrilaterals can be
converted. A boundary comes from

- a node set whose nodes all lie on the boundary of the mesh: these nodes, with the edges they complete;
- an element set of quadratic line elements (T2D3, T3D3, B22, DC1D3), as gmsh writes them: these lines;
  lines of 2 nodes (T2D2, B21) count where elements have no mid-side nodes;
- a surface of element sides (`*SURFACE, TYPE=ELEMENT`, S1 to S4): these edges.

Sets of other elements are ignored. If sets and surfaces have the same name, they are one boundary. `keywords` lists the
supported keywords, the keywords that don't concern a mesh, and the refused ones. The file is read once from top to
bottom (`model`). Sets are looked up at the end (`sets`), so their order doesn't matter.
"""

from fem_core.io.abaqus.reading import read, read_cells
from fem_core.io.abaqus.writing import write

__all__ = ["read", "read_cells", "write"]
