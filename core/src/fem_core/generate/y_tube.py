"""The Y-tube: a straight stem that splits into two arms."""

import math
from typing import Annotated

import numpy as np

from fem_core.generate.parameters import Angle, Length, NodesOrCounts, elements, wanted_size, within
from fem_core.generate.paths import Path, eased
from fem_core.generate.shape import shape
from fem_core.generate.structured import Block, Curve, Points, assemble, fitted, ruled, stations
from fem_core.mesh.mesh import Mesh
from fem_core.types import Floats

#: The part of an arm's rise that its two bends may take at most; the rest is straight.
_BEND = 0.6


@shape
def y_tube(
    *,
    stem_width: Annotated[float, Length("Width of the stem")] = 1.2,
    arm_width: Annotated[float, Length("Width of each arm")] = 0.8,
    stem_length: Annotated[float, Length("Distance along x from the inlet to the first bend")] = 1.5,
    arm_length: Annotated[float, Length("Distance along x from the first bend to the outlets")] = 2.5,
    spread: Annotated[float, Length("Distance between the middles of the outlets")] = 2.0,
    angle: Annotated[float, Angle("Angle between the straight part of an arm and the axis")] = math.pi / 4,
    crotch: Annotated[float, Length("Radius of the rounded crotch")] = 0.2,
    nodes: NodesOrCounts = None,
    nw: Annotated[int | None, elements("from a wall to the middle of its channel", "ns", "na")] = None,
    ns: Annotated[int | None, elements("along the stem", "nw", "na")] = None,
    na: Annotated[int | None, elements("along each arm", "nw", "ns")] = None,
) -> Mesh:
    """A symmetrical Y with the inlet at x = 0 and two outlets at x = stem_length + arm_length.

    The outer walls bend away from the stem, climb at `angle` and bend back, so that the arms end
    parallel to the stem; the inner walls keep the distance `arm_width` and meet in a rounded
    crotch. All walls are straight lines and circular arcs with common tangents; y = 0 is the axis.

    Six blocks meet in the point C on the axis that is equally far, ρ, from both outer walls and
    from the crotch: two along the stem, two along each arm, each between a wall and the middle of
    its channel, so that elements are aligned with every wall::

        ─────────────T╲   ╲
          stem, upper  ╲ arm, outer
        ────────────────C───N╮  inner
          stem, lower  ╱ arm, outer
        ─────────────B╱   ╱
    """
    shape = _Shape(stem_width, arm_width, stem_length, arm_length, spread, angle, crotch)
    wanted = wanted_size("y-tube", nodes, nw=nw, ns=ns, na=na)
    return shape.mesh(*(wanted if isinstance(wanted, tuple) else shape.counts(wanted)))


