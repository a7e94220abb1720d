"""The elbow: a bend between two straight legs."""

import math

from fem_core.generate import parameters
from fem_core.generate.channel import along_path
from fem_core.generate.paths import Path
from fem_core.mesh.mesh import Mesh


def elbow(
    *,
    width: float = 1.0,
    radius: float = 1.5,
    angle: float = math.pi / 2,
    inlet_length: float = 2.0,
    outlet_length: float = 2.0,
    nodes: int | None = None,
    across: int | None = None,
    grading: float = 1.0,
) -> Mesh:
    """A channel along the x axis that bends to the left on circular arcs.

    The inlet is at x = 0; the outlet is at the other end, wherever it points: up, for a right angle.

    Parameters
    ----------
    width : float
        Distance of the walls, in metres.
    radius : float
        Of the bend's centreline, in metres: 0.75 to 100 widths.
    angle : float
        Of the bend, in radians: 0.01 to π, a U-turn.
    inlet_length : float
        Straight before the bend, in metres: 0.01 to 10,000 widths.
    outlet_length : float
        Straight after the bend, in metres: 0.01 to 10,000 widths.
    nodes : int, optional
        Number of nodes to aim at (2,000 if across isn't given either), with near-square elements.
    across : int, optional
        Number of elements across the channel; give it instead of nodes.
    grading : float
        Size of the elements in the middle over that at the walls, 0.01 to 100; 1 for equal ones.

    Raises
    ------
    MeshError
        For a parameter that isn't accepted.
    """
    name = "elbow"
    parameters.positive(name, width=width)
    parameters.lengths(name, "widths", width, inlet_length=inlet_length, outlet_length=outlet_length)
    parameters.within(name, "radius", radius, 0.75 * width, 100 * width, "0.75 to 100 widths")
    parameters.within(name, "angle", angle, 0.01, math.pi, "radians")
    wanted = parameters.size(name, nodes, across, grading)
    path = Path(0.0, 0.0).line(inlet_length).arc(radius, angle).line(outlet_length)
    return along_path(name, path, width, wanted, grading)
