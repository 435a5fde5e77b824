# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators of the Robot panel: the robot itself and its keypoints."""

import shlex
from collections.abc import Mapping
from pathlib import Path

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from ....core.errors import UserError, one_line
from ....core.names import free_name
from ....core.robot.package_paths import packages_in
from ....core.robot.urdf_reader import builtin_urdf, load_urdf
from ...base import user_errors
from ...properties import scene_robots
from ...properties.from_dataclass import fields
from ...robot import import_decimation, rig

ROBOT_FILES = "*.urdf;*.xacro;*.xml"
MOST_TRIANGLES = 1_500_000
"""Blender stays quick with so many; no robot of ``example-robot-data`` has more."""


def load(
    context: bpy.types.Context,
    path: Path,
    packages: Path | None = None,
    arguments: Mapping[str, str] | None = None,
    budget: int = 0,
) -> bpy.types.Object:
    """Build the robot of a URDF in the scene and take it as the scene's robot, in place of one that came the same way.

    Args:
        packages: folder that holds the packages which the file names.
        arguments: of a xacro file.
        budget: the robot's meshes are reduced to about this many triangles where they have more; 0 keeps them all.

    Raises:
        UserError: if it can't be read; the scene is then as it was.
    """
    robot = load_urdf(path, packages_in(packages) if packages is not None else None, arguments)
    if not robot.moving_joints:
        raise UserError(f"{path.name}: the robot has no joint that moves: choose another file")
    notes = list(robot.warnings)
    if not robot.visuals:
        notes.insert(0, f"{path.name} gives {robot.name} no shapes, so no picture would show it")
    with rig.undone_on_failure():
        armature = rig.build(context.scene, robot, notes)
        reduced = import_decimation.reduce(rig.robot_meshes(armature), budget) if budget else None
    if reduced is not None:
        notes.append(str(reduced))
    props = context.scene.robot_keypoints
    previous = props.armature
    props.armature = armature
    if previous is not None and rig.robot_of(previous) is not None:
        # Two of them would stand in one another on every picture.
        rig.remove(previous)
        for named in (armature, armature.data, armature.users_collection[0]):
            named.name = robot.name
    props.robot_file = str(path)
    props.notes = "\n".join(map(one_line, notes))
    return armature


def load_file(context: bpy.types.Context, path: str) -> bpy.types.Object:
    """As :func:`load`, with what *Load URDF…* has for defaults."""
    return load(context, Path(path), budget=MOST_TRIANGLES)


def take_armature(context: bpy.types.Context) -> bpy.types.Object:
    """Take the active armature, or the only one, as the scene's robot.

    Raises:
        UserError: if there is none, or it has no joint.
    """
    chosen = context.view_layer.objects.active
    if chosen is not None and chosen.type == "MESH":
        chosen = chosen.find_armature() or chosen.parent
    if chosen is None or chosen.type != "ARMATURE":
        armatures = [o for o in context.scene.objects if o.type == "ARMATURE"]
        if len(armatures) != 1:
            found = "There is no armature in this scene" if not armatures else "There are several armatures"
            raise UserError(f"{found}: make the robot's armature the active object")
        chosen = armatures[0]
    scene_robots.parts(chosen)
    props = context.scene.robot_keypoints
    props.armature = chosen
    props.robot_file = ""
    return chosen


def arguments_in(text: str) -> dict[str, str]:
    """Arguments of a xacro file as ROS writes them: ``name:=value name:=value``.

    Raises:
        UserError: if that is not what they are.
    """
    try:
        words = shlex.split(text)
    except ValueError as problem:
        raise UserError(f"The arguments {text!r} can't be told apart ({problem}): write name:=value") from problem
    found = {}
    for word in words:
        name, separator, value = word.partition(":=")
        if not (name and separator):
            raise UserError(f"The argument {word!r} has no name or value: write name:=value")
        found[name] = value
    return found


