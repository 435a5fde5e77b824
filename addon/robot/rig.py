# SPDX-License-Identifier: GPL-3.0-or-later
"""A robot as an armature: one bone per link, named after it; each joint turns about or slides along an axis of it.

Bones made here stand at the link's origin with their y axis along the joint's axis, so that a joint has one
unlocked channel, limits are ordinary constraints, and inverse kinematics works. (A joint of more than a full turn,
such as the UR10's, has no limit in Blender, which can't express one.) Users' own armatures are read by the same
functions: see :mod:`.bone_joints`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Quaternion
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.robot.robot import Robot
from . import bone_joints, bones, link_meshes, proportions

Floats = NDArray[np.float64]

KINEMATICS = "robot_keypoints"
"""Custom property of an armature made here: its kinematics as JSON."""
ADDED = ("objects", "collections", "meshes", "armatures", "materials", "images", "actions")
"""The kinds of data that building a robot adds to, users before what they use."""


@dataclass(frozen=True)
class RigJoint:
    """One joint of an armature; limits in radians, or metres where ``linear``, along or about the bone's ``axis``."""

    name: str
    bone: str
    linear: bool
    lower: float
    upper: float
    circular: bool
    fixed: bool = False
    axis: int = 1


def build(scene: bpy.types.Scene, robot: Robot, notes: list[str] | None = None) -> bpy.types.Object:
    """Add armature and meshes of ``robot`` to the scene, in a collection of its name; the base stands at the origin.

    Args:
        notes: gets a sentence for everything that could not be shown, such as a texture that is missing.

    Raises:
        UserError: if a mesh can't be read; the file is then as it was.
    """
    with undone_on_failure():
        builder = link_meshes.Builder()
        shapes = [(visual.link, builder(visual)) for visual in robot.visuals]
        collection = bpy.data.collections.new(robot.name)
        scene.collection.children.link(collection)
        data = bpy.data.armatures.new(robot.name)
        armature = bpy.data.objects.new(robot.name, data)
        collection.objects.link(armature)
        armature[KINEMATICS] = json.dumps(robot.to_dict())
        armature.show_in_front = True
        data.display_type = "STICK"
        bones.add(armature, robot, 0.08 * robot.reach())
        bones.set_channels(armature, robot)
        built = bones.keep(armature, robot)
        for link, obj in shapes:
            collection.objects.link(obj)
            obj.parent = armature
            obj.parent_type = "BONE"
            obj.parent_bone = link
            # Blender hangs children on a bone's tail, turned as the bone is.
            tail = np.eye(4)
            tail[1, 3] = -data.bones[link].length
            obj.matrix_parent_inverse = link_meshes.as_matrix(tail @ np.linalg.inv(built[link].alignment))
        bpy.context.view_layer.update()
    if notes is not None:
        notes += builder.notes
        if odd := proportions.note(robot, shapes):
            notes.append(odd)
    return armature


@contextlib.contextmanager
def undone_on_failure() -> Iterator[None]:
    """Take away again whatever was added to the file, if what is done inside fails."""
    before = {kind: {block.session_uid for block in getattr(bpy.data, kind)} for kind in ADDED}
    try:
        yield
    except BaseException:
        for kind in ADDED:
            blocks = getattr(bpy.data, kind)
            for block in [b for b in blocks if b.session_uid not in before[kind]]:
                blocks.remove(block)
        raise


def remove(armature: bpy.types.Object) -> None:
    """Remove a robot that :func:`build` made, with what only it used.

    Whatever else the user has hung on it stays where it is.
    """
    collections = list(armature.users_collection)
    for obj in armature.children_recursive:
        if obj.type == "MESH" and obj.parent == armature and obj.users_collection == armature.users_collection:
            materials = {slot.material for slot in obj.material_slots if slot.material is not None}
            _drop(bpy.data.objects, obj, obj.data, *materials)
    _drop(bpy.data.objects, armature, armature.data)
    for collection in collections:
        if not collection.all_objects and collection in bpy.data.collections.values():
            bpy.data.collections.remove(collection)


def _drop(blocks: Any, block: Any, *used: Any) -> None:
    """Remove ``block``, and those it used where nothing else does."""
    images = {
        node.image
        for material in used
        if isinstance(material, bpy.types.Material) and material.node_tree is not None
        for node in material.node_tree.nodes
        if node.type == "TEX_IMAGE" and node.image is not None
    }
    blocks.remove(block)
    for other in (*used, *images):
        if not other.users:
            bpy.data.batch_remove([other])


def robot_of(armature: bpy.types.Object) -> Robot | None:
    """The kinematics of an armature made by :func:`build`; None for any other."""
    document = armature.get(KINEMATICS)
    if not isinstance(document, str):
        return None
    try:
        return Robot.from_dict(json.loads(document))
    except (LookupError, RecursionError, TypeError, ValueError):
        return None


def find(scene: bpy.types.Scene, name: str = "") -> bpy.types.Object:
    """The armature called ``name``, or the first one made by us, or the only armature there is.

    Raises:
        UserError: if there is none.
    """
    if name:
        obj = scene.objects.get(name)
        if obj is None or obj.type != "ARMATURE":
            raise UserError(f"There is no armature {name!r} in the scene: load the robot again")
        return obj
    armatures = [o for o in scene.objects if o.type == "ARMATURE"]
    ours = [o for o in armatures if KINEMATICS in o]
    if not armatures:
        raise UserError("There is no robot in the scene: load one first")
    return (ours or armatures)[0]


