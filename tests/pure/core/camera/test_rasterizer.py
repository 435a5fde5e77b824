# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks and boxes agree with an independent ray tracer."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import trimesh
from cameras import places, random_camera
from robot_keypoints.core.camera.intrinsics import Intrinsics
from robot_keypoints.core.camera.rasterizer import bounds, numbers

BARREL = (-0.15, 0.02, 0.002, -0.003, 0.0)


def soup(rng: np.random.Generator, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of all sizes about the line of sight; some reach behind the camera."""
    centres = rng.uniform((-1.0, -0.8, -0.5), (1.0, 0.8, 4.0), (count, 3))
    vertices = (centres[:, None] + rng.normal(0, rng.uniform(0.02, 1.0, (count, 1, 1)), (count, 3, 3))).reshape(-1, 3)
    return vertices, np.arange(3 * count).reshape(-1, 3)


def rays_of(k: Intrinsics) -> np.ndarray:
    xy = (places(k) - (k.cx, k.cy)) / (k.fx, k.fy)
    return np.concatenate([xy.reshape(-1, 2), np.ones((xy.shape[0] * xy.shape[1], 1))], axis=1)


@pytest.mark.parametrize("seed", range(6))
def test_each_pixel_shows_what_its_ray_meets_first(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices, triangles = soup(rng)
    k = Intrinsics.from_lens(48, 36, rng.uniform(20, 60), principal=(0.05, -0.1))
    ours = numbers(vertices, triangles, np.arange(1, len(triangles) + 1, dtype=np.uint16), k)
    mesh = trimesh.Trimesh(vertices, triangles, process=False)
    rays = rays_of(k)
    hit = mesh.ray.intersects_first(np.zeros_like(rays), rays)
    assert (hit >= 0).mean() > 0.3
    # A ray may graze an edge and be counted by one and not by the other.
    assert (ours.ravel() != hit + 1).mean() < 0.003


def test_zero_hides_without_being_seen() -> None:
    square = np.array([[-1, -1, 2.0], [1, -1, 2], [1, 1, 2], [-1, 1, 2]])
    vertices = np.concatenate([square, square * (0.25, 0.25, 0.5)])
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    k = Intrinsics(41, 31, 20.0, 20.0, 20.0, 15.0)
    mask = numbers(vertices, triangles, np.array([5, 5, 0, 0], np.uint16), k)
    expected = np.zeros((31, 41), np.uint16)
    expected[5:26, 10:31] = 5
    expected[10:21, 15:26] = 0
    np.testing.assert_array_equal(mask, expected)


def test_a_floor_under_the_camera_reaches_the_horizon() -> None:
    floor = np.array([[-50, 1, -50.0], [50, 1, -50], [50, 1, 50], [-50, 1, 50]])
    k = Intrinsics(40, 30, 30.0, 30.0, 19.5, 14.5)
    mask = numbers(floor, np.array([[0, 1, 2], [0, 2, 3]]), np.array([1, 2], np.uint16), k)
    assert (mask[:15] == 0).all() and (mask[16:] > 0).all()


def test_it_does_not_matter_which_triangles_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, triangles = soup(np.random.default_rng(3), 60)
    k = Intrinsics.from_lens(48, 36, 30)
    values = np.arange(1, 61, dtype=np.uint16)
    whole = numbers(vertices, triangles, values, k)
    monkeypatch.setattr("robot_keypoints.core.camera.rasterizer.CHUNK", 50)
    monkeypatch.setattr("robot_keypoints.core.camera.rasterizer.LARGE", 40)
    np.testing.assert_array_equal(numbers(vertices, triangles, values, k), whole)


def reference_box(vertices: np.ndarray, triangles: np.ndarray, k: Intrinsics) -> np.ndarray | None:
    """By a great many points: along the edges, which hold the thin ends, and all over the triangles."""
    rng = np.random.default_rng(0)
    corners = vertices[triangles]
    share = np.linspace(0, 1, 4001)[:, None, None, None]
    edges = ((1 - share) * corners + share * corners[:, (1, 2, 0)]).reshape(-1, 3)
    weights = rng.dirichlet((0.5, 0.5, 0.5), 60_000)
    surface = np.einsum("nc,tcx->tnx", weights, corners).reshape(-1, 3)
    points = np.concatenate([edges, surface])
    points = points[points[:, 2] > 0]
    shown, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), k.matrix, np.array(k.distortion))
    radius = np.hypot(points[:, 0], points[:, 1]) / points[:, 2]
    pixels = shown[(radius < k.lens.limit) & k.contains(shown[:, 0]), 0]
    return np.concatenate([pixels.min(axis=0), pixels.max(axis=0)]) if len(pixels) else None


@pytest.mark.parametrize("seed", range(24))
def test_boxes_hold_what_lies_in_the_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = random_camera(rng, 24, 18) if seed % 2 else Intrinsics.from_lens(24, 18, 30)
    count = int(rng.integers(1, 4))
    centres = rng.uniform((-0.8, -0.7, 0.3), (0.8, 0.7, 3.0), (count, 3))
    vertices = (centres[:, None] + rng.normal(0, (0.05, 0.3, 2.0)[seed % 3], (count, 3, 3))).reshape(-1, 3)
    triangles = np.arange(3 * count).reshape(-1, 3)
    ours, theirs = bounds(vertices, triangles, k), reference_box(vertices, triangles, k)
    if theirs is None:
        assert ours is None
        return
    assert ours is not None
    np.testing.assert_allclose(ours, theirs, atol=0.2)


def test_a_box_may_be_the_whole_image_or_none_of_it() -> None:
    k = Intrinsics.from_lens(64, 48, 30, distortion=BARREL)
    wall = np.array([[-50, -50, 2.0], [50, -50, 2], [50, 50, 2], [-50, 50, 2]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    np.testing.assert_allclose(bounds(wall, faces, k), (-0.5, -0.5, 63.5, 47.5))
    assert bounds(wall * (1, 1, -1), faces, k) is None
    assert bounds(wall + np.array([500, 0, 0]), faces, k) is None
    assert bounds(np.zeros((0, 3)), np.zeros((0, 3), int), k) is None
