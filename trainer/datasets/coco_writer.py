# SPDX-License-Identifier: GPL-3.0-or-later
"""Data sets as COCO keypoints: ``images/``, ``annotations.json``, and the whole label of each image in ``labels/``.

COCO counts keypoints by pixel (a keypoint in the middle of the top-left pixel is at (0, 0), as in this project) but
boxes from the image's top-left corner, which is (-0.5, -0.5) here. So keypoints are written as they are, and boxes
half a pixel further right and down. A keypoint outside the image has the visibility 0 and, as COCO wants it, the place
(0, 0); where it really is stands in ``labels/``.

What a label tells of footage (``footage`` of an image; ``source``, covariances and ``quality`` of an annotation) is
passed on as it is.

There is one annotation per robot that is at least partly inside the image. ``area`` is the number of its visible
pixels where masks are asked for, and else the area of its box.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...core import files
from .sample_label import Body, links
from .writer import DataSet, Finished, write_png

SIGMA = 0.05
"""What a keypoint's error is measured by in OKS, for every keypoint: COCO's own range from 0.025 to 0.107."""

EVIDENCE = ("source", "covariance", "joint_deviations", "keypoint_covariances", "quality")
"""What labels of footage tell of where they come from."""


class CocoDataSet(DataSet):
    """A data set in the format of COCO; see the module."""

    format = "coco"

    def image_path(self, index: int) -> Path:
        return self.folder / "images" / f"{index:06d}.png"

    def label_path(self, index: int) -> Path:
        return self.folder / "labels" / f"{index:06d}.json"

    def mask_path(self, index: int) -> Path:
        """Where the picture of the links is: 16 bits, 0 for what is no robot, else a number from ``links``."""
        return self.folder / "masks" / f"{index:06d}.png"

    def begin(self) -> None:
        for name in ("images", "labels", *(["masks"] if self.masks else [])):
            (self.folder / name).mkdir(exist_ok=True)

    def write_mask(self, sample: Finished, mask: NDArray[np.uint16]) -> None:
        write_png(self.mask_path(sample.index), mask)

    def document(self, sample: Finished) -> Any:
        return dict(sample.label)

    def label(self, document: Any) -> dict[str, Any]:
        return dict(document)

    def finish(self) -> None:
        categories = _categories(self.bodies)
        ids = {c["name"]: c["id"] for c in categories}
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        named: list[tuple[str, str]] = []
        for index in self:
            label = self.read_label(index)
            mask = None
            if self.masks:
                with Image.open(self.mask_path(index)) as file:
                    mask = np.asarray(file, np.uint16)
            named = named or links(label)
            images.append(_image(label))
            for entry in _annotations(label, self.bodies, mask, ids):
                annotations.append({"id": len(annotations) + 1, **entry})
        info: dict[str, Any] = {
            "description": self.description,
            "version": "1.0",
            "conventions": "keypoints: the centre of the top-left pixel is (0, 0); boxes: the top-left corner of the "
            "image is (0, 0); camera frame: x right, y down, z forward; metres, radians",
        }  # fmt: skip
        if self.masks:
            info["links"] = [{"value": n + 1, "robot": r, "link": k} for n, (r, k) in enumerate(named)]
        document = {
            "info": info, "licenses": [], "images": images, "annotations": annotations, "categories": categories,
        }  # fmt: skip
        text = json.dumps(document, allow_nan=False, separators=(",", ":"))
        files.write_text(self.folder / "annotations.json", text + "\n")


def _categories(bodies: Sequence[Body]) -> list[dict[str, Any]]:
    kinds = {body.kind: body for body in reversed(bodies)}
    return [
        {
            "id": number + 1, "name": body.kind, "supercategory": "robot", "keypoints": list(body.keypoints),
            "skeleton": [[a + 1, b + 1] for a, b in body.skeleton], "sigmas": [SIGMA] * len(body.keypoints),
        }
        for number, body in enumerate(sorted(kinds.values(), key=bodies.index))
    ]  # fmt: skip


def _image(label: Mapping[str, Any]) -> dict[str, Any]:
    index = label["index"]
    return {
        "id": index + 1, "file_name": f"images/{index:06d}.png", "width": label["width"], "height": label["height"],
        "camera_matrix": label["camera_matrix"], "distortion": label["distortion"], "hidden": label["hidden"],
        **({"footage": label["footage"]} if "footage" in label else {}),
    }  # fmt: skip


def _annotations(
    label: Mapping[str, Any], bodies: Sequence[Body], mask: NDArray[np.uint16] | None, ids: Mapping[str, int]
) -> list[dict[str, Any]]:
    """One annotation per robot inside the image, without its id."""
    result = []
    names = links(label)
    for place, (instance, body) in enumerate(zip(label["instances"], bodies, strict=True)):
        if instance["box"] is None:
            continue
        left, top, right, bottom = instance["box"]
        keypoints: list[float] = []
        for k in instance["keypoints"]:
            seen = k["visibility"]
            keypoints += [*k["uv"], seen] if seen else [0, 0, 0]
        entry = {
            "image_id": label["index"] + 1, "category_id": ids[body.kind], "iscrowd": 0, "instance": place,
            "keypoints": keypoints, "num_keypoints": sum(v > 0 for v in keypoints[2::3]),
            "bbox": [left + 0.5, top + 0.5, right - left, bottom - top], "area": (right - left) * (bottom - top),
            "T_cam_base": instance["T_cam_base"], "joints": instance["joints"],
            **{name: instance[name] for name in EVIDENCE if name in instance},
        }  # fmt: skip
        if mask is not None:
            values = [n + 1 for n, (robot, _) in enumerate(names) if robot == body.name]
            own = np.isin(mask, values)
            entry["area"] = int(own.sum())
            entry["segmentation"] = run_lengths(own)
        result.append(entry)
    return result


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """COCO's uncompressed run-length encoding: lengths of runs down the columns, the first one of zeros."""
    flat = mask.flatten(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat.size and flat[0] else counts}
