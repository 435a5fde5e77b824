# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads annotated images, rendered here or photographed anywhere: COCO keypoints and NDDS.

- **COCO**: ``annotations.json`` in the folder, or the only such ``.json`` there or in ``annotations/``, or the file
  itself. The names of the keypoints come from its ``categories``. Pictures are looked for by ``file_name`` in the
  folder, and in its ``images/``.
- **NDDS** (also DREAM's photographs): ``NAME.json`` with ``objects[].keypoints[]`` (``name``, ``projected_location``)
  beside ``NAME.rgb.png``, ``.rgb.jpg``, ``.png`` or ``.jpg``. Its pixels count from the top-left corner of the image,
  so they are half a pixel less here. A keypoint is outside the image if its place is; what does not tell whether it
  is hidden counts as visible.

Where the robots' poses are known, as in data sets of ours, they are read as well: the camera (``camera_matrix`` and
``distortion``) of each image, ``T_cam_base`` and ``joints`` of each robot.

A keypoint of visibility 0 is outside the image in COCO files that were rendered here, but only not annotated in those
of others, who use 0 for both.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import UserError
from ..core.input_files import read_json
from . import metrics, photograph
from .ndds import CORNER, NOT_FOUND
from .photograph import Photograph

UNKNOWN, OUTSIDE = -1, 0
MEND = "export the annotations again, or choose another file"
RIGID = 1e-3
"""How far a matrix may be from a rotation."""

