# SPDX-License-Identifier: GPL-3.0-or-later
"""Readings of joints as weak evidence: the image corrects them where it tells more, and what it doesn't tell stays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from robot_keypoints.core.robot.keypoints import Keypoint
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.trainer.pose import rigid_motion
from robot_keypoints.trainer.pose.camera import Camera
from robot_keypoints.trainer.pose.corrected_joints import correct_joints, correct_one
from robot_keypoints.trainer.pose.kinematics import Chain
from robot_keypoints.trainer.pose.problem import Options, Status
from robot_keypoints.trainer.pose.solve_joints import JointStart
from scipy import stats
from torch import Tensor

CAMERA = Camera(torch.tensor([[1800.0, 1800.0, 960.0, 720.0]], dtype=torch.float64))
ROBOT = load_urdf(builtin_urdf())
NAMES = tuple(j.name for j in ROBOT.moving_joints)
DEGREE = math.pi / 180
LIFT, ELBOW = NAMES.index("shoulder_lift_joint"), NAMES.index("elbow_joint")


def marks() -> list[Keypoint]:
    """Three points on each link, a hand's breadth from its axes."""
    links = [ROBOT.root, *(j.child for j in ROBOT.joints if j.moving)]
    places = ((0.12, 0.0, 0.05), (-0.06, 0.1, 0.0), (0.0, -0.1, 0.1))
    return [Keypoint(f"{link}{i}", link, place) for link in links for i, place in enumerate(places)]


@dataclass
class Scene:
    """Robots that a camera has seen: angles ``(B, 6)``, poses ``(B, 4, 4)``, and pixels ``(B, N, 2)`` with noise."""

    chain: Chain
    angles: Tensor
    pose: Tensor
    pixels: Tensor

    @classmethod
    def of(cls, count: int, seed: int, noise: float = 1.0, names: tuple[str, ...] = NAMES) -> Scene:
        chain = Chain.of(ROBOT, marks(), names)
        generator = torch.Generator().manual_seed(seed)
        angles = 1.2 * (2 * torch.rand(count, len(names), generator=generator, dtype=torch.float64) - 1)
        turn = rigid_motion.exp_rotation(torch.randn(count, 3, generator=generator, dtype=torch.float64))
        ahead = torch.tensor([0.0, 0.0, 2.4], dtype=torch.float64).expand(count, 3)
        placed = chain(angles) @ turn.mT + ahead[:, None]
        pixels = CAMERA.expand(count, torch.float64, placed.device).project(placed)
        pixels = pixels + noise * torch.randn(pixels.shape, generator=generator, dtype=torch.float64)
        return cls(chain, angles, rigid_motion.as_pose(turn, ahead), pixels)

    @property
    def covariances(self) -> Tensor:
        return torch.eye(2, dtype=torch.float64).expand(*self.pixels.shape, 2)

    @property
    def used(self) -> Tensor:
        return self.pixels.isfinite().all(-1)


def test_three_degrees_off_do_not_stay_three_degrees_off() -> None:
    """Two joints are read with an offset, which the readings' deviation of two degrees makes no secret of."""
    scene = Scene.of(24, 1)
    read = scene.angles.clone()
    read[:, LIFT] += 3 * DEGREE
    read[:, ELBOW] -= 3 * DEGREE
    found = correct_joints(
        scene.chain, scene.pixels, CAMERA, JointStart(angles=read, deviations=2 * DEGREE),
        covariances=scene.covariances, used=scene.used, options=Options(kernel="huber"),
    )  # fmt: skip
    assert found.determined.all() and found.angles is not None
    error = (found.angles[:, 0] - scene.angles).abs()[:, [LIFT, ELBOW]] / DEGREE
    spread = found.covariance.diagonal(dim1=-2, dim2=-1)[:, 6:].sqrt()[:, [LIFT, ELBOW]] / DEGREE
    well = spread < 0.4
    assert well.sum() >= 36 and error[well].max() < 1.0  # of 48
    assert error.max() < 1.5 and error.median() < 0.5
    exact = (found.pose[:, :3, 3] - scene.pose[:, :3, 3]).norm(dim=1)
    taken_for_true = correct_joints(
        scene.chain, scene.pixels, CAMERA, JointStart(angles=read, deviations=1e-9),
        covariances=scene.covariances, used=scene.used, options=Options(kernel="huber"),
    )  # fmt: skip
    believed = (taken_for_true.pose[:, :3, 3] - scene.pose[:, :3, 3]).norm(dim=1)
    assert exact.median() < 0.5 * believed.median()


