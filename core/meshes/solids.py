# SPDX-License-Identifier: GPL-3.0-or-later
"""Simple solids of a robot's description as triangles."""

from __future__ import annotations

from itertools import product

import numpy as np

from ..robot.robot import Floats, Visual
from .mesh import Indices, MeshData, Surface, part

SECTIONS = 48
"""Sides of what is round."""


def solid(visual: Visual) -> MeshData:
    """A box, cylinder, capsule or sphere about the origin; what is round stands along z."""
    radius, length, _ = visual.size
    if visual.shape in ("box", "placeholder"):
        return _box(visual.size)
    if visual.shape == "cylinder":
        return _turned(np.array([[radius, -length / 2], [radius, length / 2]]))
    half = length / 2 if visual.shape == "capsule" else 0.0
    angle = np.linspace(-np.pi / 2, np.pi / 2, SECTIONS // 2 + 1)[1:-1]
    arc = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    middle = len(arc) // 2
    shift = np.array([0.0, half])
    lower, upper = arc[: middle + 1] - shift, arc[middle if half else middle + 1 :] + shift
    return _turned(np.concatenate([lower, upper]), tip=half + radius)


def _box(size: tuple[float, float, float]) -> MeshData:
    corners = np.array(list(product((-0.5, 0.5), repeat=3))) * size
    sides = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    return part(corners, sides[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3), Surface())


def _turned(profile: Floats, tip: float | None = None) -> MeshData:
    """A profile ``(N, 2)`` of radii and heights, from below, turned about z and closed at both ends: to points at that
    height, or flat."""
    around = np.arange(SECTIONS)
    turn = 2 * np.pi * around / SECTIONS
    radius, height = profile[:, :1], np.broadcast_to(profile[:, 1:], (len(profile), SECTIONS))
    rings = np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=2)
    low, high = (profile[0, 1], profile[-1, 1]) if tip is None else (-tip, tip)
    vertices = np.concatenate([rings.reshape(-1, 3), [[0, 0, low], [0, 0, high]]])
    bottom, top = len(vertices) - 2, len(vertices) - 1
    following = np.roll(around, -1)
    faces: list[Indices] = []
    for ring in range(len(profile) - 1):
        a, b = SECTIONS * ring + around, SECTIONS * ring + following
        faces += [np.stack([a, b, b + SECTIONS], 1), np.stack([a, b + SECTIONS, a + SECTIONS], 1)]
    last = SECTIONS * (len(profile) - 1)
    faces.append(np.stack([following, around, np.full(SECTIONS, bottom)], 1))
    faces.append(np.stack([last + around, last + following, np.full(SECTIONS, top)], 1))
    return part(vertices, np.concatenate(faces), Surface())
