"""Fixtures that several test modules share."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fem_core import Mesh, read_mesh
from hypothesis import settings

# A shared machine may stall at any moment: an example's time says nothing.
settings.register_profile("fem", deadline=None)
settings.load_profile("fem")

REAL_MESHES = Path(os.environ.get("FEM_MESHES") or Path(__file__).parents[2] / "shared" / "meshes")


@pytest.fixture
def real_mesh() -> Callable[[str], Mesh]:
    """Reads one of the real meshes by name; skips where they aren't there (set FEM_MESHES to their folder)."""

    def read(name: str) -> Mesh:
        path = REAL_MESHES / f"{name}.h5"
        if not path.is_file():
            pytest.skip(f"the real mesh {name} isn't here; set FEM_MESHES to its folder")
        return read_mesh(path)

    return read
