# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators for what the scene is made of: further robots, groups of links, folders."""

import bpy
from bpy.props import IntProperty, StringProperty

from ....core.errors import UserError
from ...base import user_errors
from ...properties import scene_robots
from ...properties.from_dataclass import fields, quietly
from ...robot import rig
from .robot import Keypoints as NeedsRobot


class KEYPOINTS_OT_robot_add(NeedsRobot, bpy.types.Operator):
    """Take the active armature as a further robot: its joints and keypoints are added under its own name"""

    bl_idname = "robot_keypoints.robot_add"
    bl_label = "Add Robot"
    bl_options = {"REGISTER", "UNDO"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        props = context.scene.robot_keypoints
        taken = list(scene_robots.robots(props).values())
        chosen = context.view_layer.objects.active
        if chosen is not None and chosen.type == "MESH":
            chosen = chosen.find_armature() or chosen.parent
        if chosen is None or chosen.type != "ARMATURE" or chosen in taken:
            free = [o for o in context.scene.objects if o.type == "ARMATURE" and o not in taken]
            if len(free) != 1:
                found = "There is no other armature in this scene" if not free else "There are several other armatures"
                advice = "duplicate the robot, or import another" if not free else "make the one you mean active"
                raise UserError(f"{found}: {advice}")
            chosen = free[0]
        scene_robots.add_robot(context.scene, chosen)
        return {"FINISHED"}


class KEYPOINTS_OT_robot_remove(bpy.types.Operator):
    """Forget this further robot, its joints and its keypoints; the armature stays in the scene"""

    bl_idname = "robot_keypoints.robot_remove"
    bl_label = "Remove Robot"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(context.scene.robot_keypoints.others)

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        props = context.scene.robot_keypoints
        if not 0 <= props.other_index < len(props.others):
            raise UserError("No robot is chosen in the list")
        props.others.remove(props.other_index)
        props.other_index = max(0, min(props.other_index, len(props.others) - 1))
        scene_robots.refresh(context.scene)
        return {"FINISHED"}


def selected_links(context: bpy.types.Context) -> list[str]:
    """The bones that are selected, directly or by the objects that hang on them, of any of the robots."""
    found: dict[str, None] = {}
    for armature in scene_robots.robots(context.scene.robot_keypoints).values():
        names = {b.name for b in armature.data.bones}
        if context.mode == "POSE":
            found.update(dict.fromkeys(b.name for b in context.selected_pose_bones or () if b.id_data == armature))
        for obj in context.selected_objects:
            if obj in rig.robot_meshes(armature) and obj.parent_bone in names:
                found[obj.parent_bone] = None
    return list(found)


def _chosen_links(context: bpy.types.Context) -> list[str]:
    links = selected_links(context)
    if not links:
        raise UserError("No link is selected: select bones of the robot in Pose Mode, or its meshes")
    return links


def _active_group(context: bpy.types.Context) -> bpy.types.PropertyGroup:
    props = context.scene.robot_keypoints
    if not 0 <= props.links_index < len(props.links):
        raise UserError("No group is chosen in the list")
    return props.links[props.links_index]


def _take_out(props: bpy.types.PropertyGroup, links: list[str]) -> None:
    """A link has one material, so it is in one group at most."""
    for other in props.links:
        for index in reversed(range(len(other.links))):
            if other.links[index].name in links:
                other.links.remove(index)


class KEYPOINTS_OT_links_add(NeedsRobot, bpy.types.Operator):
    """Give the selected links a material of their own"""

    bl_idname = "robot_keypoints.links_add"
    bl_label = "New Group from Selected"
    bl_options = {"REGISTER", "UNDO"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        props = context.scene.robot_keypoints
        links = _chosen_links(context)
        _take_out(props, links)
        name = scene_robots.links_name(links[0].removesuffix("_link"), {g.name for g in props.links})
        item = props.links.add()
        with quietly():
            item.name = item.known_as = name
        for link in links:
            item.links.add().name = link
        props.links_index = len(props.links) - 1
        scene_robots.refresh(context.scene)
        return {"FINISHED"}


class KEYPOINTS_OT_links_remove(NeedsRobot, bpy.types.Operator):
    """Remove this group; its links take part in the robot's common material again"""

    bl_idname = "robot_keypoints.links_remove"
    bl_label = "Remove Group"
    bl_options = {"REGISTER", "UNDO"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        props = context.scene.robot_keypoints
        _active_group(context)
        props.links.remove(props.links_index)
        props.links_index = max(0, min(props.links_index, len(props.links) - 1))
        scene_robots.refresh(context.scene)
        return {"FINISHED"}


class KEYPOINTS_OT_links_assign(NeedsRobot, bpy.types.Operator):
    """Put the selected links into this group"""

    bl_idname = "robot_keypoints.links_assign"
    bl_label = "Assign"
    bl_options = {"REGISTER", "UNDO"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        item = _active_group(context)
        links = _chosen_links(context)
        _take_out(context.scene.robot_keypoints, links)
        for link in links:
            item.links.add().name = link
        return {"FINISHED"}


class KEYPOINTS_OT_links_unassign(NeedsRobot, bpy.types.Operator):
    """Take the selected links out of their groups"""

    bl_idname = "robot_keypoints.links_unassign"
    bl_label = "Remove"
    bl_options = {"REGISTER", "UNDO"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        _take_out(context.scene.robot_keypoints, _chosen_links(context))
        return {"FINISHED"}


@fields()
class KEYPOINTS_OT_folders_reread(bpy.types.Operator):
    """Look into the folders of worlds and of photographs again"""

    bl_idname = "robot_keypoints.folders_reread"
    bl_label = "Read Folders Again"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene_robots.reread_folders(context.scene)
        return {"FINISHED"}


@fields(directory=StringProperty(subtype="DIR_PATH"))
class KEYPOINTS_OT_data_add(bpy.types.Operator):
    """Learn from a folder of annotated images, too"""

    bl_idname = "robot_keypoints.data_add"
    bl_label = "Add Data Set"
    bl_options = {"REGISTER", "UNDO"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.robot_keypoints.data.add().path = self.directory
        return {"FINISHED"}


@fields(index=IntProperty())
class KEYPOINTS_OT_data_remove(bpy.types.Operator):
    """Don't learn from this data set; its files stay"""

    bl_idname = "robot_keypoints.data_remove"
    bl_label = "Remove Data Set"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.robot_keypoints.data.remove(self.index)
        return {"FINISHED"}


CLASSES = (
    KEYPOINTS_OT_data_add,
    KEYPOINTS_OT_data_remove,
    KEYPOINTS_OT_robot_add,
    KEYPOINTS_OT_robot_remove,
    KEYPOINTS_OT_links_add,
    KEYPOINTS_OT_links_remove,
    KEYPOINTS_OT_links_assign,
    KEYPOINTS_OT_links_unassign,
    KEYPOINTS_OT_folders_reread,
)
