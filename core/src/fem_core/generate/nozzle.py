"""The nozzle: a smooth contraction, as before a wind tunnel's test section."""

from fem_core.generate import parameters
from fem_core.generate.s_duct import smooth_channel
from fem_core.mesh.mesh import Mesh


def nozzle(
    *,
    inlet_width: float = 2.0,
    outlet_width: float = 0.7,
    length: float = 2.5,
    inlet_length: float = 1.0,
    outlet_length: float = 1.0,
    nodes: int | None = None,
    across: int | None = None,
    grading: float = 1.0,
) -> Mesh:
    """A straight channel that narrows smoothly, its walls on polynomials of the fifth order.

    With ξ = (x - inlet_length) / length the width is inlet_width + (outlet_width - inlet_width) S(ξ),
    S(ξ) = ξ³ (10 - 15ξ + 6ξ²), the wall of Bell and Mehta (1988): no jump of slope or curvature.

    Parameters
    ----------
    inlet_width : float
        Distance of the walls at the inlet, in metres.
    outlet_width : float
        Distance of the walls at the outlet, in metres: 0.05 to 1 inlet widths.
    length : float
        Of the contraction, in metres: at least half of the inlet width.
    inlet_length : float
        Straight before the contraction, in metres: 0.01 to 10,000 inlet widths.
    outlet_length : float
        Straight after the contraction, in metres: 0.01 to 10,000 outlet widths.
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
    name = "nozzle"
    parameters.positive(name, inlet_width=inlet_width, outlet_width=outlet_width)
    parameters.lengths(name, "inlet widths", inlet_width, inlet_length=inlet_length)
    parameters.lengths(name, "outlet widths", outlet_width, outlet_length=outlet_length)
    parameters.within(name, "outlet_width", outlet_width, 0.05 * inlet_width, inlet_width, "0.05 to 1 inlet widths")
    least, most = inlet_width / 2, 1000 * inlet_width
    parameters.within(name, "length", length, least, most, "half of to 1000 inlet widths")
    wanted = parameters.size(name, nodes, across, grading)
    lengths = inlet_length, length, outlet_length
    return smooth_channel(name, (inlet_width, outlet_width), lengths, 0.0, wanted, grading)