def test_covariances_are_honest() -> None:
    """Readings and pixels off by just what their deviations say: squared, normalised errors follow chi-square."""
    count, deviations = 300, torch.tensor([2.0, 2.0, 3.0, 1.0, 2.0, 2.0], dtype=torch.float64) * DEGREE
    scene = Scene.of(count, 2)
    luck = torch.randn(count, len(NAMES), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = correct_joints(
        scene.chain, scene.pixels, CAMERA, JointStart(angles=scene.angles + luck * deviations, deviations=deviations),
        covariances=scene.covariances, used=scene.used, options=Options(),
    )  # fmt: skip
    assert found.determined.all() and found.angles is not None
    motion = found.pose @ torch.linalg.inv(scene.pose)  # of the camera frame, by which the pose is wrong
    error = torch.cat([
        rigid_motion.log_rotation(motion[:, :3, :3]), motion[:, :3, 3], found.angles[:, 0] - scene.angles
    ], 1)  # fmt: skip
    square = (error[:, None] @ torch.linalg.solve(found.covariance, error[..., None])).flatten().numpy()
    judge = stats.chi2(6 + len(NAMES))
    assert stats.kstest(square, judge.cdf).pvalue > 0.01
    for share in (0.5, 0.9, 0.99):
        assert abs((square < judge.ppf(share)).mean() - share) < 4 * math.sqrt(share * (1 - share) / count)


def test_what_the_image_does_not_show_stays_as_it_was_read() -> None:
    """The wrist is out of sight, and a camera that sees no base can't tell the first joint from its own turn."""
    scene = Scene.of(6, 4)
    read = scene.angles + 1.5 * DEGREE
    deviations = torch.full((len(NAMES),), 2 * DEGREE, dtype=torch.float64)
    wrist = [i for i, k in enumerate(scene.chain.keypoints) if k.frame.startswith("wrist")]
    base = [i for i, k in enumerate(scene.chain.keypoints) if k.frame == ROBOT.root]
    scene.pixels[:, wrist + base] = math.nan
    found = correct_joints(
        scene.chain, scene.pixels, CAMERA, JointStart(angles=read, deviations=deviations),
        covariances=scene.covariances, used=scene.used, options=Options(kernel="huber"),
    )  # fmt: skip
    assert found.determined.all() and found.angles is not None
    spread = found.covariance.diagonal(dim1=-2, dim2=-1)[:, 6:].sqrt()
    off = (found.angles[:, 0] - read).abs()
    for name in ("shoulder_pan_joint", "wrist_1_joint", "wrist_2_joint", "wrist_3_joint"):
        j = NAMES.index(name)
        assert off[:, j].max() < 1e-6 and (spread[:, j] / deviations[j] - 1).abs().max() < 1e-6
    assert (spread[:, ELBOW] < 0.6 * deviations[ELBOW]).all()
    assert (found.angles[:, 0] - scene.angles).abs()[:, ELBOW].median() < DEGREE


def test_one_image_gives_the_same_and_three_points_are_too_few() -> None:
    scene = Scene.of(3, 5)
    read = scene.angles + DEGREE
    whole = correct_joints(
        scene.chain, scene.pixels, CAMERA, JointStart(angles=read, deviations=2 * DEGREE),
        covariances=scene.covariances, used=scene.used, options=Options(),
    )  # fmt: skip
    for i in range(3):
        one, others = correct_one(
            scene.chain, scene.pixels[i : i + 1], CAMERA, JointStart(angles=read[i : i + 1], deviations=2 * DEGREE),
            covariances=scene.covariances[i : i + 1], used=scene.used[i : i + 1], options=Options(),
        )  # fmt: skip
        assert one.pose[0] == pytest.approx(whole.pose[i], abs=1e-6) and not len(others)
        assert float(one.cost[0]) == pytest.approx(float(whole.cost[i]), rel=1e-6)
    scene.pixels[:, 3:] = math.nan
    few = correct_joints(
        scene.chain, scene.pixels, CAMERA, JointStart(angles=read, deviations=2 * DEGREE),
        covariances=scene.covariances, used=scene.used, options=Options(),
    )  # fmt: skip
    assert few.status.tolist() == [Status.TOO_FEW] * 3
