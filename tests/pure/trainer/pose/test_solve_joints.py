# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinematics in torch, and joints found together with the camera's pose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.robot import keypoints
from robot_keypoints.core.robot.robot import Joint, Mimic, Robot, as_matrix
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.trainer.pose import rigid_motion
from robot_keypoints.trainer.pose.camera import Camera
from robot_keypoints.trainer.pose.kinematics import Chain
from robot_keypoints.trainer.pose.problem import Options, Status
from robot_keypoints.trainer.pose.solve_joints import JointStart, solve_joints
from torch import Tensor

CAMERA = Camera(torch.tensor([[600.0, 620.0, 320.0, 240.0]], dtype=torch.float64))
DESCRIPTIONS = ("panda_description/urdf/panda.urdf", "anymal_c_simple_description/urdf/anymal.urdf")


def robots(ur10: Path) -> list[Path]:
    folder = ur10.parents[2]
    return [ur10, *(folder / d for d in DESCRIPTIONS)]


def offset(x: float, y: float, z: float) -> tuple[tuple[float, ...], ...]:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return as_matrix(matrix)


def arm() -> Robot:
    """A turning base with a slide, a follower of it, a held joint and a fixed tip."""
    return Robot("arm", "base", (
        Joint("turn", "revolute", "base", "a", offset(0, 0, 0.2), (0.0, 1.0, 0.0), -1.2, 1.2),
        Joint("slide", "prismatic", "a", "b", offset(0.3, 0, 0.1), (0.0, 0.6, 0.8), 0.1, 0.5),
        Joint("held", "revolute", "b", "c", offset(0, 0.2, 0), (1.0, 0.0, 0.0), -1.0, 1.0, fixed=True),
        Joint("follow", "revolute", "c", "d", offset(0.1, 0, 0.1), (1.0, 0.0, 0.0), -3, 3, Mimic("slide", 2.0, 0.3)),
        Joint("tip", "fixed", "d", "e", offset(0, 0.2, 0.1)),
        Joint("spin", "continuous", "e", "f", offset(0, 0, 0.2), (0.0, 0.0, 1.0), -3.14, 3.14),
    ))  # fmt: skip


def marks() -> list[keypoints.Keypoint]:
    """Enough points on it, three of them on the base."""
    places = [("base", (0.2, 0.0, 0.0)), ("base", (-0.2, 0.1, 0.0)), ("base", (0, -0.2, 0.1)), ("base", (0, 0.2, 0.2)),
              ("a", (0.1, 0.1, 0.1)), ("b", (0.0, 0.1, 0.2)), ("d", (0.1, 0.2, 0.0)), ("e", (0.0, 0.0, 0.1)),
              ("f", (0.1, 0.0, 0.1)), ("f", (0.0, 0.1, 0.0))]  # fmt: skip
    return [keypoints.Keypoint(f"k{i}", frame, place) for i, (frame, place) in enumerate(places)]


def scene(count: int, seed: int = 0, images: int = 1) -> tuple[Chain, Tensor, Tensor, Tensor]:
    """The chain, true angles ``(B, I, D)``, poses and pixels ``(B, I, N, 2)`` without noise."""
    generator = torch.Generator().manual_seed(seed)
    chain = Chain.of(arm(), marks())
    low, high = chain.limits().clamp(-3, 3)
    share = 0.05 + 0.9 * torch.rand(count, images, len(chain.names), generator=generator, dtype=torch.float64)
    angles = low + share * (high - low)
    turn = rigid_motion.exp_rotation(torch.randn(count, 3, generator=generator, dtype=torch.float64))
    pose = rigid_motion.as_pose(turn, torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64).expand(count, 3))
    placed = chain(angles) @ turn.mT[:, None] + pose[:, None, None, :3, 3]
    pixels = CAMERA.expand(count, torch.float64, placed.device).project(placed.flatten(1, 2))
    return chain, angles, pose, pixels.reshape(count, images, -1, 2)


def poses_before(count: int) -> Tensor:
    """``T_cam_base`` ``(B, 4, 4)`` of cameras three metres away."""
    generator = torch.Generator().manual_seed(7)
    turn = rigid_motion.exp_rotation(torch.randn(count, 3, generator=generator, dtype=torch.float64))
    return rigid_motion.as_pose(turn, torch.tensor([0.0, 0.1, 3.0], dtype=torch.float64).expand(count, 3))


