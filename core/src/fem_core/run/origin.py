"""On which mesh the value of a stage was made: a later stage takes it on no mesh of another topology.

A pattern of as many nodes would otherwise make a wrong matrix without a word.
"""

from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from fem_core.assembly.sparsity import Sparsity, fault_in
from fem_core.errors import ProblemError
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.stages import ComputeStage
from fem_core.support.kinds import shown

#: Fingerprints of meshes by value, for as long as the value lives.
_FINGERPRINTS: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def remember_origin(value: object, mesh: Mesh) -> None:
    """Remember that `value` was made on `mesh`."""
    with suppress(TypeError):  # a backend's own type may have no hash
        _FINGERPRINTS[value] = mesh.fingerprint


def _fingerprint(value: object) -> str | None:
    """The fingerprint of the mesh that `value` was made on, if it is known."""
    with suppress(TypeError):
        return _FINGERPRINTS.get(value)
    return None


def require_origin(value: object, made_in: ComputeStage[Any], mesh: Mesh) -> None:
    """Raises ProblemError unless `value` is a result of the stage `made_in`, for this mesh.

    A pattern that no stage made is compared with the mesh, once.
    """
    name, wanted = made_in.name, made_in.result
    if not isinstance(value, wanted) and not callable(getattr(value, "to_host", None)):
        raise ProblemError(f"{mesh.source}: {name} makes a {wanted.__name__}, not {shown(value)}; pass its result")
    known = _fingerprint(value)
    if known is None and isinstance(value, Sparsity):
        if fault := made_in.check(value, mesh) or fault_in(value, mesh):
            raise ProblemError(f"{mesh.source}: the pattern isn't that of this mesh: {fault}; pass that of {name}")
        remember_origin(value, mesh)
    if known not in (None, mesh.fingerprint):
        raise ProblemError(
            f"{mesh.source}: the {wanted.__name__} was made for another mesh; pass the result of {name} for this mesh"
        )
