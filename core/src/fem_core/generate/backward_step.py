"""The backward-facing step."""

from fem_core.generate import parameters
from fem_core.generate.structured import Block, assemble, bilinear, count_nodes, fitted, stations
from fem_core.mesh.mesh import Mesh


def backward_step(
    *,
    height: float = 1.0,
    step: float = 1.0,
    upstream: float = 2.0,
    downstream: float = 6.0,
    nodes: int | None = None,
    across: int | None = None,
    grading: float = 1.0,
) -> Mesh:
    """A channel that widens downwards at once; the step's corner is the origin.

    Parameters
    ----------
    height : float
        Of the channel before the step, in metres.
    step : float
        Height of the step, in metres: 0.05 to 20 heights.
    upstream : float
        Length of the channel before the step, in metres: 0.01 to 10,000 heights.
    downstream : float
        Length of the channel after the step, in metres: 0.01 to 10,000 heights.
    nodes : int, optional
        Number of nodes to aim at (2,000 if across isn't given either), with near-square elements.
    across : int, optional
        Number of elements across the inlet; give it instead of nodes.
    grading : float
        Size of the elements far from the step's corner over that at it, 0.01 to 100; 1 for equal ones.

    Raises
    ------
    MeshError
        For a parameter that isn't accepted.
    """
    name = "backward-step"
    parameters.positive(name, height=height)
    parameters.lengths(name, "heights", height, upstream=upstream, downstream=downstream)
    parameters.within(name, "step", step, 0.05 * height, 20 * height, "0.05 to 20 heights")
    wanted = parameters.size(name, nodes, across, grading)
    corners = {"corner": 0j, "foot": -1j * step, "top": 1j * height}
    corners |= {f"inlet {end}": corners[end] - upstream for end in ("corner", "top")}
    corners |= {f"outlet {end}": corners[end] + downstream for end in ("foot", "corner", "top")}

    def blocks(n: int, m: int, u: int, d: int) -> list[Block]:
        before, after = stations(0, 1, u, 1 / grading), stations(0, 1, d, grading)
        below, above = stations(0, 1, m, 1 / grading), stations(0, 1, n, grading)
        return [
            bilinear(("inlet corner", "corner", "top", "inlet top"), corners, before, above),
            bilinear(("foot", "outlet foot", "outlet corner", "corner"), corners, after, below, u),
            bilinear(("corner", "outlet corner", "outlet top", "top"), corners, after, above, u),
        ]

    counts = fitted(name, wanted, (height, step, upstream, downstream), lambda *counts: count_nodes(blocks(*counts)))
    sides = {
        "inlet": [("inlet corner", "inlet top")],
        "outlet": [("outlet foot", "outlet corner"), ("outlet corner", "outlet top")],
    }
    return assemble(blocks(*counts), sides, name)
