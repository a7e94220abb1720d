"""The t-junction: a straight channel with a branch."""

import cmath
import math
from typing import Annotated

from fem_core.generate.parameters import AcrossChannel, Angle, Length, NodesOrAcross, grading_over, wanted_size
from fem_core.generate.shape import shape
from fem_core.generate.structured import Block, bilinear, built, graded, stations
from fem_core.mesh.mesh import Mesh


@shape
def t_junction(
    *,
    width: Annotated[float, Length("Width of the main channel")] = 1.0,
    branch_width: Annotated[float, Length("Width of the branch", 0.1, 5, "width")] = 0.8,
    angle: Annotated[
        float,
        Angle("Angle between the main flow and the flow in the branch", 0.6, 2.5, told=": 0.6 to 2.5; π/2 is a T"),
    ] = math.pi / 2,
    upstream: Annotated[float, Length("Length of the main channel before the branch", 0.01, 10_000, "width")] = 2.0,
    downstream: Annotated[float, Length("Length of the main channel after the branch", 0.01, 10_000, "width")] = 2.0,
    branch_length: Annotated[float, Length("Length of the branch along its axis", 1.5, 10_000, "branch_width")] = 2.0,
    nodes: NodesOrAcross = None,
    across: AcrossChannel = None,
    grading: Annotated[float, grading_over("far from the two corners divided by the size at the corners")] = 1.0,
) -> Mesh:
    """A straight channel along y = 0, and a branch that leaves it upwards at x = 0.

    `outlet` is both ends where the flow leaves. To fix different potentials at them, give the
    value at the outlet as a function of (x, y).
    """
    wanted = wanted_size("t-junction", nodes, across=across)
    mouth, along = branch_width / math.sin(angle), cmath.exp(1j * angle)
    tip, side = 0.5j * width + branch_length * along, -0.5j * branch_width * along
    corners = {
        "lower left": -0.5 * mouth - 0.5j * width, "upper left": -0.5 * mouth + 0.5j * width,
        "lower right": 0.5 * mouth - 0.5j * width, "upper right": 0.5 * mouth + 0.5j * width,
        "branch left": tip - side, "branch right": tip + side,
    }  # fmt: skip
    corners |= {f"inlet {end}": corners[f"{end} left"] - upstream for end in ("lower", "upper")}
    corners |= {f"outlet {end}": corners[f"{end} right"] + downstream for end in ("lower", "upper")}

    def blocks(n: int, m: int, u: int, d: int, b: int) -> list[Block]:
        main, opening = graded(n, grading), graded(m, grading)
        before, after, away = stations(0, 1, u, 1 / grading), stations(0, 1, d, grading), stations(0, 1, b, grading)
        return [
            bilinear(("inlet lower", "lower left", "upper left", "inlet upper"), corners, before, main),
            bilinear(("lower left", "lower right", "upper right", "upper left"), corners, opening, main, u),
            bilinear(("lower right", "outlet lower", "outlet upper", "upper right"), corners, after, main, u + m),
            bilinear(("upper right", "branch right", "branch left", "upper left"), corners, away, opening, u + m),
        ]

    lengths = width, mouth, upstream, downstream, branch_length
    sides = {
        "inlet": [("inlet lower", "inlet upper")],
        "outlet": [("outlet lower", "outlet upper"), ("branch left", "branch right")],
    }
    return built("t-junction", wanted, lengths, blocks, sides)