def test_kinematics_are_those_of_the_robot(ur10_urdf: Path) -> None:
    """Against forward kinematics in numpy, and its differences."""
    generator = torch.Generator().manual_seed(0)
    cases = [(load_urdf(p), None) for p in robots(ur10_urdf)] + [(arm(), marks())]
    for robot, points in cases:
        points = keypoints.joint_keypoints(robot) if points is None else points
        chain = Chain.of(robot, points)
        low, high = chain.limits().clamp(-3, 3)
        angles = low + torch.rand(5, len(chain.names), generator=generator, dtype=torch.float64) * (high - low)
        found, slope = chain.with_derivatives(angles)
        for k in range(5):
            values = dict(zip(chain.names, angles[k].tolist(), strict=True))
            wanted = keypoints.positions(points, {"": robot.link_frames(values)})
            assert np.abs(found[k].numpy() - wanted).max() < 1e-12
        for j in range(len(chain.names)):
            step = torch.zeros(len(chain.names), dtype=torch.float64)
            step[j] = 1e-6
            difference = (chain(angles + step) - chain(angles - step)) / 2e-6
            assert (difference - slope[:, j]).abs().max() < 1e-8


def test_joints_and_pose_from_sensors_that_are_off() -> None:
    chain, angles, pose, pixels = scene(40)
    generator = torch.Generator().manual_seed(5)
    read = angles + 0.05 * torch.randn(angles.shape, generator=generator, dtype=torch.float64)
    found = solve_joints(chain, pixels, CAMERA, start=JointStart(angles=read))
    assert found.determined.all() and found.converged.all() and found.angles is not None
    assert (found.angles - angles).abs().max() < 1e-6
    assert (found.pose - pose).abs().max() < 1e-6
    one = solve_joints(chain, pixels[:, 0], CAMERA, start=JointStart(angles=read[:, 0]))
    assert torch.equal(one.pose, found.pose) and one.residuals.shape == (40, 10, 2)


def test_joints_and_pose_from_nothing() -> None:
    chain, angles, pose, pixels = scene(20)
    found = solve_joints(chain, pixels, CAMERA)
    assert found.determined.all() and found.angles is not None
    right = (found.pose - pose).abs().flatten(1).amax(1) < 1e-5
    assert right.sum() >= 18
    turns = (found.angles - angles + torch.pi) % (2 * torch.pi) - torch.pi
    assert turns[right].abs().max() < 1e-4


def test_one_camera_and_several_images() -> None:
    """Joints of their own in each image; three images pin the camera down better than one."""
    chain, angles, pose, pixels = scene(30, images=3)
    generator = torch.Generator().manual_seed(7)
    noisy = pixels + torch.randn(pixels.shape, generator=generator, dtype=torch.float64)
    read = angles + 0.02
    all_three = solve_joints(chain, noisy, CAMERA, start=JointStart(angles=read))
    first = solve_joints(chain, noisy[:, :1], CAMERA, start=JointStart(angles=read[:, :1]))
    assert all_three.determined.all() and all_three.covariance.shape == (30, 15, 15)

    def error(found: Tensor) -> float:
        return float((found[:, :3, 3] - pose[:, :3, 3]).norm(dim=1).mean())

    assert error(all_three.pose) < 0.8 * error(first.pose)


def test_sensors_count_as_measurements() -> None:
    """With tight deviations the angles stay; with loose ones the image decides."""
    chain, angles, _, pixels = scene(10)
    read = angles + 0.02
    tight = solve_joints(chain, pixels, CAMERA, start=JointStart(angles=read, deviations=1e-6))
    loose = solve_joints(chain, pixels, CAMERA, start=JointStart(angles=read, deviations=1e3))
    assert tight.angles is not None and loose.angles is not None
    assert (tight.angles - read).abs().max() < 1e-4
    assert (loose.angles - angles).abs().max() < 1e-4


def test_limits_hold() -> None:
    """Points that ask for more than a joint can give leave it at its end."""
    chain, angles, _, _ = scene(10)
    beyond = angles.clone()
    beyond[..., 0] = 1.4  # the limit is 1.2
    _, _, pose, _ = scene(10)
    placed = chain(beyond)[:, 0] @ pose[:, :3, :3].mT + pose[:, None, :3, 3]
    pixels = CAMERA.expand(10, torch.float64, placed.device).project(placed)
    found = solve_joints(chain, pixels, CAMERA, start=JointStart(angles=angles))
    assert found.angles is not None and found.determined.all()
    assert (found.angles[..., 0] == 1.2).all()
    assert ((found.angles[..., 1] >= 0.1) & (found.angles[..., 1] <= 0.5)).all()


