"""The nozzle: a smooth contraction, as before a wind tunnel's test section."""

from typing import Annotated

from fem_core.generate.parameters import AcrossInlet, Length, NodesOrAcross, WallGrading, straight
from fem_core.generate.s_duct import smooth_channel
from fem_core.generate.shape import shape
from fem_core.mesh.mesh import Mesh


@shape
def nozzle(
    *,
    inlet_width: Annotated[float, Length("Distance between the walls at the inlet")] = 2.0,
    outlet_width: Annotated[
        float, Length("Distance between the walls at the outlet", 0.05, 1, "inlet_width", positive=True)
    ] = 0.7,
    length: Annotated[
        float,
        Length(
            "Length of the contraction",
            0.5,
            1000,
            "inlet_width",
            why="0.5 to 1000 inlet widths",
            told=": at least half of the inlet width",
        ),
    ] = 2.5,
    inlet_length: Annotated[float, straight("before the contraction", "inlet_width")] = 1.0,
    outlet_length: Annotated[float, straight("after the contraction", "outlet_width")] = 1.0,
    nodes: NodesOrAcross = None,
    across: AcrossInlet = None,
    grading: WallGrading = 1.0,
) -> Mesh:
    """A straight channel that narrows smoothly. Its walls are polynomials of the fifth order.

    With ξ = (x - inlet_length) / length the width is inlet_width + (outlet_width - inlet_width) S(ξ),
    S(ξ) = ξ³ (10 - 15ξ + 6ξ²), the wall of Bell and Mehta (1988): no jump of slope or curvature.
    """
    lengths = inlet_length, length, outlet_length
    return smooth_channel("nozzle", (inlet_width, outlet_width), lengths, 0.0, nodes, across, grading)
