"""A circular cylinder in a channel."""

import cmath
import math
from collections.abc import Mapping
from typing import Annotated

import numpy as np

from fem_core.generate.parameters import Length, NodesOrAcross, Number, elements, wanted_size
from fem_core.generate.shape import shape
from fem_core.generate.structured import (
    Block,
    Curve,
    Points,
    bilinear,
    built,
    line,
    ruled,
    stations,
    swapped,
)
from fem_core.mesh.mesh import Mesh
from fem_core.types import Floats

_WHY = "0.25 height + 0.5 diameter to 10,000 heights"


def _lengths(given: Mapping[str, float]) -> tuple[float, float]:
    """Limits of the lengths before and after the cylinder's axis."""
    return given["height"] / 4 + given["diameter"] / 2, 10_000 * given["height"]


def _offsets(given: Mapping[str, float]) -> tuple[float, float]:
    """Limits of the cylinder's offset."""
    most = min(given["height"] / 4, given["height"] / 2 - 0.75 * given["diameter"])
    return -most, most


@shape
def cylinder(
    *,
    height: Annotated[float, Length("Distance between the walls of the channel")] = 4.0,
    diameter: Annotated[float, Length("Diameter of the cylinder", 0.01, 0.6, "height")] = 1.0,
    offset: Annotated[
        float,
        Length(
            "Height of the cylinder above the middle of the channel",
            limits=_offsets,
            why="for this height and diameter",
            told=": at most a quarter of the height, up or down; "
            "the gap to each wall is at least a quarter of the diameter",
        ),
    ] = 0.0,
    upstream: Annotated[
        float,
        Length("Distance from the inlet to the axis of the cylinder", limits=_lengths, why=_WHY, told=f": {_WHY}"),
    ] = 4.0,
    downstream: Annotated[
        float,
        Length("Distance from the axis of the cylinder to the outlet", limits=_lengths, why=_WHY, told="; same limits"),
    ] = 8.0,
    nodes: NodesOrAcross = None,
    across: Annotated[int | None, elements("across the channel; there are 4 times as many around the cylinder")] = None,
    grading: Annotated[
        float,
        Number(
            "Factor by which elements at the cylinder are thinner, along the radius, than near-square ones", 0.01, 100
        ),
    ] = 1.0,
) -> Mesh:
    """A channel along the x axis with a cylinder at the origin. Its surface is the boundary `cylinder`.

    Four blocks around the cylinder fill a box between the channel's walls. In this box the elements grow
    with the distance from the cylinder. One straight block lies before the box, and one after it.
    """
    wanted = wanted_size("cylinder", nodes, across=across)

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
    sides = {
        "inlet": [("inlet s", "inlet n")],
        "outlet": [("outlet s", "outlet n")],
        "cylinder": [("c-sw", "c-se"), ("c-se", "c-ne"), ("c-ne", "c-nw"), ("c-nw", "c-sw")],
    }
    return built("cylinder", wanted, lengths, blocks, sides)
