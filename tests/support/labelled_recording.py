# SPDX-License-Identifier: GPL-3.0-or-later
"""A small labelled recording on disk: five images of a built-in robot, one of them left out and one doubtful."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from robot_keypoints.core.camera.intrinsics import Intrinsics, invert, orbit
from robot_keypoints.core.messages import labelled_footage
from robot_keypoints.core.messages.labelled_footage import FootageFrame, LabelledFootage
from robot_keypoints.core.robot.keypoints import joint_keypoints
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf

CAMERA = Intrinsics(128, 96, 100.0, 104.0, 60.0, 50.0, (-0.3, 0.1, 0.001, -0.002, 0.0))
POSE = invert(orbit(0.7, 0.4, 3.2, 0.0, (0.1, 0.0, 0.4)))
LEFT_OUT, DOUBTFUL = 2, 3
WHY = "The image contradicts the joint positions: the marker is 24.8 pixels from where they have it."


def positions(frame: int) -> dict[str, float]:
    """Where the joints stand in a frame, radians."""
    names = [j.name for j in load_urdf(builtin_urdf()).moving_joints]
    return {name: -0.5 + 0.1 * frame + 0.2 * k for k, name in enumerate(names)}


def footage(images: Path) -> LabelledFootage:
    """The recording, whose images lie in a folder."""
    frames = []
    for k in range(5):
        path, joints = images / f"shot_{k + 1:02d}.png", positions(k)
        if k == LEFT_OUT:
            frames.append(FootageFrame("cam", path, joints=joints, left_out=WHY))
            continue
        doubts = ("board: It is blurred.",) if k == DOUBTFUL else ()
        frames.append(
            FootageFrame(
                "cam", path, None, None, joints, POSE, k - (k > LEFT_OUT), "smoother" if doubts else "marker",
                0.5 + 0.1 * k, dict.fromkeys(joints, 0.001 * (k + 1)), doubts=doubts,
            )
        )  # fmt: skip
    robot = load_urdf(builtin_urdf())
    return LabelledFootage(robot, joint_keypoints(robot), "coco", {"cam": CAMERA}, tuple(frames))


def write(folder: Path) -> Path:
    """Images, and beside them the folder of labels, which has the list of frames only; returns that folder."""
    images, data = folder / "images", folder / "labels"
    for needed in (images, data / "images", data / "labels"):
        needed.mkdir(parents=True)
    for k in range(5):
        Image.fromarray(np.full((CAMERA.height, CAMERA.width, 3), 40 * k, np.uint8)).save(
            images / f"shot_{k + 1:02d}.png"
        )
    labelled_footage.save(footage(images), data)
    return data
