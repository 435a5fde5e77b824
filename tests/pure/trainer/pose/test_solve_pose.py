# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses from points, against OpenCV and against what is known."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from robot_keypoints.core.camera.intrinsics import Intrinsics
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.robot import keypoints
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.trainer.pose import rigid_motion
from robot_keypoints.trainer.pose.camera import Camera
from robot_keypoints.trainer.pose.kinematics import Chain
from robot_keypoints.trainer.pose.problem import Options, Solution, Status
from robot_keypoints.trainer.pose.solve_pose import solve_pose
from scipy import stats
from torch import Tensor

MATRIX = torch.tensor([[600.0, 620.0, 320.0, 240.0]], dtype=torch.float64)
CAMERA = Camera(MATRIX)
K = np.array([[600.0, 0, 320], [0, 620, 240], [0, 0, 1]])
BENT = (-0.2, 0.06, 0.002, -0.001, 0.01)
FLAT = 0.2
"""Share of problems with a planar layout."""


def poses(count: int, generator: torch.Generator, distance: float) -> Tensor:
    """``T_cam_base`` of cameras all around that look roughly at the base."""
    turn = rigid_motion.exp_rotation(2 * torch.randn(count, 3, generator=generator, dtype=torch.float64))
    shift = torch.rand(count, 3, generator=generator, dtype=torch.float64) - 0.5
    shift[:, 2] = 1.2 + shift[:, 2]
    return rigid_motion.as_pose(turn, shift * torch.tensor([0.3, 0.3, 1.0]) * distance)


def project(points: Tensor, pose: Tensor, camera: Camera = CAMERA) -> Tensor:
    placed = points @ pose[:, :3, :3].mT + pose[:, None, :3, 3]
    return camera.expand(len(pose), torch.float64, pose.device).project(placed)


