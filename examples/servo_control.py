# SPDX-License-Identifier: GPL-3.0-or-later
"""Image-based visual servoing: from where keypoints are seen and where they should be to motions of the joints.

The controller knows the robot's kinematics, roughly where the camera stands, and what the joints' sensors read. What it
closes its loop over is the picture alone: sensors or a camera that are off make the way longer, not the end wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from robot_keypoints.core.camera.intrinsics import Intrinsics, transform
from robot_keypoints.core.robot.keypoints import Keypoint, positions
from robot_keypoints.core.robot.robot import Robot

Floats = NDArray[np.float64]

SURE = 0.5
"""Confidence from which a keypoint counts."""

LEAST = 3
"""With fewer keypoints in both pictures nothing is moved."""

TURN = 1e-4
"""Radians or metres over which slopes are taken."""

STILL = 1e-3
"""A joint that moves no keypoint by so many metres per radian is left alone: no picture tells of it."""

TUNING = 1.5
"""Standard deviations beyond which a keypoint that no motion explains counts less."""

ROUNDS = 4

SHARE = 0.3
"""Share of a keypoint's standard deviation that remains between two pictures of nearly the same: whatever a model does
wrong in one, it mostly does wrong in the other."""


@dataclass(frozen=True)
class Seen:
    """Keypoints in one picture.

    Attributes:
        points: pixels ``(J, 2)``.
        covariances: pixels² ``(J, 2, 2)``.
        confidences: ``(J,)``.
    """

    points: Floats
    covariances: Floats
    confidences: Floats


@dataclass(frozen=True)
class View:
    """A camera that looks at the robot.

    Attributes:
        camera: its intrinsics.
        base_in_camera: ``T_cam_base`` ``(4, 4)``; a rough one will do.
        goal: what it saw of the goal.
    """

    camera: Intrinsics
    base_in_camera: Floats
    goal: Seen


@dataclass(frozen=True)
class Step:
    """What to do.

    Attributes:
        motion: of the joints that are moved, radians or metres, by name.
        error: weighted root mean square distance of the keypoints from where they should be, pixels.
        doubt: the same in standard deviations of what is predicted: under 1 the picture can't tell it from the goal.
        remaining: the largest motion that is still asked for, radians or metres.
        used: how many keypoints counted, in all views together.
    """

    motion: Mapping[str, float]
    error: float
    doubt: float
    remaining: float
    used: int


class Servo:
    """Moves a robot until its keypoints are where the goals of all views have them.

    Args:
        keypoints: in the order of what is seen.
        views: two see what one alone hardly does, motions along its line of sight.
        gain: share of the way that one step goes.
        largest: the most that a joint moves in one step, radians or metres.
        noise: standard deviation, pixels, that is added to what the keypoints say of themselves.
        expected: how far joints are expected to have to go in all, a standard deviation, radians or metres: what the
            pictures hardly tell stays near where it began instead of wandering.
    """

    def __init__(
        self, robot: Robot, keypoints: Sequence[Keypoint], views: Sequence[View], *, gain: float = 0.5,
        largest: float = 0.15, noise: float = 0.5, expected: float = 0.3,
    ) -> None:  # fmt: skip
        self.robot, self.keypoints, self.views = robot, tuple(keypoints), tuple(views)
        self.gain, self.largest, self.noise, self.expected = gain, largest, noise, expected
        self._start: dict[str, float] = {}
        self.names = [j.name for j in robot.moving_joints if not j.fixed]

    def places(self, joints: Mapping[str, float]) -> Floats:
        """Keypoints ``(J, 3)`` in the base frame, metres."""
        return positions(self.keypoints, {"": self.robot.link_frames(joints)})

    def slopes(self, joints: Mapping[str, float]) -> tuple[list[Floats], NDArray[np.bool_]]:
        """For each view pixels per radian or metre ``(J, 2, N)`` of each joint, and which joints ``(N,)`` move any
        keypoint; NaN for keypoints behind a camera."""
        moving = []
        columns: list[list[Floats]] = [[] for _ in self.views]
        for name in self.names:
            ends = [self.places({**joints, name: joints[name] + sign * TURN}) for sign in (1, -1)]
            moving.append(float(np.linalg.norm(ends[0] - ends[1], axis=1).max()) > 2 * TURN * STILL)
            for view, column in zip(self.views, columns, strict=True):
                pixels = [view.camera.project(transform(view.base_in_camera, e))[0] for e in ends]
                column.append((pixels[0] - pixels[1]) / (2 * TURN))
        return [np.stack(c, -1) for c in columns], np.array(moving)

    def step(self, joints: Mapping[str, float], seen: Sequence[Seen], calm: int = 0) -> Step:
        """The next motion.

        Args:
            joints: what the sensors read, for every joint that moves.
            seen: in each view.
            calm: how many times in a row the goal was seen already: steps grow shorter then, so that the pictures'
                noise averages out.
        """
        self._start = self._start or {n: joints[n] for n in self.names}
        slopes, moving = self.slopes(joints)
        rows, targets, offs = [], [], []
        for view, now, slope in zip(self.views, seen, slopes, strict=True):
            used = np.isfinite(slope).all((1, 2)) & np.isfinite(now.points).all(1)
            used &= (now.confidences >= SURE) & (view.goal.confidences >= SURE)
            off = (now.points - view.goal.points)[used]
            spread = SHARE**2 * (now.covariances + view.goal.covariances)[used] + self.noise**2 * np.eye(2)
            whiten = np.linalg.inv(np.linalg.cholesky(spread))
            rows.append((whiten @ slope[used][:, :, moving]).reshape(-1, int(moving.sum())))
            targets.append(-(whiten @ off[:, :, None]).reshape(-1))
            offs.append(off)
        jacobian, target, off = np.concatenate(rows), np.concatenate(targets), np.concatenate(offs)
        if len(off) < LEAST or not moving.any():
            return Step({}, math.inf, math.inf, math.inf, len(off))
        back = np.array([self._start[n] - joints[n] for n in self.names])[moving]
        motion, weights = _robust(jacobian, target, back, self.expected)
        error = math.sqrt(float((weights * (off**2).sum(1)).sum() / weights.sum()))
        doubt = math.sqrt(float((weights * (target.reshape(-1, 2) ** 2).sum(1)).sum() / (2 * weights.sum())))
        asked = dict(zip(np.array(self.names)[moving].tolist(), motion.tolist(), strict=True))
        gain = self.gain / (1 + calm / 2)
        gain *= min(1.0, self.largest / max(gain * float(np.abs(motion).max()), 1e-12))
        moved = {n: self._allowed(n, joints[n], gain * m) for n, m in asked.items()}
        return Step(moved, error, doubt, float(np.abs(motion).max()), len(off))

    def _allowed(self, name: str, position: float, motion: float) -> float:
        joint = next(j for j in self.robot.joints if j.name == name)
        if joint.circular or joint.upper <= joint.lower:
            return motion
        return min(max(position + motion, joint.lower), joint.upper) - position


def _robust(jacobian: Floats, target: Floats, back: Floats, expected: float) -> tuple[Floats, Floats]:
    """The motion ``(N,)`` that explains whitened offsets ``(2 J,)`` best, not much further from the start, which lies
    ``back`` ``(N,)``, than expected; and how much each keypoint ``(J,)`` counts.

    Keypoints that no motion of the joints brings to their place are predicted wrongly, or lie where the slopes don't
    reach: both count the less, the further they are off beyond what the others are.
    """
    weights = np.ones(len(target) // 2)
    prior = np.eye(jacobian.shape[1]) / expected**2
    motion = np.zeros(jacobian.shape[1])
    for _ in range(ROUNDS):
        rows = np.repeat(weights, 2)[:, None]
        motion = np.linalg.solve(
            jacobian.T @ (rows * jacobian) + prior, jacobian.T @ (rows[:, 0] * target) + prior @ back
        )
        left = np.linalg.norm((target - jacobian @ motion).reshape(-1, 2), axis=1)
        limit = TUNING * max(1.0, float(np.median(left)))
        weights = 1 / (1 + (left / limit) ** 2)
    return motion, weights
