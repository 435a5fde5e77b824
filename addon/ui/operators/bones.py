# SPDX-License-Identifier: GPL-3.0-or-later
"""Which bones of a user's own armature are joints: properties of pose bones to edit, and operators for many at once.

The properties only show and set what :mod:`.bone_joints` keeps. Whatever changes, the scene's variables follow.
"""

from collections.abc import Callable
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty

from ....core.errors import UserError
from ...base import user_errors
from ...properties import scene_robots
from ...properties.from_dataclass import fields
from ...robot import bone_joints, rig

PREFIX = "robot_keypoints_"
"""Before the properties of a pose bone: ``robot_keypoints_joint``, ``…_axis``, ``…_kind``, ``…_own_range``,
``…_lower``, ``…_upper`` (of a bone that turns), ``…_near`` and ``…_far`` (of one that slides)."""

JOINT = [
    ("AUTO", "Automatic", "A joint if its locks leave it one free rotation or location, or it has a rotation limit"),
    ("YES", "Joint", "One of the robot's joints"),
    ("NO", "Not a joint", "The robot's variables leave it alone"),
]
AXIS = [("AUTO", "Automatic", "The axis that its locks leave free or that has a limit")] + [
    (letter, letter, f"The bone's own {letter} axis") for letter in "XYZ"
]
KIND = [
    ("AUTO", "Automatic", "It slides if its locks leave it nothing but one location; otherwise it turns"),
    ("TURN", "Turns", "It turns about its axis"),
    ("SLIDE", "Slides", "It slides along its axis"),
]


def _choice(name: str, options: tuple[str, ...]) -> dict[str, Callable[..., Any]]:
    def get(self: Any) -> int:
        value = bone_joints.setting(self, name)
        return options.index(value) if value in options else 0

    def put(self: Any, value: int) -> None:
        _put(self, name, options[value])

    return {"get": get, "set": put}


def _plain(name: str) -> dict[str, Callable[..., Any]]:
    def get(self: Any) -> Any:
        return bone_joints.setting(self, name)

    def put(self: Any, value: Any) -> None:
        _put(self, name, value)

    return {"get": get, "set": put}


def _put(bone: Any, name: str, value: Any) -> None:
    bone_joints.put(bone, name, value)
    follow(bone.id_data)


def follow(armature: bpy.types.Object) -> None:
    """Bring the variables of every scene in which ``armature`` is a robot up to date."""
    for scene in bpy.data.scenes:
        if armature in scene_robots.robots(scene.robot_keypoints).values():
            scene_robots.refresh_bones(scene, armature)


def properties() -> dict[str, Any]:
    """The properties of a pose bone, by name."""
    angle: dict[str, Any] = {"subtype": "ANGLE", "precision": 1, "step": 100}
    length: dict[str, Any] = {"subtype": "DISTANCE", "precision": 3, "step": 1}
    found = {
        "joint": EnumProperty(name="Joint", description="Whether the bone is one of the robot's joints", items=JOINT,
                              **_choice("joint", bone_joints.CHOICES)),
        "axis": EnumProperty(name="Axis", description="What the bone turns about or slides along", items=AXIS,
                             **_choice("axis", bone_joints.AXES)),
        "kind": EnumProperty(name="Motion", description="How the bone moves", items=KIND,
                             **_choice("kind", bone_joints.KINDS)),
        "own_range": BoolProperty(name="Own range", description="Take the range from here, instead of from the bone's "
                                  "Limit Rotation or Limit Location constraint", **_plain("own_range")),
        "lower": FloatProperty(name="From", description="The least angle", **angle, **_plain("lower")),
        "upper": FloatProperty(name="To", description="The greatest angle", **angle, **_plain("upper")),
        "near": FloatProperty(name="From", description="The least way", **length, **_plain("near")),
        "far": FloatProperty(name="To", description="The greatest way", **length, **_plain("far")),
    }  # fmt: skip
    return {PREFIX + name: definition for name, definition in found.items()}


def register() -> None:
    """Hang the properties on pose bones."""
    for name, definition in properties().items():
        setattr(bpy.types.PoseBone, name, definition)


def unregister() -> None:
    """Take them off again; what .blend files hold stays in them."""
    for name in properties():
        delattr(bpy.types.PoseBone, name)


@fields(joint=EnumProperty(name="Joint", items=JOINT, default="YES", options={"SKIP_SAVE"}))
class KEYPOINTS_OT_bones_joint(bpy.types.Operator):
    """Say of the selected bones whether they are the robot's joints"""

    bl_idname = "robot_keypoints.bones_joint"
    bl_label = "Mark Bones"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def description(cls, context: bpy.types.Context, properties: Any) -> str:
        return {
            "YES": "The selected bones are joints of the robot",
            "NO": "The selected bones are no joints of the robot",
            "AUTO": "Read off the selected bones' locks and limits whether they are joints",
        }[properties.joint]

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.mode != "POSE":
            cls.poll_message_set("Select bones in Pose Mode first")
            return False
        return True

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        bones = list(context.selected_pose_bones or ())
        if not bones:
            raise UserError("No bone is selected: select those that are meant")
        ours = next((b.id_data for b in bones if rig.robot_of(b.id_data) is not None), None)
        if ours is not None:
            raise UserError(f"The joints of {ours.name} are those of its URDF: let a joint not vary instead")
        for bone in bones:
            bone_joints.put(bone, "joint", self.joint)
        for armature in {b.id_data for b in bones}:
            follow(armature)
        return {"FINISHED"}


CLASSES = (KEYPOINTS_OT_bones_joint,)
