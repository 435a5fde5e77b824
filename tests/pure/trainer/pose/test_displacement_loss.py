# SPDX-License-Identifier: GPL-3.0-or-later
"""The loss on displacements: nothing for pairs that agree, its gradient that of its numbers; and it teaches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moving_robots import UR10
from robot_keypoints.core.robot.keypoints import Keypoint, joint_keypoints
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.trainer.pose.camera import Camera
from robot_keypoints.trainer.pose.displacement_loss import View, displacement, displacement_errors, displacement_loss
from robot_keypoints.trainer.pose.kinematics import Chain
from robot_keypoints.trainer.pose.rigid_motion import as_pose, exp_rotation
from torch import Tensor

CAMERA = torch.tensor([520.0, 525.0, 236.0, 183.0, -0.1, 0.02, 0.001, -0.0005, 0.0], dtype=torch.float64)
SIGMA = 2.0


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


BODY = 0.12 * random(6, 3, seed=1)


def poses(count: int, seed: int) -> Tensor:
    """``T_cam_object`` about a metre ahead."""
    ahead = torch.tensor([0.0, 0.0, 1.1], dtype=torch.float64)
    return as_pose(exp_rotation(0.6 * random(count, 3, seed=seed)), ahead + 0.1 * random(count, 3, seed=seed + 1))


def view(pose: Tensor, error: Tensor | None = None) -> View:
    """A rigid object at ``pose`` ``(B, 4, 4)``, its keypoints found with an error ``(…, N, 2)`` in pixels."""
    cameras = CAMERA.expand(len(pose), 9)
    seen = Camera.of_rows(cameras).project(BODY @ pose[:, :3, :3].mT + pose[:, None, :3, 3])
    return View(BODY.expand(len(pose), -1, -1), seen if error is None else seen + error, cameras)


def test_pairs_that_agree_cost_nothing_wherever_the_camera_is() -> None:
    first, second = poses(5, 3), poses(5, 7)
    moved = displacement(first, second)
    assert displacement_loss(view(first), view(second), moved, BODY, SIGMA).max() < 1e-6
    # The same motion before another camera is the same displacement.
    camera = poses(1, 11)
    torch.testing.assert_close(displacement(camera @ first, camera @ second), moved)


def test_the_loss_grows_with_the_error_in_units_of_a_targets_width() -> None:
    first, second = poses(5, 3), poses(5, 7)
    moved = displacement(first, second)
    error = random(6, 2, seed=5)
    costs = [displacement_loss(view(first), view(second, k * error), moved, BODY, SIGMA).mean() for k in (0.5, 1, 2)]
    assert 0 < costs[0] < costs[1] < costs[2]
    # Metres at the object's distance over the metres that a pixel and then a target's width span there.
    shift = as_pose(torch.eye(3, dtype=torch.float64).expand(5, 3, 3), torch.full((5, 3), 0.001, dtype=torch.float64))
    off = displacement_errors(first, second, moved @ shift, BODY)
    assert off == pytest.approx(torch.full((5, 6), 0.001 * 3**0.5, dtype=torch.float64), rel=1e-6)


def test_the_gradient_of_displacements_is_that_of_their_numbers() -> None:
    first, second = poses(2, 3), poses(2, 7)
    moved = displacement(first, second)
    own, other = view(first, 1.5 * random(6, 2, seed=5)), view(second, 1.5 * random(6, 2, seed=6))
    spread = (torch.eye(2, dtype=torch.float64) + 0.3).expand(2, 6, 2, 2).contiguous()

    def errors(pixels: Tensor, others: Tensor, covariances: Tensor) -> Tensor:
        symmetric = (covariances + covariances.mT) / 2
        before, _ = replace(own, pixels=pixels, covariances=symmetric).solve()
        after, _ = replace(other, pixels=others).solve()
        # The unit of the loss counts as a constant, so that moving away isn't rewarded.
        return 100 * displacement_errors(before, after, moved, BODY).mean(1)

    given = tuple(t.clone().requires_grad_() for t in (own.pixels, other.pixels, spread))
    assert torch.autograd.gradcheck(errors, given, eps=1e-4, atol=1e-4, rtol=1e-2)


def test_pairs_without_a_pose_cost_nothing_and_harm_nobody() -> None:
    first, second = poses(3, 3), poses(3, 7)
    error = random(3, 6, 2, seed=5).requires_grad_()
    used = torch.ones(3, 6, dtype=torch.bool)
    used[1, 2:] = False
    loss = displacement_loss(
        replace(view(first, error), used=used), view(second), displacement(first, second), BODY, SIGMA
    )
    assert loss[1] == 0 and loss[0] > 0 and loss[2] > 0
    loss.sum().backward()
    assert error.grad is not None
    assert error.grad.isfinite().all() and not error.grad[1].any() and error.grad[0].any()
    nothing = replace(view(first), used=torch.zeros(3, 6, dtype=torch.bool))
    assert not displacement_loss(nothing, view(second), displacement(first, second), BODY, SIGMA).any()


def test_an_offset_of_the_first_joint_makes_no_difference_and_the_link_s_pose_comes_from_kinematics() -> None:
    robot = load_urdf(UR10)
    names = [j.name for j in robot.moving_joints]
    on_flange = [Keypoint(str(k), "ee_link", p) for k, p in enumerate(((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)))]
    flange = Chain.of(robot, [replace(k, offset=tuple(map(float, k.offset))) for k in on_flange], names)
    chain = Chain.of(robot, joint_keypoints(robot), names)
    camera = as_pose(
        exp_rotation(torch.tensor([[1.2, 0.3, -0.2]], dtype=torch.float64)), torch.tensor([[0.1, 0.3, 3.0]]).double()
    )

    def seen(joints: Tensor) -> tuple[View, Tensor]:
        corners = flange(joints)
        placed = as_pose((corners[:, 1:] - corners[:, :1]).mT, corners[:, 0])
        points = chain(joints)
        rows = CAMERA.expand(len(joints), 9)
        pixels = Camera.of_rows(rows).project(points @ camera[:, :3, :3].mT + camera[:, None, :3, 3])
        return View(points, pixels, rows, T_points_object=placed), placed

    true = torch.tensor([0.3, -1.2, 1.4, -0.6, 0.5, 0.2], dtype=torch.float64) + 0.4 * random(4, 6, seed=2)
    (first, before), (second, after) = seen(true[:2]), seen(true[2:])
    off = true + torch.tensor([0.2, 0, 0, 0, 0, 0], dtype=torch.float64)
    (_, read), (_, later) = seen(off[:2]), seen(off[2:])
    torch.testing.assert_close(displacement(read, later), displacement(before, after))
    assert displacement_loss(first, second, displacement(read, later), BODY, SIGMA).max() < 1e-5
    assert displacement_loss(first, second, displacement(read, later.flip(0)), BODY, SIGMA).min() > 0.1


def test_learning_with_it_makes_displacements_right() -> None:
    """What finds the keypoints errs by a constant for each; nobody tells it where any of them is."""
    first, second = poses(10, 3), poses(10, 31)
    moved = displacement(first, second)
    shift = (4.0 * random(6, 2, seed=5)).requires_grad_()
    optimiser = torch.optim.Adam([shift], lr=0.4)
    start, errors = shift.detach().norm(), []
    for _ in range(40):
        optimiser.zero_grad()
        loss = displacement_loss(view(first, shift), view(second, shift), moved, BODY, SIGMA).mean()
        loss.backward()
        optimiser.step()
        errors.append(float(loss.detach()))
    assert errors[-1] < errors[0] / 5
    # A shift of the object's own frame changes no displacement, so that not all of the error can go.
    assert shift.detach().norm() < 0.7 * start
