"""Distributions that look installed: a folder with modules and `NAME-1.0.dist-info` on the path."""

import importlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest
from fem_core.plugins import registry
from fem_core.plugins.hookspecs import new_manager

GOOD = """
    import fem_core as fem

    class Fake(fem.plugins.Backend):
        @fem.plugins.hookimpl
        def fem_assemble(self, mesh, problem, sparsity, progress):
            return fem.assemble_system(mesh, problem, sparsity, backend="baseline")
"""

INFO = """
    from fem_core.plugins import BackendInfo

    INFO = BackendInfo("{name}", "a fake", "{package}.backend:Fake", stages=("assemble_system",))
"""


class Shelf:
    """The folder. Made importable by `use` in this process, or by `run` in another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before: set[str] = set()

    def add(self, name: str, files: Mapping[str, str], points: Mapping[str, str], group: str = "fem.backends") -> None:
        """A distribution with these files (path to source) and entry points."""
        info = self.folder / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = "".join(f"{point} = {value}\n" for point, value in points.items())
        (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
        for path, source in files.items():
            file = self.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(source))

    def backend(
        self, name: str, *, info: str = INFO, backend: str = GOOD, init: str = "", distribution: str | None = None
    ) -> str:
        """The distribution of one backend, sound unless told otherwise; returns its package's name."""
        package = f"fake_{(distribution or name).replace('-', '_')}"
        files = {
            f"{package}/__init__.py": init,
            f"{package}/info.py": info.replace("{name}", name).replace("{package}", package),
            f"{package}/backend.py": backend,
        }
        self.add(distribution or f"fake-{name}", files, {name: f"{package}.info:INFO"})
        return package

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process find what is on the shelf, now and for the rest of the test."""
        monkeypatch.syspath_prepend(str(self.folder))
        self.refresh()
        one = registry.REGISTRY
        monkeypatch.setattr(one, "_manager", new_manager())
        monkeypatch.setattr(one, "_plugins_loaded", False)
        monkeypatch.setattr(one, "plugin_failures", {})
        monkeypatch.setattr(one, "_registered", dict(one._registered))
        self._before = set(sys.modules)

    def refresh(self) -> None:
        importlib.invalidate_caches()
        registry._entry_points.cache_clear()

    def leave(self) -> None:
        """Forget what was imported from the shelf."""
        for name in set(sys.modules) - self._before:
            if name.startswith("fake_"):
                del sys.modules[name]
        self.refresh()

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """A Python process that finds what is on the shelf."""
        return python(*command, PYTHONPATH=str(self.folder), **env)


def python(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`python COMMAND`, its output as text; the environment's PYTHONPATH and FEM_* are replaced by `env`."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" and not key.startswith("FEM_")}
    return subprocess.run(
        [sys.executable, *command],
        env=clean | env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
