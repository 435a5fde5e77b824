# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: build the real UR10 with the installed extension."""

import importlib
import json
import sys

import bpy

MODULE = "bl_ext.user_default.robot_keypoints"
target, urdf = sys.argv[sys.argv.index("--") + 1 :]
robot = importlib.import_module(f"{MODULE}.core.robot.urdf_reader").load_urdf(urdf)
armature = importlib.import_module(f"{MODULE}.addon.robot.rig").build(bpy.context.scene, robot)
libraries = ("zmq", "xacro", "yaml", "tomli_w")
result = {
    "bones": len(armature.data.bones),
    "triangles": sum(len(m.polygons) for m in bpy.data.meshes),
    "libraries": {name: importlib.import_module(name).__file__ for name in libraries},
}
with open(target, "w", encoding="utf-8") as stream:
    json.dump(result, stream)