def test_a_joint_that_moves_nothing_visible_stays() -> None:
    chain, angles, _, pixels = scene(6)
    occluded = pixels.clone()
    occluded[..., 8:, :] = torch.nan  # what "spin" moves
    found = solve_joints(chain, occluded, CAMERA, start=JointStart(angles=angles + 0.01))
    assert found.determined.all() and found.angles is not None
    assert ((found.angles - angles)[..., 2] - 0.01).abs().max() < 1e-12
    assert found.covariance[:, 8, 8].isinf().all()
    assert (found.angles - angles)[..., :2].abs().max() < 1e-6


def test_a_joint_whose_keypoints_lie_on_its_axis_stays(ur10_urdf: Path) -> None:
    """The UR10's last joint moves its keypoints by what rounding leaves, or by a tenth of a micrometre."""
    robot = load_urdf(ur10_urdf)
    points = keypoints.joint_keypoints(robot)
    last = next(j for j in robot.joints if j.name == "wrist_3_joint").child
    off = [replace(p, offset=(1e-7, 0.0, 1e-7)) if p.frame == last else p for p in points]
    angles = torch.tensor([[1.2, 0.4, -0.7, 0.2]], dtype=torch.float64).repeat(4, 1)
    pose = poses_before(4)
    for marked in (points, off):
        chain = Chain.of(robot, marked, Chain.of(robot, points).names[2:])
        placed = chain(angles) @ pose[:, :3, :3].mT + pose[:, None, :3, 3]
        pixels = CAMERA.expand(4, torch.float64, placed.device).project(placed)
        found = solve_joints(chain, pixels, CAMERA, start=JointStart(angles=angles + 0.02))
        assert found.determined.all() and found.converged.all() and found.angles is not None
        assert (found.angles[:, 0, 3] == angles[:, 3] + 0.02).all()
        assert found.covariance[:, 9, 9].isinf().all()
        assert (found.angles[:, 0] - angles)[:, :3].abs().max() < 1e-5


def test_what_the_image_cannot_tell_is_said(ur10_urdf: Path) -> None:
    """The UR10's first joint turns all its keypoints, just as a turn of the camera does."""
    robot = load_urdf(ur10_urdf)
    chain = Chain.of(robot, keypoints.joint_keypoints(robot))
    angles = torch.tensor([[0.3, -1.0, 1.2, 0.4, -0.7, 0.2]], dtype=torch.float64)
    pose = rigid_motion.as_pose(rigid_motion.exp_rotation(torch.tensor([[1.2, 0.9, -0.7]], dtype=torch.float64)),
                       torch.tensor([[0.0, 0.1, 3.0]], dtype=torch.float64))  # fmt: skip
    placed = chain(angles) @ pose[:, :3, :3].mT + pose[:, None, :3, 3]
    pixels = CAMERA.expand(1, torch.float64, placed.device).project(placed)
    known = Chain.of(robot, keypoints.joint_keypoints(robot), chain.names[:1])
    found = solve_joints(known, pixels, CAMERA, start=JointStart(angles=angles[:, :1]))
    assert found.status.tolist() == [Status.DEGENERATE]
    few = pixels.clone()
    few[:, 4:] = torch.nan
    start, unknown = JointStart(angles=angles), JointStart(angles=angles * torch.nan)
    assert solve_joints(chain, few, CAMERA, start=start).status.tolist() == [Status.TOO_FEW]
    assert solve_joints(chain, few * torch.nan, CAMERA, start=start).status.tolist() == [Status.HIDDEN]
    assert solve_joints(chain, pixels, CAMERA, start=unknown).status.tolist() == [Status.NOT_FINITE]
    with pytest.raises(UserError, match="elbow"):
        Chain.of(robot, keypoints.joint_keypoints(robot), ["elbow"])


def test_derivatives() -> None:
    chain, angles, _, pixels = scene(1)
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    options = Options(tolerance=1e-18)

    def solve(seen: Tensor, read: Tensor) -> tuple[Tensor, Tensor]:
        found = solve_joints(chain, seen, CAMERA, start=JointStart(angles=read, deviations=0.05), options=options)
        assert found.determined.all() and found.angles is not None
        return found.pose[:, :3], found.angles

    assert torch.autograd.gradcheck(
        solve, ((pixels + noise).requires_grad_(), (angles + 0.01).requires_grad_()), atol=1e-6
    )