def normal(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def robot_points(urdf: Path, count: int, seed: int) -> Tensor:
    """Joint origins ``(count, N, 3)`` of a robot in random settings; a share of them flattened onto a plane."""
    robot = load_urdf(urdf)
    chain = Chain.of(robot, keypoints.joint_keypoints(robot))
    generator = torch.Generator().manual_seed(seed)
    low, high = chain.limits().clamp(-math.pi, math.pi)
    angles = low + torch.rand(count, len(chain.names), generator=generator, dtype=torch.float64) * (high - low)
    points = chain(angles)
    flat = torch.rand(count, generator=generator) < FLAT
    points[flat, :, 1] = 0.0
    return points


def opencv(points: np.ndarray, pixels: np.ndarray, flags: int) -> float:
    """Sum of squared residuals of OpenCV's pose; infinite where it has none in front of the camera."""
    try:
        fine, turn, shift = cv2.solvePnP(points, pixels, K, None, flags=flags)
    except cv2.error:
        return math.inf
    if not fine or not np.isfinite(turn).all() or not np.isfinite(shift).all():
        return math.inf
    if ((points @ cv2.Rodrigues(turn)[0].T + shift.T)[:, 2] <= 0).any():
        return math.inf
    return float(((cv2.projectPoints(points, turn, shift, K, None)[0][:, 0] - pixels) ** 2).sum())


def squares(found: Solution) -> Tensor:
    return found.residuals.square().sum((1, 2))


@pytest.mark.parametrize(
    ("description", "count"),
    [("ur_description/urdf/ur10_robot", 4000), ("panda_description/urdf/panda", 3000),
     ("anymal_c_simple_description/urdf/anymal", 3000)],
)  # fmt: skip
def test_never_worse_than_opencv(ur10_urdf: Path, description: str, count: int) -> None:
    """10,000 problems: half a pixel of noise, two pixels, or one point of all 40 pixels off; a fifth of them planar."""
    points = robot_points(ur10_urdf.parents[2] / f"{description}.urdf", count, seed=count)
    generator = torch.Generator().manual_seed(1)
    size = (points - points.mean(1, keepdim=True)).norm(dim=-1).amax()
    pose = poses(count, generator, float(2 * size))
    pose[:, :3, 3] -= (pose[:, :3, :3] @ points.mean(1)[..., None]).squeeze(-1)
    pixels = project(points, pose)
    pixels[0::2] += 0.5 * normal(tuple(pixels[0::2].shape), 2)
    pixels[1::2] += 2.0 * normal(tuple(pixels[1::2].shape), 3)
    pixels[0::5, 1] += 40 * normal((len(pixels[0::5]), 2), 4)
    found = solve_pose(points, pixels, CAMERA)
    ours = squares(found).numpy()
    best = np.full(count, math.inf)
    for flags in (cv2.SOLVEPNP_ITERATIVE, cv2.SOLVEPNP_SQPNP):
        theirs = [opencv(p, u, flags) for p, u in zip(points.numpy(), pixels.numpy(), strict=True)]
        best = np.minimum(best, theirs)
    compared = np.isfinite(best)
    assert compared.mean() > 0.95
    # A residual is a root: 1e-6 of it is 2e-6 of its square.
    worse = compared & ~(ours <= best * (1 + 2e-6) + 1e-12)
    assert not worse.any(), [(int(i), ours[i], best[i], int(found.status[i])) for i in np.flatnonzero(worse)[:5]]
    assert found.determined.double().mean() > 0.99


def test_without_noise_the_pose_is_exact() -> None:
    points, pose = normal((200, 6, 3), 0) * 0.3, poses(200, torch.Generator().manual_seed(1), 3.0)
    points[100:, :, 2] = 0
    camera = Camera(MATRIX, torch.tensor([BENT], dtype=torch.float64))
    found = solve_pose(points, project(points, pose, camera), camera)
    assert found.determined.all() and found.converged.all() and found.inliers.all()
    assert (found.pose - pose).abs().max() < 1e-6


def test_projection_and_its_inverse_are_the_lens_ours() -> None:
    intrinsics = Intrinsics(640, 480, 600.0, 620.0, 320.0, 240.0, BENT)
    points = normal((1, 300, 3), 3) * 0.5 + torch.tensor([0.0, 0.0, 3.0])
    camera = Camera.of(intrinsics)
    seen = camera.project(points)
    assert np.abs(seen[0].numpy() - intrinsics.project(points[0].numpy())[0]).max() < 1e-9
    theirs = cv2.projectPoints(points[0].numpy(), np.zeros(3), np.zeros(3), K, np.array(BENT))[0][:, 0]
    assert np.abs(seen[0].numpy() - theirs).max() < 1e-9
    assert (camera.undistorted(seen) - points[..., :2] / points[..., 2:]).abs().max() < 1e-10


def test_sharp_points_count_for_more() -> None:
    """Where variances differ, weighing by them gives better poses: paired over 2,000 problems."""
    count = 2000
    points, pose = normal((count, 7, 3), 5) * 0.4, poses(count, torch.Generator().manual_seed(2), 3.0)
    deviation = torch.exp(normal((count, 7), 6))
    stretch = torch.eye(2, dtype=torch.float64) * deviation[..., None, None]
    stretch[..., 0, 1] = 0.8 * deviation
    covariance = stretch @ stretch.mT
    pixels = project(points, pose) + (stretch @ normal((count, 7, 2, 1), 7)).squeeze(-1)

    def errors(found: Solution) -> tuple[np.ndarray, np.ndarray]:
        shift = (found.pose[:, :3, 3] - pose[:, :3, 3]).norm(dim=1)
        return shift.numpy(), rigid_motion.angle_between(found.pose[:, :3, :3], pose[:, :3, :3]).numpy()

    weighted = solve_pose(points, pixels, CAMERA, covariances=covariance)
    plain = solve_pose(points, pixels, CAMERA)
    for ours, other in zip(errors(weighted), errors(plain), strict=True):
        assert np.median(ours) < 0.7 * np.median(other)
        assert stats.wilcoxon(ours, other, alternative="less").pvalue < 1e-20
    # The covariance of the pose tells the errors: their normalised squares follow chi-square with six degrees.
    turn = rigid_motion.angle_between(weighted.pose[:, :3, :3], pose[:, :3, :3])
    relative = pose[:, :3, :3] @ weighted.pose[:, :3, :3].mT
    axis = torch.stack([relative[:, 2, 1] - relative[:, 1, 2], relative[:, 0, 2] - relative[:, 2, 0],
                        relative[:, 1, 0] - relative[:, 0, 1]], -1)  # fmt: skip
    vector = axis / axis.norm(dim=1, keepdim=True).clamp_min(1e-12) * turn[:, None]
    moved = (rigid_motion.exp_rotation(vector) @ weighted.pose[:, :3, 3:]).squeeze(-1)
    motion = torch.cat([vector, pose[:, :3, 3] - moved], 1)
    distance = (motion[:, None] @ torch.linalg.inv(weighted.covariance) @ motion[..., None]).squeeze()
    share = stats.chi2(6).cdf(distance.numpy())
    assert abs(np.median(share) - 0.5) < 0.06
    assert 0.85 < (share < 0.95).mean() < 0.98


@pytest.mark.parametrize("kernel", ["huber", "cauchy"])
def test_outliers_are_found_out(kernel: str) -> None:
    count = 500
    points, pose = normal((count, 10, 3), 8) * 0.4, poses(count, torch.Generator().manual_seed(3), 3.0)
    pixels = project(points, pose) + 0.5 * normal((count, 10, 2), 9)
    pixels[:, :3] += 60 + 40 * normal((count, 3, 2), 10).abs()
    spread = 0.25 * torch.eye(2, dtype=torch.float64)
    found = solve_pose(points, pixels, CAMERA, covariances=spread, options=Options(kernel=kernel))
    plain = solve_pose(points, pixels, CAMERA, covariances=spread)

    def middle(solution: Solution) -> float:
        return float((solution.pose[:, :3, 3] - pose[:, :3, 3]).norm(dim=1).median())

    assert found.determined.double().mean() > 0.99
    assert middle(found) < 0.1 * middle(plain)
    good = found.inliers[found.determined]
    assert good[:, :3].double().mean() < 0.05
    assert good[:, 3:].double().mean() > (0.9 if kernel == "cauchy" else 0.7)


def test_a_pose_to_start_from() -> None:
    points, pose = normal((50, 7, 3), 11) * 0.4, poses(50, torch.Generator().manual_seed(4), 3.0)
    turn, shift = rigid_motion.move(pose[:, :3, :3], pose[:, :3, 3], 0.05 * normal((50, 6), 12))
    found = solve_pose(points, project(points, pose), CAMERA, initial=rigid_motion.as_pose(turn, shift))
    assert (found.pose - pose).abs().max() < 1e-6
    three = solve_pose(points[:, :3], project(points, pose)[:, :3], CAMERA, initial=rigid_motion.as_pose(turn, shift))
    assert three.determined.all() and three.cost.max() < 1e-9


def test_one_camera_pose_from_many_images() -> None:
    """A robot in twenty known settings before one camera."""
    points, pose = normal((20, 20, 7, 3), 13) * 0.4, poses(20, torch.Generator().manual_seed(5), 3.0)
    pixels = project(points.flatten(1, 2), pose).reshape(20, 20, 7, 2) + normal((20, 20, 7, 2), 14)
    whole = solve_pose(points, pixels, CAMERA)
    single = solve_pose(points[:, 0], pixels[:, 0], CAMERA)
    assert whole.residuals.shape == (20, 20, 7, 2) and whole.inliers.shape == (20, 20, 7)

    def error(found: Solution) -> float:
        return float((found.pose[:, :3, 3] - pose[:, :3, 3]).norm(dim=1).mean())

    assert error(whole) < 0.4 * error(single)


def test_what_cannot_be_solved_is_said_and_harms_nothing() -> None:
    points, pose = normal((8, 7, 3), 15) * 0.4, poses(8, torch.Generator().manual_seed(6), 3.0)
    pixels = project(points, pose)
    matrix = MATRIX.repeat(8, 1)
    pixels[1] = math.nan
    pixels[2, 3:] = math.nan
    points[3] = torch.linspace(0, 1, 7, dtype=torch.float64)[:, None] * torch.tensor([0.3, 0.2, 0.1])
    points[4, 1:] = points[4, :1]
    matrix[5, 0] = math.nan
    points[6, 0] = math.nan
    pixels[7, :2] = math.nan
    for inputs in (pixels, pixels.clone().requires_grad_()):
        found = solve_pose(points, inputs, Camera(matrix))
        status = [Status(s) for s in found.status.tolist()]
        assert status[1:6] == [Status.HIDDEN, Status.TOO_FEW, Status.DEGENERATE, Status.TOO_FEW, Status.NOT_FINITE]
        assert [status[k] for k in (0, 6, 7)] == [Status.SOLVED] * 3
        assert (found.pose[[0, 6, 7]] - pose[[0, 6, 7]]).abs().max() < 1e-6
        assert found.pose[1:6].isnan().all() and found.covariance[1:6].isnan().all()
        assert found.residuals[6, 0].isnan().all() and not found.inliers[6, 0]
        assert "hidden" in status[1].sentence
    found.pose[found.determined].sum().backward()
    assert inputs.grad is not None and inputs.grad.isfinite().all() and (inputs.grad[1:6] == 0).all()


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="pixels"):
        solve_pose(torch.zeros(4, 3), torch.zeros(4, 2), CAMERA)
    with pytest.raises(ValueError, match="fit"):
        solve_pose(torch.zeros(1, 5, 3), torch.zeros(1, 4, 2), CAMERA)
    with pytest.raises(ValueError, match="kernel"):
        Options(kernel="tukey")
    for numbers in ([1.0, 2.0, 3.0], [0.0, 600, 320, 240], [600, 600, math.nan, 240]):
        with pytest.raises(UserError, match=r"fx,fy,cx,cy"):
            Camera.of_numbers(numbers)


