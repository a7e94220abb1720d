"""What is imported when: nothing heavy by `import fem_core`, no backend's dependencies by listing them."""

import importlib
import json
import re

import pytest
from fakes.distributions import python
from places import DOCS

HEAVY = ("matplotlib", "h5py", "click", "rich", "hypothesis", "pytest", "numba", "cupy", "pandas", "meshio", "pyamg")


def modules(code):
    done = python("-W", "error", "-c", f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)))")
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import fem_core",
        "import fem_core; fem_core.list_backends()",
        "import fem_core as fem; fem.solve(fem.generate.duct(nx=3, ny=2), backend='numpy')",
    ],
)
def test_nothing_heavy(code):
    found = modules(code)
    assert not found & set(HEAVY)
    assert not {name for name in found if name.startswith(("fem_core.testing", "fem_core.cli", "fem_core._pytest"))}


@pytest.mark.parametrize("name", ["baseline", "numpy"])
def test_information_is_light(name):
    """What the entry point's module adds to the core is nothing."""
    before = modules("import fem_core")
    after = modules(f"import fem_core; fem_core.plugins.REGISTRY.find({name!r})")
    assert {m for m in after - before if m.startswith(("fem_core", "numpy", "scipy"))} <= {"fem_core.backends"}


def test_nothing_is_printed():
    done = python("-c", "import fem_core")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


PACKAGES = ["plugins", "execution", "assembly", "mesh", "backends", "solvers", "device", "testing"]


def names(package):
    return sorted(importlib.import_module(package).__all__)


@pytest.mark.parametrize("package", ["fem_core", *(f"fem_core.{name}" for name in PACKAGES)])
def test_names(package):
    """`__all__` is what a star gives, each name is there, and the page of public names lists just these."""
    module, listed = importlib.import_module(package), names(package)
    assert all(hasattr(module, name) for name in listed)
    assert len(set(listed)) == len(listed)
    page = (DOCS / "public_names.md").read_text(encoding="utf-8")
    solving, extending = page.split("## To extend")
    if package == "fem_core":
        found = {name for row in solving.splitlines() if row.startswith("| ") for name in re.findall(r"`(\w+)`", row)}
    else:
        (row,) = (row for row in extending.splitlines() if row.startswith(f"| `{package}` |"))
        found = set(re.findall(r"`(\w+)`", row.partition("` |")[2]))
    assert found == set(listed)
