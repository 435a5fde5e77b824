# SPDX-License-Identifier: GPL-3.0-or-later
"""Photographs of printed markers on a UR10, computed ray by ray, and the recording that they make."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from robot_keypoints.core.camera.intrinsics import Intrinsics, invert
from robot_keypoints.core.robot.urdf_reader import load_urdf

Floats = NDArray[np.float64]

UR10 = Path(__file__).resolve().parents[2] / "assets" / "ur10_simple.urdf"
ROBOT = load_urdf(UR10)
JOINTS = [j.name for j in ROBOT.moving_joints]
FLANGE = "ee_link"
MIDDLE = dict(zip(JOINTS, (0.3, -1.2, 1.4, -0.6, 0.5, 0.2), strict=True))
CAMERA = Intrinsics(480, 360, 520.0, 525.0, 236.0, 183.0, (-0.15, 0.05, 0.001, -0.0005, 0.0))
FINER = 2
"""Rays along each side of a pixel."""
DOTS = 40
"""Texture pixels to a square, or to a sixth of a marker."""


@dataclass(frozen=True)
class Print:
    """A printed marker: what a footage file says of it, its texture, and where that lies.

    Attributes:
        texture: grey ``(h, w)``.
        to_texture: ``(3, 3)``, from metres in the marker's plane to the texture's pixels.
        corners: of the print's outline in the marker's frame, metres, ``(4, 3)``.
    """

    table: Mapping[str, Any]
    texture: NDArray[np.uint8]
    to_texture: Floats
    corners: Floats


def _outline(low: tuple[float, float], high: tuple[float, float]) -> Floats:
    (a, b), (c, d) = low, high
    return np.array([[a, b, 0], [c, b, 0], [c, d, 0], [a, d, 0]])


def checkerboard(nx: int = 6, ny: int = 5, square: float = 0.02) -> Print:
    """Inner corners ``nx`` x ``ny`` with a white border of one square."""
    rows, columns = np.mgrid[0 : ny + 3, 0 : nx + 3]
    black = (rows + columns) % 2 == 0
    black[[0, -1]] = black[:, [0, -1]] = False
    texture = np.kron(np.where(black, 20, 235).astype(np.uint8), np.ones((DOTS, DOTS), np.uint8))
    scale = DOTS / square
    matrix = np.array([[scale, 0, 2 * DOTS - 0.5], [0, scale, 2 * DOTS - 0.5], [0, 0, 1]])
    table = {"kind": "checkerboard", "inner_corners": [nx, ny], "square_m": square}
    return Print(table, texture, matrix, _outline((-2 * square, -2 * square), ((nx + 1) * square, (ny + 1) * square)))


def charuco(nx: int = 5, ny: int = 4, square: float = 0.03, side: float = 0.022) -> Print:
    """A ChArUco board of ``nx`` x ``ny`` squares with a white border of half a square."""
    board = cv2.aruco.CharucoBoard((nx, ny), square, side, cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50))
    inner = board.generateImage((nx * DOTS * 2, ny * DOTS * 2))
    texture = np.pad(np.clip(inner, 20, 235), DOTS, constant_values=235)
    scale = 2 * DOTS / square
    matrix = np.array([[scale, 0, DOTS - 0.5], [0, scale, DOTS - 0.5], [0, 0, 1]])
    table = {
        "kind": "charuco", "squares": [nx, ny], "square_m": square, "marker_m": side, "dictionary": "DICT_4X4_50",
    }  # fmt: skip
    half = square / 2
    return Print(table, texture, matrix, _outline((-half, -half), (nx * square + half, ny * square + half)))


def aruco(number: int = 7, side: float = 0.09, dictionary: str = "DICT_APRILTAG_36h11") -> Print:
    """A single marker with a white border of a sixth of it."""
    known = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary))
    size = 8 * DOTS
    texture = np.pad(np.clip(cv2.aruco.generateImageMarker(known, number, size), 20, 235), DOTS, constant_values=235)
    scale = size / side
    matrix = np.array([[scale, 0, size / 2 + DOTS - 0.5], [0, -scale, size / 2 + DOTS - 0.5], [0, 0, 1]])
    table = {"kind": "aruco", "dictionary": dictionary, "id": number, "marker_m": side}
    half = side / 2 + side / 8
    return Print(table, texture, matrix, _outline((-half, half), (half, -half)))


@lru_cache(maxsize=2)
def _rays(camera: Intrinsics) -> Floats:
    """Directions ``(h · FINER, w · FINER, 3)`` of depth one."""
    shift = (np.arange(FINER) + 0.5) / FINER - 0.5
    u, v = ((np.arange(n)[:, None] + shift).ravel() for n in (camera.width, camera.height))
    pixels = np.stack(np.meshgrid(u, v), -1).reshape(-1, 2)
    straight = (camera.undistort(pixels) - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
    rays = np.concatenate([straight, np.ones((len(straight), 1))], 1)
    return rays.reshape(camera.height * FINER, camera.width * FINER, 3)


def photograph(
    camera: Intrinsics, prints: list[tuple[Print, Floats]], blur: float = 0.0, seed: int = 0
) -> NDArray[np.uint8]:
    """What a camera sees of prints at ``T_cam_marker`` before grey, ``(h, w)``, with a little noise.

    Args:
        blur: standard deviation in pixels.
    """
    image = np.full((camera.height, camera.width), 110.0)
    for sheet, pose in prints:
        outline, _ = camera.project(sheet.corners @ pose[:3, :3].T + pose[:3, 3])
        left, top = np.clip(np.floor(outline.min(0)).astype(int) - 2, 0, None)
        right, bottom = np.ceil(outline.max(0)).astype(int) + 3
        width, height = min(right, camera.width) - left, min(bottom, camera.height) - top
        rays = _rays(camera)[top * FINER : (top + height) * FINER, left * FINER : (left + width) * FINER].reshape(-1, 3)
        normal = pose[:3, 2]
        depth = (normal @ pose[:3, 3]) / (rays @ normal)
        plane = (rays * depth[:, None] - pose[:3, 3]) @ pose[:3, :3]
        places = np.concatenate([plane[:, :2], np.ones((len(plane), 1))], 1) @ sheet.to_texture.T
        maps = (places[:, k].reshape(height * FINER, width * FINER).astype(np.float32) for k in (0, 1))
        seen = cv2.remap(sheet.texture.astype(np.float32), *maps, cv2.INTER_LINEAR, borderValue=110)
        part = seen.reshape(height, FINER, width, FINER).mean((1, 3))
        image[top : top + height, left : left + width] = part
    if blur:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    noise = np.random.default_rng(seed).normal(0, 2, image.shape)
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


def frames_at(positions: Mapping[str, float]) -> dict[str, Floats]:
    """``T_base_link``, of the room as well."""
    return {"": np.eye(4), **ROBOT.link_frames(positions)}


def looking_at(place: Floats, normal: Floats, distance: float, roll: float = 0.2) -> Floats:
    """``T_ref_cam`` of a camera that looks at a place along its normal."""
    z = -normal / np.linalg.norm(normal)
    x = np.cross([0.3, 0.2, 1.0], z)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], 1) @ cv2.Rodrigues(np.array([0, 0, roll]))[0]
    pose[:3, 3] = place - z * distance
    return pose


@dataclass
class Recorded:
    """A recording on disk, and what is true of it.

    Attributes:
        cameras: ``T_cam_link`` of the links that they are on, by name.
        mounts: ``T_link_marker``, by name.
        poses: true joint positions of each frame's pose.
        document: what its ``footage.json`` says.
    """

    file: Path
    cameras: dict[str, Floats]
    mounts: dict[str, Floats]
    poses: list[dict[str, float]]
    document: dict[str, Any] = field(default_factory=dict)

    def save(self, **changes: Any) -> Path:
        """Write ``footage.json`` with changes at its top level; None takes a key out."""
        self.document = {k: v for k, v in {**self.document, **changes}.items() if v is not None}
        self.file.write_text(json.dumps(self.document))
        return self.file


def record(
    folder: Path,
    sheet: Print | None = None,
    *,
    count: int = 14,
    cameras: int = 1,
    in_hand: bool = False,
    seed: int = 1,
    turn: float = 0.35,
    edit: Callable[[int, str, Floats], tuple[Floats, float]] | None = None,
) -> Recorded:
    """Photographs of a marker on the flange by cameras that rest, or of one in the room by a camera on the flange.

    Args:
        turn: radians that joints vary by, either way.
        edit: from the pose's number, the camera's name and the true ``T_cam_link``: the one that is photographed with,
            and the blur.
    """
    sheet = sheet or checkerboard()
    random = np.random.default_rng(seed)
    middle = frames_at(MIDDLE)[FLANGE]
    on_flange = np.eye(4)
    on_flange[:3, :3] = cv2.Rodrigues(np.array([0.3, 1.4, 0.1]))[0]
    on_flange[:3, 3] = (0.06, 0.02, -0.03)
    centre = sheet.corners.mean(0)
    if in_hand:
        link_cam, marker = on_flange, "room"
        mount = middle @ link_cam @ invert(looking_at(centre, _front(sheet), 0.45))
        placed = {"cam1": invert(link_cam)}
    else:
        mount, marker = on_flange, "board"
        at = middle @ mount
        placed = {}
        for k in range(cameras):
            tilt = cv2.Rodrigues(np.array([0.25 * k, -0.3 * k, 0.0]))[0]
            looks = looking_at(centre, tilt @ _front(sheet), 0.45 + 0.1 * k)
            placed[f"cam{k + 1}"] = invert(at @ looks)
    folder.mkdir(parents=True, exist_ok=True)
    poses: list[dict[str, float]] = []
    listed = []
    while len(poses) < count:
        positions = {n: v + random.uniform(-turn, turn) for n, v in MIDDLE.items()}
        flange = frames_at(positions)[FLANGE]
        seen = {}
        for name, pose in placed.items():
            seen[name] = pose @ (invert(flange) @ mount if in_hand else flange @ mount)
        if not all(_whole(sheet, pose) for pose in seen.values()):
            continue
        poses.append(positions)
        k = len(poses)
        for name, pose in seen.items():
            blur = 0.0
            if edit is not None:
                moved, blur = edit(k, name, placed[name])
                pose = moved @ invert(placed[name]) @ pose
            file = f"{name}_{k:02d}.png"
            Image.fromarray(photograph(CAMERA, [(sheet, pose)], blur, seed=k)).save(folder / file)
            listed.append({"camera": name, "pose": k, "file": file})
    table = {**sheet.table, **({} if in_hand else {"on": FLANGE})}
    lens = {"K": CAMERA.matrix.tolist(), "distortion": list(CAMERA.distortion)}
    document = {
        "robot": str(UR10),
        "markers": {marker: table},
        "cameras": {name: {**lens, **({"on": FLANGE} if in_hand else {})} for name in placed},
        "frames": sorted(listed, key=lambda f: (f["camera"], f["pose"])),
        "joints": {str(k + 1): p for k, p in enumerate(poses)},
    }
    recorded = Recorded(folder / "footage.json", placed, {marker: mount}, poses, document)
    recorded.save()
    return recorded


def _front(sheet: Print) -> Floats:
    """The side of a print that its picture is on, in its own frame."""
    return np.array([0, 0, 1.0]) if sheet.to_texture[1, 1] < 0 else np.array([0, 0, -1.0])


def _whole(sheet: Print, pose: Floats) -> bool:
    points = sheet.corners @ pose[:3, :3].T + pose[:3, 3]
    pixels, _ = CAMERA.project(points)
    centre = points.mean(0)
    facing = -(pose[:3, :3] @ _front(sheet)) @ (centre / np.linalg.norm(centre))
    return bool(
        (points[:, 2] > 0.1).all() and CAMERA.contains(pixels).all() and facing > 0.55
        and np.ptp(pixels, axis=0).min() > 60
    )  # fmt: skip


def apart(a: Floats, b: Floats) -> tuple[float, float]:
    """Millimetres and degrees between two poses of one camera."""
    shift = a @ invert(b)
    return 1e3 * float(np.linalg.norm(shift[:3, 3])), float(np.degrees(np.linalg.norm(cv2.Rodrigues(shift[:3, :3])[0])))
