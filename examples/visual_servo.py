# SPDX-License-Identifier: GPL-3.0-or-later
"""Closes the loop: a rig in Blender is driven to where a picture shows it, on predicted keypoints alone.

    .venv/bin/python examples/visual_servo.py [--model MODEL] [--seed N] [--pictures DIR]

Blender (the bpy wheel) renders the robot; ``robot-keypoints serve`` finds the keypoints and publishes them; the
controller listens and moves the joints until the keypoints are where the model found them in pictures of the goal. The
joints' sensors are off by some degrees, so that going where they say would miss it. The controller never sees where
the robot really is: that is only measured, and decides at the end. Exit code 0 if the robot arrived, 1 if it did not,
2 and one sentence on a mistake.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import bpy
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from robot_keypoints.addon.robot import rig
from robot_keypoints.addon.stage.stage import Stage
from robot_keypoints.addon.worker import level_of_detail
from robot_keypoints.addon.worker.renderer import Renderer
from robot_keypoints.core import builtin_models
from robot_keypoints.core.camera.intrinsics import Intrinsics
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.messages.model_client import ModelClient, Server
from robot_keypoints.core.messages.pose import PoseRequest
from robot_keypoints.core.messages.pose_publishing import PoseListener, PublishedPose
from robot_keypoints.core.messages.prediction import Refusal
from robot_keypoints.core.processes.child_process import Child
from robot_keypoints.core.processes.programs import LAUNCHER
from robot_keypoints.core.robot.keypoints import Keypoint, joint_keypoints
from robot_keypoints.core.robot.robot import Robot
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.core.settings.completion import complete
from robot_keypoints.core.settings.schema import RenderSettings, RobotSettings, Settings
from servo_control import SURE, Seen, Servo, View

Floats = NDArray[np.float64]

START_DEADLINE = 300.0
ANSWER_DEADLINE = 60.0

VIEWS = tuple(
    {
        "camera/azimuth": azimuth, "camera/elevation": 0.5, "camera/distance": 2.4, "camera/target_x": 0.0,
        "camera/target_y": 0.0, "camera/target_z": 0.45, "light/ambient": 1.0,
    }
    for azimuth in (-0.8, 0.9)
)  # fmt: skip
"""Where the cameras stand, radians and metres, and clear light; the controller isn't told."""

REST = (0.0, -1.3, 1.2, -0.6, 0.8, 0.0)
WITHIN = 0.5
"""Goals lie so far around ``REST`` in each joint, radians, and starts as far around goals."""

SETTLED = 8
"""Pictures in a row that must not be told from the goal's."""


class World:
    """The rig before the camera. Nothing in here is known to the controller but pictures and intrinsics."""

    def __init__(self, robot: Robot, urdf: Path, width: int, height: int) -> None:
        bpy.ops.wm.read_homefile(use_empty=True)
        plain = Settings(
            robot=RobotSettings(kind="urdf", path=str(urdf)),
            render=RenderSettings(width=width, height=height, samples=4),
        )  # fmt: skip
        settings = complete(plain, robot)
        armature = rig.build(bpy.context.scene, robot)
        self._stage = Stage(bpy.context.scene, armature, settings)
        level_of_detail.keep_geometry(bpy.context.scene)
        self._renderer = Renderer(bpy.context.scene, settings.render, 2, self._stage.camera, self._stage.light.world)
        self._taken = 0
        self._joints: dict[str, float] = {}

    def move(self, joints: Mapping[str, float]) -> None:
        """Put the joints where they are told, radians."""
        self._joints = {f"joint/{n}": (q + math.pi) % math.tau - math.pi for n, q in joints.items()}
        self._stage.apply({**VIEWS[0], **self._joints})

    def picture(self, view: int) -> NDArray[np.uint8]:
        """RGBA ``(H, W, 4)`` of one camera; the noise is another one each time."""
        self._taken += 1
        self._stage.apply({**VIEWS[view], **self._joints})
        return self._renderer.render(self._taken)

    @property
    def camera(self) -> Intrinsics:
        """The cameras' intrinsics, all the same."""
        return self._stage.camera.intrinsics()

    def truth(self) -> Floats:
        """Where the keypoints really are, ``(J, 3)`` in the world, metres; to measure by."""
        return self._stage.positions()

    def close(self) -> None:
        """Remove what was written."""
        self._renderer.close()


