"""Copies of modules under another name, one of them changed: `mutant.fem_core.assembly.element` and what uses it.

A mutant of the core must not change the reference to which the kit compares it. So everything that a backend computes
with is imported a second time, below `mutant`, from the same files; the kit, the baseline, meshes and problems stay
the originals.
"""

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import CodeType, ModuleType

#: The package of the copies.
PREFIX = "mutant"

#: What is copied: these modules and all below them. Everything else is imported as it is.
COPIED = ("fem_core.assembly", "fem_core.execution", "fem_core.solvers", "fem_core.backends", "fem_threads")


def is_copied(name: str) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in COPIED)


def source(name: str) -> str:
    """The source of a module."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")


class _Renamed(ast.NodeTransformer):
    """Imports of copied modules become imports of their copies."""

    def __init__(self, name: str) -> None:
        self.name = name

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        assert node.module is not None, f"{self.name}: only absolute imports are copied"
        if is_copied(node.module):
            node.module = f"{PREFIX}.{node.module}"
        return node


def _compiled(name: str, tree: ast.Module) -> CodeType:
    renamed = ast.fix_missing_locations(_Renamed(name).visit(tree))
    return compile(renamed, f"{PREFIX}.{name}", "exec")


class Copies(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and loads everything below `mutant`; `trees` replaces the source of some modules."""

    def __init__(self) -> None:
        self.trees: dict[str, ast.Module] = {}
        self._codes: dict[str, CodeType] = {}

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> object:
        root, _, name = fullname.partition(".")
        if root != PREFIX:
            return None
        parent = any(one.startswith(f"{name}.") for one in COPIED) or not name
        package = parent or importlib.util.find_spec(name).submodule_search_locations is not None
        spec = importlib.machinery.ModuleSpec(fullname, self, is_package=package)
        return spec

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__.partition(".")[2]
        if not is_copied(name):
            return  # a package above the copied ones
        importlib.import_module(name)
        if name in self.trees:
            code = _compiled(name, self.trees[name])
        else:
            code = self._codes.get(name) or _compiled(name, ast.parse(source(name)))
            self._codes[name] = code
        exec(code, module.__dict__)

    def forget(self) -> None:
        """Delete the copies that were imported; what was compiled is kept."""
        for name in [name for name in sys.modules if name.partition(".")[0] == PREFIX]:
            del sys.modules[name]


COPIES = Copies()
sys.meta_path.insert(0, COPIES)
