# SPDX-License-Identifier: GPL-3.0-or-later
"""Links and their twists, against the robot's own kinematics and differences of it."""

from __future__ import annotations

import torch
from moving_robots import UR10
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.trainer.pose.link_motion import LinkMotion
from robot_keypoints.trainer.pose.rigid_motion import invert, log_motion

LINKS = ("ee_link", "forearm_link", "")


def test_links_stand_where_the_robot_has_them() -> None:
    robot = load_urdf(UR10)
    motion = LinkMotion.of(robot, LINKS)
    positions = torch.tensor([[0.4, -1.0, 1.2, 0.3, -0.7, 2.0], [0.0, 0.1, -0.2, 0.3, 0.4, 0.5]], dtype=torch.float64)
    frames, twists = motion(positions)
    assert frames.shape == (2, 3, 4, 4) and twists.shape == (2, 3, 6, 6)
    for row, mine in zip(positions, frames, strict=True):
        theirs = robot.link_frames(dict(zip(motion.joints, row.tolist(), strict=True)))
        for link, frame in zip(LINKS, mine, strict=True):
            assert torch.allclose(frame, torch.tensor(theirs[link or robot.root]), atol=1e-12)


def test_twists_are_how_links_move() -> None:
    motion = LinkMotion.of(load_urdf(UR10), LINKS)
    position = torch.tensor([0.4, -1.0, 1.2, 0.3, -0.7, 2.0], dtype=torch.float64)
    _, twists = motion(position)
    for j, step in enumerate(torch.eye(6, dtype=torch.float64) * 1e-6):
        ahead, back = motion(position + step)[0], motion(position - step)[0]
        assert torch.allclose(log_motion(ahead @ invert(back)) / 2e-6, twists[..., j], atol=1e-8)
