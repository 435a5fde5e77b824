# SPDX-License-Identifier: GPL-3.0-or-later
"""Footage of the simulated robot, as if its markers had been found in images already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from moving_robots import BASE, MOUNT, UR10, Simulated
from numpy.typing import NDArray
from robot_keypoints.core.camera.intrinsics import Intrinsics, transform
from robot_keypoints.core.robot.keypoints import Keypoint, joint_keypoints
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.trainer.footage.joint_problem import Placement
from robot_keypoints.trainer.footage.recording import Camera, Footage, Frame, Marker, MarkerObservation
from robot_keypoints.trainer.pose.rigid_motion import invert

ROBOT = load_urdf(UR10)
KEYPOINTS = joint_keypoints(ROBOT)
INTRINSICS = Intrinsics(640, 480, 500.0, 505.0, 318.0, 242.0, (-0.2, 0.05, 0.001, -0.001, 0.0))
CORNERS = np.array([[x, y, 0.0] for x in (0.0, 0.05) for y in (0.0, 0.05)])


@dataclass(frozen=True)
class Known:
    """Footage, and what is true of it.

    Attributes:
        T_cam_base: of each frame ``(F, 4, 4)``.
        joints: true positions of each frame ``(F, 6)``.
    """

    footage: Footage
    observations: tuple[MarkerObservation, ...]
    placement: Placement
    T_cam_base: NDArray[np.float64]
    joints: NDArray[np.float64]

    def keypoints(self, frame: int, points: Sequence[Keypoint] = KEYPOINTS) -> NDArray[np.float64]:
        """True pixels ``(J, 2)``."""
        links = ROBOT.link_frames(dict(zip([j.name for j in ROBOT.moving_joints], self.joints[frame], strict=True)))
        places = [self.T_cam_base[frame] @ links[p.frame] @ (*p.offset, 1.0) for p in points]
        return INTRINSICS.project(np.stack(places)[:, :3])[0]


def resting_camera(simulated: Simulated) -> Known:
    """One camera that rests sees the marker on the flange."""
    camera, marker = Camera("left", INTRINSICS, size=(640, 480)), Marker("board", "checkerboard", link="ee_link")
    names = [j.name for j in ROBOT.moving_joints]
    frames, observations, poses, joints = [], [], [], []
    steps = simulated.recording.steps
    for k, (step, pose, error) in enumerate(zip(steps, simulated.object_poses, simulated.errors, strict=True)):
        positions = dict(zip(names, step.positions.tolist(), strict=True))
        frames.append(Frame("left", Path(f"{k:03d}.png"), time=step.time, moment=str(k), positions=positions))
        true = (step.positions + error.sum(0)).numpy()
        flange = ROBOT.link_frames(dict(zip(names, true.tolist(), strict=True)))["ee_link"]
        poses.append(pose.numpy() @ np.linalg.inv(flange))
        joints.append(true)
        for seen in step.markers:
            corners = INTRINSICS.project(transform(seen.pose.numpy(), CORNERS))[0]
            observations.append(
                MarkerObservation(k, "board", corners, CORNERS, seen.pose.numpy()[None], seen.covariance.numpy())
            )
    footage = Footage(Path("footage.toml"), ROBOT, (camera,), (marker,), tuple(frames), 0.0)
    placement = Placement({"left": BASE.numpy()}, {"board": MOUNT.numpy()})
    return Known(footage, tuple(observations), placement, np.stack(poses), np.stack(joints))


def camera_on_the_hand(simulated: Simulated) -> Known:
    """The same seen the other way round: the camera is where the marker was, the marker where the camera was."""
    known = resting_camera(simulated)
    camera = Camera("left", INTRINSICS, "ee_link", (640, 480))
    observations = []
    there = np.array([[x, y, 1.0] for x in (-0.1, 0.1) for y in (-0.1, 0.1)])  # in front of the camera
    corners = INTRINSICS.project(there)[0]
    for seen in known.observations:
        pose = np.linalg.inv(seen.poses[0])
        # An error ξ of a pose from the left is the error -Ad(pose⁻¹) ξ of its inverse.
        turn, shift = pose[:3, :3], pose[:3, 3]
        cross = np.array([[0, -shift[2], shift[1]], [shift[2], 0, -shift[0]], [-shift[1], shift[0], 0]])
        adjoint = np.block([[turn, np.zeros((3, 3))], [cross @ turn, turn]])
        observations.append(
            MarkerObservation(
                seen.frame, "board", corners, transform(seen.poses[0], there), pose[None],
                adjoint @ seen.covariance @ adjoint.T,
            )
        )  # fmt: skip
    footage = Footage(
        Path("footage.toml"), ROBOT, (camera,), (Marker("board", "checkerboard"),), known.footage.frames, 0.0
    )
    placement = Placement({"left": invert(MOUNT).numpy()}, {"board": invert(BASE).numpy()})
    # T_marker_base · T_base_flange, of which the camera's pose is the inverse.
    names = [j.name for j in ROBOT.moving_joints]
    flanges = [ROBOT.link_frames(dict(zip(names, q, strict=True)))["ee_link"] for q in known.joints]
    poses = np.stack([np.linalg.inv(f @ MOUNT.numpy()) for f in flanges])
    return Known(footage, tuple(observations), placement, poses, known.joints)
