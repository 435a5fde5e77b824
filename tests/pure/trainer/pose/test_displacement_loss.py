# SPDX-License-Identifier: GPL-3.0-or-later
"""The loss on displacements: nothing for images that agree, its gradient that of its numbers; and it teaches."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from moving_robots import UR10
from robot_keypoints.core.robot.keypoints import joint_keypoints
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.trainer.pose.camera import Camera
from robot_keypoints.trainer.pose.displacement_loss import Found, displacement_losses, poses_by_others
from robot_keypoints.trainer.pose.kinematics import Chain
from robot_keypoints.trainer.pose.rigid_motion import as_pose, exp_rotation
from robot_keypoints.trainer.pose.solve_pose import solve_pose
from torch import Tensor

CAMERA = torch.tensor([520.0, 525.0, 236.0, 183.0, -0.1, 0.02, 0.001, -0.0005, 0.0], dtype=torch.float64)
SIGMA = 2.0
ROBOT = load_urdf(UR10)
NAMES = [j.name for j in ROBOT.moving_joints]
CHAIN = Chain.of(ROBOT, joint_keypoints(ROBOT), NAMES)


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


JOINTS = torch.tensor([0.3, -1.2, 1.4, -0.6, 0.5, 0.2], dtype=torch.float64) + 0.4 * random(6, 6, seed=2)


def camera(turn: float = 0.0) -> Tensor:
    """``T_cam_base`` of one that looks at the robot from the side, ``(4, 4)``."""
    view = exp_rotation(torch.tensor([[1.2, 0.3 + turn, -0.2]], dtype=torch.float64))
    return as_pose(view, torch.tensor([[0.1, 0.3, 3.0 + turn]], dtype=torch.float64))[0]


def found(read: Tensor | None = None, error: Tensor | None = None, place: Tensor | None = None) -> Found:
    """Images of the robot at :data:`JOINTS`, of which ``read`` is told; keypoints are off by ``error`` in pixels."""
    own = camera() if place is None else place
    true = Found(
        CHAIN(JOINTS), torch.zeros(6, 1, 2), CAMERA.expand(6, 9),
        (SIGMA**2 * torch.eye(2, dtype=torch.float64)).expand(6, CHAIN(JOINTS).shape[1], 2, 2),
        torch.ones(CHAIN(JOINTS).shape[:2], dtype=torch.bool),
    )  # fmt: skip
    pixels = true.project(own.expand(6, 4, 4))
    told = true.points if read is None else CHAIN(read)
    return replace(true, points=told, pixels=pixels if error is None else pixels + error)


def losses(images: Found, sigma: float = SIGMA) -> Tensor:
    """Of each image ``(6,)``; maps are the camera's images."""
    told, good = poses_by_others(images)
    counted = images.used & good[:, None]
    return displacement_losses(images.project(told).detach(), images.pixels, images.covariances, counted, sigma)


def test_true_keypoints_cost_nothing_wherever_the_camera_is() -> None:
    for place in (camera(), camera(0.4)):
        assert losses(found(place=place)).max() < 1e-9


def test_an_offset_of_the_first_joint_costs_nothing_and_a_wrong_displacement_does() -> None:
    offset = torch.tensor([0.2, 0, 0, 0, 0, 0], dtype=torch.float64)
    assert losses(found(JOINTS + offset)).max() < 1e-9
    wrong = JOINTS.clone()
    wrong[2, 0] += 0.2  # this image's displacement to all others
    costs = losses(found(wrong))
    assert costs[2] > 0.7
    assert costs[[0, 1, 3, 4, 5]].max() < 0.1 * costs[2]


def test_the_loss_grows_with_the_error_in_units_of_a_targets_width() -> None:
    error = torch.zeros(6, 1, 2, dtype=torch.float64)
    error[0] = torch.tensor([4.0, -3.0])
    costs = [losses(found(error=k * error))[0] for k in (0.5, 1, 2)]
    assert 0 < costs[0] < costs[1] < costs[2]
    assert float(costs[1]) == pytest.approx(0.5 * math.log1p(25 / SIGMA**2), rel=1e-6)  # the others are exact
    assert losses(found(error=error), 2 * SIGMA)[0] < 0.6 * costs[1]


