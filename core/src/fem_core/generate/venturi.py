"""The venturi: a throat between two cones."""

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
    steepest = max(given["convergence"], given["divergence"])
    return 0.0, fullest((given["width"] - given["throat"]) / 2, steepest)


@shape
def venturi(
    *,
    width: Annotated[float, Length("Distance between the walls at inlet and outlet")] = 1.0,
    throat: Annotated[
        float, Length("Distance between the walls at the throat", 0.05, 0.99, "width", positive=True)
    ] = 0.5,
    throat_length: Annotated[
        float, Length("Length of the straight throat", 0.01, 10_000, "throat", told=": 0.01 to 10,000 times its width")
    ] = 0.5,
    convergence: Annotated[
        float,
        Angle("Angle between each wall and the axis before the throat", 0.02, 1),
    ] = math.radians(10.5),
    divergence: Annotated[
        float, Angle("Angle between each wall and the axis after the throat", 0.02, 1)
    ] = math.radians(7.5),
    radius: Annotated[float, corner_radius(_radii, "for this throat and these angles", "; the angles limit it")] = 1.0,
    inlet_length: Annotated[float, straight("before the throat", "width")] = 1.0,
    outlet_length: Annotated[float, straight("after the throat", "width")] = 1.0,
    nodes: NodesOrAcross = None,
    across: AcrossInlet = None,
    grading: WallGrading = 1.0,
) -> Mesh:
    """A straight channel that narrows to a throat and widens again. The corners are rounded.

    The walls are straight lines and circular arcs with common tangents. The angles are those of the
    classical Venturi tube (ISO 5167-4): 21° in all before the throat, 7° to 15° after it.
    """
    rise = (width - throat) / 2
    wall = Path(0.0, width / 2).line(inlet_length).ramp(-rise, convergence, radius)
    wall = wall.line(throat_length).ramp(rise, divergence, radius).line(outlet_length)
    return below_wall("venturi", wall, nodes, across, grading)