@fields(
    filepath=StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"}),
    filter_glob=StringProperty(default=ROBOT_FILES, options={"HIDDEN"}),
    packages=StringProperty(name="Packages", description="Folder with the packages that the file's meshes are in "
                            "(package://…); empty looks above the file and in ROS_PACKAGE_PATH", subtype="DIR_PATH",
                            options={"SKIP_SAVE"}),
    arguments=StringProperty(name="Arguments", description="Values of a xacro file's arguments: name:=value …",
                             options={"SKIP_SAVE"}),
    triangles=IntProperty(name="Reduce to", description="Meshes with more triangles altogether are reduced to about "
                          "this many; how far the surface moved is shown. 0 keeps them all", default=MOST_TRIANGLES,
                          min=0, soft_min=10_000, soft_max=5_000_000, step=100_000),
)  # fmt: skip
class KEYPOINTS_OT_load_urdf(bpy.types.Operator):
    """Build a robot from its URDF or xacro file, with its meshes, as an armature"""

    bl_idname = "robot_keypoints.load_urdf"
    bl_label = "Load URDF"
    bl_options = {"REGISTER", "UNDO"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        packages = Path(bpy.path.abspath(self.packages)) if self.packages else None
        path = Path(bpy.path.abspath(self.filepath))
        armature = load(context, path, packages, arguments_in(self.arguments), self.triangles)
        notes = context.scene.robot_keypoints.notes
        if notes:
            first, *rest = notes.splitlines()
            more = f" (and {len(rest)} more, listed in the Robot panel)" if rest else ""
            self.report({"WARNING"}, f"{armature.name} is loaded, but {first}{more}")
        return {"FINISHED"}


class KEYPOINTS_OT_builtin_robot(bpy.types.Operator):
    """Add the robot that ships with the extension: a UR10 of simple shapes"""

    bl_idname = "robot_keypoints.builtin_robot"
    bl_label = "Built-in"
    bl_options = {"REGISTER", "UNDO"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        load(context, builtin_urdf())
        return {"FINISHED"}


class KEYPOINTS_OT_from_armature(bpy.types.Operator):
    """Take the active armature as the robot: every bone with one free rotation is a joint"""

    bl_idname = "robot_keypoints.from_armature"
    bl_label = "From Armature"
    bl_options = {"REGISTER", "UNDO"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        take_armature(context)
        return {"FINISHED"}


class Keypoints:
    """Operators that need a robot."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        missing = scene_robots.problem(context.scene)
        if missing:
            cls.poll_message_set(missing)  # type: ignore[attr-defined]
            return False
        return True


class KEYPOINTS_OT_keypoint_add(Keypoints, bpy.types.Operator):
    """Add a keypoint at the active bone of the robot, or at the active object"""

    bl_idname = "robot_keypoints.keypoint_add"
    bl_label = "Add Keypoint"
    bl_options = {"REGISTER", "UNDO"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        props = context.scene.robot_keypoints
        frame = active_frame(context, props.armature)
        name = free_name(frame, {k.name for k in props.keypoints}.__contains__, separator=".")
        keypoint = props.keypoints.add()
        keypoint.known_as = name
        keypoint.name, keypoint.frame = name, frame
        props.keypoint_index = len(props.keypoints) - 1
        parent = parent_keypoint(props, frame)
        if parent:
            edge = props.skeleton.add()
            edge.first, edge.second = parent, name
        return {"FINISHED"}


def active_frame(context: bpy.types.Context, armature: bpy.types.Object) -> str:
    """The active bone if the robot is the active object, else the active object.

    Raises:
        UserError: if neither can carry a keypoint.
    """
    active = context.view_layer.objects.active
    if active is None:
        raise UserError("Nothing is active: make a bone of the robot or an empty active")
    if active == armature:
        bone = active.data.bones.active
        if bone is None:
            raise UserError(f"{armature.name} has no active bone: choose one in Pose Mode")
        return str(bone.name)
    if active.name in armature.pose.bones:
        raise UserError(f"The object {active.name!r} has the name of a bone: rename the object first")
    return str(active.name)


def parent_keypoint(props: bpy.types.PropertyGroup, frame: str) -> str:
    """The keypoint above ``frame`` along the armature, or an empty name."""
    armature = props.armature
    bone = armature.data.bones.get(frame)
    if bone is None:
        obj = bpy.context.scene.objects.get(frame)
        if obj is None or obj.parent != armature or not obj.parent_bone:
            return ""
        bone = armature.data.bones.get(obj.parent_bone)
    else:
        bone = bone.parent
    while bone is not None:
        for keypoint in props.keypoints:
            if keypoint.frame == bone.name and keypoint.frame != frame:
                return str(keypoint.name)
        bone = bone.parent
    return ""


class KEYPOINTS_OT_keypoint_remove(Keypoints, bpy.types.Operator):
    """Remove the keypoint; links of the skeleton are closed around it"""

    bl_idname = "robot_keypoints.keypoint_remove"
    bl_label = "Remove Keypoint"
    bl_options = {"REGISTER", "UNDO"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        props = context.scene.robot_keypoints
        if not 0 <= props.keypoint_index < len(props.keypoints):
            raise UserError("No keypoint is chosen in the list")
        name = props.keypoints[props.keypoint_index].name
        edges = [(e.first, e.second) for e in props.skeleton]
        above = next((a for a, b in edges if b == name), "")
        closed = [(above, b) for a, b in edges if a == name and above]
        props.skeleton.clear()
        for first, second in [e for e in edges if name not in e] + closed:
            edge = props.skeleton.add()
            edge.first, edge.second = first, second
        props.keypoints.remove(props.keypoint_index)
        props.keypoint_index = max(0, min(props.keypoint_index, len(props.keypoints) - 1))
        return {"FINISHED"}


@fields(direction=EnumProperty(items=[("UP", "Up", "Earlier"), ("DOWN", "Down", "Later")], options={"SKIP_SAVE"}))
class KEYPOINTS_OT_keypoint_move(Keypoints, bpy.types.Operator):
    """Move the keypoint in the list"""

    bl_idname = "robot_keypoints.keypoint_move"
    bl_label = "Move Keypoint"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        props = context.scene.robot_keypoints
        target = props.keypoint_index + (-1 if self.direction == "UP" else 1)
        if not (0 <= target < len(props.keypoints) and 0 <= props.keypoint_index < len(props.keypoints)):
            return {"CANCELLED"}
        props.keypoints.move(props.keypoint_index, target)
        props.keypoint_index = target
        return {"FINISHED"}


CLASSES = (
    KEYPOINTS_OT_load_urdf,
    KEYPOINTS_OT_builtin_robot,
    KEYPOINTS_OT_from_armature,
    KEYPOINTS_OT_keypoint_add,
    KEYPOINTS_OT_keypoint_remove,
    KEYPOINTS_OT_keypoint_move,
)
