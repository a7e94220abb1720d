"""The s-bend: two circular bends in opposite directions."""

import math

from fem_core.generate import parameters
from fem_core.generate.channel import along_path
from fem_core.generate.paths import Path
from fem_core.mesh.mesh import Mesh


def s_bend(
    *,
    width: float = 1.0,
    radius: float = 1.5,
    angle: float = math.pi / 3,
    inlet_length: float = 1.0,
    middle_length: float = 0.0,
    outlet_length: float = 1.0,
    nodes: int | None = None,
    across: int | None = None,
    grading: float = 1.0,
) -> Mesh:
    """A channel along the x axis that bends to the left and back on circular arcs.

    The outlet is parallel to the inlet and 2 radius (1 - cos angle) + middle_length sin angle above it.

    Parameters
    ----------
    width : float
        Distance of the walls, in metres.
    radius : float
        Of both bends' centreline, in metres: 0.75 to 100 widths.
    angle : float
        Of each bend, in radians: 0.01 to π/2.
    inlet_length : float
        Straight before the bends, in metres: 0.01 to 10,000 widths.
    middle_length : float
        Straight between the bends, in metres: 0.01 to 10,000 widths, or 0.
    outlet_length : float
        Straight after the bends, in metres: 0.01 to 10,000 widths.
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
    name = "s-bend"
    parameters.positive(name, width=width)
    parameters.lengths(name, "widths", width, inlet_length=inlet_length, outlet_length=outlet_length)
    if middle_length != 0:
        parameters.lengths(name, "widths, or 0", width, middle_length=middle_length)
    parameters.within(name, "radius", radius, 0.75 * width, 100 * width, "0.75 to 100 widths")
    parameters.within(name, "angle", angle, 0.01, math.pi / 2, "radians")
    wanted = parameters.size(name, nodes, across, grading)
    path = (
        Path(0.0, 0.0).line(inlet_length).arc(radius, angle).line(middle_length).arc(radius, -angle).line(outlet_length)
    )
    return along_path(name, path, width, wanted, grading)
