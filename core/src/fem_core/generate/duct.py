"""The straight duct."""

from fem_core.generate import parameters
from fem_core.generate.structured import Block, assemble, fitted, grid_nodes, stations
from fem_core.mesh.mesh import Mesh


def duct(
    *,
    length: float = 3.0,
    height: float = 1.0,
    nodes: int | None = None,
    nx: int | None = None,
    ny: int | None = None,
    grading: float = 1.0,
) -> Mesh:
    """A straight duct from (0, 0) to (length, height).

    The inlet is the side x = 0, the outlet the side x = length. With the flux γ at the inlet and
    u = 0 at the outlet the exact solution is u = γ (length - x).

    Parameters
    ----------
    length : float
        From the inlet to the outlet, in metres.
    height : float
        Distance of the walls, in metres.
    nodes : int, optional
        Number of nodes to aim at (2,000 if no counts are given either), with near-square elements.
    nx : int, optional
        Number of elements along the length; give it and ny instead of nodes.
    ny : int, optional
        Number of elements across the duct; give it and nx instead of nodes.
    grading : float
        Length of the last column of elements over that of the first, a geometric sequence between.

    Raises
    ------
    MeshError
        For a parameter that isn't accepted.
    """
    parameters.positive("duct", length=length, height=height, grading=grading)
    parameters.within("duct", "grading", grading, 1e-3, 1e3)
    wanted = parameters.counts("duct", nodes, nx=nx, ny=ny)
    m, n = wanted[::-1] if isinstance(wanted, tuple) else fitted("duct", wanted, (height, length), grid_nodes)
    block = Block(
        ("lower inlet", "lower outlet", "upper outlet", "upper inlet"),
        stations(0.0, length, n, grading),
        stations(0.0, height, m),
        lambda x, y: (x, y),
    )
    sides = {"inlet": [("lower inlet", "upper inlet")], "outlet": [("lower outlet", "upper outlet")]}
    return assemble([block], sides, "duct")
