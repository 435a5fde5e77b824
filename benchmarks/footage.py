# SPDX-License-Identifier: GPL-3.0-or-later
"""How far labels of rendered footage are off whose truth is known, by kinematics alone, by filters and by the smoother.

Blender renders the UR10 that moves with a ChArUco board on its flange. Its joint sensors are off by up to three
degrees (offsets that each recording draws anew, and slack that changes sides as a joint turns back), a card hides the
board in half of the frames, and some are blurred. Images, joint log, and where the board is mounted are then all that
is known. "Kinematics" are the sensors' joints before the camera that `calibrate` finds if it takes them for true; those
of the second row are given the true camera. All others find the camera themselves.

NEES is the normalised squared error of the flange's keypoint in the image, which is 2 in the mean where covariances are
true. Errors of one recording depend on each other; the bounds are those of the 95 % interval if they were all the same.

    python benchmarks/footage.py [--frames 60] [--seeds 5] [--out DIR]
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
from scipy.stats import chi2

Floats = NDArray[np.float64]

URDF = Path(__file__).resolve().parents[1] / "assets" / "ur10_simple.urdf"
ROBOT = load_urdf(URDF)
JOINTS = [j.name for j in ROBOT.moving_joints]
FLANGE = "ee_link"
KEYPOINTS = joint_keypoints(ROBOT)
CAMERA = Intrinsics(480, 360, 495.0, 495.0, 239.5, 179.5)
SQUARES, SQUARE, SIDE = (6, 4), 0.07, 0.052
RATE = 3.0
"""Frames per second."""
OFFSET, SLACK = math.radians(2.4), math.radians(0.6)
"""Each to either side, so that sensors are off by three degrees at most."""


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
    offsets = random.uniform(-OFFSET, OFFSET, len(JOINTS))
    sensors = joints - offsets - SLACK * np.tanh(np.gradient(joints, axis=0) / 0.002)
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


@dataclass(frozen=True)
class Reading:
    """What one method's labels of a recording are off by.

    Attributes:
        flange: millimetres, the flange's place in the camera's frame ``(K,)``; NaN where there is no label.
        pixels: of its keypoint in the image, ``(K,)``.
        squares: normalised squared errors of that keypoint ``(K,)``; NaN without covariances.
    """

    flange: Floats
    pixels: Floats
    squares: Floats


def measure(truth: Truth, folder: Path) -> dict[str, Reading]:
    """Label the footage by each method."""
    footage, observations = observe_markers(load_footage(folder / "footage.toml"))
    calibration = calibrate(footage, observations, offsets=usual_offsets(footage))
    good = [o for o in calibration.observations if o.quality.high]
    flanges = [truth.camera @ links(q)[FLANGE] for q in truth.joints]
    plain = calibrate(footage, observations).cameras["left"].pose
    readings = {}
    for name, camera in (("kinematics", plain), ("with true camera", truth.camera)):
        poses = [camera @ links(q)[FLANGE] for q in truth.sensors]
        apart = [1000 * np.linalg.norm((p - f)[:3, 3]) for p, f in zip(poses, flanges, strict=True)]
        pixels = [np.linalg.norm(_pixel(p) - _pixel(f)) for p, f in zip(poses, flanges, strict=True)]
        readings[name] = Reading(np.array(apart), np.array(pixels), np.full(len(apart), np.nan))
    problem, _ = calibrated_problem(calibration, KEYPOINTS, None)
    for method in METHODS:
        found = Reading(*(np.full(len(flanges), np.nan) for _ in range(3)))
        for label in label_frames(problem, good, KEYPOINTS, method, math.inf).labels:
            k = label.frame
            point = label.keypoints[-1]
            found.flange[k] = 1000 * np.linalg.norm((label.links[FLANGE] - flanges[k])[:3, 3])
            if point.uv is not None and point.covariance is not None:
                error = np.array(point.uv) - _pixel(flanges[k])
                found.pixels[k] = np.linalg.norm(error)
                found.squares[k] = error @ np.linalg.solve(point.covariance, error)
        readings[method] = found
    return readings


def _pixel(flange: Floats) -> Floats:
    """Where the flange's keypoint is in the image, ``(2,)``."""
    offset = np.array([*KEYPOINTS[-1].offset, 1.0])
    return np.asarray(CAMERA.project((flange @ offset)[None, :3])[0][0])


def show(hidden: NDArray[np.bool_], readings: dict[str, list[Reading]]) -> None:
    """Print a table of means over all recordings.

    Args:
        hidden: of the frames ``(K,)``, the same in each recording.
    """
    print(f"{'':18}{'flange, mm':>20}{'flange, px':>20}{'NEES':>10}{'each':>8}")
    print(f"{'':18}{'hidden':>10}{'all':>10}{'hidden':>10}{'all':>10}")
    for name, own in readings.items():
        cells = [_mean(getattr(r, what)[part] for r in own)
                 for what in ("flange", "pixels") for part in (hidden, slice(None))]  # fmt: skip
        each = " ".join(f"{np.nanmean(r.squares):.1f}" for r in own if not np.isnan(r.squares).all())
        numbers = "".join(f"{c:10.2f}" if np.isfinite(c) else f"{'–':>10}" for c in cells)
        square = f"{_mean(r.squares for r in own):10.2f}    {each}" if each else f"{'–':>10}"
        print(f"{name:18}{numbers}{square}", flush=True)
    count = len(next(iter(readings.values())))
    low, high = (float(v) / count for v in chi2.ppf((0.025, 0.975), 2 * count))
    print(f"NEES of {count} recordings: 2 is true, {low:.2f} to {high:.2f} within the bounds")


def _mean(parts: Iterable[Floats]) -> float:
    known = np.concatenate([p[~np.isnan(p)] for p in parts])
    return float(known.mean()) if len(known) else math.nan


def main() -> None:
    """Render and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60, metavar="N")
    parser.add_argument("--seeds", type=int, default=5, metavar="S", help="recordings, each of another seed")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the footage there")
    options = parser.parse_args()
    folder = options.out or scratch()
    readings: dict[str, list[Reading]] = {}
    hidden = np.zeros(0, dtype=np.bool_)
    for seed in range(options.seeds):
        truth = imagine(options.frames, seed)
        own = folder / f"{seed:02d}"
        own.mkdir(parents=True, exist_ok=True)
        with _silent():
            render(truth, own)
        for name, reading in measure(truth, own).items():
            readings.setdefault(name, []).append(reading)
        hidden = truth.hidden
        print(f"recording {seed + 1} of {options.seeds}", file=sys.stderr, flush=True)
    show(hidden, readings)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what Blender prints for each frame from stdout."""
    sys.stdout.flush()
    before = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(nowhere)


if __name__ == "__main__":
    main()
