# SPDX-License-Identifier: GPL-3.0-or-later
"""How far labels of rendered footage are off whose truth is known, by kinematics alone, by filters and by the smoother.

Blender renders the UR10 that moves with a ChArUco board on its flange. Its joint sensors are off by up to three
degrees (offsets, and slack that changes sides as a joint turns back), a card hides the board in half of the frames, and
some are blurred. Images, joint log, and where the board is mounted are then all that is known. Kinematics alone are
given the true camera, the others find it.

    python benchmarks/footage.py [--frames 60] [--out DIR] [--seed 0]
"""

from __future__ import annotations

import argparse
import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common import scratch
from numpy.typing import NDArray
from PIL import Image
from robot_keypoints.core.camera.intrinsics import BLENDER_FROM_OPENCV, Intrinsics, invert
from robot_keypoints.core.robot.keypoints import joint_keypoints
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.trainer.commands.label import calibrated_problem, usual_offsets
from robot_keypoints.trainer.footage.calibration import calibrate
from robot_keypoints.trainer.footage.footage_file import load_footage
from robot_keypoints.trainer.footage.labelling import METHODS, label_frames
from robot_keypoints.trainer.footage.marker_observing import observe_markers

Floats = NDArray[np.float64]

URDF = Path(__file__).resolve().parents[1] / "assets" / "ur10_simple.urdf"
ROBOT = load_urdf(URDF)
JOINTS = [j.name for j in ROBOT.moving_joints]
FLANGE = "ee_link"
KEYPOINTS = joint_keypoints(ROBOT)
CAMERA = Intrinsics(480, 360, 495.0, 495.0, 239.5, 179.5)
SQUARES, SQUARE, SIDE = (4, 3), 0.1, 0.08
RATE = 3.0
"""Frames per second."""
OFFSETS = np.radians([1.6, -2.4, 2.4, -2.0, 2.2, -2.4])
SLACK = math.radians(0.6)
"""To either side, so that sensors are off by three degrees at most."""


@dataclass(frozen=True)
class Truth:
    """What is true of K frames.

    Attributes:
        joints, sensors: true positions, and what sensors read, radians ``(K, 6)``.
        camera: ``T_cam_base``.
        mount: ``T_flange_board``.
        hidden, blurred: ``(K,)``.
    """

    joints: Floats
    sensors: Floats
    camera: Floats
    mount: Floats
    hidden: NDArray[np.bool_]
    blurred: NDArray[np.bool_]


def imagine(count: int, seed: int) -> Truth:
    """A smooth motion, and a camera before which the board turns."""
    random = np.random.default_rng(seed)
    times = np.arange(count)[:, None] / RATE
    speed, phase = random.uniform(0.5, 1.3, (2, 6)), random.uniform(0, 2 * math.pi, (2, 6))
    waves = np.sin(times[:, None] * speed + phase).sum(1) / 2
    middle = np.array([0.3, -1.2, 1.4, -0.6, 0.5, 0.2])
    joints = middle + np.array([0.45, 0.35, 0.35, 0.5, 0.5, 0.5]) * waves
    sensors = joints - OFFSETS - SLACK * np.tanh(np.gradient(joints, axis=0) / 0.002)
    mount = np.eye(4)
    mount[:3, :3] = cv2.Rodrigues(np.array([0.2, 1.4, 0.1]))[0]
    mount[:3, 3] = (0.06, 0.1, 0.12)
    board = links(middle)[FLANGE] @ mount
    centre = board[:3, :3] @ np.array([*(SQUARE * np.array(SQUARES) / 2), 0.0]) + board[:3, 3]
    forward = board[:3, 2] / np.linalg.norm(board[:3, 2])  # the picture is seen from behind the board's z
    right = np.cross([0.0, 0.0, -1.0], forward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], 1)
    pose[:3, 3] = centre - 1.3 * forward
    place = np.arange(count) / count * 3 % 1.0
    hidden = (place >= 0.25) & (place < 0.75)
    return Truth(joints, sensors, invert(pose), mount, hidden, random.random(count) < 0.15)


