# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads COCO keypoints, rendered here or written by any annotation tool."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from ...core.input_files import open_regular, read_json
from ...core.messages.samples import MALFORMED
from .annotations import MEND, Annotated, Annotation, Item, camera_of, pose_of, repeated, taken_by, variances_of
from .picture_places import PicturePlaces

LISTS = ("images", "annotations", "categories")
GLANCE = 2_000_000
"""Bytes in which a COCO file's lists are looked for."""


def read_coco(file: Path, folder: Path) -> Annotated:
    """A COCO file whose pictures are in ``folder``.

    Raises:
        UserError: if it is not one, has no keypoints, or contradicts itself.
    """
    document = read_json(file, MEND)
    if not is_coco(document):
        tool = tool_of(document)
        wrong = f"is {tool}'s own form" if tool else "has no COCO keypoints (images, annotations, categories)"
        raise UserError(f"{file} {wrong}: export the annotations as COCO keypoints, or choose another file")
    try:
        return _coco(file, folder, document)
    except (*MALFORMED, IndexError) as problem:
        detail = f"no {problem}" if isinstance(problem, KeyError) else str(problem)
        raise UserError(f"{file} breaks COCO's form ({detail}): export it again") from problem


def may_be_coco(path: Path) -> bool:
    """Whether a file may be COCO's; a glance at its beginning spares reading thousands of small labels whole."""
    try:
        with open_regular(path) as stream:
            data = stream.read(GLANCE)
            plain = data.replace(b"\0", b"")  # UTF-16
            if not any(f'"{name}"'.encode() in plain for name in LISTS):
                return False
            data += stream.read()
    except OSError:
        return False
    try:
        return is_coco(json.loads(data))
    except (ValueError, RecursionError):
        # A file that is cut off is COCO's nevertheless, and is to be named.
        return sum(f'"{name}"'.encode() in plain for name in LISTS) > 1


def is_coco(document: Any) -> bool:
    """Whether it has COCO's lists."""
    return isinstance(document, dict) and all(isinstance(document.get(k), list) for k in LISTS)


def tool_of(document: Any) -> str | None:
    """Whose own form it is, where that can be told."""
    if isinstance(document, dict):
        for tool, keys in (("labelme", ("shapes", "imagePath")), ("SLEAP", ("skeletons", "videos"))):
            if all(k in document for k in keys):
                return tool
        return "VIA" if "_via_img_metadata" in document else None
    if isinstance(document, list) and document and isinstance(document[0], dict):
        task = document[0]
        if "data" in task and ("annotations" in task or "predictions" in task):
            return "Label Studio"
        marks = [m for v in task.values() if isinstance(v, list) for m in v if isinstance(m, dict)]
        return "Label Studio" if any("keypointlabels" in m for m in marks) else None
    return None


@dataclass(frozen=True)
class _Category:
    keypoints: tuple[str, ...]
    sigmas: Mapping[str, float]


def _coco(file: Path, folder: Path, document: Mapping[str, Any]) -> Annotated:
    categories = {k: _category(file, c) for k, c in _by_id(file, "categories", document["categories"]).items()}
    named = {k: c for k, c in categories.items() if c.keypoints}
    if not named:
        raise UserError(f"{file} names no keypoints in its categories: export it as COCO keypoints")
    ours = "Robot Keypoints" in str((document.get("info") or {}).get("description", ""))
    images = _by_id(file, "images", document["images"])
    by_image: dict[str, list[Annotation]] = {}
    for entry in document["annotations"]:
        name = f"annotation {entry.get('id')}"
        category, shown = _key(entry["category_id"]), _key(entry["image_id"])
        if category not in categories:
            raise ValueError(f"{name} is of the category {category}, which is not among its categories")
        if shown not in images:
            raise ValueError(f"{name} is of the image {shown}, which is not among its images")
        if category in named and entry.get("keypoints"):
            robot = _annotation(entry, named[category].keypoints, name, ours)
            if robot.points:
                by_image.setdefault(shown, []).append(robot)
    places, items = PicturePlaces(folder, file), []
    for key, image in images.items():
        robots = tuple(by_image.get(key, ()))
        if robots or ours:
            name = image["file_name"]
            if not isinstance(name, str):
                raise ValueError(f"the file_name of image {key} is no text")
            place, size = places.find(name), _size(image, name)
            items.append(Item(name, place, *size, robots, camera_of(image, name), taken_by(image)))
    if not items:
        raise UserError(f"None of the images of {file} has annotated keypoints: choose another file")
    _check_once(file, items)
    every = dict.fromkeys(n for c in named.values() for n in c.keypoints)
    sigmas = {n: s for c in named.values() for n, s in c.sigmas.items()}
    return Annotated(file, "COCO", tuple(every), tuple(items), ours, sigmas)


