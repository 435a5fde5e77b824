# SPDX-License-Identifier: GPL-3.0-or-later
"""The label of one rendering as plain data: what every format of data set is written from.

Pixels (u, v) have the centre of the top-left pixel at (0, 0), as everywhere in this project; a format that counts
differently says so and converts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import Intrinsics, transform
from ...core.messages.samples import Instance, Sample
from ...core.settings.schema import Settings


@dataclass(frozen=True)
class Body:
    """One robot of the scene, with the keypoints that are its own.

    Attributes:
        name: as in the settings; empty for the first robot.
        kind: what sort of robot it is; robots of one kind have the same keypoints.
        places: its keypoints' places among those of the settings.
        keypoints: their names, without the robot's own.
        frames, offsets: what each is fixed to, and where in that frame, metres.
        skeleton: pairs of places among its own keypoints.
    """

    name: str
    kind: str
    places: tuple[int, ...]
    keypoints: tuple[str, ...]
    frames: tuple[str, ...]
    offsets: tuple[tuple[float, float, float], ...]
    skeleton: tuple[tuple[int, int], ...]


def bodies(settings: Settings, kinds: Sequence[str]) -> tuple[Body, ...]:
    """The robots of a scene.

    Args:
        kinds: what each of ``settings.robots`` is called, such as ``ur10``. Where two of the same name have other
            keypoints, the later one's kind gets the robot's own name added.
    """
    result: list[Body] = []
    names = ["", *(r.name for r in settings.others)]
    for name, kind in zip(names, kinds, strict=True):
        places = [i for i, k in enumerate(settings.keypoints) if k.robot == name]
        own = [settings.keypoints[i] for i in places]
        index = {k.name: i for i, k in enumerate(own)}
        body = Body(
            name,
            kind,
            tuple(places),
            tuple(k.name.removeprefix(f"{name}/") if name else k.name for k in own),
            tuple(k.frame for k in own),
            tuple(k.offset for k in own),
            tuple((index[a], index[b]) for a, b in settings.skeleton if a in index and b in index),
        )
        same = [b for b in result if b.kind == kind]
        if any((b.keypoints, b.frames, b.offsets) != (body.keypoints, body.frames, body.offsets) for b in same):
            body = Body(name, f"{kind} {name}", *(getattr(body, f) for f in list(Body.__annotations__)[2:]))
        result.append(body)
    return tuple(result)


def label(sample: Sample, index: int, robots: Sequence[Body]) -> dict[str, Any]:
    """Everything known about one sample except its pixels.

    Returns:
        JSON values: ``index``, ``width``, ``height``, ``camera_matrix`` (3 × 3), ``distortion`` (OpenCV's k1, k2, p1,
        p2, k3), ``hidden`` (``bins`` and ``values`` by variable), and ``instances``, one per robot: ``robot`` (its
        name), ``kind``, ``box`` (left, top, right, bottom or None), ``T_cam_base``, ``joints``, ``T_cam_link`` and
        ``keypoints``; each of these with ``name``, ``uv`` (None behind the camera), ``xyz`` (camera frame, metres) and
        ``visibility`` (0 outside, 1 occluded, 2 visible).
    """
    height, width, _ = sample.image.shape
    known = {i.name: i for i in sample.instances}
    return {
        "index": index,
        "width": width,
        "height": height,
        "camera_matrix": sample.camera_matrix.tolist(),
        "distortion": sample.distortion.tolist(),
        "instances": [_instance(sample, body, known[body.name]) for body in robots],
        "hidden": {"bins": dict(sample.latents.bins), "values": dict(sample.latents.values)},
    }


def _instance(sample: Sample, body: Body, instance: Instance) -> dict[str, Any]:
    points = []
    for place, name, frame, offset in zip(body.places, body.keypoints, body.frames, body.offsets, strict=True):
        u, v = sample.keypoints[place].tolist()
        points.append(
            {
                "name": name,
                "uv": None if math.isnan(u) or math.isnan(v) else [u, v],
                "xyz": _in_camera(sample, place, instance.frames, frame, offset),
                "visibility": int(sample.visibility[place]),
            }
        )
    return {
        "robot": body.name,
        "kind": body.kind,
        "box": None if instance.box is None else list(instance.box),
        "T_cam_base": instance.base_in_camera.tolist(),
        "joints": dict(instance.joints),
        "T_cam_link": {name: frame.tolist() for name, frame in instance.frames.items()},
        "keypoints": points,
    }


def _in_camera(
    sample: Sample, place: int, frames: Mapping[str, NDArray[np.float64]], frame: str, offset: Sequence[float]
) -> list[float] | None:
    """A keypoint in the camera frame. One that hangs on something else than a link is found again from its pixels and
    its depth; None where it has none."""
    if frame in frames:
        return [float(x) for x in transform(frames[frame], [list(offset)])[0]]
    if np.isnan(sample.keypoints[place]).any():
        return None
    height, width, _ = sample.image.shape
    k, (k1, k2, p1, p2, k3) = sample.camera_matrix, sample.distortion.tolist()
    camera = Intrinsics(width, height, k[0, 0], k[1, 1], k[0, 2], k[1, 2], (k1, k2, p1, p2, k3))
    u, v = camera.undistort(sample.keypoints[place])[0]
    return [float(x) for x in np.linalg.inv(k) @ (u, v, 1.0) * sample.depths[place]]


def links(label: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(robot, link) in the order of the values of a mask: value n stands for the entry n - 1."""
    return [(i["robot"], link) for i in label["instances"] for link in i["T_cam_link"]]
