"""Measures of elements against what they are by definition, and what they must not depend on."""

import numpy as np
import pytest
from fem_core import Mesh, element_quality
from fem_core.mesh import quad8 as q8
from fem_core.mesh.quality import LIMITS
from hypothesis import given
from hypothesis import strategies as st
from meshes import distorted, moved, small_meshes, squares

MEASURES = list(LIMITS)


def one(corners, mids=()) -> Mesh:
    """An element of these corners, with mid-sides half-way but for {side: (x, y)}."""
    corners = np.asarray(corners, dtype=float)
    points = np.concatenate([corners, 0.5 * (corners + np.roll(corners, -1, axis=0))])
    for side, at in dict(mids).items():
        points[4 + side] = at
    return Mesh(*points.T, np.arange(8)[None])


def of(mesh: Mesh) -> tuple[float, float, float]:
    quality = element_quality(mesh)
    return tuple(float(getattr(quality, measure)[0]) for measure in MEASURES)


def test_squares_are_perfect():
    assert of(squares(3)) == pytest.approx((1, 1, 0), abs=1e-12)


@given(st.floats(0.01, 100), st.floats(0.01, 1))
def test_parallelograms(long, s):
    # det J is constant; aspect is the ratio of the sides; the sharp angle is asin(s).
    c = (1 - s * s) ** 0.5
    mesh = one([(0, 0), (long, 0), (long + c, s), (c, s)])
    wanted = 1, max(long, 1 / long), 1 - np.arcsin(s) / (np.pi / 2)
    assert of(mesh) == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_a_trapezoid():
    # det J is proportional to the local width: 1 to 3 at the corners.
    jacobian, aspect, skew = of(one([(0, 0), (3, 0), (2, 2), (1, 2)]))
    assert jacobian == pytest.approx(1 / 3)
    assert aspect == pytest.approx(1)
    assert skew == pytest.approx(np.arctan(1 / 2) / (np.pi / 2))


@pytest.mark.parametrize(("at", "jacobian"), [(0.5, 1.0), (0.3, 0.2 / 1.8), (0.25, 0.0), (0.2, -0.2 / 2.2)])
def test_a_mid_side_towards_the_quarter_point(at, jacobian):
    # x = ½(1 + ξ) + (at - ½)(1 - ξ²) on the lower side; ∂x/∂ξ there is ½ ± 2(at - ½) at the ends: 0 at a quarter.
    mesh = one([(0, 0), (1, 0), (1, 1), (0, 1)], {0: (at, 0)})
    assert of(mesh)[0] == pytest.approx(jacobian, abs=1e-12)


def test_clockwise_and_folded_elements_are_poor():
    mesh = squares(2)
    clockwise = Mesh(mesh.x, mesh.y, mesh.quad8[:, q8.REVERSED])
    assert of(clockwise)[0] == pytest.approx(-1)
    folded = one([(0, 0), (1, 0), (0.2, 0.2), (0, 1)])
    quality = element_quality(folded)
    assert quality.poor("jacobian").all()
    assert quality.badness[0] > 1


def test_curved_sides_count_with_their_tangents():
    # A side bulging by d has the slope 4 d at its ends.
    _, _, skew = of(one([(0, 0), (1, 0), (1, 1), (0, 1)], {0: (0.5, -0.1)}))
    assert skew == pytest.approx(np.arctan(0.4) / (np.pi / 2))


@given(small_meshes(), st.floats(0, 6.3), st.sampled_from([1e-6, 0.1, 1e4]))
def test_size_place_and_direction_do_not_matter(mesh, angle, scale):
    a, b = element_quality(mesh), element_quality(moved(mesh, angle=angle, scale=scale, shift=(scale, -scale)))
    for measure in MEASURES:
        np.testing.assert_allclose(getattr(a, measure), getattr(b, measure), rtol=1e-6, atol=1e-6)


@given(small_meshes())
def test_valid_elements_are_in_range(mesh):
    quality = element_quality(mesh)
    assert (quality.jacobian <= 1).all()
    assert (quality.aspect >= 1).all()
    assert ((quality.skew >= 0) & (quality.skew <= 1)).all()


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("number", [0, 3, 1000])
def test_the_worst_come_first(measure, number):
    quality = element_quality(distorted(12, 7, seed=3))
    found = quality.worst(measure, number)
    values = getattr(quality, measure)
    wanted = np.sort(values if measure == "jacobian" else -values)[:number]
    assert len(found) == min(number, 84)
    np.testing.assert_array_equal(values[found] if measure == "jacobian" else -values[found], wanted)


def test_blocks_do_not_matter():
    # More elements than a block.
    mesh = distorted(80, 60, seed=5)
    whole = element_quality(mesh)
    tail = element_quality(Mesh(mesh.x, mesh.y, mesh.quad8[4000:]))
    for measure in MEASURES:
        np.testing.assert_allclose(getattr(whole, measure)[4000:], getattr(tail, measure), rtol=1e-12)


def test_a_degenerate_element_has_a_quality():
    # All eight nodes at one point, and a mesh without elements.
    quality = element_quality(Mesh(np.ones(8), np.ones(8), np.arange(8)[None]))
    assert quality.badness[0] > 1
    assert element_quality(Mesh([0.0], [0.0], np.empty((0, 8), int))).worst("skew").tolist() == []
