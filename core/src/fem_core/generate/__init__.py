"""Meshes of simple shapes, generated: each shape is a function that returns a `Mesh`.

Every mesh has the named boundaries `inlet`, `outlet` and `walls` (and `cylinder`, where there is one),
wherever its ends point, no orphan nodes, and elements numbered across the duct first. Lengths are in
metres, angles in radians.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from fem_core.generate.annulus import annulus
from fem_core.generate.backward_step import backward_step
from fem_core.generate.cylinder import cylinder
from fem_core.generate.diffuser import diffuser
from fem_core.generate.duct import duct
from fem_core.generate.elbow import elbow
from fem_core.generate.nozzle import nozzle
from fem_core.generate.s_bend import s_bend
from fem_core.generate.s_duct import s_duct
from fem_core.generate.t_junction import t_junction
from fem_core.generate.venturi import venturi
from fem_core.generate.y_tube import y_tube
from fem_core.mesh.mesh import Mesh

#: The shapes by name; all accept `nodes=`.
SHAPES: Mapping[str, Callable[..., Mesh]] = MappingProxyType(
    {
        make.__name__.replace("_", "-"): make
        for make in (
            *(duct, elbow, s_bend, s_duct, nozzle, diffuser, venturi),
            *(backward_step, t_junction, y_tube, cylinder, annulus),
        )
    }
)

__all__ = [
    "SHAPES",
    "annulus",
    "backward_step",
    "cylinder",
    "diffuser",
    "duct",
    "elbow",
    "nozzle",
    "s_bend",
    "s_duct",
    "t_junction",
    "venturi",
    "y_tube",
]
