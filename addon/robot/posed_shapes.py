# SPDX-License-Identifier: GPL-3.0-or-later
"""The shapes of a scene's robot as it stands, light enough to be sent to a model's server."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import invert
from ...core.meshes.vertex_clustering import clustered
from ...core.messages.robot_shapes import FARTHEST, MOST_PARTS, RobotShapes, ShapePart
from .robot_in_scene import RobotInScene
from .scene_triangles import Shape, Shapes

Floats = NDArray[np.float64]
Mesh = tuple[Floats, NDArray[np.int64]]

MOST_TRIANGLES = 60_000
"""Of the whole robot; it is made lighter until it has no more."""
FINEST = 0.002
"""Metres within which vertices are one where there are too many triangles, first; then twice as much, and so on."""


def of(robot: RobotInScene, offset: Floats) -> RobotShapes | None:
    """What a rendering would show of the robot, link by link; None where that is nothing, or more than a message takes.

    Args:
        offset: ``T_rigbase_modelbase`` ``(4, 4)``; the shapes are given in the model's base frame.
    """
    robot.scene.view_layers[0].update()
    base = invert(offset) @ np.linalg.inv(np.array(robot.armature.matrix_world))
    read = Shapes(robot.scene, {"": robot.armature}, lambda obj: obj.visible_camera and not obj.hide_render)
    links: dict[int, list[Mesh]] = {}
    for shape in read.read(base, everything=False):
        for number in np.unique(shape.numbers).tolist():
            links.setdefault(number, []).append(_only(shape, number))
    joined = (_joined(those) for those in links.values())
    meshes = [mesh for mesh in joined if (np.abs(mesh[0]) <= FARTHEST).all()]
    size = FINEST
    while sum(len(triangles) for _, triangles in meshes) > MOST_TRIANGLES:
        meshes = [clustered(vertices, triangles, size) for vertices, triangles in meshes]
        size *= 2
    parts = [ShapePart(v.astype(np.float32), t.astype(np.uint32)) for v, t in meshes if len(t)]
    return RobotShapes(tuple(parts)) if 1 <= len(parts) <= MOST_PARTS else None


def _only(shape: Shape, number: int) -> Mesh:
    """One link's triangles of a shape, with their own vertices."""
    used, triangles = np.unique(shape.triangles[shape.numbers == number], return_inverse=True)
    return shape.vertices[used], triangles.reshape(-1, 3)


def _joined(meshes: list[Mesh]) -> Mesh:
    firsts = np.cumsum([0, *(len(vertices) for vertices, _ in meshes)])
    triangles = [t + first for (_, t), first in zip(meshes, firsts, strict=False)]
    return np.concatenate([v for v, _ in meshes]), np.concatenate(triangles)