class _Shape:
    """The curves of the upper half; the lower half mirrors them."""

    def __init__(self, w: float, a: float, stem: float, arm: float, spread: float, β: float, r: float) -> None:
        """The curves for widths `w` and `a`, lengths `stem` and `arm`, and crotch radius `r`.

        Both bends have the radius R, measured at the wall on their inside. The outer wall rises by

            (spread + a - w)/2 = (2R + a)(1 - cos β) + ℓ sin β

        where ℓ (`straight`) is the length of its straight part; a(1 - cos β) is needed in any case, and of the
        rest h the bends take the part `_BEND`. The inner wall rises by

            (spread - a)/2 = r cos β + ℓ' sin β + R (1 - cos β)
        """
        name = "y-tube"
        self.w, self.a = w, a
        s, c = math.sin(β), math.cos(β)
        within(name, "arm_width", a, 0.4 * w, 1.25 * w, "0.4 to 1.25 times stem_width")
        within(name, "angle", β, math.pi / 9, math.pi / 3, "20° to 60°, in radians")
        within(name, "crotch", r, 0.0, a / 2, "half of arm_width")

        excess = w - a + 2 * a * (1 - c)  # spread = excess + 2h
        least = max(excess + 0.2 * a, (a + 2 * r * c - _BEND * excess / 2) / (1 - _BEND / 2))  # h > 0 and ℓ' >= 0
        within(name, "spread", spread, least, math.inf, "for these widths, angle and crotch")
        h = (spread - excess) / 2
        R, straight = _BEND * h / (2 * (1 - c)), (1 - _BEND) * h / s
        bend = (2 * R + a) * s + straight * c
        why = "for the bends, and up to 20 widths more"
        within(name, "arm_length", arm, bend + a / 2, bend + 20 * a, why)
        tail = arm - bend
        straight_inner = ((spread - a) / 2 - R * (1 - c) - r * c) / s
        nose = stem + bend - R * s - straight_inner * c - r * (1 - s)

        self.ρ, foot = _junction(nose - stem, w / 2, R, β)
        before = max(0.0, stem - nose + self.ρ) + w
        why = "for the junction, and up to 20 widths more"
        within(name, "stem_length", stem, before, before + 20 * w, why)

        self.outer = Path(0.0, w / 2).line(stem).arc(R, β).line(straight).arc(R + a, -β).line(tail)
        self.inner = Path(nose, 0.0, math.pi / 2).arc(r, β - math.pi / 2).line(straight_inner).arc(R, -β).line(tail)
        # Arc lengths that face each other: at the junction (T, N), around the second bend, at the outlet.
        self.outer_knots = np.concatenate([[stem + foot], self.outer.ends[-3:]])
        self.inner_knots = np.concatenate([[0.0], self.inner.ends[-3:]])
        self.centre = nose - self.ρ  # x of C, in metres
        # The arms' parameter at the knots: the mean arc length from the junction.
        self.knots: Floats = 0.5 * (self.outer_knots - self.outer_knots[0] + self.inner_knots)

    def counts(self, nodes: int) -> tuple[int, ...]:
        """Counts (nw, ns, na) for near-square elements and about `nodes` nodes."""
        w, a = self.w, self.a
        mean = w if w == a else (w - a) / math.log(w / a)
        lengths = 1.0, 2 * self.centre / mean, 2 * self.knots[-1] / a
        return fitted("y-tube", nodes, lengths, lambda nw, ns, na: (6 * nw + 2) * (ns + 2 * na) + 6 * nw + 1, (1, 1, 2))

    def mesh(self, nw: int, ns: int, na: int) -> Mesh:
        stem, arm = stations(0.0, self.centre, ns, self.a / self.w), stations(0.0, self.knots[-1], na)
        up = stations(0.0, 1.0, nw)
        axis, wall, middle, outer, inner = self.axis, self.wall, self.arm_middle, self.arm_outer, self.arm_inner
        blocks = [
            Block(("0-", "B", "C", "0"), stem, up, ruled(_mirror(wall), axis)),
            Block(("0", "C", "T", "0+"), stem, up, ruled(axis, wall)),
            Block(("B", "4-", "3-", "C"), arm, up, ruled(_mirror(outer), _mirror(middle)), ns),
            Block(("C", "3-", "2-", "N"), arm, up, ruled(_mirror(middle), _mirror(inner)), ns),
            Block(("N", "2+", "3+", "C"), arm, up, ruled(inner, middle), ns),
            Block(("C", "3+", "4+", "T"), arm, up, ruled(middle, outer), ns),
        ]
        sides = {
            "inlet": [("0-", "0"), ("0", "0+")],
            "outlet": [("4-", "3-"), ("3-", "2-"), ("2+", "3+"), ("3+", "4+")],
        }
        return assemble(blocks, sides, "y-tube")

    def axis(self, s: Floats) -> Points:
        return s, np.zeros_like(s)

    def wall(self, s: Floats) -> Points:
        """The stem's wall. Its points are opposite to those of the axis; in the last part they move towards T."""
        knot = max(0.5 * self.centre, self.centre - self.w)
        knots, values = np.array([0.0, knot, self.centre]), np.array([0.0, knot, self.outer_knots[0]])
        return self.outer.at(eased(s, knots, values, self.w / 2))

    def arm_outer(self, s: Floats) -> Points:
        return self.outer.at(eased(s, self.knots, self.outer_knots, self.a / 2))

    def arm_inner(self, s: Floats) -> Points:
        return self.inner.at(eased(s, self.knots, self.inner_knots, self.a / 2))

    def arm_middle(self, s: Floats) -> Points:
        """Half-way between the walls, drawn towards C near the junction: by (1 - s/2ρ)² there."""
        (x0, y0), (x1, y1) = self.arm_inner(s), self.arm_outer(s)
        (xN, yN), (xT, yT) = self.arm_inner(np.zeros(1)), self.arm_outer(np.zeros(1))
        pull = np.maximum(0.0, 1 - s / (2 * self.ρ)) ** 2
        return 0.5 * (x0 + x1) + pull * (self.centre - 0.5 * (xN + xT)), 0.5 * (y0 + y1) - pull * 0.5 * (yN + yT)


def _junction(nose: float, h: float, R: float, β: float) -> tuple[float, float]:
    """The distance ρ of C = (nose - ρ, 0) from the outer wall, and the arc length of its foot T there.

    The wall runs at height h up to x = 0, bends by β with radius R around (0, h + R) and goes on
    straight; arc lengths count from x = 0.
    """
    A, Q = nose + R, h + R
    x = (A**2 - Q**2) / (2 * A)  # of C, if T is on the bend: A - x = √(x² + Q²)
    if x < 0:
        return h, nose - h
    if x <= Q * math.tan(β):
        return nose - x, R * math.atan2(x, Q)
    s, c = math.sin(β), math.cos(β)
    x0, y0 = R * s, h + R * (1 - c)
    ρ = (s * (nose - x0) + c * y0) / (1 + s)
    return ρ, R * β + c * (nose - ρ - x0) - s * y0


def _mirror(curve: Curve) -> Curve:
    """The curve on the other side of the axis y = 0."""

    def mirrored(s: Floats) -> Points:
        x, y = curve(s)
        return x, -y

    return mirrored
