# SPDX-License-Identifier: GPL-3.0-or-later
"""Which draws are rendered: enough of the robot in the picture, nothing that moves below the floor, no link in another.

A draw that breaks a rule is drawn again, all its variables together. So what is rendered follows the prior *given that
it is accepted*: its density is that of the prior over the accepted part, divided by the part's probability. Latent
values are recorded as they were rendered, and feedback counts them as ever.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import Intrinsics, invert, transform
from ...core.robot import keypoints
from ...core.robot.keypoints import Keypoint
from ...core.scene import catalogue
from ...core.scene.scene_model import SceneDraw, SceneModel
from ...core.settings.schema import Settings
from ..robot import rigid_bodies
from ..robot.collisions import Collisions
from ..robot.rig import upright
from ..robot.robot_in_scene import RobotInScene
from . import ground
from .camera import SENSOR_MM
from .object_pool import camera_pose, most

Floats = NDArray[np.float64]

TRIES = 100
"""Draws in a row that may be refused; of more, the one that came closest is taken."""
BELOW = 1e-3
"""How far a link may reach below the floor, in metres."""
FIRST_NOTE = 100
"""After so many accepted draws the log says what share is accepted; then after ten times as many, and so on."""


class DrawRules:
    """The rules of one run, and how often they refuse. Without a rule, nothing is done at all."""

    def __init__(self, robots: Mapping[str, RobotInScene], settings: Settings) -> None:
        """Look up what the rules need.

        Args:
            robots: by name, ``""`` for the first.
            settings: with the floor's height above the first robot's base: see :func:`.on_ground`.
        """
        rules = settings.scene
        # Wherever there is a floor, nothing may reach below it.
        floors = bool(most(settings, "surroundings/floor"))
        self._always_above = rules.above_floor
        self.tries = self.accepted = self.forced = 0
        self._next_note = FIRST_NOTE
        self._first = robots[""].armature
        self._neutral = catalogue.neutral(catalogue.REACH_SHARE * robots[""].reach)
        self._size = (settings.render.width, settings.render.height)
        self._share, self._floor = rules.framing, rules.floor - BELOW
        self._framing: _Framing | None = None
        points = [k for k in settings.keypoints if not k.robot]
        if rules.framing > 0 and points:
            self._framing = _Framing(robots[""], points)
        self._robots = []
        if rules.above_floor or floors or rules.collision_free:
            self._robots = [_Robot(r, rules.above_floor or floors, rules.collision_free) for r in robots.values()]

    @property
    def active(self) -> bool:
        """Whether there is any rule."""
        return self._framing is not None or bool(self._robots)

    @property
    def acceptance(self) -> float:
        """The share of the draws so far that were accepted; 1 before the first."""
        return self.accepted / self.tries if self.tries else 1.0

    def sample(self, model: SceneModel, rng: np.random.Generator) -> SceneDraw:
        """Draw until the rules accept it. The same generator gives the same draw."""
        latents = model.sample(rng)
        if not self.active:
            return latents
        best, least = latents, np.inf
        for _ in range(TRIES):
            self.tries += 1
            shortfall = self.shortfall(latents.values)
            if shortfall == 0:
                self.accepted += 1
                self._note()
                return latents
            if shortfall < least:
                best, least = latents, shortfall
            latents = model.sample(rng)
        self._give_up()
        return best

    def shortfall(self, values: Mapping[str, float]) -> float:
        """How badly a draw breaks the rules: 0 if it is accepted. A dear test is left out if a cheap one fails."""
        v = {**self._neutral, **values}
        if self._framing is not None:
            missing = self._share - self._shown(self._framing.points(v), v)
            if missing > 1e-9:
                return 2.0 + missing
        frames = [robot.kinematics.frames(v) for robot in self._robots]
        depth = 0.0
        if self._always_above or catalogue.choice(v["surroundings/floor"], 2):
            floor = self._plane()
            depth = max((r.depth(f, floor) for r, f in zip(self._robots, frames, strict=True)), default=0.0)
        if depth > 0:
            return 1.0 + depth / (1.0 + depth)
        return float(any(r.collides(f) for r, f in zip(self._robots, frames, strict=True)))

    def _shown(self, world: Floats, v: Mapping[str, float]) -> float:
        """The share of points ``(N, 3)`` that the picture shows, lens and all."""
        lens = Intrinsics.from_lens(
            *self._size, v["camera/focal_length"], SENSOR_MM,
            principal=(v["camera/principal_x"], v["camera/principal_y"]),
            distortion=(v["camera/k1"], v["camera/k2"], v["camera/p1"], v["camera/p2"], 0.0),
        )  # fmt: skip
        pixels, _ = lens.project(transform(invert(camera_pose(self._first, v)), world))
        return float(lens.contains(pixels).mean())

    def _plane(self) -> Floats:
        """The floor as ``(4,)``: normal n and offset d; a point p of the world is d - n · p below it, in metres."""
        base = upright(self._first)
        normal = base[:3, 2]
        return np.array([*normal, normal @ base[:3, 3] + self._floor])

    def _note(self) -> None:
        if self.accepted >= self._next_note:
            self._next_note *= 10
            print(
                f"{self.acceptance:.0%} of {self.tries} draws were accepted by the rules on framing, floor and "
                "collisions",
                file=sys.stderr, flush=True,
            )  # fmt: skip

    def _give_up(self) -> None:
        self.forced += 1
        if self.forced == 1:
            print(
                f"warning: {TRIES} draws in a row broke the rules on framing, floor and collisions, so the best of "
                "them is used: let the camera stand further away, or relax the rules",
                file=sys.stderr, flush=True,
            )  # fmt: skip


class _Framing:
    """The first robot's keypoints for a draw."""

    def __init__(self, robot: RobotInScene, points: Sequence[Keypoint]) -> None:
        self._points = points
        self._kinematics, self._frames = robot.kinematics, None
        if any(k.frame not in robot.armature.data.bones for k in points):
            # Where an object is, only Blender knows.
            self._kinematics = robot.kinematics.evaluated()
            self._frames = robot.frames([k.frame for k in points])

    def points(self, v: Mapping[str, float]) -> Floats:
        """The points in the world, ``(N, 3)``."""
        frames = self._kinematics.frames(v)
        if self._frames is not None:
            return keypoints.positions(self._points, {"": self._frames.world()})
        rows = self._kinematics.rows
        return keypoints.positions(self._points, {"": {k.frame: frames[rows[k.frame]] for k in self._points}})


