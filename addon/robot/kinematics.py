# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a robot's links are for given joint positions, without Blender's own evaluation where that can be avoided."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.robot.robot import Joint, Robot
from . import rig

Floats = NDArray[np.float64]

BASE = ""
"""The frame of the armature itself, which no joint moves."""


class Kinematics:
    """Frames of one robot. A rig of ours is computed; a user's own armature is posed, and Blender asked."""

    def __init__(
        self, robot: Robot | None, joints: tuple[rig.RigJoint, ...], variables: Mapping[str, str], frames: rig.Frames
    ) -> None:
        """Made by :meth:`.RobotInScene.of`.

        Args:
            robot: of an armature that was made here; None of a user's own.
            joints: of the armature, those that can be posed.
            variables: names of the joints by the variables that move them.
            frames: of all bones of the armature, in their order there.
        """
        self.armature = frames.armature
        self.names = (*(b.name for b in self.armature.data.bones), BASE)
        self.rows = {name: row for row, name in enumerate(self.names)}
        self.variables = dict(variables)
        self._joints = joints
        self._moving = set([j.bone for j in joints] if robot is None else [j.child for j in robot.joints if j.moving])
        self._chain = None if robot is None else _Chain(self.armature, robot)
        self._poser = rig.Poser(self.armature, joints)
        self._frames = frames

    def evaluated(self) -> Kinematics:
        """The same robot, of which Blender is asked in any case: for a rig that constraints move besides."""
        result = copy.copy(self)
        result._chain = None
        return result

    def pose(self, values: Mapping[str, float]) -> None:
        """Pose the joints whose variables have a value, in the variables' own units; the others keep their pose."""
        self._poser({joint: values[name] for name, joint in self.variables.items() if name in values})

    def frames(self, values: Mapping[str, float]) -> Floats:
        """``T_world_frame`` ``(L, 4, 4)`` in the order of ``names``, for the values of variables.

        A user's own armature is left in that pose.
        """
        if self._chain is None:
            self.pose(values)
            return self.present()
        base = np.array(self.armature.matrix_world)
        result = np.empty((len(self.names), 4, 4))
        result[-1] = base
        positions = {joint: values[name] for name, joint in self.variables.items() if name in values}
        result[[self.rows[link] for link in self._chain.links]] = base @ self._chain(positions)
        return result

    def rest(self) -> Floats:
        """The poses of the links with every joint at zero, or inside its limits where those exclude zero."""
        positions = {j.name: min(max(0.0, j.lower), j.upper) for j in self._joints}
        return self.frames({name: positions[joint] for name, joint in self.variables.items()})

    def moved_by(self, frame: str) -> str:
        """The bone of the nearest joint that moves a frame, its own included; empty for what stands still."""
        bone = self.armature.data.bones.get(frame)
        while bone is not None and bone.name not in self._moving:
            bone = bone.parent
        return bone.name if bone is not None else BASE

    def joints_before(self, frame: str) -> int:
        """How many moving joints there are between the base and a frame, its own included."""
        count, bone = 0, self.armature.data.bones.get(frame)
        while bone is not None:
            count += bone.name in self._moving
            bone = bone.parent
        return count

    def present(self) -> Floats:
        """The poses of the links as the robot stands in Blender now."""
        self._frames.scene.view_layers[0].update()
        world = self._frames.world()
        return np.array([*(world[n] for n in self.names[:-1]), np.array(self.armature.matrix_world)])


class _Chain:
    """Forward kinematics of a rig of ours, all joints at once: a tenth of the time of :meth:`Robot.link_frames`."""

    def __init__(self, armature: bpy.types.Object, robot: Robot) -> None:
        self.links = robot.links
        joints = robot.joints
        row = {link: index for index, link in enumerate(robot.links)}
        index = {j.name: i for i, j in enumerate(joints)}
        self._index = {j.name: index[j.name] for j in robot.moving_joints}
        self._parents = [row[j.parent] for j in joints]
        self._origins = np.array([j.origin for j in joints]).reshape(-1, 4, 4)
        axes = np.array([j.axis for j in joints]).reshape(-1, 3)
        self._turns = np.array([j.moving and j.kind != "prismatic" for j in joints], dtype=bool)
        self._slides = axes * np.array([j.kind == "prismatic" for j in joints], dtype=float).reshape(-1, 1)
        cross = np.zeros((len(joints), 3, 3))
        cross[:, [2, 0, 1], [1, 2, 0]] = axes
        cross[:, [1, 2, 0], [2, 0, 1]] = -axes
        self._cross, self._square = cross, cross @ cross
        followers = [(i, j.mimic) for i, j in enumerate(joints) if j.mimic is not None and j.moving]
        self._followers = [(i, index[m.joint], m.multiplier, m.offset) for i, m in followers]
        self._present = np.array([_present(armature, j) for j in joints])
        # As the constraints on the bones have it.
        unlimited = [(j.mimic is not None or j.fixed or (j.circular and j.kind != "prismatic")) for j in joints]
        self._lower = np.array([-np.inf if h else j.lower for h, j in zip(unlimited, joints, strict=True)])
        self._upper = np.array([np.inf if h else j.upper for h, j in zip(unlimited, joints, strict=True)])

    def __call__(self, positions: Mapping[str, float]) -> Floats:
        """``T_base_link`` ``(L, 4, 4)`` in the order of ``links``."""
        q = self._present.copy()
        for name, value in positions.items():
            q[self._index[name]] = value
        for follower, leader, multiplier, offset in self._followers:
            q[follower] = multiplier * q[leader] + offset
        q = np.clip(q, self._lower, self._upper)
        angle = np.where(self._turns, q, 0.0)[:, None, None]
        motion = np.zeros((len(q), 4, 4))
        motion[:, 3, 3] = 1.0
        motion[:, :3, :3] = np.eye(3) + np.sin(angle) * self._cross + (1 - np.cos(angle)) * self._square
        motion[:, :3, 3] = self._slides * q[:, None]
        local = self._origins @ motion
        result = np.empty((len(q) + 1, 4, 4))
        result[0] = np.eye(4)
        for child, parent in enumerate(self._parents):
            np.matmul(result[parent], local[child], out=result[child + 1])
        return result


def _present(armature: bpy.types.Object, joint: Joint) -> float:
    """Where a joint stands that no variable moves."""
    bone = armature.pose.bones.get(joint.child)
    if bone is None or not joint.moving:
        return 0.0
    return float(bone.location[1] if joint.kind == "prismatic" else bone.rotation_euler[1])
