"""pytest plugin: `PYTHONPATH=tests python -m pytest -p fakes.plugin --loopback` runs the suite on the loopback.

FEM_LOOPBACK=1 does the same as `--loopback`.
"""

import pytest

from fakes import loopback


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--loopback", action="store_true", help="let the backend `numpy` be the loopback backend")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--loopback") or loopback.wanted():
        loopback.install()


def pytest_report_header() -> str | None:
    return "numpy is the loopback backend" if loopback.active else None
