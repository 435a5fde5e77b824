# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: load robots with the installed extension, pose them, and say how far they are from their places.

Arguments: a JSON list of ``{"name", "urdf", "packages", "truth"}``, and the file for the results. ``truth`` is an .npz
with ``joints``, ``poses`` (P, J), ``links``, ``frames`` (P, L, 4, 4), and for each mesh ``mesh_0``, ``mesh_1``, …
(N, 3) in the frame of its link, which ``mesh_links`` names.
"""

import importlib
import json
import sys
import time
from pathlib import Path

import bpy
import numpy as np
from mathutils.kdtree import KDTree

MODULE = "bl_ext.user_default.robot_keypoints"
SAMPLE = 300
"""Vertices of one mesh that are compared."""
orders, target = sys.argv[sys.argv.index("--") + 1 :]
rig = importlib.import_module(f"{MODULE}.addon.robot.rig")
robot_in_scene = importlib.import_module(f"{MODULE}.addon.robot.robot_in_scene")
urdf = importlib.import_module(f"{MODULE}.core.robot.urdf_reader")


def angle(found: np.ndarray, expected: np.ndarray) -> float:
    turn = found[:3, :3].T @ expected[:3, :3]
    sine = np.linalg.norm([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
    return float(np.arctan2(sine, (np.trace(turn) - 1) / 2))


def farthest(points: np.ndarray, others: np.ndarray) -> float:
    tree = KDTree(len(others))
    for index, point in enumerate(others):
        tree.insert(point, index)
    tree.balance()
    step = max(1, len(points) // SAMPLE)
    return max(float(np.linalg.norm(np.array(tree.find(p)[0]) - p)) for p in points[::step])


def vertices(obj: bpy.types.Object) -> np.ndarray:
    points = np.empty(3 * len(obj.data.vertices), dtype=np.float32)
    obj.data.vertices.foreach_get("co", points)
    return points.reshape(-1, 3).astype(np.float64)


def examine(order: dict) -> dict:
    bpy.ops.wm.read_homefile()
    truth = np.load(order["truth"])
    begun = time.perf_counter()
    robot = urdf.load_urdf(order["urdf"], order["packages"])
    notes: list = []
    armature = rig.build(bpy.context.scene, robot, notes)
    seconds = time.perf_counter() - begun
    frames = robot_in_scene.RobotInScene.of(bpy.context.scene, armature).frames([str(n) for n in truth["links"]])
    by_link: dict = {}
    for obj in sorted((o for o in armature.children if o.type == "MESH"), key=lambda o: o.session_uid):
        by_link.setdefault(obj.parent_bone, []).append(obj)
    shown = [(by_link[v.link].pop(0), v) for v in robot.visuals]
    meshes = [obj for obj, visual in shown if visual.shape == "mesh"]
    links = [str(n) for n in truth["mesh_links"]]
    assert [o.parent_bone for o in meshes] == links, "not the same meshes"
    metres = radians = surface = 0.0
    for number, (values, expected) in enumerate(zip(truth["poses"], truth["frames"], strict=True)):
        rig.pose(armature, dict(zip((str(n) for n in truth["joints"]), map(float, values), strict=True)))
        bpy.context.view_layer.update()
        world = frames.world()
        for link, frame in zip((str(n) for n in truth["links"]), expected, strict=True):
            metres = max(metres, float(np.linalg.norm(world[link][:3, 3] - frame[:3, 3])))
            radians = max(radians, angle(world[link], frame))
        if number == len(truth["poses"]) - 1:
            at = dict(zip((str(n) for n in truth["links"]), expected, strict=True))
            for index, (obj, link) in enumerate(zip(meshes, links, strict=True)):
                must = truth[f"mesh_{index}"] @ at[link][:3, :3].T + at[link][:3, 3]
                matrix = np.array(obj.matrix_world)
                found = vertices(obj) @ matrix[:3, :3].T + matrix[:3, 3]
                surface = max(surface, farthest(found, must), farthest(must, found))
    textures = {
        n.image.name
        for o, _ in shown
        for m in o.data.materials
        for n in m.node_tree.nodes
        if n.type == "TEX_IMAGE" and n.image is not None and n.image.size[0]
    }
    return {
        "metres": metres, "radians": radians, "surface": surface, "seconds": seconds, "notes": notes,
        "warnings": list(robot.warnings), "textures": sorted(textures), "bones": len(armature.data.bones),
        "triangles": sum(len(o.data.polygons) for o, _ in shown),
    }  # fmt: skip


results = {"version": list(bpy.app.version)}
for order in json.loads(Path(orders).read_text(encoding="utf-8")):
    results[order["name"]] = examine(order)
Path(target).write_text(json.dumps(results), encoding="utf-8")