PICTURES = (".rgb.png", ".rgb.jpg", ".rgb.jpeg", ".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Annotation:
    """One robot in one image.

    Attributes:
        points: ``{name: (u, v, visibility)}`` in pixels; visibility 0 outside (place without meaning), 1 hidden,
            2 visible. What is not annotated is not in it.
        area: of the robot, pixels²; None where the file does not say.
        robot: number of the robot in its scene, or its name; None where the file does not say.
        pose: ``T_cam_base``, rows of 4 × 4, metres; None where it is not known.
        joints: positions, radians or metres; None where they are not known.
    """

    points: Mapping[str, tuple[float, float, int]]
    area: float | None = None
    robot: int | str | None = None
    pose: tuple[tuple[float, ...], ...] | None = None
    joints: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Item:
    """One image and the robots that are annotated in it.

    Attributes:
        name: as its file calls it.
        width, height: as annotated; 0 where the annotation does not say.
        camera: fx, fy, cx, cy, k1, k2, p1, p2, k3, pixels; None where it is not known.
    """

    name: str
    path: Path
    width: int
    height: int
    robots: tuple[Annotation, ...]
    camera: tuple[float, ...] | None = None

    def picture(self) -> Photograph:
        """The picture, turned as annotated where the camera noted how it was held.

        Raises:
            UserError: if it can't be read, or has another size than annotated.
        """
        size = (self.width, self.height) if self.width else None
        image = photograph.read(self.path, size)
        if size not in (None, (image.width, image.height)):
            raise UserError(
                f"{self.path} has {image.width} × {image.height} pixels but was annotated with "
                f"{self.width} × {self.height}: use the picture that was annotated"
            )
        return image


@dataclass(frozen=True)
class Annotated:
    """Annotated images.

    Attributes:
        source: what was read.
        format: ``COCO`` or ``NDDS``.
        names: all keypoints that the annotations know.
        complete: whether everything that is not annotated is known to lie outside (rendered here).
        sigmas: what a keypoint's error is measured by in OKS, by name.
    """

    source: Path
    format: str
    names: tuple[str, ...]
    items: tuple[Item, ...]
    complete: bool
    sigmas: Mapping[str, float] = field(default_factory=dict)


def read(source: Path) -> Annotated:
    """A folder of annotated images, or a COCO file.

    Raises:
        UserError: if there are no annotations, or they can't be read.
    """
    if source.is_file():
        return read_coco(source, source.parent)
    if not source.is_dir():
        raise UserError(f"There is no folder {source}: choose one with annotated images")
    coco = _coco_file(source)
    if coco is not None:
        return read_coco(coco, source)
    labels = sorted(p for p in source.rglob("*.json") if not p.name.startswith("_") and _is_ndds(p))
    if not labels:
        raise UserError(
            f"There are no annotations in {source}: it needs COCO's annotations.json, or NDDS's .json beside each image"
        )
    return _read_ndds(source, labels)


def read_coco(file: Path, folder: Path) -> Annotated:
    """A COCO file whose pictures are in ``folder``.

    Raises:
        UserError: if it is not one, or has no keypoints.
    """
    document = read_json(file, MEND)
    if not _is_coco(document):
        raise UserError(f"{file} has no COCO keypoints (images, annotations, categories): choose another file")
    try:
        return _coco(file, folder, document)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as problem:
        detail = f"no {problem}" if isinstance(problem, KeyError) else str(problem)
        raise UserError(f"{file} breaks COCO's form ({detail}): export it again") from problem


def _coco(file: Path, folder: Path, document: Mapping[str, Any]) -> Annotated:
    categories = {c["id"]: c for c in document["categories"] if c.get("keypoints")}
    if not categories:
        raise UserError(f"{file} names no keypoints in its categories: export it as COCO keypoints")
    ours = "Robot Keypoints" in str((document.get("info") or {}).get("description", ""))
    sigmas: dict[str, float] = {}
    for category in categories.values():
        for name, sigma in zip(category["keypoints"], category.get("sigmas") or [], strict=False):
            sigmas[str(name)] = float(sigma)
    by_image: dict[Any, list[Annotation]] = {}
    for entry in document["annotations"]:
        category = categories.get(entry["category_id"])
        if category is None or "keypoints" not in entry:
            continue
        numbers = [float(n) for n in entry["keypoints"]]
        names = [str(n) for n in category["keypoints"]]
        if len(numbers) != 3 * len(names) or not all(map(math.isfinite, numbers)):
            raise ValueError(
                f"annotation {entry.get('id')} does not have three numbers for each of {len(names)} keypoints"
            )
        triples = zip(names, numbers[0::3], numbers[1::3], numbers[2::3], strict=True)
        points = {n: (u, v, int(s)) for n, u, v, s in triples if s > 0 or ours}
        area = float(entry["area"]) if entry.get("area") else None
        by_image.setdefault(entry["image_id"], []).append(
            Annotation(points, area, entry.get("instance"), *_pose(entry, f"annotation {entry.get('id')}"))
        )
    items = []
    for image in document["images"]:
        robots = tuple(by_image.get(image["id"], ()))
        if robots or ours:
            name = str(image["file_name"])
            size = int(image.get("width") or 0), int(image.get("height") or 0)
            items.append(Item(name, _find(folder, name), *size, robots, _camera(image, name)))
    if not items:
        raise UserError(f"None of the images of {file} has annotated keypoints: choose another file")
    every = dict.fromkeys(str(n) for c in categories.values() for n in c["keypoints"])
    return Annotated(file, "COCO", tuple(every), tuple(items), ours, sigmas)


def _find(folder: Path, name: str) -> Path:
    """Where a picture is; annotation tools write down all kinds of folders."""
    parts = Path(re.sub(r"^[A-Za-z]:", "", name.replace("\\", "/")).lstrip("/")).parts
    ends = [Path(*parts[i:]) for i in range(len(parts))]
    candidates = [place / end for end in ends for place in (folder, folder / "images")]
    return next((c for c in candidates if c.is_file()), folder / name)


def _coco_file(folder: Path) -> Path | None:
    named = folder / "annotations.json"
    if named.is_file():
        return named
    for place in (folder, folder / "annotations"):
        if not place.is_dir():
            continue
        found = [p for p in sorted(place.glob("*.json")) if _looks_like_coco(p)]
        if len(found) > 1:
            several = ", ".join(p.name for p in found[:3])
            raise UserError(
                f"{place} holds several COCO files ({several}): give the one to compare with as --data FILE, "
                "or all of them as --raters"
            )
        if found:
            return found[0]
    return None


def _looks_like_coco(path: Path) -> bool:
    """Whether a file may be COCO's; a glance at its size spares reading thousands of small labels whole."""
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read(2_000_000)
            if '"images"' not in text and '"annotations"' not in text and '"categories"' not in text:
                return False
            return _is_coco(json.loads(text + stream.read()))
    except (OSError, ValueError):
        return False


def _is_coco(document: Any) -> bool:
    return isinstance(document, dict) and all(
        isinstance(document.get(k), list) for k in ("images", "annotations", "categories")
    )


def _is_ndds(path: Path) -> bool:
    try:
        return '"projected_location"' in path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def _read_ndds(source: Path, labels: Sequence[Path]) -> Annotated:
    items, names = [], dict[str, None]()
    for path in labels:
        picture = next((p for p in (path.with_name(path.stem + s) for s in PICTURES) if p.is_file()), None)
        if picture is None:
            raise UserError(f"There is no image beside {path}: it should be called {path.stem}.rgb.png")
        document = read_json(path, MEND)
        try:
            width, height = _ndds_size(document, picture)
            ours = document.get("robot_keypoints") or {}
            known = {i["robot"]: i for i in ours.get("instances", ())}
            objects = [o for o in document["objects"] if o.get("keypoints")]
            robots = tuple(_ndds_robot(o, width, height, known.get(o.get("name"), {})) for o in objects)
            camera = _camera(ours, path.name)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            detail = f"no {problem}" if isinstance(problem, KeyError) else str(problem)
            raise UserError(f"{path} breaks NDDS's form ({detail}): export it again") from problem
        for robot in robots:
            names.update(dict.fromkeys(robot.points))
        items.append(Item(str(picture.relative_to(source)), picture, width, height, robots, camera))
    return Annotated(source, "NDDS", tuple(names), tuple(items), False)


def _ndds_size(document: Mapping[str, Any], picture: Path) -> tuple[int, int]:
    camera = document.get("camera_data") or {}
    if camera.get("width") and camera.get("height"):
        return int(camera["width"]), int(camera["height"])
    return photograph.size_of(picture)


def _ndds_robot(entry: Mapping[str, Any], width: int, height: int, known: Mapping[str, Any]) -> Annotation:
    points: dict[str, tuple[float, float, int]] = {}
    for keypoint in entry["keypoints"]:
        u, v = (float(x) - CORNER for x in keypoint["projected_location"])
        # What DREAM marks as not found is behind the camera, far outside any image.
        seen = metrics.inside(np.array([u, v]), width, height) and NOT_FOUND not in keypoint["projected_location"]
        told = int(keypoint.get("visibility", metrics.VISIBLE))
        points[str(keypoint["name"])] = (u, v, max(metrics.HIDDEN, min(told, metrics.VISIBLE)) if seen else OUTSIDE)
    return Annotation(points, None, entry.get("name"), *_pose(known, str(entry.get("name") or "the robot")))


def _camera(entry: Mapping[str, Any], name: str) -> tuple[float, ...] | None:
    """Nine numbers of an image's ``camera_matrix`` and ``distortion``, if it has them."""
    if entry.get("camera_matrix") is None:
        return None
    matrix = np.array(entry["camera_matrix"], np.float64)
    lens = [float(n) for n in entry.get("distortion") or [0.0] * 5]
    pinhole = matrix.shape == (3, 3) and matrix[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]].tolist() == [0, 0, 0, 0, 1]
    numbers = (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], *lens) if pinhole else ()
    if len(numbers) != 9 or not all(map(math.isfinite, numbers)) or min(numbers[:2]) <= 0:
        raise ValueError(f"{name} has a camera_matrix or a distortion that is no camera's")
    return tuple(float(n) for n in numbers)


def _pose(
    entry: Mapping[str, Any], name: str
) -> tuple[tuple[tuple[float, ...], ...] | None, Mapping[str, float] | None]:
    """``T_cam_base`` and joints of one robot, as far as it has them."""
    pose, joints = entry.get("T_cam_base"), entry.get("joints")
    if pose is not None:
        matrix = np.array(pose, np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise ValueError(f"the T_cam_base of {name} is not 4 × 4 finite numbers")
        turn = matrix[:3, :3]
        # The frame of a scaled armature is no pose that anything could be compared with.
        rigid = np.abs(turn @ turn.T - np.eye(3)).max() < RIGID and np.linalg.det(turn) > 0
        pose = tuple(tuple(row) for row in matrix.tolist()) if rigid and matrix[3].tolist() == [0, 0, 0, 1] else None
    if joints is not None:
        joints = {str(k): float(v) for k, v in joints.items()}
        if not all(map(math.isfinite, joints.values())):
            raise ValueError(f"the joints of {name} are not all finite numbers")
    return pose, joints
