"""Backends made of copied modules. Import this where the copies are to be found: see `mutation.copies`.

The core tells its values by type, so the values of copied classes are handed over as the originals, and back.
"""

from dataclasses import fields
from typing import Any
from weakref import WeakKeyDictionary

from fem_core.assembly import LinearSystem, Sparsity
from fem_core.backends import batched
from fem_core.plugins import Option, hookimpl
from mutant.fem_core import assembly
from mutant.fem_core.backends.batched import BatchedBackend, NumPy
from mutant.fem_core.backends.default import DefaultBackend

_copies: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()  # a backend knows a pattern again by identity


def _moved(value: Any, kind: type) -> Any:
    return kind(**{field.name: getattr(value, field.name) for field in fields(value)})


def _original(value: Any) -> Any:
    kind = {assembly.Sparsity: Sparsity, assembly.LinearSystem: LinearSystem}[type(value)]
    found = _moved(value, kind)
    _copies[found] = value
    return found


def _copy(value: Any) -> Any:
    value = value.to_host()
    if value not in _copies:
        _copies[value] = _moved(value, getattr(assembly, type(value).__name__))
    return _copies[value]


class Assembling(BatchedBackend, batched.BatchedBackend):
    """Hands over the results of the assembly. The kit knows a backend on an executor by the original's type."""

    @hookimpl
    def fem_assemble(self, mesh, problem, sparsity, progress):
        return _original(super().fem_assemble(mesh, problem, _copy(sparsity), progress))


class Whole(Assembling, DefaultBackend):
    """Every stage."""

    @hookimpl
    def fem_sparsity(self, mesh, progress):
        return _original(super().fem_sparsity(mesh, progress))

    @hookimpl
    def fem_apply_bc(self, system, mesh, problem, progress):
        return _original(super().fem_apply_bc(_copy(system), mesh, problem, progress))

    @hookimpl
    def fem_solve(self, system, mesh, problem, options, progress):
        return super().fem_solve(_copy(system), mesh, problem, options, progress)


class Loop(Assembling, NumPy):
    """The kernels that go element by element."""

    def __init__(self):
        super().__init__("loop")


def __getattr__(name: str) -> type:
    if name != "Threaded":
        raise AttributeError(name)
    from mutant.fem_threads.backend import Threads

    class Threaded(Assembling, Threads):
        """The sums by blocks, which need workers that share memory; small meshes too are computed by workers."""

        def __init__(self, workers=2, batch_size=None):
            super().__init__(workers=workers, batch_size=batch_size, min_size=0)

    globals()[name] = Threaded
    return Threaded


#: What the check of determinism varies.
OPTIONS = {
    "Threaded": (Option("workers", int, 2, "number of threads"), Option("batch_size", int, None, "elements per batch"))
}
