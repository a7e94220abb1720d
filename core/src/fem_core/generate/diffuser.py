"""The diffuser: a channel that widens between two straight walls."""

import math
from collections.abc import Mapping
from typing import Annotated

from fem_core.generate.channel import below_wall
from fem_core.generate.parameters import AcrossInlet, Angle, Length, NodesOrAcross, WallGrading, corner_radius, straight
from fem_core.generate.paths import Path, fullest
from fem_core.generate.shape import shape
from fem_core.mesh.mesh import Mesh


def _radii(given: Mapping[str, float]) -> tuple[float, float]:
    """The limits of the corner radius: with the largest radius, no straight wall is left between the corners."""
    return 0.0, fullest((given["outlet_width"] - given["inlet_width"]) / 2, given["angle"])


@shape
def diffuser(
    *,
    inlet_width: Annotated[float, Length("Distance between the walls at the inlet")] = 1.0,
    outlet_width: Annotated[
        float, Length("Distance between the walls at the outlet", 1.01, 20, "inlet_width", positive=True)
    ] = 2.0,
    angle: Annotated[float, Angle("Angle between each wall and the axis", 0.02, 1)] = math.radians(10),
    radius: Annotated[
        float,
        corner_radius(_radii, "for these widths and this angle", "; the widths and the angle limit it"),
    ] = 1.0,
    inlet_length: Annotated[float, straight("before the diffuser", "inlet_width")] = 1.0,
    outlet_length: Annotated[float, straight("after the diffuser", "outlet_width")] = 2.0,
    nodes: NodesOrAcross = None,
    across: AcrossInlet = None,
    grading: WallGrading = 1.0,
) -> Mesh:
    """A straight channel whose walls diverge at an angle. Circular arcs round the corners."""
    rise = (outlet_width - inlet_width) / 2
    wall = Path(0.0, inlet_width / 2).line(inlet_length).ramp(rise, angle, radius).line(outlet_length)
    return below_wall("diffuser", wall, nodes, across, grading)