def standings_of(armature: bpy.types.Object, robot: Robot | None) -> dict[str, bones.Standing]:
    """How the bones stand on the links of ``robot``, which the armature was made for; empty for a user's own."""
    return {} if robot is None else bones.kept(armature, robot)


def joints(armature: bpy.types.Object) -> tuple[RigJoint, ...]:
    """The joints that can be posed, parents first: those whose bone is still there."""
    robot = robot_of(armature)
    return joints_of(armature, robot, standings_of(armature, robot))


def joints_of(
    armature: bpy.types.Object, robot: Robot | None, standings: Mapping[str, bones.Standing]
) -> tuple[RigJoint, ...]:
    """:func:`joints`, where the armature's robot and its standings are known already."""
    if robot is not None:
        return tuple(
            RigJoint(
                j.name, j.child, j.kind == "prismatic", j.lower, j.upper, j.circular, j.fixed, standings[j.child].axis
            )
            for j in robot.moving_joints
            if j.child in armature.data.bones
        )
    found = []
    for bone in armature.pose.bones:
        joint = bone_joints.of(bone)
        if joint is not None:
            full = not joint.linear and joint.upper - joint.lower >= 2 * np.pi - 1e-6
            found.append(RigJoint(bone.name, bone.name, joint.linear, joint.lower, joint.upper, full, axis=joint.axis))
    return tuple(found)


class Poser:
    """Sets joints quickly: bones and axes are looked up once."""

    def __init__(self, armature: bpy.types.Object, joints: Iterable[RigJoint]) -> None:
        bones = armature.pose.bones
        self._channels = {j.name: (bones[j.bone], j.axis, j.linear) for j in joints}

    def __call__(self, positions: Mapping[str, float]) -> None:
        """Pose the named joints (radians or metres); unknown names raise KeyError."""
        for name, value in positions.items():
            bone, axis, linear = self._channels[name]
            if linear:
                bone.location[axis] = value
            elif bone.rotation_mode == "QUATERNION":
                bone.rotation_quaternion = Quaternion(Matrix.Identity(3)[axis], value)
            elif bone.rotation_mode == "AXIS_ANGLE":
                bone.rotation_axis_angle = (value, *Matrix.Identity(3)[axis])
            else:
                bone.rotation_euler[axis] = value


def pose(armature: bpy.types.Object, positions: Mapping[str, float]) -> None:
    """Pose the named joints (radians or metres).

    Raises:
        KeyError: if the armature has no such joint.
    """
    Poser(armature, joints(armature))(positions)


def frame(scene: bpy.types.Scene, armature: bpy.types.Object, name: str) -> Floats:
    """``T_world_frame`` ``(4, 4)`` of a link or bone, or else of an object; as last evaluated.

    Raises:
        UserError: if there is neither.
    """
    return Frames(scene, armature, standings_of(armature, robot_of(armature)), [name]).world()[name]


class Frames:
    """World matrices of the named frames; what they hang on is looked up once."""

    def __init__(
        self, scene: bpy.types.Scene, armature: bpy.types.Object, standings: Mapping[str, bones.Standing],
        names: Sequence[str],
    ) -> None:  # fmt: skip
        """Look them up.

        Args:
            standings: see :func:`standings_of`.

        Raises:
            UserError: if one of the names is neither a bone's nor an object's.
        """
        self.scene = scene
        self.armature = armature
        self._bones: dict[str, tuple[bpy.types.PoseBone, Floats]] = {}
        self._objects: dict[str, bpy.types.Object] = {}
        for name in names:
            bone = armature.pose.bones.get(name)
            obj = scene.objects.get(name)
            if bone is not None:
                self._bones[name] = (bone, np.linalg.inv(standings[name].alignment) if name in standings else np.eye(4))
            elif obj is not None:
                self._objects[name] = obj
            else:
                raise UserError(f"{name!r} is neither a bone of {armature.name} nor an object: change that keypoint")

    def world(self) -> dict[str, Floats]:
        """``T_world_frame`` ``(4, 4)`` of each, after the view layer was updated."""
        base = np.array(self.armature.matrix_world)
        result = {name: base @ np.array(bone.matrix) @ back for name, (bone, back) in self._bones.items()}
        result.update((name, np.array(obj.matrix_world)) for name, obj in self._objects.items())
        return result


def robot_meshes(armature: bpy.types.Object) -> list[bpy.types.Object]:
    """Mesh objects that hang on the armature or are deformed by it."""
    own = [o for o in armature.children_recursive if o.type == "MESH"]
    deformed = [
        o
        for o in bpy.data.objects
        if o.type == "MESH" and o not in own and any(m.type == "ARMATURE" and m.object == armature for m in o.modifiers)
    ]
    return own + deformed


def reach(armature: bpy.types.Object) -> float:
    """How far a robot reaches from its origin, metres; a user's own armature as it stands at rest."""
    return reach_of(armature, robot_of(armature))


def reach_of(armature: bpy.types.Object, robot: Robot | None) -> float:
    """:func:`reach`, where the armature's robot is known already."""
    if robot is not None:
        return robot.reach()
    scale = np.array(armature.matrix_world.to_scale())
    ends = [np.array(p) * scale for bone in armature.data.bones for p in (bone.head_local, bone.tail_local)]
    return max((float(np.linalg.norm(p)) for p in ends), default=0.0) or 1.0


def upright(armature: bpy.types.Object) -> NDArray[np.float64]:
    """``T_world_base`` ``(4, 4)`` of a robot, without the scale of its armature."""
    return np.array(Matrix.LocRotScale(*armature.matrix_world.decompose()[:2], None))
