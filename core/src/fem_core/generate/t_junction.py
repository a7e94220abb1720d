"""The t-junction: a straight channel with a branch."""

import cmath
import math

from fem_core.generate import parameters
from fem_core.generate.structured import Block, assemble, bilinear, count_nodes, fitted, graded, stations
from fem_core.mesh.mesh import Mesh


def t_junction(
    *,
    width: float = 1.0,
    branch_width: float = 0.8,
    angle: float = math.pi / 2,
    upstream: float = 2.0,
    downstream: float = 2.0,
    branch_length: float = 2.0,
    nodes: int | None = None,
    across: int | None = None,
    grading: float = 1.0,
) -> Mesh:
    """A straight channel along y = 0, and a branch that leaves it upwards at x = 0.

    `outlet` is both ends by which the flow leaves; to hold them at different potentials give the
    outlet's value as a function of (x, y).

    Parameters
    ----------
    width : float
        Of the main channel, in metres.
    branch_width : float
        Of the branch, in metres: 0.1 to 5 widths.
    angle : float
        From the direction of the main flow to that of the branch, in radians: 0.6 to 2.5; π/2 is a T.
    upstream : float
        Length of the main channel before the branch, in metres: 0.01 to 10,000 widths.
    downstream : float
        Length of the main channel after the branch, in metres: 0.01 to 10,000 widths.
    branch_length : float
        Of the branch along its axis, in metres: 1.5 to 10,000 branch widths.
    nodes : int, optional
        Number of nodes to aim at (2,000 if across isn't given either), with near-square elements.
    across : int, optional
        Number of elements across the channel; give it instead of nodes.
    grading : float
        Size of the elements far from the two corners over that at them, 0.01 to 100; 1 for equal ones.

    Raises
    ------
    MeshError
        For a parameter that isn't accepted.
    """
    name = "t-junction"
    parameters.positive(name, width=width)
    parameters.lengths(name, "widths", width, upstream=upstream, downstream=downstream)
    parameters.within(name, "branch_width", branch_width, 0.1 * width, 5 * width, "0.1 to 5 widths")
    parameters.within(name, "angle", angle, 0.6, 2.5, "radians")
    least, most = 1.5 * branch_width, 10_000 * branch_width
    parameters.within(name, "branch_length", branch_length, least, most, "1.5 to 10,000 branch widths")
    wanted = parameters.size(name, nodes, across, grading)
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
    counts = fitted(name, wanted, lengths, lambda *counts: count_nodes(blocks(*counts)))
    sides = {
        "inlet": [("inlet lower", "inlet upper")],
        "outlet": [("outlet lower", "outlet upper"), ("branch left", "branch right")],
    }
    return assemble(blocks(*counts), sides, name)
