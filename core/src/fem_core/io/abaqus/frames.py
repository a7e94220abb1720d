"""Coordinate systems, translations, rotations and reflections of points: rows (x, y) or (x, y, z)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fem_core.io.abaqus.text import Block
from fem_core.types import Floats


@dataclass(frozen=True, eq=False)
class Frame:
    """x = origin + local coordinates @ axes, whose rows are the local axes."""

    origin: Floats
    axes: Floats

    def __call__(self, local: Floats) -> Floats:
        return self.origin + in_space(local) @ self.axes

    @property
    def turns_over(self) -> bool:
        """Whether what is counter-clockwise in the x-y plane becomes clockwise."""
        (a, b, _), (c, d, _) = self.axes[:2]
        return bool(a * d - b * c < 0)

    def after(self, first: "Frame") -> "Frame":
        """The frame that does first what `first` does, and then what this frame does."""
        return Frame(self(first.origin), first.axes @ self.axes)


def in_space(points: Floats) -> Floats:
    """`points` with z, which is 0 if they have none."""
    missing = 3 - points.shape[-1]
    return np.pad(points, [(0, 0)] * (points.ndim - 1) + [(0, missing)]) if missing else points


def moved(by: Floats) -> Frame:
    """A translation."""
    return Frame(by, np.eye(3))


def system(block: Block) -> Frame | None:
    """The system of a *SYSTEM; None without data: the global one.

    The origin a, a point b on the local x axis, and on a second line a point c on the side of the local y axis.
    Without c, the z axis stays and b is projected onto the x-y plane; without b, only the origin moves.
    """
    rows = [
        block.row(fields, 1, 6, "the coordinates of a and b, and on a second line of c,") for fields in block.lines()
    ]
    if not rows:
        return None
    if len(rows) > 2:
        raise block.fail("more than two lines of data")
    a, b = _padded(rows[0])[:3], _padded(rows[0])[3:]
    if len(rows[0]) <= 3:
        if len(rows) > 1:
            raise block.fail("the second line has a point c, but the first line has no point b")
        return moved(a)
    z = np.array([0.0, 0.0, 1.0])
    if len(rows) > 1:
        z = np.cross(b - a, _padded(rows[1])[:3] - a)
    else:
        b = np.array([b[0], b[1], a[2]])
    if not (np.linalg.norm(b - a) > 0 and np.linalg.norm(z) > 0):
        raise block.fail("the points a, b and c must not coincide nor lie on one line")
    x, z = (b - a) / np.linalg.norm(b - a), z / np.linalg.norm(z)
    return Frame(a, np.stack([x, np.cross(z, x), z]))


def _padded(row: Sequence[float]) -> Floats:
    return np.array([*row, *[0.0] * (6 - len(row))])


def cylindrical(points: Floats) -> Floats:
    """Points from cylindrical coordinates: r, the angle in degrees, and z."""
    points = in_space(points)
    angle = np.radians(points[:, 1])
    return np.stack([points[:, 0] * np.cos(angle), points[:, 0] * np.sin(angle), points[:, 2]], axis=1)


def rotated(block: Block, row: Sequence[float]) -> Frame:
    """The rotation by `row`: two points a and b of its axis, and the angle about a-b in degrees (right-hand rule)."""
    a, b, angle = np.array(row[:3]), np.array(row[3:6]), row[6]
    if not np.linalg.norm(b - a) > 0 or not math.isfinite(angle):
        raise block.fail("the points a and b of the axis coincide, or the angle isn't a number")
    k = (b - a) / np.linalg.norm(b - a)
    # exact for right angles: sides that were parallel to the axes remain parallel to them
    exact = {0.0: (1.0, 0.0), 90.0: (0.0, 1.0), 180.0: (-1.0, 0.0), 270.0: (0.0, -1.0)}
    c, s = exact.get(angle % 360, (math.cos(math.radians(angle)), math.sin(math.radians(angle))))
    across = np.array([[0, -k[2], k[1]], [k[2], 0, -k[0]], [-k[1], k[0], 0]])  # across @ v = k × v
    axes = (c * np.eye(3) + s * across + (1 - c) * np.outer(k, k)).T
    return Frame(a - a @ axes, axes)


def placed(block: Block, rows: Sequence[Sequence[str]]) -> Frame:
    """A translation and then a rotation: one or two lines of data, as *INSTANCE and *NCOPY, SHIFT have."""
    if len(rows) > 2:
        raise block.fail("more than two lines of data: a translation and a rotation were expected")
    frame = moved(_padded(block.row(rows[0], 0, 3, "the three parts of a translation"))[:3] if rows else np.zeros(3))
    if len(rows) < 2:
        return frame
    return rotated(block, block.row(rows[1], 7, 7, "two points of an axis and an angle")).after(frame)


def reflected(block: Block, kind: str, rows: Sequence[Sequence[str]]) -> Frame:
    """A reflection: at a line through a and b, at a plane through a, b and c, or at a point a."""
    given = {"LINE": (6,), "MIRROR": (6, 3), "POINT": (3,)}.get(kind)
    if given is None:
        raise block.fail(f"REFLECT={kind[:80]} isn't known; LINE, MIRROR and POINT are")
    if len(rows) != len(given):
        raise block.fail(f"REFLECT={kind} needs {'two lines' if len(given) > 1 else 'one line'} of data")
    found = np.concatenate(
        [block.row(row, 1, n, f"{n} coordinates") + [0.0] * (n - len(row)) for row, n in zip(rows, given, strict=True)]
    )
    a = found[:3]
    if kind == "POINT":
        return Frame(2 * a, -np.eye(3))
    along = found[3:6] - a
    normal = np.cross(along, found[6:] - a) if kind == "MIRROR" else along
    if not np.linalg.norm(normal) > 0:
        raise block.fail("the points must not coincide nor lie on one line")
    n = normal / np.linalg.norm(normal)
    axes = np.eye(3) - 2 * np.outer(n, n) if kind == "MIRROR" else 2 * np.outer(n, n) - np.eye(3)
    return Frame(a - a @ axes, axes)
