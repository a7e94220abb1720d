"""The s-duct: an S-shaped intake that widens on its way."""

import math

import numpy as np

from fem_core.generate import parameters
from fem_core.generate.channel import channel
from fem_core.generate.structured import Points
from fem_core.mesh.mesh import Mesh
from fem_core.types import Floats


def s_duct(
    *,
    inlet_width: float = 1.0,
    outlet_width: float = 1.4,
    length: float = 4.0,
    offset: float = 1.2,
    inlet_length: float = 0.5,
    outlet_length: float = 1.0,
    nodes: int | None = None,
    across: int | None = None,
    grading: float = 1.0,
) -> Mesh:
    """An S-shaped channel whose width changes on its way, as of an aircraft's intake.

    With ξ = (x - inlet_length) / length and the step S(ξ) = ξ³ (10 - 15ξ + 6ξ²) the centreline is
    y = offset S, and the width at right angles to it inlet_width + (outlet_width - inlet_width) S:
    curvatures begin and end with zero.

    Parameters
    ----------
    inlet_width : float
        Distance of the walls at the inlet, in metres.
    outlet_width : float
        Distance of the walls at the outlet, in metres: 0.1 to 10 inlet widths.
    length : float
        Of the curved part, along x, in metres: at least half of the larger width.
    offset : float
        Of the outlet's middle above that of the inlet, in metres; negative is down. At most 0.7 length, and
        0.3 length² / the larger width.
    inlet_length : float
        Straight before the curved part, in metres: 0.01 to 10,000 inlet widths.
    outlet_length : float
        Straight after the curved part, in metres: 0.01 to 10,000 outlet widths.
    nodes : int, optional
        Number of nodes to aim at (2,000 if across isn't given either), with near-square elements.
    across : int, optional
        Number of elements across the inlet; give it instead of nodes.
    grading : float
        Size of the elements in the middle over that at the walls, 0.01 to 100; 1 for equal ones.

    Raises
    ------
    MeshError
        For a parameter that isn't accepted.
    """
    name = "s-duct"
    parameters.positive(name, inlet_width=inlet_width, outlet_width=outlet_width)
    parameters.lengths(name, "inlet widths", inlet_width, inlet_length=inlet_length)
    parameters.lengths(name, "outlet widths", outlet_width, outlet_length=outlet_length)
    parameters.within(name, "outlet_width", outlet_width, 0.1 * inlet_width, 10 * inlet_width, "0.1 to 10 inlet widths")
    widest = max(inlet_width, outlet_width)
    parameters.within(name, "length", length, widest / 2, 1000 * widest, "half of to 1000 times the larger width")
    most = min(0.7 * length, 0.3 * length**2 / widest)
    parameters.within(name, "offset", offset, -most, most, "for this length and these widths")
    wanted = parameters.size(name, nodes, across, grading)
    lengths = inlet_length, length, outlet_length
    return smooth_channel(name, (inlet_width, outlet_width), lengths, offset, wanted, grading)


def smooth_channel(
    name: str,
    widths: tuple[float, float],
    lengths: tuple[float, float, float],
    offset: float,
    wanted: int | tuple[int, ...],
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
    return channel(name, plane, ends, np.array([0.0, turn, turn, 0.0]), size, wanted, grading)
