# SPDX-License-Identifier: GPL-3.0-or-later
"""Data sets as NDDS [To2018], in the form that DREAM [Lee2020] reads: ``000000.rgb.png`` and ``000000.json`` side
by side.

What DREAM looks for, by its loader and its authors' description of the fields:

- labels are the ``.json`` files whose names begin with a digit; the picture of one has its name and ``.rgb.png``;
- ``objects[]``: ``class`` (the robot, which its configuration names), ``location`` of the base, and ``keypoints[]``
  with ``name``, ``location`` and ``projected_location``;
- ``sim_state.joints[]``: ``name`` and ``position``;
- ``_camera_settings.json``: one camera for all images, with ``intrinsic_settings`` (fx, fy, cx, cy) and
  ``captured_image_size``; ``_object_settings.json`` lists the classes.

Places are metres in the camera frame (x right, y down, z forward). Pixels are counted from the image's top-left
corner, as NDDS does, whose centred camera has cx = width / 2; so they are half a pixel more than elsewhere in this
project. A keypoint behind the camera gets DREAM's own mark for "not found", -999.999.

DREAM knows one camera without distortion. Where the camera varies from image to image, ``_camera_settings.json`` holds
the mean and each label its own camera under ``camera_data``. Everything else that is known stands in each label under
``robot_keypoints``, in this project's own conventions. ``manipulator.yaml`` is the robot as DREAM's training wants it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core import files
from .sample_label import links
from .writer import DataSet, Finished, write_png

NOT_FOUND = -999.999
CORNER = 0.5
"""Added to this project's pixels to count them from the top-left corner."""


class NddsDataSet(DataSet):
    """A data set in the format of NDDS; see the module."""

    format = "ndds"

    def image_path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.rgb.png"

    def label_path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.json"

    def begin(self) -> None:
        pass

    def write_mask(self, sample: Finished, mask: NDArray[np.uint16]) -> None:
        """``.cs.png`` holds the class of the robot at each pixel, ``.links.png`` the link (16 bits)."""
        classes = np.zeros(mask.shape, np.uint8)
        for n, (robot, _) in enumerate(links(sample.label)):
            body = next(b for b in self.bodies if b.name == robot)
            classes[mask == n + 1] = self._class_ids()[body.kind]
        write_png(self.folder / f"{sample.index:06d}.cs.png", classes)
        write_png(self.folder / f"{sample.index:06d}.links.png", mask)

    def document(self, sample: Finished) -> Any:
        label = sample.label
        return {
            "camera_data": {
                "width": label["width"], "height": label["height"],
                "intrinsics": _intrinsics(np.asarray(label["camera_matrix"])), "distortion": label["distortion"],
            },
            "objects": [_object(instance) for instance in label["instances"]],
            "sim_state": {
                "joints": [
                    {"name": f"{i['robot']}/{name}" if i["robot"] else name, "position": position}
                    for i in label["instances"]
                    for name, position in i["joints"].items()
                ]
            },
            "robot_keypoints": dict(label),
        }  # fmt: skip

    def label(self, document: Any) -> dict[str, Any]:
        return dict(document["robot_keypoints"])

    def finish(self) -> None:
        total, count, size = np.zeros((3, 3)), 0, (0, 0)
        for index in self:
            label = self.read_label(index)
            total += np.asarray(label["camera_matrix"])
            count += 1
            size = (label["width"], label["height"])
        if not count:
            return
        width, height = size
        camera = _intrinsics(total / count)
        resolution = {"width": width, "height": height}
        hfov = math.degrees(2 * math.atan(width / 2 / camera["fx"]))
        intrinsics = {"resX": width, "resY": height, **camera, "s": 0, "hfov": hfov, "resolution": resolution}
        settings = {"id": "", "name": "", "intrinsic_settings": intrinsics, "captured_image_size": resolution}
        files.write_json(self.folder / "_camera_settings.json", {"camera_settings": [settings]})
        kinds = {body.kind: body for body in reversed(self.bodies)}
        objects = [
            {"class": kind, "segmentation_class_id": number, "keypoints": list(kinds[kind].keypoints)}
            for kind, number in self._class_ids().items()
        ]
        classes = {"exported_object_classes": list(self._class_ids()), "exported_objects": objects}
        files.write_json(self.folder / "_object_settings.json", classes)
        files.write_json(self.folder / "manipulator.yaml", {"manipulator": self._manipulator()})

    def _class_ids(self) -> dict[str, int]:
        return {kind: number + 1 for number, kind in enumerate(dict.fromkeys(b.kind for b in self.bodies))}

    def _manipulator(self) -> dict[str, Any]:
        """The first robot for DREAM's ``train_network.py -m``; JSON is YAML, too."""
        body = self.bodies[0]
        keypoints = [
            {"name": name, "friendly_name": name, "ros_frame": frame}
            for name, frame in zip(body.keypoints, body.frames, strict=True)
        ]
        return {"name": body.kind, "keypoints": keypoints}


def _object(instance: Mapping[str, Any]) -> dict[str, Any]:
    inside = [k["visibility"] for k in instance["keypoints"] if k["visibility"] > 0]
    return {
        "class": instance["kind"],
        "name": instance["robot"],
        # Of the keypoints inside the image, the share that nothing hides; DREAM itself does not use it.
        "visibility": sum(v == 2 for v in inside) / len(inside) if inside else 0,
        "location": [row[3] for row in instance["T_cam_base"][:3]],
        "keypoints": [_keypoint(k) for k in instance["keypoints"]],
    }


def _keypoint(keypoint: Mapping[str, Any]) -> dict[str, Any]:
    uv = keypoint["uv"]
    return {
        "name": keypoint["name"],
        "location": keypoint["xyz"] or [NOT_FOUND] * 3,
        "projected_location": [NOT_FOUND, NOT_FOUND] if uv is None else [uv[0] + CORNER, uv[1] + CORNER],
        "visibility": keypoint["visibility"],
    }


def _intrinsics(matrix: NDArray[np.float64]) -> dict[str, float]:
    (fx, _, cx), (_, fy, cy), _ = matrix.tolist()
    return {"fx": fx, "fy": fy, "cx": cx + CORNER, "cy": cy + CORNER}
