# SPDX-License-Identifier: GPL-3.0-or-later
"""The example's controller: it arrives although camera, sensors and some keypoints are off."""

from __future__ import annotations

import importlib.util
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from robot_keypoints.core.camera.intrinsics import Intrinsics, invert, orbit, transform
from robot_keypoints.core.robot.keypoints import joint_keypoints
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf


def _example(name: str) -> ModuleType:
    file = Path(__file__).parents[3] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


control = _example("servo_control")
Seen, Servo, View = control.Seen, control.Servo, control.View

ROBOT = load_urdf(builtin_urdf())
POINTS = joint_keypoints(ROBOT)
NAMES = [j.name for j in ROBOT.moving_joints]
CAMERA = Intrinsics(320, 240, 311.0, 311.0, 159.5, 119.5, (-0.1, 0.02, 0.0, 0.0, 0.0))
POSE = invert(orbit(-1.2, 0.4, 2.4, 0.0, (0.0, 0.0, 0.45)))
GOAL = dict(zip(NAMES, (0.2, -1.5, 1.3, -0.4, 0.9, 0.1), strict=True))
START = dict(zip(NAMES, (-0.1, -1.1, 1.0, -0.1, 0.6, 0.1), strict=True))


def places(joints: dict[str, float]) -> np.ndarray:
    frames = ROBOT.link_frames(joints)
    return np.array([frames[k.frame][:3, 3] for k in POINTS])


def shown(
    joints: dict[str, float],
    noise: float = 0.0,
    rng: np.random.Generator | None = None,
    deviation: float = 2.0,
    pose=POSE,
):
    pixels = CAMERA.project(transform(pose, places(joints)))[0]
    if rng is not None:
        pixels = pixels + rng.normal(0, noise, pixels.shape)
    return Seen(pixels, np.broadcast_to(deviation**2 * np.eye(2), (len(POINTS), 2, 2)), np.full(len(POINTS), 0.99))


def test_slopes_are_those_of_the_projection() -> None:
    """Through the lens; the last joint turns a point on its own axis."""
    servo = Servo(ROBOT, POINTS, [View(CAMERA, POSE, shown(GOAL))])
    (slopes,), moving = servo.slopes(START)
    assert slopes.shape == (len(POINTS), 2, 6) and moving.tolist() == [True] * 5 + [False]
    for i, name in enumerate(NAMES):
        there = shown({**START, name: START[name] + 0.01}).points
        assert np.abs((there - shown(START).points) / 0.01 - slopes[:, :, i]).max() < 8.0
    assert np.allclose(servo.places(START), places(START))


def drive(servo: object, errors: dict[str, float], noise: float = 0.0, spoilt: int | None = None) -> list[float]:
    """Largest distance of a keypoint from its goal before each step, metres."""
    rng = np.random.default_rng(3)
    joints, apart = dict(START), []
    for _ in range(25):
        apart.append(float(np.linalg.norm(places(joints) - places(GOAL), axis=1).max()))
        seen = shown(joints, noise, rng)
        if spoilt is not None:
            seen.points[spoilt] = 30.0, 200.0
        step = servo.step({n: q + errors[n] for n, q in joints.items()}, [seen])  # type: ignore[attr-defined]
        assert all(abs(m) <= 0.15 + 1e-9 for m in step.motion.values())
        joints = {n: q + step.motion.get(n, 0.0) for n, q in joints.items()}
    return apart


def test_it_arrives_with_sensors_and_camera_that_are_off() -> None:
    """Going where the sensors say would end 10 cm away; the camera is believed to stand 10 cm and 5° from its place."""
    rng = np.random.default_rng(0)
    errors = {n: math.radians(rng.uniform(4, 6)) * rng.choice([-1, 1]) for n in NAMES}
    blind = {n: q - errors[n] for n, q in GOAL.items()}
    assert float(np.linalg.norm(places(blind) - places(GOAL), axis=1).max()) > 0.05
    turned = invert(orbit(-1.2 + math.radians(5), 0.4, 2.5, 0.0, (0.0, 0.0, 0.45)))
    sharp = replace(shown(GOAL), covariances=np.broadcast_to(0.01 * np.eye(2), (len(POINTS), 2, 2)))
    servo = Servo(ROBOT, POINTS, [View(CAMERA, turned, sharp)], expected=1.0)
    apart = drive(servo, errors)
    assert apart[0] > 0.3 and apart[-1] < 0.015 and max(apart[12:]) < 0.05


def test_two_views_see_what_one_hardly_does() -> None:
    """With noise in the pictures, along the first camera's line of sight."""
    other = invert(orbit(0.9, 0.4, 2.4, 0.0, (0.0, 0.0, 0.45)))
    doubts = []
    for poses in ([POSE], [POSE, other]):
        servo = Servo(ROBOT, POINTS, [View(CAMERA, p, shown(GOAL, pose=p)) for p in poses])
        slopes, moving = servo.slopes(GOAL)
        jacobian = np.concatenate(slopes).reshape(-1, len(NAMES))[:, moving]
        covariance = np.linalg.inv(jacobian.T @ jacobian)
        doubts.append(math.sqrt(covariance[0, 0]))
        step = servo.step(START, [shown(START, pose=p) for p in poses])
        assert step.used == len(poses) * len(POINTS) and step.motion[NAMES[0]] > 0
    assert doubts[1] < 0.6 * doubts[0]


def test_a_keypoint_that_is_wrong_hardly_counts() -> None:
    none = dict.fromkeys(NAMES, 0.0)
    ends = [
        drive(Servo(ROBOT, POINTS, [View(CAMERA, POSE, shown(GOAL))], expected=1.0), none, 0.5, spoilt)[-1]
        for spoilt in (None, 3)
    ]
    assert ends[0] < 0.02 and ends[1] < 0.02


def test_what_the_picture_hardly_tells_stays_where_it_was() -> None:
    """Keypoints that are known to hundreds of pixels move nothing far, however long the controller goes on."""
    servo = Servo(ROBOT, POINTS, [View(CAMERA, POSE, shown(GOAL, deviation=300.0))])
    joints = dict(START)
    rng = np.random.default_rng(1)
    for _ in range(30):
        step = servo.step(joints, [shown(joints, 40.0, rng, 300.0)])
        joints = {n: q + step.motion.get(n, 0.0) for n, q in joints.items()}
    assert max(abs(joints[n] - START[n]) for n in NAMES) < 0.2
    assert step.doubt < 1


def test_at_the_goal_nothing_is_asked_for_and_blind_nothing_is_moved() -> None:
    servo = Servo(ROBOT, POINTS, [View(CAMERA, POSE, shown(GOAL))])
    step = servo.step(GOAL, [shown(GOAL)])
    assert (
        step.error < 1e-9 and step.remaining < 1e-9 and step.used == len(POINTS) and set(step.motion) == set(NAMES[:5])
    )
    blind = replace(shown(START), confidences=np.full(len(POINTS), 0.4))
    step = servo.step(START, [blind])
    assert step.motion == {} and step.remaining == math.inf and step.used == 0


def test_limits_are_kept() -> None:
    joints = tuple(replace(j, kind="revolute", lower=-1.2, upper=1.2) if j.moving else j for j in ROBOT.joints)
    servo = Servo(replace(ROBOT, joints=joints), POINTS, [View(CAMERA, POSE, shown(GOAL))])
    step = servo.step({**START, NAMES[1]: -1.19}, [shown({**START, NAMES[1]: -1.19})])
    assert step.motion[NAMES[1]] == pytest.approx(-0.01)
