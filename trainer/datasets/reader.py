# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads annotated images, rendered here or photographed anywhere: COCO keypoints and NDDS.

- **COCO**: ``annotations.json`` in the folder, or the only such ``.json`` there or in ``annotations/``, or the file
  itself. The names of the keypoints come from its ``categories``. Pictures are looked for by ``file_name`` in the
  folder, in its ``images/``, and where that name is found once in the folders below, so that exports of CVAT, Label
  Studio, Roboflow and COCO Annotator can be given as they are.
- **NDDS** (also DREAM's photographs): ``NAME.json`` with ``objects[].keypoints[]`` (``name``, ``projected_location``)
  beside ``NAME.rgb.png``, ``.rgb.jpg``, ``.png`` or ``.jpg``. Its pixels count from the top-left corner of the image,
  so they are half a pixel less here. A keypoint is outside the image if its place is; what does not tell whether it
  is occluded counts as visible.

Where the robots' poses are known, as in data sets of ours, they are read as well: the camera (``camera_matrix`` and
``distortion``) of each image, ``T_cam_base`` and ``joints`` of each robot.

A keypoint of visibility 0 is outside the image in COCO files that were rendered here, but only not annotated in those
of others, who use 0 for both.
"""

from __future__ import annotations

import os
from pathlib import Path

from ...core.errors import UserError
from ...core.input_files import read_json
from .annotations import MEND, Annotated
from .coco_reader import may_be_coco, read_coco, tool_of
from .ndds_reader import is_ndds, read_ndds

FOLDER = "annotations"
"""Beside the pictures' folder, in COCO's and CVAT's layout."""

GLANCED = 20
"""Files that are looked at to tell which tool wrote them."""


def read(source: Path) -> Annotated:
    """A folder of annotated images, or a COCO file.

    Raises:
        UserError: if there are no annotations, or they can't be read.
    """
    if not source.is_dir():
        if not source.exists():
            raise UserError(f"There is no folder {source}: choose one with annotated images")
        return read_coco(source, source.parent.parent if source.parent.name == FOLDER else source.parent)
    coco = _coco_file(source)
    if coco is not None:
        return read_coco(coco, source)
    found = sorted(_json_below(source))
    labels = [p for p in found if not p.name.startswith("_") and is_ndds(p)]
    if labels:
        return read_ndds(source, labels)
    raise UserError(_nothing(source, found))


def _coco_file(folder: Path) -> Path | None:
    named = folder / "annotations.json"
    if named.is_file():
        return named
    for place in (folder, folder / FOLDER):
        found = [p for p in _json_in(place) if may_be_coco(p)]
        if len(found) > 1:
            several = ", ".join(p.name for p in found[:3])
            raise UserError(
                f"{place} holds several COCO files ({several}): give the one to compare with as --data FILE, "
                "or all of them as --raters"
            )
        if found:
            return found[0]
    return None


def _json_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*.json") if not p.name.startswith(".") and p.is_file())


def _json_below(folder: Path) -> list[Path]:
    result = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".")]
        paths = (Path(parent, n) for n in names if n.endswith(".json") and not n.startswith("."))
        result += [p for p in paths if p.is_file()]
    return result


def _nothing(source: Path, found: list[Path]) -> str:
    """Why a folder's annotations can't be read, and what to do."""
    below = next((p for p in found[:GLANCED] if may_be_coco(p)), None)
    if below is not None:
        return f"{source} has COCO annotations in a folder below, {below}: give that folder or file"
    for path in found[:GLANCED]:
        try:
            tool = tool_of(read_json(path, MEND))
        except UserError:  # not what is looked for
            continue
        if tool is not None:
            return f"{path} is {tool}'s own form: export the annotations as COCO keypoints"
    if any(source.glob("*.slp")):
        return f"{source} has SLEAP's own form: export the annotations as COCO keypoints"
    return f"There are no annotations in {source}: it needs COCO's annotations.json, or NDDS's .json beside each image"
