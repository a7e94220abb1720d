"""What the tests of the core and of the plugins share: fixtures, and what holds for a whole run of pytest."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from fem_core import Mesh, read_mesh
from fem_core.run import opening
from hypothesis import settings
from places import ROOT

# A shared machine may stall at any moment: an example's time says nothing.
settings.register_profile("fem", deadline=None)
settings.load_profile("fem")

# In the background a shell has Ctrl-C ignored, and every process started from here would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What was tuned for this machine is nobody's business here, nor in processes started from here.
os.environ["FEM_TUNE"] = "off"

_todo = opening.todo

REAL_MESHES = Path(os.environ.get("FEM_MESHES") or ROOT.parent / "shared" / "meshes")
CASES = Path(os.environ.get("FEM_CASES") or ROOT.parent / "shared" / "cases")

__all__ = ["auto_is_the_same_everywhere", "case", "real_mesh"]


@pytest.fixture
def real_mesh() -> Callable[[str], Mesh]:
    """Reads one of the real meshes by name; skips where they aren't there (set FEM_MESHES to their folder)."""

    def read(name: str) -> Mesh:
        path = REAL_MESHES / f"{name}.h5"
        if not path.is_file():
            pytest.skip(f"the real mesh {name} isn't here; set FEM_MESHES to its folder")
        return read_mesh(path)

    return read


@pytest.fixture
def case() -> Callable[[str], Path]:
    """The path of a small input that a user's report led to; skips where they aren't there (set FEM_CASES)."""

    def find(name: str) -> Path:
        if not (CASES / name).is_file():
            pytest.skip(f"the input {name} isn't here; set FEM_CASES to its folder")
        return CASES / name

    return find


@pytest.fixture(autouse=True)
def auto_is_the_same_everywhere(request, monkeypatch):
    """`auto` takes numpy, whether or not numba happens to be compiled here; its own tests see what there is."""
    if not request.module.__name__.startswith("test_numba"):
        monkeypatch.setattr(opening, "todo", lambda one: "compile" if one.name == "numba" else _todo(one))
