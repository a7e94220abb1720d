"""The annulus: a sector or the full ring."""

import math
from typing import Literal

import numpy as np

from fem_core.generate import parameters
from fem_core.generate.structured import Block, Points, assemble, fitted, grid_nodes, halved
from fem_core.mesh.mesh import Mesh
from fem_core.types import Floats

#: An element spans at most this angle, in radians.
_WIDEST = math.pi / 4
#: A sector this close to 2π is the full ring.
_CLOSED = 1e-9


def annulus(
    *,
    inner: float = 1.0,
    outer: float = 2.0,
    angle: float = math.pi / 2,
    start: float = 0.0,
    flow: Literal["radial", "around"] = "radial",
    nodes: int | None = None,
    nr: int | None = None,
    na: int | None = None,
) -> Mesh:
    """The sector inner <= r <= outer, start <= θ <= start + angle, or the full ring for 2π.

    The radii of the nodes at corners are a geometric sequence, so that all elements have the same
    shape; mid-sides lie on the true circles. With the flux γ at the inlet and u = 0 at the outlet
    the exact solutions are

    - `flow="radial"`, from the inner arc to the outer: u = γ inner ln(outer / r);
    - `flow="around"`, from the side θ = start to the other, if the flux is that of a free vortex,
      γ(r) = c / r: u = c (start + angle - θ).

    Parameters
    ----------
    inner : float
        Inner radius, in metres.
    outer : float
        Outer radius, in metres.
    angle : float
        The angle of the sector, in radians; 2π is the full ring.
    start : float
        The direction θ of the sector's first side, in radians.
    flow : "radial" or "around"
        Which sides are the inlet and the outlet; the others are walls.
    nodes : int, optional
        Number of nodes to aim at (2,000 if no counts are given either), with near-square elements.
    nr : int, optional
        Number of elements along the radius; give it and na instead of nodes.
    na : int, optional
        Number of elements along the angle; give it and nr instead of nodes.

    Raises
    ------
    MeshError
        For a parameter that isn't accepted, and for the flow around a full ring.
    """
    name = "annulus"
    parameters.positive(name, inner=inner, outer=outer, angle=angle)
    parameters.within(name, "outer", outer, 1.001 * inner, 1000 * inner, "1.001 to 1000 times inner")
    parameters.within(name, "angle", angle, 1e-3, 2 * math.pi + _CLOSED, "radians, up to the full ring")
    parameters.within(name, "start", start, -2 * math.pi, 2 * math.pi, "radians")
    full = angle > 2 * math.pi - _CLOSED
    if flow not in ("radial", "around"):
        raise parameters.refuse(name, "flow", flow, "'radial' or 'around'")
    if flow == "around" and full:
        raise parameters.refuse(name, "flow", flow, "'radial' for a full ring, which has no sides")

    least = math.ceil(angle / _WIDEST - _CLOSED)
    wanted = parameters.counts(name, nodes, nr=nr, na=na)
    if not isinstance(wanted, tuple):
        lengths = math.log(outer / inner), angle
        wanted = fitted(name, wanted, lengths, lambda m, n: grid_nodes(m, n) - full * (2 * m + 1), (1, least))
    m, n = wanted
    parameters.within(name, "na", n, least, math.inf, "an element may span 45°")

    r = halved(np.geomspace(inner, outer, m + 1))
    θ = start + np.linspace(0.0, angle, 2 * n + 1)
    i0, o0, i1, o1 = "inner start", "outer start", "inner end", "outer end"
    if full:
        i1, o1 = i0, o0
    if full or n < m:  # number along the shorter way; a ring has no ends, so around it
        block = Block((i0, o0, o1, i1), r, θ, _polar)
    else:
        block = Block((o0, o1, i1, i0), θ, r[::-1], lambda θ, r: _polar(r, θ))
    if flow == "radial":
        return assemble([block], {"inlet": [(i0, i1)], "outlet": [(o0, o1)]}, name)
    return assemble([block], {"inlet": [(i0, o0)], "outlet": [(i1, o1)]}, name)


def _polar(r: Floats, θ: Floats) -> Points:
    return r * np.cos(θ), r * np.sin(θ)
