"""The elbow: a bend between two straight legs."""

import math
from typing import Annotated

from fem_core.generate.channel import along_path
from fem_core.generate.parameters import AcrossChannel, Angle, Length, NodesOrAcross, WallGrading, straight
from fem_core.generate.paths import Path
from fem_core.generate.shape import shape
from fem_core.mesh.mesh import Mesh


@shape
def elbow(
    *,
    width: Annotated[float, Length("Distance between the walls")] = 1.0,
    radius: Annotated[float, Length("Radius of the centreline of the bend", 0.75, 100, "width")] = 1.5,
    angle: Annotated[float, Angle("Angle of the bend", 0.01, math.pi, told=": 0.01 to π, a U-turn")] = math.pi / 2,
    inlet_length: Annotated[float, straight("before the bend", "width")] = 2.0,
    outlet_length: Annotated[float, straight("after the bend", "width")] = 2.0,
    nodes: NodesOrAcross = None,
    across: AcrossChannel = None,
    grading: WallGrading = 1.0,
) -> Mesh:
    """A channel along the x axis that bends to the left on circular arcs.

    The inlet is at x = 0; the outlet is at the other end. For a right angle it points up.
    """
    path = Path(0.0, 0.0).line(inlet_length).arc(radius, angle).line(outlet_length)
    return along_path("elbow", path, width, nodes, across, grading)
