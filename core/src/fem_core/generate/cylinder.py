"""A circular cylinder in a channel."""

import cmath
import math

import numpy as np

from fem_core.generate import parameters
from fem_core.generate.structured import (
    Block,
    Curve,
    Points,
    assemble,
    bilinear,
    count_nodes,
    fitted,
    line,
    ruled,
    stations,
    swapped,
)
from fem_core.mesh.mesh import Mesh
from fem_core.types import Floats


def cylinder(
    *,
    height: float = 4.0,
    diameter: float = 1.0,
    offset: float = 0.0,
    upstream: float = 4.0,
    downstream: float = 8.0,
    nodes: int | None = None,
    across: int | None = None,
    grading: float = 1.0,
) -> Mesh:
    """A channel along the x axis with a cylinder around the origin; its surface is the boundary `cylinder`.

    Four blocks around the cylinder fill a box between the channel's walls, in which the elements grow
    with the distance from the cylinder; a straight block leads to the box, another away from it.

    Parameters
    ----------
    height : float
        Distance of the channel's walls, in metres.
    diameter : float
        Of the cylinder, in metres: 0.01 to 0.6 heights.
    offset : float
        Of the cylinder above the middle between the walls, in metres: up to a quarter of the height either way,
        but a quarter of the diameter is left between cylinder and wall.
    upstream : float
        From the inlet to the cylinder's axis, in metres: a quarter of to 10,000 times the height, and half
        of the diameter more.
    downstream : float
        From the cylinder's axis to the outlet, in metres; within the same limits.
    nodes : int, optional
        Number of nodes to aim at (2,000 if across isn't given either), with near-square elements.
    across : int, optional
        Number of elements across the channel, which is a quarter of those around the cylinder; give it
        instead of nodes.
    grading : float
        How much smaller the elements at the cylinder are along its radius than near-square ones, 0.01 to 100.

    Raises
    ------
    MeshError
        For a parameter that isn't accepted.
    """
    name = "cylinder"
    parameters.positive(name, height=height)
    parameters.within(name, "diameter", diameter, 0.01 * height, 0.6 * height, "0.01 to 0.6 heights")
    most = min(height / 4, height / 2 - 0.75 * diameter)
    parameters.within(name, "offset", offset, -most, most, "for this height and diameter")
    for end, length in (("upstream", upstream), ("downstream", downstream)):
        why = "a quarter to 10,000 heights and half of the diameter"
        parameters.within(name, end, length, height / 4 + diameter / 2, 10_000 * height, why)
    wanted = parameters.size(name, nodes, across, grading)

    r, half = diameter / 2, height / 2
    # The box reaches as far as the walls are on the average, or half-way to the inlet or the outlet.
    west, east = -min(half, (upstream + r) / 2), min(half, (downstream + r) / 2)
    south, north = -half - offset, half - offset
    corners = {"sw": west + 1j * south, "se": east + 1j * south, "ne": east + 1j * north, "nw": west + 1j * north}
    corners |= {"inlet s": -upstream + 1j * south, "inlet n": -upstream + 1j * north}
    corners |= {"outlet s": downstream + 1j * south, "outlet n": downstream + 1j * north}

    def arc(start: str, stop: str) -> Curve:
        """On the cylinder, between the points that lie towards two corners of the box."""
        a, b = cmath.phase(corners[start]), cmath.phase(corners[stop])
        if abs(b - a) > math.pi:
            b -= math.copysign(2 * math.pi, b - a)

        def curve(s: Floats) -> Points:
            φ = a + (b - a) * s
            return r * np.cos(φ), r * np.sin(φ)

        return curve

    def side(start: str, stop: str) -> Curve:
        return line(corners[start], corners[stop])

    # From the cylinder, a quarter of which has n elements, to the wall, where they are height / n long.
    quarter = math.pi * r / 2
    growth = height / quarter
    gap = (east - west + height) / 4 - r
    radial = gap * math.log(growth) / (1 - 1 / growth)

    def blocks(n: int, m: int, l: int, u: int, d: int) -> list[Block]:
        even, level = stations(0, 1, n), stations(0, 1, m)
        out, back = stations(0, 1, l, growth * grading), stations(0, 1, l, 1 / (growth * grading))
        before, after = stations(0, 1, u), stations(0, 1, d)
        return [
            bilinear(("inlet s", "sw", "nw", "inlet n"), corners, before, even),
            Block(("sw", "c-sw", "c-nw", "nw"), back, even, swapped(ruled(side("sw", "nw"), arc("sw", "nw"))), u),
            Block(("sw", "se", "c-se", "c-sw"), level, back, ruled(side("sw", "se"), arc("sw", "se")), u),
            Block(("c-nw", "c-ne", "ne", "nw"), level, out, ruled(arc("nw", "ne"), side("nw", "ne")), u),
            Block(("c-se", "se", "ne", "c-ne"), out, even, swapped(ruled(arc("se", "ne"), side("se", "ne"))), u + m),
            bilinear(("se", "outlet s", "outlet n", "ne"), corners, after, even, u + m + l),
        ]

    lengths = height, east - west, radial, upstream + west, downstream - east
    counts = fitted(name, wanted, lengths, lambda *counts: count_nodes(blocks(*counts)))
    sides = {
        "inlet": [("inlet s", "inlet n")],
        "outlet": [("outlet s", "outlet n")],
        "cylinder": [("c-sw", "c-se"), ("c-se", "c-ne"), ("c-ne", "c-nw"), ("c-nw", "c-sw")],
    }
    return assemble(blocks(*counts), sides, name)
