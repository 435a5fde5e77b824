# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings of a UR10 that moves with a marker on its flange, simulated with what is true."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.trainer.pose.kinematic_filter import MarkerPose, Recording, SensorModel, Sight, Step
from robot_keypoints.trainer.pose.link_motion import LinkMotion
from robot_keypoints.trainer.pose.rigid_motion import as_pose, exp_rotation, move
from torch import Tensor

UR10 = Path(__file__).resolve().parents[2] / "assets" / "ur10_simple.urdf"
FLANGE = "ee_link"
BASE = as_pose(
    torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]], dtype=torch.float64),
    torch.tensor([0.1, 0.4, 2.2], dtype=torch.float64),
)
"""``T_camera_base``: a camera two metres in front of the robot."""

MOUNT = as_pose(
    exp_rotation(torch.tensor([0.2, -0.4, 0.1], dtype=torch.float64)),
    torch.tensor([0.03, -0.02, 0.05], dtype=torch.float64),
)
"""``T_flange_marker``."""

MARKER = torch.tensor([0.004, 0.004, 0.002, 0.0007, 0.0007, 0.002], dtype=torch.float64)
"""Standard deviations of a marker's pose about itself: radians, metres; the last ones along and about the depth."""


def perturbed(pose: Tensor, twist: Tensor) -> Tensor:
    """``exp(twist) pose`` to first order."""
    return as_pose(*move(pose[..., :3, :3], pose[..., :3, 3], twist))


def motion() -> LinkMotion:
    """The UR10's flange."""
    return LinkMotion.of(load_urdf(UR10), [FLANGE])


def trajectory(count: int, seed: int, swing: float = 0.7) -> Tensor:
    """Smooth true joint positions ``(count, 6)``, radians, one for each tenth of a second."""
    random = np.random.default_rng(seed)
    times = np.arange(count)[:, None] * 0.1
    middle = np.array([0.3, -1.2, 1.4, -0.6, 0.5, 0.2])
    speed, phase = random.uniform(0.3, 1.1, (2, 6)), random.uniform(0, 2 * math.pi, (2, 6))
    waves = np.sin(times[:, None] * speed + phase).sum(1) / 2
    return torch.tensor(middle + swing * waves)


@dataclass(frozen=True)
class Simulated:
    """A recording, and what is true of it.

    Attributes:
        object_poses: ``T_camera_flange`` ``(K, 4, 4)``.
        errors: b and s ``(K, 2, D)``.
    """

    recording: Recording
    object_poses: Tensor
    errors: Tensor


def marker_covariance(pose: Tensor, scale: float = 1.0) -> Tensor:
    """Covariance ``(6, 6)`` from the left of a marker whose own axes have :data:`MARKER`'s deviations."""
    place = pose[:3, 3]
    shift = torch.eye(6, dtype=torch.float64)
    x, y, z = place.tolist()
    shift[3:, :3] = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=torch.float64)
    spread = shift * (scale * MARKER)
    return spread @ spread.mT


def simulate(count: int, seed: int, model: SensorModel, *, hidden: float = 0.5, runs: int = 4) -> Simulated:
    """A recording that obeys ``model``.

    Args:
        hidden: share of the steps in which no marker is seen, in so many ``runs`` of equal length, the first in the
            middle of what is seen.
    """
    random = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    robot = motion()
    true = trajectory(count, seed)
    kept = model.kept(0.1)
    offset, error = model.offset * noise(6), model.error * noise(6)
    base, poses, errors, steps = BASE, [], [], []
    for k in range(count):
        if k:
            offset = offset + model.walk * math.sqrt(0.1) * noise(6)
            error = kept * error + model.error * math.sqrt(1 - kept**2) * noise(6)
        frame = robot(true[k])[0][0]
        pose = base @ frame
        if k and (model.drift_turn or model.drift_shift):
            size = torch.tensor([model.drift_turn] * 3 + [model.drift_shift] * 3).double() * math.sqrt(0.1)
            pose = pose @ perturbed(torch.eye(4, dtype=torch.float64), size * noise(6))
            base = pose @ torch.linalg.inv(frame)
        poses.append(pose)
        errors.append(torch.stack([offset, error]))
        place = (k / count * runs) % 1.0
        markers: tuple[MarkerPose, ...] = ()
        if not 0.5 - hidden / 2 <= place < 0.5 + hidden / 2:
            marker = pose @ MOUNT
            covariance = marker_covariance(marker)
            twist = torch.linalg.cholesky(covariance) @ noise(6)
            markers = (MarkerPose(perturbed(marker, twist), covariance, Sight(mount=0)),)
        steps.append(Step(0.1 * k, true[k] - offset - error, markers))
    return Simulated(Recording(robot, model, tuple(steps)), torch.stack(poses), torch.stack(errors))


def with_slack(simulated: Simulated, offsets: Tensor, slack: Tensor) -> Simulated:
    """The same motion read by sensors that are off by ``offsets``, and by plus or minus ``slack`` as joints turn one
    way or the other, all ``(6,)``, radians."""
    recording = simulated.recording
    true = torch.stack([s.positions for s in recording.steps]) + simulated.errors.sum(1)
    speed = torch.gradient(true, dim=0)[0]
    errors = offsets + slack * torch.tanh(speed / 0.005)
    steps = tuple(replace(s, positions=q) for s, q in zip(recording.steps, true - errors, strict=True))
    both = torch.stack([offsets.expand_as(errors), errors - offsets], 1)
    return Simulated(replace(recording, steps=steps), simulated.object_poses, both)
