"""The diffuser: a channel that widens between two straight walls."""

import math

from fem_core.generate import parameters
from fem_core.generate.channel import below_wall
from fem_core.generate.paths import Path, fullest
from fem_core.mesh.mesh import Mesh


def diffuser(
    *,
    inlet_width: float = 1.0,
    outlet_width: float = 2.0,
    angle: float = math.radians(10),
    radius: float = 1.0,
    inlet_length: float = 1.0,
    outlet_length: float = 2.0,
    nodes: int | None = None,
    across: int | None = None,
    grading: float = 1.0,
) -> Mesh:
    """A straight channel whose walls diverge at an angle, its corners rounded by circular arcs.

    Parameters
    ----------
    inlet_width : float
        Distance of the walls at the inlet, in metres.
    outlet_width : float
        Distance of the walls at the outlet, in metres: 1.01 to 20 inlet widths.
    angle : float
        Of each wall against the axis, in radians: 0.02 to 1.
    radius : float
        Of the rounded corners, in metres; limited by widths and angle.
    inlet_length : float
        Straight before the diffuser, in metres: 0.01 to 10,000 inlet widths.
    outlet_length : float
        Straight after the diffuser, in metres: 0.01 to 10,000 outlet widths.
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
    name = "diffuser"
    parameters.positive(name, inlet_width=inlet_width, outlet_width=outlet_width, radius=radius)
    parameters.lengths(name, "inlet widths", inlet_width, inlet_length=inlet_length)
    parameters.lengths(name, "outlet widths", outlet_width, outlet_length=outlet_length)
    least, most = 1.01 * inlet_width, 20 * inlet_width
    parameters.within(name, "outlet_width", outlet_width, least, most, "1.01 to 20 inlet widths")
    parameters.within(name, "angle", angle, 0.02, 1.0, "radians")
    rise = (outlet_width - inlet_width) / 2
    parameters.within(name, "radius", radius, 0.0, fullest(rise, angle), "for these widths and this angle")
    wanted = parameters.size(name, nodes, across, grading)
    wall = Path(0.0, inlet_width / 2).line(inlet_length).ramp(rise, angle, radius).line(outlet_length)
    return below_wall(name, wall, wanted, grading)
