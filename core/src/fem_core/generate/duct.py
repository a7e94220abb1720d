"""The straight duct."""

from typing import Annotated

from fem_core.generate.parameters import Length, NodesOrCounts, Number, elements, wanted_size
from fem_core.generate.shape import shape
from fem_core.generate.structured import Block, assemble, fitted, grid_nodes, stations
from fem_core.mesh.mesh import Mesh


@shape
def duct(
    *,
    length: Annotated[float, Length("Distance from the inlet to the outlet")] = 3.0,
    height: Annotated[float, Length("Distance between the walls")] = 1.0,
    nodes: NodesOrCounts = None,
    nx: Annotated[int | None, elements("along the length", "ny")] = None,
    ny: Annotated[int | None, elements("across the duct", "nx")] = None,
    grading: Annotated[
        float,
        Number(
            "Length of the last column of elements divided by that of the first; geometric growth",
            1e-3,
            1e3,
            told="",
            positive=True,
        ),
    ] = 1.0,
) -> Mesh:
    """A straight duct from (0, 0) to (length, height).

    The inlet is the side x = 0, the outlet the side x = length. With the flux γ at the inlet and
    u = 0 at the outlet the exact solution is u = γ (length - x).
    """
    wanted = wanted_size("duct", nodes, nx=nx, ny=ny)
    m, n = wanted[::-1] if isinstance(wanted, tuple) else fitted("duct", wanted, (height, length), grid_nodes)
    block = Block(
        ("lower inlet", "lower outlet", "upper outlet", "upper inlet"),
        stations(0.0, length, n, grading),
        stations(0.0, height, m),
        lambda x, y: (x, y),
    )
    sides = {"inlet": [("lower inlet", "upper inlet")], "outlet": [("lower outlet", "upper outlet")]}
    return assemble([block], sides, "duct")
