# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: a user's own armature, its bones marked and edited as in the panel, saved and opened again."""

import importlib
import json
import sys
from pathlib import Path

import bpy

MODULE = "bl_ext.user_default.robot_keypoints"
(target,) = sys.argv[sys.argv.index("--") + 1 :]
rig = importlib.import_module(f"{MODULE}.addon.robot.rig")


def joints() -> dict:
    armature = bpy.data.objects["own"]
    return {j.name: [j.axis, j.linear, round(j.lower, 4), round(j.upper, 4)] for j in rig.joints(armature)}


data = bpy.data.armatures.new("own")
armature = bpy.data.objects.new("own", data)
bpy.context.scene.collection.objects.link(armature)
bpy.context.view_layer.objects.active = armature
bpy.ops.object.mode_set(mode="EDIT")
for height, name in enumerate(("upper", "lower")):
    bone = data.edit_bones.new(name)
    bone.head, bone.tail = (0, 0, height), (0, 0, height + 1)
bpy.ops.object.mode_set(mode="POSE")
for bone in armature.pose.bones:
    bone.rotation_mode = "XYZ"
upper = armature.pose.bones["upper"]
limit = upper.constraints.new("LIMIT_ROTATION")
limit.use_limit_z, limit.min_z, limit.max_z, limit.owner_space = True, -1.0, 0.5, "LOCAL"
found = {"at first": joints()}
bpy.ops.robot_keypoints.from_armature()

bpy.ops.pose.select_all(action="DESELECT")
(upper if bpy.app.version >= (5, 0, 0) else upper.bone).select = True
bpy.ops.robot_keypoints.bones_joint(joint="NO")
found["marked"] = joints()
bpy.ops.robot_keypoints.bones_joint(joint="YES")
upper.robot_keypoints_kind = "SLIDE"
upper.robot_keypoints_axis = "Y"
upper.robot_keypoints_own_range = True
upper.robot_keypoints_near, upper.robot_keypoints_far = -0.25, 0.5
assert (upper.robot_keypoints_joint, upper.robot_keypoints_axis) == ("YES", "Y")
found["edited"] = joints()
found["variables"] = {
    v.name: [round(v.low, 4), round(v.high, 4)]
    for v in bpy.context.scene.robot_keypoints.variables
    if v.name.startswith("joint/")
}

path = Path(target).with_name("own.blend")
bpy.ops.wm.save_as_mainfile(filepath=str(path))
bpy.ops.wm.open_mainfile(filepath=str(path))
found["reopened"] = joints()
armature = bpy.data.objects["own"]
rig.pose(armature, {"upper": 0.3})
bpy.context.view_layer.update()
found["moved"] = float(armature.pose.bones["upper"].head.z)
Path(target).write_text(json.dumps(found), encoding="utf-8")
