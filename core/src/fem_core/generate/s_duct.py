"""The s-duct: an S-shaped intake that widens on its way."""

import math
from collections.abc import Mapping
from typing import Annotated

import numpy as np

from fem_core.generate.channel import channel
from fem_core.generate.parameters import AcrossInlet, Length, NodesOrAcross, WallGrading, straight
from fem_core.generate.shape import shape
from fem_core.generate.structured import Points
from fem_core.mesh.mesh import Mesh
from fem_core.types import Floats


def _lengths(given: Mapping[str, float]) -> tuple[float, float]:
    """Limits of the length of the curved part."""
    widest = max(given["inlet_width"], given["outlet_width"])
    return widest / 2, 1000 * widest


def _offsets(given: Mapping[str, float]) -> tuple[float, float]:
    """Limits of the outlet's offset."""
    length, widest = given["length"], max(given["inlet_width"], given["outlet_width"])
    most = min(0.7 * length, 0.3 * length**2 / widest)
    return -most, most


@shape
def s_duct(
    *,
    inlet_width: Annotated[float, Length("Distance between the walls at the inlet")] = 1.0,
    outlet_width: Annotated[
        float, Length("Distance between the walls at the outlet", 0.1, 10, "inlet_width", positive=True)
    ] = 1.4,
    length: Annotated[
        float,
        Length(
            "Length of the curved part along x",
            limits=_lengths,
            why="0.5 to 1000 times the larger width",
            told=": at least half of the larger width",
        ),
    ] = 4.0,
    offset: Annotated[
        float,
        Length(
            "Height of the outlet's middle above the inlet's middle",
            limits=_offsets,
            why="for this length and these widths",
            told="; negative is down. At most 0.7 length, and 0.3 length² / the larger width",
        ),
    ] = 1.2,
    inlet_length: Annotated[float, straight("before the curved part", "inlet_width")] = 0.5,
    outlet_length: Annotated[float, straight("after the curved part", "outlet_width")] = 1.0,
    nodes: NodesOrAcross = None,
    across: AcrossInlet = None,
    grading: WallGrading = 1.0,
) -> Mesh:
    """An S-shaped channel whose width changes along it, such as the intake of an aircraft.

    With ξ = (x - inlet_length) / length and the step S(ξ) = ξ³ (10 - 15ξ + 6ξ²) the centreline is
    y = offset S, and the width at right angles to it is inlet_width + (outlet_width - inlet_width) S.
    The curvature is zero at both ends.
    """
    lengths = inlet_length, length, outlet_length
    return smooth_channel("s-duct", (inlet_width, outlet_width), lengths, offset, nodes, across, grading)


def smooth_channel(
    source: str,
    widths: tuple[float, float],
    lengths: tuple[float, float, float],
    offset: float,
    nodes: int | None,
    across: int | None,
    grading: float,
) -> Mesh:
    """The channel between two straight ends of these `widths`, its centreline and width on the step S."""
    before, length, _ = lengths
    w0, w1 = widths

    def step(x: Floats) -> Points:
        """S and S' at ξ, constant outside of [0, 1]."""
        ξ = np.clip((x - before) / length, 0.0, 1.0)
        return ξ**3 * (10 - 15 * ξ + 6 * ξ**2), 30 * (ξ * (1 - ξ)) ** 2 / length

    def plane(x: Floats, t: Floats) -> Points:
        S, slope = step(x)
        θ = np.arctan(offset * slope)
        left = (t - 0.5) * (w0 + (w1 - w0) * S)
        return x - left * np.sin(θ), offset * S + left * np.cos(θ)

    def size(x: Floats) -> Floats:
        S, slope = step(x)
        return (w0 + (w1 - w0) * S) / np.hypot(1.0, offset * slope)

    ends = np.cumsum([0.0, before, length / 2, length / 2, lengths[2]])  # the walls turn back half-way
    turn = math.atan(1.875 / length * (abs(offset) + 0.5 * abs(w1 - w0)))  # there S' is greatest
    return channel(source, plane, ends, np.array([0.0, turn, turn, 0.0]), size, nodes, across, grading)
