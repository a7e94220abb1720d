"""The s-bend: two circular bends in opposite directions."""

import math
from typing import Annotated

from fem_core.generate.channel import along_path
from fem_core.generate.parameters import AcrossChannel, Angle, Length, NodesOrAcross, WallGrading, straight
from fem_core.generate.paths import Path
from fem_core.generate.shape import shape
from fem_core.mesh.mesh import Mesh


@shape
def s_bend(
    *,
    width: Annotated[float, Length("Distance between the walls")] = 1.0,
    radius: Annotated[float, Length("Radius of the centreline of both bends", 0.75, 100, "width")] = 1.5,
    angle: Annotated[float, Angle("Angle of each bend", 0.01, math.pi / 2, told=": 0.01 to π/2")] = math.pi / 3,
    inlet_length: Annotated[float, straight("before the bends", "width")] = 1.0,
    middle_length: Annotated[
        float, Length("Straight length between the bends", 0.01, 10_000, "width", or_zero=True)
    ] = 0.0,
    outlet_length: Annotated[float, straight("after the bends", "width")] = 1.0,
    nodes: NodesOrAcross = None,
    across: AcrossChannel = None,
    grading: WallGrading = 1.0,
) -> Mesh:
    """A channel along the x axis that bends to the left and back, on circular arcs.

    The outlet is parallel to the inlet and 2 radius (1 - cos angle) + middle_length sin angle above it.
    """
    path = (
        Path(0.0, 0.0).line(inlet_length).arc(radius, angle).line(middle_length).arc(radius, -angle).line(outlet_length)
    )
    return along_path("s-bend", path, width, nodes, across, grading)