class _Robot:
    """One robot as the rules on floor and collisions see it."""

    def __init__(self, robot: RobotInScene, above: bool, apart: bool) -> None:
        self.kinematics = kinematics = robot.kinematics
        found = rigid_bodies.find(robot.scene, kinematics)
        self._hulls: list[tuple[int, Floats]] = []
        if above:
            # What no joint can lift is meant to be where it is: a pedestal, a bolt.
            free = [b for b in found if kinematics.moved_by(b.frame)]
            self._hulls = [(kinematics.rows[b.frame], rigid_bodies.hull(b)) for b in free]
        self._collisions = Collisions(kinematics, found, kinematics.rest()) if apart else None

    def depth(self, frames: Floats, floor: Floats) -> float:
        """How far the robot reaches below the floor, in metres; not above 0 if it does not."""
        return max((_depth(hull, frames[row], floor) for row, hull in self._hulls), default=0.0)

    def collides(self, frames: Floats) -> bool:
        """Whether two links run into one another."""
        return self._collisions is not None and self._collisions.any(frames)


def acceptance(
    scene: bpy.types.Scene, armatures: Mapping[str, bpy.types.Object], settings: Settings, count: int = 200
) -> float:
    """The share of ``count`` draws from the prior that the rules accept. The robots keep their pose.

    Args:
        armatures: the robots by name, ``""`` for the first.
        settings: complete ones.
    """
    channels = ("location", "rotation_euler", "rotation_quaternion", "rotation_axis_angle")
    poses = [(b, n, tuple(getattr(b, n))) for a in armatures.values() for b in a.pose.bones for n in channels]
    try:
        robots = {name: RobotInScene.of(scene, a, name) for name, a in armatures.items()}
        rules = DrawRules(robots, ground.on_ground(robots[""], settings))
        model, rng = settings.scene_model(), np.random.default_rng(0)
        if not rules.active:
            return 1.0
        return float(np.mean([rules.shortfall(model.sample(rng).values) == 0 for _ in range(count)]))
    finally:
        for bone, name, pose in poses:
            if tuple(getattr(bone, name)) != pose:
                setattr(bone, name, pose)


def _depth(hull: Floats, frame: Floats, floor: Floats) -> float:
    """How far the lowest of points ``(N, 3)`` in a frame is below the floor, in metres."""
    normal = floor[:3]
    return float(floor[3] - normal @ frame[:3, 3] - (hull @ (normal @ frame[:3, :3])).min())
