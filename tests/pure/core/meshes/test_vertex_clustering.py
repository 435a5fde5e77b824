# SPDX-License-Identifier: GPL-3.0-or-later
"""Vertices that lie near one another become one."""

from __future__ import annotations

import numpy as np
from robot_keypoints.core.meshes.vertex_clustering import clustered


def test_near_vertices_become_their_mean_and_lines_go() -> None:
    vertices = np.array([[0.1, 0.1, 0.1], [0.3, 0.1, 0.1], [1.5, 0, 0], [0, 1.5, 0], [-0.1, 0, 0]])
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 2, 3]])
    points, kept = clustered(vertices, triangles, 1.0)
    assert len(points) == 4
    corners = {tuple(np.round(points[t], 6).ravel()) for t in kept}
    assert corners == {(0.2, 0.1, 0.1, 1.5, 0.0, 0.0, 0.0, 1.5, 0.0), (-0.1, 0.0, 0.0, 1.5, 0.0, 0.0, 0.0, 1.5, 0.0)}


def test_a_fine_grid_changes_nothing_and_nothing_stays_nothing() -> None:
    vertices = np.random.default_rng(1).normal(size=(50, 3))
    triangles = np.arange(48).reshape(-1, 3)
    points, kept = clustered(vertices, triangles, 1e-6)
    assert np.array_equal(points[kept], vertices[triangles])
    empty, none = clustered(np.zeros((0, 3)), np.zeros((0, 3), np.int64), 0.1)
    assert len(empty) == len(none) == 0
