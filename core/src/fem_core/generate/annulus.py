"""The annulus: a sector or the full ring."""

import math
from typing import Annotated, Literal, TypeAlias, get_args

import numpy as np

from fem_core.generate.parameters import Angle, Choice, Length, NodesOrCounts, elements, refuse, wanted_size, within
from fem_core.generate.shape import shape
from fem_core.generate.structured import Block, Points, assemble, fitted, grid_nodes, halved
from fem_core.mesh.mesh import Mesh
from fem_core.types import Floats

#: An element spans at most this angle, in radians.
_WIDEST = math.pi / 4
#: A sector this close to 2π is the full ring.
_CLOSED = 1e-9

Flow: TypeAlias = Literal["radial", "around"]


@shape
def annulus(
    *,
    inner: Annotated[float, Length("Inner radius")] = 1.0,
    outer: Annotated[
        float, Length("Outer radius", 1.001, 1000, "inner", why="1.001 to 1000 times inner", told="", positive=True)
    ] = 2.0,
    angle: Annotated[
        float,
        Angle(
            "Angle of the sector",
            1e-3,
            2 * math.pi + _CLOSED,
            why="radians, up to the full ring",
            told="; 2π is the full ring",
            positive=True,
        ),
    ] = math.pi / 2,
    start: Annotated[
        float, Angle("Direction θ of the first side of the sector", -2 * math.pi, 2 * math.pi, told="")
    ] = 0.0,
    flow: Annotated[Flow, Choice("Direction of the flow; the other two sides are walls", get_args(Flow))] = "radial",
    nodes: NodesOrCounts = None,
    nr: Annotated[int | None, elements("along the radius", "na")] = None,
    na: Annotated[int | None, elements("along the angle", "nr")] = None,
) -> Mesh:
    """A sector of a ring: the radii from inner to outer, the angles from start to start + angle; a ring for 2π.

    The radii of the nodes at corners are a geometric sequence, so that all elements have the same
    shape; mid-sides lie on the true circles. With the flux γ at the inlet and u = 0 at the outlet
    the exact solutions are

    - `flow="radial"`, from the inner arc to the outer: u = γ inner ln(outer / r);
    - `flow="around"`, from the side θ = start to the other (of a full ring there are none),
      if the flux is that of a free vortex, γ(r) = c / r: u = c (start + angle - θ).
    """
    name = "annulus"
    full = angle > 2 * math.pi - _CLOSED
    if flow == "around" and full:
        raise refuse(name, "flow", flow, "'radial' for a full ring, which has no sides")

    least = math.ceil(angle / _WIDEST - _CLOSED)
    wanted = wanted_size(name, nodes, nr=nr, na=na)
    if not isinstance(wanted, tuple):
        lengths = math.log(outer / inner), angle
        wanted = fitted(name, wanted, lengths, lambda m, n: grid_nodes(m, n) - full * (2 * m + 1), (1, least))
    m, n = wanted
    within(name, "na", n, least, math.inf, "an element may span 45°")

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
