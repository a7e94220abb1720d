"""Meshes of simple shapes, generated: each shape is a function that returns a `Mesh`.

Every mesh has the named boundaries `inlet`, `outlet` and `walls`, no orphan nodes, and elements
numbered across the duct first. Lengths are in metres, angles in radians.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from fem_core.generate.annulus import annulus
from fem_core.generate.duct import duct
from fem_core.generate.y_tube import y_tube
from fem_core.mesh import Mesh

#: The shapes by name; all accept `nodes=`.
SHAPES: Mapping[str, Callable[..., Mesh]] = MappingProxyType({"duct": duct, "annulus": annulus, "y-tube": y_tube})

__all__ = ["SHAPES", "annulus", "duct", "y_tube"]