def _key(value: Any) -> str:
    """An id as text: tools write 1, 1.0 and "1" for the same."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"the id {value!r} is neither a number nor text")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _by_id(file: Path, kind: str, entries: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    result: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        key = _key(entry["id"])
        if key in result:
            label = "file_name" if kind == "images" else "name"
            both = f"{result[key].get(label)} and {entry.get(label)}"
            raise UserError(
                f"{file} has two {kind} of the id {key} ({both}), so that nobody knows whose annotations these are: "
                "give each an id of its own, or keep joined exports in files of their own"
            )
        result[key] = entry
    return result


def _category(file: Path, entry: Mapping[str, Any]) -> _Category:
    names = [str(n) for n in entry.get("keypoints") or ()]
    twice = repeated(names)
    if twice is not None:
        raise UserError(f"{file} has two keypoints called {twice} in one category: rename one of them")
    values = [float(s) for s in entry.get("sigmas") or ()]
    if not all(math.isfinite(s) and s > 0 for s in values):
        raise ValueError(f"the sigmas of {entry.get('name')} are not all positive numbers")
    return _Category(tuple(names), dict(zip(names, values, strict=False)))


def _annotation(entry: Mapping[str, Any], names: Sequence[str], name: str, ours: bool) -> Annotation:
    given = entry["keypoints"]
    numbers = [float(n) for n in given] if isinstance(given, list) else []
    if len(numbers) != 3 * len(names) or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{name} does not have three numbers for each of {len(names)} keypoints")
    triples = list(zip(names, numbers[0::3], numbers[1::3], numbers[2::3], strict=True))
    for keypoint, _, _, seen in triples:
        if seen not in (0, 1, 2):
            raise ValueError(f"the visibility of {keypoint} in {name} is {seen:g}: 0, 1 and 2 have a meaning")
    points = {n: (u, v, int(s)) for n, u, v, s in triples if s > 0 or ours}
    area = float(entry.get("area") or 0.0)
    if not 0 <= area < math.inf:
        raise ValueError(f"the area of {name} is {area:g}")
    return Annotation(
        points, area or None, entry.get("instance"), *pose_of(entry, name), variances_of(entry, names, name)
    )


def _size(image: Mapping[str, Any], name: str) -> tuple[int, int]:
    """Width and height, 0 where they are not told."""
    given = [image.get(k) for k in ("width", "height")]
    if given in ([None, None], [0, 0]):
        return 0, 0
    width, height = (float(n) if isinstance(n, int | float | str) else math.nan for n in given)
    if not (width >= 1 and height >= 1 and width.is_integer() and height.is_integer()):
        raise ValueError(f"the width and height of {name} are {given[0]} and {given[1]}")
    return int(width), int(height)


def _check_once(file: Path, items: Sequence[Item]) -> None:
    by_path: dict[Path, str] = {}
    for item in items:
        if item.path in by_path:
            names = " and ".join(dict.fromkeys((by_path[item.path], item.name)))
            raise UserError(
                f"{file} has the picture {item.path} twice ({names}): keep one of them, with all annotations"
            )
        by_path[item.path] = item.name
