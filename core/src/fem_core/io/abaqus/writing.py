"""Writing Abaqus input files.

The format has no mark for the end of a file. Our files therefore end with a comment, and their first line says so.
"""

from pathlib import Path

import numpy as np

from fem_core.io.checks import check_names
from fem_core.mesh.geometry import find_edges
from fem_core.mesh.mesh import Mesh
from fem_core.mesh.quad8 import EDGES

END = b"** end of this fem-core mesh"
HEAD = b'** fem-core mesh; a whole file has "' + END + b'" below it'


def write(mesh: Mesh, path: Path) -> None:
    """Write `mesh` as DC2D8, each boundary as a node set and a surface of element sides."""
    check_names(mesh)
    known = mesh.quad8[:, EDGES].reshape(-1, 3)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"{HEAD.decode()}\n*NODE\n")
        file.writelines(
            f"{i}, {x!r}, {y!r}\n" for i, (x, y) in enumerate(np.stack([mesh.x, mesh.y], axis=1).tolist(), 1)
        )
        file.write("*ELEMENT, TYPE=DC2D8\n")
        rows = (mesh.quad8 + 1).tolist()
        file.writelines(f"{i}, {', '.join(map(str, row))}\n" for i, row in enumerate(rows, 1))
        for name, boundary in mesh.boundaries.items():
            if name == "walls" and not len(boundary.nodes):
                continue  # empty walls would be read as walls that were lost
            file.write(f'*NSET, NSET="{name}"\n')
            file.writelines(f"{node}\n" for node in (boundary.nodes + 1).tolist())
            file.write(f'*SURFACE, TYPE=ELEMENT, NAME="{name}"\n')
            sides = find_edges(boundary.edges, known)
            file.writelines(f"{side // 4 + 1}, S{side % 4 + 1}\n" for side in sides.tolist())
        file.write(f"{END.decode()}\n")
