# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything about every robot in the picture: frames, joints, boxes, and the mask of their links."""

from __future__ import annotations

from collections.abc import Mapping

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.camera import rasterizer
from ...core.camera.intrinsics import invert
from ...core.messages.samples import Instance
from ..robot import joint_positions
from ..robot.robot_in_scene import RobotInScene
from ..robot.scene_triangles import Shape, Shapes
from ..stage.camera import Camera
from ..stage.stage import Stage
from ..stage.visibility import Seen

Floats = NDArray[np.float64]


class Details:
    """Tells them for one scene, whose robots are looked up once."""

    def __init__(self, scene: bpy.types.Scene, robots: Mapping[str, RobotInScene], seen: Seen, masks: bool) -> None:
        """Look them up.

        Args:
            robots: by name, the first one first.
            masks: whether to make masks at all.
        """
        self._robots, self._masks = robots, masks
        self._shapes = Shapes(scene, {name: robot.armature for name, robot in robots.items()}, seen)

    @classmethod
    def of_stage(cls, stage: Stage) -> Details:
        """Of all robots on a stage, with masks if its settings ask for them."""
        return cls(stage.scene, stage.robots, stage.seen, stage.settings.render.masks)

    def of(self, camera: Camera) -> tuple[tuple[Instance, ...], NDArray[np.uint16] | None]:
        """Every robot as the camera sees it now, and the mask ``(H, W)``: 0 for what is no robot, else 1 + the link's
        place among the links of all instances."""
        world_in_camera = invert(camera.pose())
        shapes = list(self._shapes.read(world_in_camera, everything=self._masks))
        instances = []
        for name, robot in self._robots.items():
            links = world_in_camera @ robot.kinematics.present()
            frames = dict(zip(robot.kinematics.names[:-1], links[:-1], strict=True))
            own = [s for s in shapes if s.robot == name]
            box = rasterizer.bounds(*_joined(own)[:2], camera.intrinsics()) if own else None
            joints = {j.name: joint_positions.channel(robot.armature.pose.bones[j.bone], j) for j in robot.joints}
            instances.append(Instance(name, links[-1], joints, frames, box))
        mask = None
        if self._masks:
            near = camera.object.data.clip_start
            mask = camera.develop_numbers(rasterizer.numbers(*_joined(shapes), camera.pinhole, near))
        return tuple(instances), mask


def _joined(shapes: list[Shape]) -> tuple[Floats, NDArray[np.int64], NDArray[np.uint16]]:
    """Vertices, triangles and numbers of all of them."""
    starts = np.cumsum([0, *(len(s.vertices) for s in shapes)])
    triangles = [s.triangles + start for s, start in zip(shapes, starts, strict=False)]
    return (
        np.concatenate([np.empty((0, 3)), *(s.vertices for s in shapes)]),
        np.concatenate([np.empty((0, 3), np.int64), *triangles]),
        np.concatenate([np.empty(0, np.uint16), *(s.numbers for s in shapes)]),
    )
