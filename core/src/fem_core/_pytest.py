"""The pytest plugin of the conformance kit: it only registers options, and imports nothing of the kit.

It is loaded into every pytest run of an environment that has fem-core, with or without the `testing`
extra, so it must not need anything but pytest itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fem", "conformance of fem backends (pytest --pyargs fem_core.testing)")
    group.addoption(
        "--fem-backend",
        action="append",
        default=[],
        metavar="NAME",
        help="certify this backend, or chain of backends; may be repeated (default: numpy)",
    )
    group.addoption(
        "--fem-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the backend; may be repeated",
    )
    group.addoption(
        "--fem-examples",
        type=int,
        default=None,
        metavar="N",
        help="meshes tried by each property (default: 25)",
    )
    group.addoption(
        "--fem-elements",
        type=int,
        default=None,
        metavar="N",
        help="the most elements that a mesh may have, for backends that take long; the kit proves less then",
    )
    group.addoption(
        "--fem-thorough",
        action="store_true",
        help="do what takes minutes, too: meshes of 600,000 elements, and many runs",
    )
    group.addoption(
        "--fem-expect",
        action="append",
        default=[],
        metavar="CHECK=REASON",
        help="a check that is known to fail, and why; may be repeated",
    )
