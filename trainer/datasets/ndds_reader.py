# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads NDDS labels, those of DREAM's photographs too: one JSON file beside each image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import UserError
from ...core.input_files import open_regular, read_json
from ...core.messages.samples import MALFORMED
from ...core.robot import visibility as keypoint_visibility
from ..images import image_file
from .annotations import (
    MEND,
    OUTSIDE,
    Annotated,
    Annotation,
    Item,
    camera_of,
    pose_of,
    repeated,
    taken_by,
    variances_of,
)
from .ndds_writer import CORNER, NOT_FOUND

PICTURES = (".rgb.png", ".rgb.jpg", ".rgb.jpeg", ".png", ".jpg", ".jpeg")

CAMERA_FILE = "_camera_settings.json"
"""Tells of all the pictures in a folder, among other things their size."""

LARGEST = 16 << 20
"""Bytes of a label."""


def is_ndds(path: Path) -> bool:
    """Whether a file is a label."""
    try:
        with open_regular(path) as stream:
            return b'"projected_location"' in stream.read(LARGEST).replace(b"\0", b"")  # UTF-16 has zeros
    except OSError:
        return False


def read_ndds(source: Path, labels: Sequence[Path]) -> Annotated:
    """The labels of pictures in ``source``.

    Raises:
        UserError: if a label can't be read, has no picture, or was made for one of another size.
    """
    items, names = [], dict[str, None]()
    sizes = cache(_camera_sizes)
    for path in labels:
        picture = next((p for p in (path.with_name(path.stem + s) for s in PICTURES) if p.is_file()), None)
        if picture is None:
            raise UserError(f"There is no image beside {path}: it should be called {path.stem}.rgb.png")
        document = read_json(path, MEND, largest=LARGEST)
        try:
            width, height = _size(document, picture, sizes(path.parent))
            ours = document.get("robot_keypoints") or {}
            known = {i["robot"]: i for i in ours.get("instances", ())}
            objects = [o for o in document["objects"] if o.get("keypoints")]
            robots = tuple(_robot(o, width, height, known.get(o.get("name"), {})) for o in objects)
            camera, origin = camera_of(ours, path.name), taken_by(ours)
        except MALFORMED as problem:
            detail = f"no {problem}" if isinstance(problem, KeyError) else str(problem)
            raise UserError(f"{path} breaks NDDS's form ({detail}): export it again") from problem
        for robot in robots:
            names.update(dict.fromkeys(robot.points))
        items.append(Item(str(picture.relative_to(source)), picture, width, height, robots, camera, origin))
    return Annotated(source, "NDDS", tuple(names), tuple(items), False)


def _size(document: Mapping[str, Any], picture: Path, camera_sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Width and height that a label was made for."""
    camera = document.get("camera_data") or {}
    if camera.get("width") and camera.get("height"):
        return int(camera["width"]), int(camera["height"])
    size = image_file.size_of(picture)
    if camera_sizes and size not in camera_sizes:
        raise UserError(
            f"{picture} has {size[0]} × {size[1]} pixels, but {CAMERA_FILE} beside it says "
            f"{camera_sizes[0][0]} × {camera_sizes[0][1]}: use the pictures that were labelled"
        )
    return size


def _camera_sizes(folder: Path) -> list[tuple[int, int]]:
    """Sizes of the pictures in a folder, of each camera, where the file has them."""
    if not (folder / CAMERA_FILE).is_file():
        return []
    document = read_json(folder / CAMERA_FILE, MEND, largest=LARGEST)
    cameras = document.get("camera_settings") if isinstance(document, dict) else None
    sizes = [c.get("captured_image_size") for c in cameras or () if isinstance(c, dict)]
    try:
        return [(int(s["width"]), int(s["height"])) for s in sizes if s]
    except MALFORMED as problem:
        raise UserError(f"{folder / CAMERA_FILE} tells no size of pictures: export it again") from problem


def _robot(entry: Mapping[str, Any], width: int, height: int, known: Mapping[str, Any]) -> Annotation:
    points: dict[str, tuple[float, float, int]] = {}
    twice = repeated([str(k["name"]) for k in entry["keypoints"]])
    if twice is not None:
        raise ValueError(f"two keypoints are called {twice}")
    for keypoint in entry["keypoints"]:
        u, v = (float(x) - CORNER for x in keypoint["projected_location"])
        if not (math.isfinite(u) and math.isfinite(v)):
            raise ValueError(f"the projected_location of {keypoint['name']} is not two finite numbers")
        # What DREAM marks as not found is behind the camera, far outside any image.
        seen = (
            keypoint_visibility.inside(np.array([u, v]), width, height)
            and NOT_FOUND not in keypoint["projected_location"]
        )
        visibility = int(keypoint.get("visibility", keypoint_visibility.VISIBLE))
        points[str(keypoint["name"])] = (
            u,
            v,
            max(keypoint_visibility.OCCLUDED, min(visibility, keypoint_visibility.VISIBLE)) if seen else OUTSIDE,
        )
    label = str(entry.get("name") or "the robot")
    places = [str(k["name"]) for k in known.get("keypoints", ())]
    return Annotation(points, None, entry.get("name"), *pose_of(known, label), variances_of(known, places, label))