def links(positions: Floats) -> dict[str, Floats]:
    """``T_base_link``."""
    return ROBOT.link_frames(dict(zip(JOINTS, positions.tolist(), strict=True)))


def render(truth: Truth, folder: Path) -> None:
    """Write images, joint log and ``footage.toml``."""
    import bpy
    from robot_keypoints.addon.robot import rig
    from robot_keypoints.addon.worker.renderer import Renderer
    from robot_keypoints.core.settings.schema import RenderSettings

    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    armature = rig.build(scene, ROBOT)
    poser = rig.Poser(armature, rig.joints(armature))
    texture = folder / "board.png"
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    drawn = cv2.aruco.CharucoBoard(SQUARES, SQUARE, SIDE, dictionary).generateImage((SQUARES[0] * 80, SQUARES[1] * 80))
    Image.fromarray(np.pad(drawn, 40, constant_values=255)).save(texture)
    width, height = SQUARE * SQUARES[0], SQUARE * SQUARES[1]
    margin = SQUARE / 2
    # A board's y runs down its picture, whose first row an image texture shows at v = 1.
    corners = [
        (-margin, height + margin),
        (width + margin, height + margin),
        (width + margin, -margin),
        (-margin, -margin),
    ]
    board = _sheet("board", corners, _material("board", texture))
    card = _sheet("card", [(-0.3, 0.3), (0.3, 0.3), (0.3, -0.3), (-0.3, -0.3)], _material("card", None))
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.sensor_width, camera.data.lens = 36.0, 36.0 * CAMERA.fx / CAMERA.width
    lamp = bpy.data.objects.new("lamp", bpy.data.lights.new("lamp", "SUN"))
    lamp.data.energy = 2.0
    for thing in (board, card, camera, lamp):
        scene.collection.objects.link(thing)
    eye = invert(truth.camera)
    camera.matrix_world = _matrix(eye @ BLENDER_FROM_OPENCV)
    lamp.matrix_world = camera.matrix_world
    scene.camera = camera
    scene.world = bpy.data.worlds.new("world")
    renderer = Renderer(scene, RenderSettings("cycles", CAMERA.width, CAMERA.height, 6), 1)
    for k, joints in enumerate(truth.joints):
        poser(dict(zip(JOINTS, joints.tolist(), strict=True)))
        there = links(joints)[FLANGE] @ truth.mount
        board.matrix_world = _matrix(there)
        between = there.copy()
        middle = there[:3, :3] @ np.array([width / 2, height / 2, 0.0]) + there[:3, 3]
        between[:3, 3] = 0.75 * middle + 0.25 * eye[:3, 3]
        card.matrix_world = _matrix(between)
        card.hide_render = not truth.hidden[k]
        bpy.context.view_layer.update()
        picture = renderer.render(k)
        opaque = picture[..., 3:].astype(np.float64) / 255
        pixels = picture[..., :3] * opaque + 120.0 * (1 - opaque)
        if truth.blurred[k]:
            pixels = cv2.GaussianBlur(pixels, (0, 0), 3.0)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{k:04d}.png")
    with (folder / "joints.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["time", *JOINTS])
        rows.writerows([k / RATE, *row] for k, row in enumerate(truth.sensors.tolist()))
    (folder / "footage.toml").write_text(f"""robot = "{URDF}"

[cameras.left]
images = "[0-9]*.png"
intrinsics = [{CAMERA.fx}, {CAMERA.fy}, {CAMERA.cx}, {CAMERA.cy}]
fps = {RATE}

[markers.board]
kind = "charuco"
squares = [{SQUARES[0]}, {SQUARES[1]}]
square_m = {SQUARE}
marker_m = {SIDE}
dictionary = "DICT_4X4_50"
on = "{FLANGE}"
mount = {truth.mount.tolist()}

[joint_log]
file = "joints.csv"
""")


def _matrix(pose: Floats) -> Any:
    import mathutils

    return mathutils.Matrix(pose.tolist())


def _sheet(name: str, corners: list[tuple[float, float]], material: Any) -> Any:
    """A rectangle in the plane z = 0 whose texture begins at its first corner."""
    import bpy

    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata([(x, y, 0.0) for x, y in corners], [], [(0, 1, 2, 3)])
    layer = mesh.uv_layers.new()
    for loop, place in zip(layer.data, [(0, 0), (1, 0), (1, 1), (0, 1)], strict=True):
        loop.uv = place
    mesh.materials.append(material)
    return bpy.data.objects.new(name, mesh)


def _material(name: str, texture: Path | None) -> Any:
    """Paper that shines by itself, so that light doesn't matter."""
    import bpy

    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes = material.node_tree.nodes
    nodes.clear()
    glow, out = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeOutputMaterial")
    glow.inputs["Color"].default_value = (0.3, 0.25, 0.2, 1.0)
    if texture is not None:
        image = nodes.new("ShaderNodeTexImage")
        image.image = bpy.data.images.load(str(texture))
        material.node_tree.links.new(image.outputs["Color"], glow.inputs["Color"])
    material.node_tree.links.new(glow.outputs["Emission"], out.inputs["Surface"])
    return material


def measure(truth: Truth, folder: Path) -> None:
    """Label the footage by each method, and print how far off the labels are."""
    footage, observations = observe_markers(load_footage(folder / "footage.toml"))
    calibration = calibrate(footage, observations, offsets=usual_offsets(footage))
    good = [o for o in calibration.observations if o.quality.high]
    count = len(truth.joints)
    flanges = [truth.camera @ links(q)[FLANGE] for q in truth.joints]
    print(f"{count} frames, {len({o.frame for o in good})} of them with a marker that can be relied on")
    print(f"{'':12}{'flange, mm':>26}{'keypoints, px':>26}{'chi-square':>12}")
    print(f"{'':12}{'hidden':>13}{'all':>13}{'hidden':>13}{'all':>13}{'of 2':>12}")
    alone = np.array([1000 * np.linalg.norm((truth.camera @ links(q)[FLANGE] - f)[:3, 3])
                      for q, f in zip(truth.sensors, flanges, strict=True)])  # fmt: skip
    pixels = np.array([np.linalg.norm(_project(q, truth) - _project(p, truth), axis=1).mean()
                       for q, p in zip(truth.sensors, truth.joints, strict=True)])  # fmt: skip
    _row("kinematics", alone, pixels, truth.hidden, math.nan)
    problem, _ = calibrated_problem(calibration, KEYPOINTS, None)
    for method in METHODS:
        labelled = label_frames(problem, good, KEYPOINTS, method, math.inf)
        places = np.full(count, np.nan)
        offs = np.full(count, np.nan)
        distances = []
        for label in labelled.labels:
            k = label.frame
            places[k] = 1000 * np.linalg.norm((label.links[FLANGE] - flanges[k])[:3, 3])
            errors = np.array([point.uv for point in label.keypoints]) - _project(truth.joints[k], truth)
            offs[k] = np.linalg.norm(errors, axis=1).mean()
            spreads = np.array([point.covariance for point in label.keypoints])
            distances.append(np.einsum("ji,jik,jk->j", errors, np.linalg.inv(spreads), errors).mean())
        _row(method, places, offs, truth.hidden, float(np.mean(distances)))


def _project(joints: Floats, truth: Truth) -> Floats:
    frames = links(joints)
    points = [truth.camera @ frames[p.frame] @ np.array([*p.offset, 1.0]) for p in KEYPOINTS]
    return CAMERA.project(np.array(points)[:, :3])[0]


def _row(name: str, places: Floats, pixels: Floats, hidden: NDArray[np.bool_], distance: float) -> None:
    cells = []
    for values in (places, pixels):
        for part in (values[hidden], values):
            known = part[~np.isnan(part)]
            cells.append(f"{known.mean():13.2f}" if len(known) else f"{'–':>13}")
    print(f"{name:12}{''.join(cells)}{distance:12.2f}", flush=True)


def main() -> None:
    """Render and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the footage there")
    options = parser.parse_args()
    folder = options.out or scratch()
    folder.mkdir(parents=True, exist_ok=True)
    truth = imagine(options.frames, options.seed)
    render(truth, folder)
    measure(truth, folder)


if __name__ == "__main__":
    main()
