"""The venturi: a throat between two cones."""

import math

from fem_core.generate import parameters
from fem_core.generate.channel import below_wall
from fem_core.generate.paths import Path, fullest
from fem_core.mesh.mesh import Mesh


def venturi(
    *,
    width: float = 1.0,
    throat: float = 0.5,
    throat_length: float = 0.5,
    convergence: float = math.radians(10.5),
    divergence: float = math.radians(7.5),
    radius: float = 1.0,
    inlet_length: float = 1.0,
    outlet_length: float = 1.0,
    nodes: int | None = None,
    across: int | None = None,
    grading: float = 1.0,
) -> Mesh:
    """A straight channel that narrows to a throat and widens again, its corners rounded.

    The walls are straight lines and circular arcs with common tangents. The angles are those of the
    classical Venturi tube (ISO 5167-4): 21° in all before the throat, 7° to 15° after it.

    Parameters
    ----------
    width : float
        Distance of the walls at inlet and outlet, in metres.
    throat : float
        Distance of the walls at the throat, in metres: 0.05 to 0.99 widths.
    throat_length : float
        Of the straight throat, in metres: 0.01 to 10,000 times its width.
    convergence : float
        Of each wall against the axis before the throat, in radians: 0.02 to 1.
    divergence : float
        Of each wall against the axis after the throat, in radians: 0.02 to 1.
    radius : float
        Of the rounded corners, in metres; limited by the angles.
    inlet_length : float
        Straight before the throat, in metres: 0.01 to 10,000 widths.
    outlet_length : float
        Straight after the throat, in metres: 0.01 to 10,000 widths.
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
    name = "venturi"
    parameters.positive(name, width=width, throat=throat, radius=radius)
    parameters.lengths(name, "widths", width, inlet_length=inlet_length, outlet_length=outlet_length)
    parameters.lengths(name, "throats", throat, throat_length=throat_length)
    parameters.within(name, "throat", throat, 0.05 * width, 0.99 * width, "0.05 to 0.99 widths")
    parameters.within(name, "convergence", convergence, 0.02, 1.0, "radians")
    parameters.within(name, "divergence", divergence, 0.02, 1.0, "radians")
    rise = (width - throat) / 2
    most = fullest(rise, max(convergence, divergence))
    parameters.within(name, "radius", radius, 0.0, most, "for this throat and these angles")
    wanted = parameters.size(name, nodes, across, grading)
    wall = Path(0.0, width / 2).line(inlet_length).ramp(-rise, convergence, radius)
    wall = wall.line(throat_length).ramp(rise, divergence, radius).line(outlet_length)
    return below_wall(name, wall, wanted, grading)