def test_gross_errors_in_a_third_of_the_keypoints_leave_the_pose_by_others_right() -> None:
    error = torch.zeros(6, 7, 2, dtype=torch.float64)
    error[:, ::3] = 60.0 * random(6, 3, 2, seed=9)
    clean, wild = found(), found(error=error + random(6, 7, 2, seed=10))
    told, good = poses_by_others(wild)
    assert good.all()
    assert (clean.project(told) - clean.pixels).norm(dim=-1).mean(1).max() < 3 * SIGMA


def test_an_image_has_no_say_in_what_it_is_compared_with() -> None:
    error = torch.zeros(6, 7, 2, dtype=torch.float64)
    error[3] = 40.0 * random(7, 2, seed=4)
    before, after = poses_by_others(found())[0], poses_by_others(found(error=error))[0]
    torch.testing.assert_close(before[3], after[3], atol=1e-5, rtol=0)


def test_the_gradient_is_that_of_one_pose_for_all_images() -> None:
    """That the pose counts as given is exact where it is the one of least cost: the derivative of the least cost."""
    error = 1.5 * random(6, 7, 2, seed=5)
    images, step = found(error=error), random(6, 7, 2, seed=8)

    def least(pixels: Tensor) -> tuple[Tensor, Tensor]:
        images = found(error=pixels - found().pixels)
        solved = solve_pose(
            images.points[None], images.pixels[None], Camera.of_rows(images.cameras[:1]),
            covariances=images.covariances[None], used=images.used[None],
        )  # fmt: skip
        return solved.cost[0], solved.pose

    size = 1e-3
    ends = [least(images.pixels + sign * size * step)[0] for sign in (1, -1)]
    residual = (images.pixels - images.project(least(images.pixels)[1].expand(6, 4, 4))) / SIGMA**2
    assert float((ends[0] - ends[1]) / (2 * size)) == pytest.approx(float((residual * step).sum()), rel=1e-4)


def test_the_gradient_points_back_to_where_the_robot_is() -> None:
    error = torch.zeros(6, 7, 2, dtype=torch.float64)
    error[3] = 5.0 * random(7, 2, seed=3)
    pixels = found(error=error).pixels.requires_grad_()
    (slope,) = torch.autograd.grad(losses(replace(found(), pixels=pixels))[3], pixels)
    for keypoint, off in zip(slope[3], error[3], strict=True):
        assert float((keypoint * off).sum() / (keypoint.norm() * off.norm())) > 0.999
    assert not slope[[0, 1, 2, 4, 5]].any()


def test_blurred_keypoints_cost_and_are_to_be_sharper() -> None:
    sharp = found()
    blurred = (4.0 * sharp.covariances).requires_grad_()
    costs = losses(replace(sharp, covariances=blurred))
    assert costs.min() > 0.5
    costs.sum().backward()
    assert blurred.grad is not None
    assert (blurred.grad.diagonal(dim1=-2, dim2=-1) > 0).all()


def test_images_without_keypoints_cost_nothing_and_harm_nobody() -> None:
    error = random(6, 7, 2, seed=5).requires_grad_()
    used = torch.ones(6, 7, dtype=torch.bool)
    used[1] = False
    cost = losses(replace(found(error=error), used=used))
    assert cost[1] == 0 and cost[[0, 2, 3, 4, 5]].min() > 0
    cost.sum().backward()
    assert error.grad is not None
    assert error.grad.isfinite().all() and not error.grad[1].any() and error.grad[0].any()
    nothing = replace(found(), used=torch.zeros(6, 7, dtype=torch.bool))
    assert not losses(nothing).any() and not poses_by_others(nothing)[1].any()


def test_learning_with_it_makes_displacements_right() -> None:
    """What finds the keypoints errs by a constant for each; nobody tells it where any of them is."""
    shift = (8.0 * random(1, 7, 2, seed=5)).requires_grad_()
    optimiser = torch.optim.Adam([shift], lr=1.0)
    errors = []
    for _ in range(40):
        optimiser.zero_grad()
        cost = losses(found(error=shift)).mean()
        cost.backward()
        optimiser.step()
        errors.append(float(cost.detach()))
    assert errors[-1] < errors[0] / 5
