"""The mesh of the benchmarks: the published one if its file exists, else a generated one of its size."""

import os
from pathlib import Path

import fem_core as fem


def y_tube_195k() -> fem.Mesh:
    """The published y-tube (badly numbered, a quarter of its nodes orphans), or a generated one."""
    folder = Path(os.environ.get("FEM_MESHES", Path(__file__).parents[2] / "shared" / "meshes"))
    path = folder / "y_tube_195k.h5"
    return fem.read_mesh(path) if path.exists() else fem.generate.y_tube(nodes=147_000)
