# SPDX-License-Identifier: GPL-3.0-or-later
"""Logarithms, adjoints and Jacobians on SE(3), against matrix exponentials and differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from robot_keypoints.trainer.pose import rigid_motion
from scipy import linalg
from torch import Tensor


def exponential(twist: Tensor) -> Tensor:
    """The exponential on SE(3) of (ω, v), by scipy."""
    x, y, z, a, b, c = twist.tolist()
    return torch.tensor(linalg.expm(np.array([[0, -z, y, a], [z, 0, -x, b], [-y, x, 0, c], [0, 0, 0, 0]])))


def twists(scale: float) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    result = torch.randn(8, 6, generator=generator, dtype=torch.float64)
    result[:, :3] *= scale / result[:, :3].norm(dim=-1, keepdim=True)
    return result


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-3, 0.5, 3.0])
def test_logarithms_undo_exponentials(angle: float) -> None:
    for twist in twists(angle):
        assert torch.allclose(rigid_motion.log_motion(exponential(twist)), twist, atol=1e-11, rtol=0)


def test_the_adjoint_takes_twists_to_another_frame() -> None:
    pose = exponential(twists(1.0)[0])
    for twist in twists(0.4):
        there = pose @ exponential(twist) @ rigid_motion.invert(pose)
        assert torch.allclose(exponential(rigid_motion.adjoint(pose) @ twist), there, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 0.3, 2.5])
def test_the_left_jacobian_is_the_exponentials_derivative(angle: float) -> None:
    for twist in twists(angle):
        columns = []
        for step in torch.eye(6, dtype=torch.float64) * 1e-5:
            ahead, back = (exponential(twist + s) @ rigid_motion.invert(exponential(twist)) for s in (step, -step))
            columns.append((rigid_motion.log_motion(ahead) - rigid_motion.log_motion(back)) / 2e-5)
        assert torch.allclose(rigid_motion.left_jacobian(twist), torch.stack(columns, -1), atol=1e-8)


def test_a_small_motion_is_an_exponential_to_first_order() -> None:
    pose = exponential(twists(1.0)[0])
    for twist in twists(1.0) * 1e-6:
        moved = rigid_motion.as_pose(*rigid_motion.move(pose[:3, :3], pose[:3, 3], twist))
        assert torch.allclose(moved, exponential(twist) @ pose, atol=1e-11)