class Eyes:
    """A model server: pictures go in as requests, and what comes out is what it publishes."""

    def __init__(self, model: Path, folder: Path) -> None:
        ready = folder / "ready.json"
        command = [sys.executable, str(LAUNCHER), "serve", str(model), "--ready", str(ready), "--publish", "0"]
        self._child = Child("serve", command, folder / "serve.log")
        begun = time.monotonic()
        server = None
        while server is None:
            if self._child.exit_code is not None or time.monotonic() - begun > START_DEADLINE:
                words = " ".join(self._child.last_words(1)).removeprefix("error: ")
                self._child.kill()
                raise UserError(words or "The model server did not start: see what robot-keypoints doctor says")
            time.sleep(0.05)
            server = Server.read(ready)
        assert server.publish is not None
        self._client = ModelClient(server.host, server.port)
        self._listener = PoseListener(server.host, server.publish)

    def locate(self, picture: NDArray[np.uint8], pose: PoseRequest | None = None) -> PublishedPose:
        """What is published about a picture, where ``pose`` is given with the robot's pose.

        Raises:
            UserError: if nothing is.
        """
        height, width = picture.shape[:2]
        self._client.request("rgba", width, height, picture.tobytes(), pose)
        published = None
        end = time.monotonic() + ANSWER_DEADLINE
        while published is None or self._client.busy:
            published = self._listener.newest(0.02) or published
            refusal = self._client.poll()
            if isinstance(refusal, Refusal):
                raise UserError(refusal.reason)
            if self._child.exit_code is not None:
                raise UserError(f"The model server ended: {' '.join(self._child.last_words(1))}")
            if time.monotonic() > end:
                raise UserError(f"The model server did not answer within {ANSWER_DEADLINE:.0f} s: end other programs")
        return published

    def close(self) -> None:
        """End the server."""
        self._client.close()
        self._listener.close()
        self._child.kill()


def seen(found: PublishedPose) -> Seen:
    """Keypoints as the controller takes them."""
    unknown = np.eye(2) * max(found.width, found.height) ** 2
    return Seen(
        np.array([(k.u, k.v) for k in found.keypoints]),
        np.array([unknown if k.covariance is None else k.covariance for k in found.keypoints]),
        np.array([k.confidence for k in found.keypoints]),
    )


