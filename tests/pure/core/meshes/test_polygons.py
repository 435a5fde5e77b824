# SPDX-License-Identifier: GPL-3.0-or-later
"""Polygons cut into triangles: areas, directions, holes, and how much work they may be."""

from __future__ import annotations

import numpy as np
import pytest
from robot_keypoints.core.meshes import polygons
from robot_keypoints.core.meshes.polygons import WorkBudget, fan, joined_with_holes, strip, triangulate

SPACE = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]


def in_space(flat: np.ndarray) -> np.ndarray:
    """Points ``(N, 2)`` in a plane that stands askew."""
    return np.pad(flat, ((0, 0), (0, 1))) @ SPACE.T + (3, -2, 5)


def star(rng: np.random.Generator, size: int) -> np.ndarray:
    """A polygon seen whole from its middle, mostly concave, counter-clockwise."""
    angle = 2 * np.pi * (np.arange(size) + rng.uniform(0, 0.4, size)) / size
    return rng.uniform(0.2, 1.0, (size, 1)) * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def shoelace(flat: np.ndarray) -> float:
    x, y = flat.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def signed(flat: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Areas, positive where a triangle runs counter-clockwise."""
    a, b, c = (flat[triangles[:, i]] for i in range(3))
    return ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2


@pytest.mark.parametrize("size", [3, 4, 5, 8, 30, 300])
def test_triangles_cover_a_concave_polygon_once(size: int) -> None:
    rng = np.random.default_rng(size)
    outlines = [star(rng, size) for _ in range(20)]
    counts = np.full(len(outlines), size)
    triangles, owner = triangulate(np.concatenate([in_space(o) for o in outlines]), counts, WorkBudget())
    assert len(triangles) == 20 * (size - 2) and (np.diff(owner) >= 0).all()
    for number, outline in enumerate(outlines):
        areas = signed(outline, triangles[owner == number] - number * size)
        assert (areas > -1e-12).all(), "all run as the polygon does"
        assert areas.sum() == pytest.approx(shoelace(outline))


def test_polygons_of_all_sizes_keep_their_order() -> None:
    rng = np.random.default_rng(1)
    sizes = [5, 3, 0, 4, 12, 2, 5, 1]
    triangles, owner = triangulate(
        np.concatenate([in_space(star(rng, s)) for s in sizes]), np.array(sizes), WorkBudget()
    )
    assert owner.tolist() == [0] * 3 + [1] + [3] * 2 + [4] * 10 + [6] * 3
    begins = np.cumsum([0, *sizes])
    assert all(begins[o] <= t.min() and t.max() < begins[o + 1] for t, o in zip(triangles, owner, strict=True))


def test_straight_corners_and_corners_on_one_another_are_no_trouble() -> None:
    comb = np.array(
        [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1], [2.5, 1], [2, 0.5], [2, 1], [1, 1], [1, 0.5], [0, 1]], float
    )
    triangles, _ = triangulate(in_space(comb), np.array([len(comb)]), WorkBudget())
    assert np.abs(signed(comb, triangles)).sum() == pytest.approx(shoelace(comb))
    for nothing in (np.zeros((6, 3)), np.array([[i, 0, 0] for i in range(6)], float), np.full((5, 3), np.nan)):
        assert len(triangulate(nothing, np.array([len(nothing)]), WorkBudget())[0]) == len(nothing) - 2


@pytest.mark.parametrize("turned", [False, True])
def test_holes_are_left_open(turned: bool) -> None:
    rng = np.random.default_rng(7)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    rim = np.stack([np.cos(angle), np.sin(angle)], axis=1) * rng.uniform(9.0, 10.0, (40, 1))
    middles = [(x, y) for x in (-4, 0, 4) for y in (-3.5, 0, 3.5)]
    holes = [star(rng, 9) + middle for middle in middles]
    holes = [h[::-1] if turned and i % 2 else h for i, h in enumerate(holes)]
    flat = np.concatenate([rim, *holes])
    order = joined_with_holes(in_space(rim), [in_space(h) for h in holes], WorkBudget())
    triangles, _ = triangulate(in_space(flat)[order], np.array([len(order)]), WorkBudget())
    areas = signed(flat, order[triangles])
    assert (areas > -1e-12).all()
    assert areas.sum() == pytest.approx(shoelace(rim) - sum(abs(shoelace(h)) for h in holes))


def test_a_hole_outside_of_its_rim_is_refused() -> None:
    rim = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    with pytest.raises(ValueError, match="within its rim"):
        joined_with_holes(rim, [rim[::-1] * (0.1, 0.1, 1) + (5, 5, 0)], WorkBudget())


def test_too_much_work_is_refused_before_it_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    large = in_space(star(np.random.default_rng(2), polygons.LARGEST + 1))
    with pytest.raises(ValueError, match="too large or too many"):
        triangulate(large, np.array([len(large)]), WorkBudget())
    with pytest.raises(ValueError, match="too large or too many"):
        joined_with_holes(large, [large[:3]], WorkBudget())
    monkeypatch.setattr(polygons, "MOST_WORK", 1e5)
    many = np.concatenate([in_space(star(np.random.default_rng(i), 30)) for i in range(200)])
    with pytest.raises(ValueError, match="too large or too many"):
        triangulate(many, np.full(200, 30), WorkBudget())
    angle = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    triangles, _ = triangulate(
        in_space(np.stack([np.cos(angle), np.sin(angle)], axis=1)), np.array([100_000]), WorkBudget()
    )
    assert len(triangles) == 99_998, "convex ones are little work"


def test_strips_and_fans_run_in_one_direction() -> None:
    assert strip(5).tolist() == [[0, 1, 2], [1, 3, 2], [2, 3, 4]]
    assert fan(5).tolist() == [[0, 1, 2], [0, 2, 3], [0, 3, 4]]
    assert [len(strip(n)) for n in range(4)] == [len(fan(n)) for n in range(4)] == [0, 0, 0, 1]
