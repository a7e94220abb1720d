"""What is imported when: nothing heavy by `import fem_core`, no backend's dependencies by listing them."""

import json

import pytest
from fakes.distributions import python

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
    after = modules(f"import fem_core; fem_core.REGISTRY.find({name!r})")
    assert {m for m in after - before if m.startswith(("fem_core", "numpy", "scipy"))} <= {"fem_core.backends"}


def test_nothing_is_printed():
    done = python("-c", "import fem_core")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_names():
    """`__all__` is what `from fem_core import *` gives, and each name is there."""
    import fem_core

    assert all(hasattr(fem_core, name) for name in fem_core.__all__)
    assert len(set(fem_core.__all__)) == len(fem_core.__all__)