def main(argv: Sequence[str]) -> int:
    """Drive once; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=builtin_models.models()["ur10"].file, help="a model of the UR10")
    parser.add_argument("--urdf", type=Path, help="the UR10 (default: that of example-robot-data)")
    parser.add_argument("--seed", type=int, default=0, help="chooses start, goal and errors of the sensors")
    parser.add_argument("--steps", type=int, default=40, help="give up after so many")
    parser.add_argument("--cameras", type=int, default=2, choices=(1, 2), help="how many watch (default: %(default)s)")
    parser.add_argument("--size", default="320x240", metavar="WxH", help="of the pictures (default: %(default)s)")
    parser.add_argument("--sensors", type=float, default=3.0, metavar="DEGREES", help="how far joint sensors are off")
    parser.add_argument("--arrived", type=float, default=0.1, metavar="METRES", help="what counts as arrived")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write every picture")
    try:
        options = parser.parse_args(list(argv))
    except SystemExit as usage:
        return int(usage.code or 0)
    try:
        with _blender_silent() as out:
            return drive(options, out)
    except UserError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2


def drive(options: argparse.Namespace, out: IO[str]) -> int:
    """Drive from start to goal; 0 if it arrived.

    Raises:
        UserError: if something that was given is of no use.
    """
    width, height = _size(options.size)
    for name in ("steps", "arrived"):
        if not 0 < getattr(options, name) < math.inf:
            raise UserError(f"--{name} is {getattr(options, name)}: it must be positive")
    if not 0 <= options.sensors <= 30:
        raise UserError(f"--sensors is {options.sensors:g}: give between 0 and 30 degrees")
    urdf = options.urdf or find_urdf()
    robot = load_urdf(urdf)
    keypoints = joint_keypoints(robot)
    names = [j.name for j in robot.moving_joints]
    if len(names) != len(REST):
        raise UserError(f"The robot {robot.name} has {len(names)} joints: this example drives a UR10")
    rng = np.random.default_rng(options.seed)
    goal = dict(zip(names, REST + rng.uniform(-WITHIN, WITHIN, len(names)), strict=True))
    joints = {n: q + rng.uniform(-WITHIN, WITHIN) for n, q in goal.items()}
    errors = {n: math.radians(rng.uniform(-options.sensors, options.sensors)) for n in names}
    # No keypoint shows the last joint's turn.
    joints[names[-1]] = goal[names[-1]]

    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="robot_keypoints_") as folder:
        eyes = Eyes(options.model, Path(folder))
        world = World(robot, urdf, width, height)
        try:
            return _loop(options, out, world, eyes, robot, keypoints, goal, joints, errors)
        finally:
            world.close()
            eyes.close()


def _loop(
    options: argparse.Namespace, out: IO[str], world: World, eyes: Eyes, robot: Robot, keypoints: Sequence[Keypoint],
    goal: Mapping[str, float], joints: dict[str, float], errors: Mapping[str, float],
) -> int:  # fmt: skip
    def observe(name: str, request: PoseRequest | None = None) -> list[PublishedPose]:
        found = []
        for view in range(options.cameras):
            picture = world.picture(view)
            if options.pictures is not None:
                Image.fromarray(picture).save(options.pictures / f"{name}-{view + 1}.png")
            found.append(eyes.locate(picture, request))
        return found

    def readings() -> dict[str, float]:
        return {n: q + errors[n] for n, q in joints.items()}

    world.move(goal)
    aims = [seen(f) for f in observe("goal")]
    meant = world.truth()
    world.move(joints)
    found = observe("000", PoseRequest.of(world.camera, readings()))
    names = [k.name for k in found[0].keypoints]
    by_name = {k.name: k for k in keypoints}
    if not set(names) <= set(by_name):
        raise UserError(
            f"The model finds {', '.join(names)}, which the robot {robot.name} has not: give a UR10's model"
        )
    views = []
    for one, aim in zip(found, aims, strict=True):
        if one.pose is None or one.pose.base_in_camera is None:
            reason = "" if one.pose is None else f" ({one.pose.sentence})"
            raise UserError(f"The first picture does not tell where its camera stands{reason}: choose another --seed")
        views.append(View(world.camera, one.pose.base_in_camera, aim))
    servo = Servo(robot, [by_name[n] for n in names], views)
    counted = sum(int((aim.confidences >= SURE).sum()) for aim in aims)
    print(f"{counted} of {len(views) * len(names)} keypoints are seen in the goal's pictures", file=out)
    print("step   predicted error             asks for   really: keypoints  end effector", file=out)
    settled = 0
    for number in range(1, options.steps + 1):
        step = servo.step(readings(), [seen(f) for f in found], settled)
        apart = np.linalg.norm(world.truth() - meant, axis=1)
        print(
            f"{number:4d}   {step.error:8.2f} px = {step.doubt:5.2f} σ   {math.degrees(step.remaining):8.2f}°"
            f"   {1000 * apart.mean():12.1f} mm {1000 * apart[-1]:12.1f} mm", file=out, flush=True,
        )  # fmt: skip
        settled = settled + 1 if step.doubt <= 1 else 0
        if settled == SETTLED:
            break
        for name, motion in step.motion.items():
            joints[name] += motion
        world.move(joints)
        found = observe(f"{number:03d}")
    apart = np.linalg.norm(world.truth() - meant, axis=1)
    verdict = "the pictures agree" if settled == SETTLED else "the pictures never agreed for long enough"
    there = settled == SETTLED and float(apart[-1]) <= options.arrived
    print(
        f"{'arrived' if there else 'did not arrive'}: {verdict}; the end effector is really {1000 * apart[-1]:.1f} mm "
        f"from its goal, the keypoints {1000 * apart.mean():.1f} mm on average",
        file=out,
    )
    return 0 if there else 1


@contextmanager
def _blender_silent() -> Iterator[IO[str]]:
    """Where to write to while Blender, which tells several lines of every frame, writes to nowhere."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        with os.fdopen(os.dup(kept), "w", encoding="utf-8") as out:
            yield out
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def find_urdf() -> Path:
    """The UR10 of the package ``example-robot-data``.

    Raises:
        UserError: if it is not installed.
    """
    from robot_keypoints.trainer.commands import demo

    return demo.find_urdf()


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 32 <= int(width) <= 4096 and 32 <= int(height) <= 4096):
        raise UserError(f"--size is {text}: write WIDTHxHEIGHT in pixels, such as 320x240")
    return int(width), int(height)


if __name__ == "__main__":
    CODE = main(sys.argv[1:])
    sys.stdout.flush()
    # Blender as a library may wait for its own threads for ever when Python takes it down.
    os._exit(CODE)
