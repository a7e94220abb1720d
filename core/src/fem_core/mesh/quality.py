"""How good the elements of a mesh are, by three measures that don't depend on size, place or direction.

With the derivatives a = ∂x/∂ξ and b = ∂x/∂η of an element's map:

- `jacobian`: least det J over largest |det J|, at the Gauss points of both rules and the corners. 1 for a
  parallelogram, 0 or less where the element is folded. `validate_mesh` checks Gauss points, so it accepts an element
  that is folded only at a corner: u is accurate there, but the velocity near the corner is not.
- `aspect`: |a| over |b| at the centre, or the inverse, whichever is larger (J. Robinson, 1987): 1 or more.
- `skew`: largest |α - 90°| / 90° of the corners' angles α, between the tangents of curved sides
  (equiangular skewness): 0 for right angles, 1 where a corner is flat, pointed or folded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from fem_core.mesh import quad8 as q8
from fem_core.mesh.mesh import Mesh
from fem_core.types import Bools, Floats, Ints

#: Beyond these limits an element is poor: solvers need more iterations, or gradients are inaccurate.
LIMITS: Mapping[str, float] = MappingProxyType({"jacobian": 1 / 30, "aspect": 20.0, "skew": 0.9})

#: The Gauss points of both rules, the corners, the centre.
_POINTS = np.concatenate([q8.POINTS_3X3, q8.POINTS_2X2, q8.NODES[:4], [(0.0, 0.0)]])
_CORNERS = slice(len(_POINTS) - 5, len(_POINTS) - 1)
_DN = np.ascontiguousarray(q8.shape_gradient(*_POINTS.T).transpose(2, 1, 0).reshape(8, -1))
_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Quality:
    """The measures of each element, float64 (n_elements,); see `fem_core.mesh.quality`."""

    jacobian: Floats
    aspect: Floats
    skew: Floats

    def poor(self, measure: str) -> Bools:
        """Whether each element is beyond the limit of a measure, (n_elements,)."""
        beyond: Bools = self._badness(measure) > 1
        return beyond

    def worst(self, measure: str, number: int = 5) -> Ints:
        """The elements with the worst values, the worst first."""
        badness = self._badness(measure)
        number = min(number, len(badness))
        found = np.argpartition(badness, len(badness) - number)[len(badness) - number :] if number else np.empty(0, int)
        return found[np.lexsort((found, -badness[found]))].astype(np.int32)

    @cached_property
    def badness(self) -> Floats:
        """How close each element is to its nearest limit: 0 for a square, 1 at the limit, (n_elements,)."""
        nearest: Floats = np.maximum.reduce([self._badness(measure) for measure in LIMITS])
        return nearest

    def _badness(self, measure: str) -> Floats:
        values: Floats = getattr(self, measure)
        badness: Floats = _SCALES[measure](values) / _SCALES[measure](LIMITS[measure])
        return badness


#: Each measure, converted so that 0 is best and a larger number is worse.
_SCALES: Mapping[str, Callable[[Any], Any]] = {
    "jacobian": lambda value: 1 - value,
    "aspect": np.log,
    "skew": lambda value: value,
}


def element_quality(mesh: Mesh) -> Quality:
    """The quality of each element.

    >>> import fem_core as fem
    >>> quality = fem.element_quality(fem.generate.duct(length=3, height=1, nx=6, ny=4))  # elements of 0.5 x 0.25
    >>> [float(values.round(6)[0]) for values in (quality.jacobian, quality.aspect, quality.skew)]
    [1.0, 2.0, 0.0]
    """
    jacobian, aspect, skew = np.empty((3, mesh.n_elements))
    for start in range(0, mesh.n_elements, _BLOCK):
        block = slice(start, start + _BLOCK)
        nodes = mesh.quad8[block]
        with np.errstate(all="ignore"):  # folded and degenerate elements have a quality, too
            x_ξ, x_η = np.split(mesh.x[nodes] @ _DN, 2, axis=1)
            y_ξ, y_η = np.split(mesh.y[nodes] @ _DN, 2, axis=1)
            det = x_ξ * y_η - x_η * y_ξ
            at = det[:, :-1]
            jacobian[block] = at.min(axis=1) / np.abs(at).max(axis=1)
            a, b = np.hypot(x_ξ[:, -1], y_ξ[:, -1]), np.hypot(x_η[:, -1], y_η[:, -1])
            aspect[block] = np.maximum(a, b) / np.minimum(a, b)
            α = np.arctan2(det[:, _CORNERS], (x_ξ * x_η + y_ξ * y_η)[:, _CORNERS])
            skew[block] = np.minimum(np.abs(α / (np.pi / 2) - 1).max(axis=1), 1)
    return Quality(np.nan_to_num(jacobian, nan=-1.0), np.nan_to_num(aspect, nan=np.inf, posinf=np.inf), skew)
