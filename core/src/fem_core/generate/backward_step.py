"""The backward-facing step."""

from typing import Annotated

from fem_core.generate.parameters import AcrossInlet, Length, NodesOrAcross, grading_over, wanted_size
from fem_core.generate.shape import shape
from fem_core.generate.structured import Block, bilinear, built, stations
from fem_core.mesh.mesh import Mesh


@shape
def backward_step(
    *,
    height: Annotated[float, Length("Height of the channel before the step")] = 1.0,
    step: Annotated[float, Length("Height of the step", 0.05, 20, "height")] = 1.0,
    upstream: Annotated[float, Length("Length of the channel before the step", 0.01, 10_000, "height")] = 2.0,
    downstream: Annotated[float, Length("Length of the channel after the step", 0.01, 10_000, "height")] = 6.0,
    nodes: NodesOrAcross = None,
    across: AcrossInlet = None,
    grading: Annotated[float, grading_over("far from the corner of the step divided by the size at the corner")] = 1.0,
) -> Mesh:
    """A channel that suddenly widens downwards; the corner of the step is the origin."""
    wanted = wanted_size("backward-step", nodes, across=across)
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

    lengths = height, step, upstream, downstream
    sides = {
        "inlet": [("inlet corner", "inlet top")],
        "outlet": [("outlet foot", "outlet corner"), ("outlet corner", "outlet top")],
    }
    return built("backward-step", wanted, lengths, blocks, sides)
