"""Plane curves made of straight lines and circular arcs, run through by their arc length."""

import math
from dataclasses import dataclass

import numpy as np

from fem_core.generate.structured import Points
from fem_core.types import Floats


@dataclass(frozen=True)
class Path:
    """A smooth curve that starts at (x, y) with a heading and continues tangentially piece by piece.

    >>> wall = Path(0.0, 0.6).line(1.5).arc(0.5, +np.pi / 4).line(0.3)
    >>> round(wall.length, 4)
    2.1927

    Parameters
    ----------
    x, y : float
        The start, in metres.
    heading : float
        The direction of the start, in radians from the x axis.
    pieces : tuple of (length, curvature)
        In metres and 1/metres; a positive curvature turns left.
    """

    x: float
    y: float
    heading: float = 0.0
    pieces: tuple[tuple[float, float], ...] = ()

    def line(self, length: float) -> "Path":
        """The path continued straight on."""
        return self._and(length, 0.0)

    def arc(self, radius: float, turn: float) -> "Path":
        """The path continued on a circle through the angle `turn`: positive is to the left."""
        return self._and(radius * abs(turn), math.copysign(1 / radius, turn))

    def ramp(self, rise: float, angle: float, radius: float) -> "Path":
        """The path continued to a parallel line, `rise` to the left (to the right if negative).

        A bend by `angle`, a straight part of the length ℓ and a bend back:
        |rise| = 2 radius (1 - cos angle) + ℓ sin angle; `fullest` says which radius leaves ℓ = 0.
        """
        straight = max(0.0, abs(rise) - 2 * radius * (1 - math.cos(angle))) / math.sin(angle)
        turn = math.copysign(angle, rise)
        return self.arc(radius, turn).line(straight).arc(radius, -turn)

    def _and(self, length: float, curvature: float) -> "Path":
        """The path with one more piece, unless its length is 0."""
        pieces = (*self.pieces, (length, curvature)) if length > 0 else self.pieces
        return Path(self.x, self.y, self.heading, pieces)

    @property
    def ends(self) -> Floats:
        """Arc length at the start and at the end of each piece, (n_pieces + 1,)."""
        return np.concatenate([[0.0], np.cumsum([length for length, _ in self.pieces])])

    @property
    def length(self) -> float:
        return float(self.ends[-1])

    @property
    def turns(self) -> Floats:
        """The angle that each piece turns by, in radians, (n_pieces,)."""
        return np.array([length * abs(curvature) for length, curvature in self.pieces])

    def at(self, σ: Floats, left: Floats | float = 0.0) -> Points:
        """The points at arc lengths σ, or at the distance `left` to the left of them.

        On a piece of curvature κ that starts at P with heading θ, the chord to arc length σ is
        σ sinc(κσ/2) long and points to θ + κσ/2, for lines (κ = 0) and arcs alike.
        """
        lengths, κ = np.array(self.pieces).T
        θ = self.heading + np.concatenate([[0.0], np.cumsum(lengths * κ)[:-1]])
        dx, dy = _chord(lengths, κ, θ)
        x0 = self.x + np.concatenate([[0.0], np.cumsum(dx)[:-1]])
        y0 = self.y + np.concatenate([[0.0], np.cumsum(dy)[:-1]])
        σ = np.asarray(σ, dtype=np.float64)
        k = np.clip(np.searchsorted(self.ends, σ, side="right") - 1, 0, len(lengths) - 1)
        dx, dy = _chord(σ - self.ends[k], κ[k], θ[k])
        heading = θ[k] + κ[k] * (σ - self.ends[k])
        return x0[k] + dx - left * np.sin(heading), y0[k] + dy + left * np.cos(heading)


def fullest(rise: float, angle: float) -> float:
    """The radius of the two bends of a `Path.ramp` that has no straight part, in the unit of `rise`."""
    return abs(rise) / (2 * (1 - math.cos(angle)))


def _chord(σ: Floats, κ: Floats, θ: Floats) -> Points:
    chord, φ = σ * np.sinc(κ * σ / (2 * np.pi)), θ + 0.5 * κ * σ
    return chord * np.cos(φ), chord * np.sin(φ)


def eased(s: Floats, knots: Floats, values: Floats, width: float) -> Floats:
    """The increasing function through (knots, values), straight between them with rounded corners.

    A change of slope by Δm at a knot k adds Δm r(s - k) with the ramp r(x) = (x + h)²/4h for
    |x| <= h; h is `width`, or less where the knot is closer than that to either end.
    """
    slopes = np.diff(values) / np.diff(knots)
    total: Floats = values[0] + slopes[0] * (s - knots[0])
    for knot, change in zip(knots[1:-1], np.diff(slopes), strict=True):
        h = min(width, knot - knots[0], knots[-1] - knot)
        x = s - knot
        total = total + change * np.where(x > h, x, np.maximum(x + h, 0.0) ** 2 / (4 * h))
    return total
