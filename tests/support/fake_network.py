# SPDX-License-Identifier: GPL-3.0-or-later
"""A network that knows where a made-up robot stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from robot_keypoints.core.camera.intrinsics import Intrinsics, invert, orbit, transform
from robot_keypoints.core.robot import keypoints
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.trainer.inference.predictor import Found
from robot_keypoints.trainer.networks import factory
from robot_keypoints.trainer.networks.model_file import ModelInfo
from robot_keypoints.trainer.networks.two_passes import MOVING, Inspection

CAMERA = Intrinsics(64, 48, 61.0, 60.0, 32.2, 23.7, (-0.12, 0.05, 0.001, -0.002, 0.01))
UR10 = load_urdf(builtin_urdf())
POINTS = keypoints.joint_keypoints(UR10)
ANGLES = dict(zip([j.name for j in UR10.moving_joints], (0.4, -1.1, 1.3, -0.5, 0.8, 0.3), strict=True))
PAN, LIFT = list(ANGLES)[:2]
POSE = invert(orbit(0.7, 0.4, 2.6, 0.1, (0.1, 0.0, 0.4)))
NAMES = tuple(k.name for k in POINTS)
INFO = ModelInfo(
    factory.NetworkConfig("light", len(POINTS), 1.0, width=8), 64, 48, NAMES, (), UR10.to_dict(), places=POINTS
)


class Fake:
    """A model that finds the keypoints exactly."""

    info = INFO

    def __init__(self) -> None:
        places = keypoints.positions(POINTS, {"": UR10.link_frames(ANGLES)})
        pixels, _ = CAMERA.project(transform(POSE, places))
        spread = ((0.02, 0.0), (0.0, 0.02))
        self.inspection = MOVING
        self.found = [Found(n, float(u), float(v), 0.97, spread) for n, (u, v) in zip(NAMES, pixels, strict=True)]

    def predict(self, images: Sequence[NDArray[np.uint8]], inspection: Inspection = MOVING) -> list[list[Found]]:
        self.inspection = inspection
        return [self.found for _ in images]
