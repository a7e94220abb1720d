"""What `pytest --pyargs fem_core.testing --fem-backend NAME` collects: one test per check and backend."""

from collections.abc import Iterator

import pytest

from fem_core.testing.checks import CHECKS, Check
from fem_core.testing.runner import report, run_check
from fem_core.testing.target import Target


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per backend on the command line and check of the kit."""
    backends = metafunc.config.getoption("--fem-backend") or ["numpy"]
    metafunc.parametrize("target", backends, indirect=True, scope="module")
    metafunc.parametrize("check", [pytest.param(check, id=name) for name, check in CHECKS.items()])


@pytest.fixture(scope="module")
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """The backend under test, opened once for all checks."""
    options = dict(option.split("=", 1) for option in request.config.getoption("--fem-option"))
    examples, elements, thorough = (
        request.config.getoption(f"--fem-{name}") for name in ("examples", "elements", "thorough")
    )
    with Target(request.param, options, examples or 25, elements=elements, thorough=thorough) as opened:
        yield opened


def test_conformance(target: Target, check: Check, request: pytest.FixtureRequest) -> None:
    """The backend passes the check, or fails it as announced."""
    expected = dict(one.split("=", 1) for one in request.config.getoption("--fem-expect"))
    report(run_check(check, target, expected))