@pytest.mark.parametrize("kernel", ["none", "huber", "cauchy"])
def test_derivatives(kernel: str) -> None:
    """By the implicit function theorem, against differences, where the residuals are not zero."""
    points, pose = normal((2, 6, 3), 16) * 0.4, poses(2, torch.Generator().manual_seed(8), 3.0)
    bent = torch.tensor([BENT], dtype=torch.float64).repeat(2, 1)
    pixels = project(points, pose, Camera(MATRIX, bent)) + 2 * normal((2, 6, 2), 17)
    factor = torch.tril(0.3 * normal((2, 6, 2, 2), 18)) + torch.eye(2, dtype=torch.float64)
    options = Options(kernel=kernel, tolerance=1e-13, iterations=100)

    def solve(p: Tensor, u: Tensor, f: Tensor, w: Tensor, m: Tensor, d: Tensor) -> Tensor:
        found = solve_pose(p, u, Camera(m, d), covariances=f @ f.mT, weights=w, options=options)
        assert found.determined.all()
        return found.pose[:, :3]

    inputs = (points, pixels, factor, 0.5 + normal((2, 6), 19).abs(), MATRIX.repeat(2, 1), bent)
    inputs = tuple(x.clone().requires_grad_() for x in inputs)
    assert torch.autograd.gradcheck(solve, inputs, atol=1e-6, rtol=1e-4, fast_mode=True)


def test_single_precision() -> None:
    points, pose = normal((100, 8, 3), 20) * 0.4, poses(100, torch.Generator().manual_seed(9), 3.0)
    options = Options(dtype=torch.float32, tolerance=1e-6)
    found = solve_pose(points.float(), project(points, pose).float(), CAMERA, options=options)
    assert found.pose.dtype == torch.float32
    off = (found.pose.double() - pose).abs().flatten(1).amax(1)
    assert off[found.determined].median() < 1e-4 and found.determined.double().mean() > 0.95
