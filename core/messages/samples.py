# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples as they travel from workers to the trainer: a JSON header and raw buffers, nothing that executes.

Whatever does not fit the run's contract exactly raises :class:`MessageError`; the receiver counts and drops it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..scene.scene_model import SceneDraw, SceneModel
from ..step_times import BESIDE, SIMULATION, is_time
from .envelope import MAX_HEADER, SCHEMA, MessageError, array_in, dump, finite, parse, whole_number

MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What comes of taking a JSON value for something that it isn't."""


@dataclass(frozen=True)
class Instance:
    """Everything known about one robot in one image; a scene may hold several of the same kind.

    Attributes:
        name: as in the settings; empty for the first.
        base_in_camera: ``T_cam_base`` ``(4, 4)``.
        joints: positions of its joints, radians or metres.
        frames: ``T_cam_link`` ``(4, 4)`` of every link.
        box: left, top, right, bottom of its visible and occluded parts inside the image, pixels (outer edges); None
            where no part is inside.
    """

    name: str
    base_in_camera: NDArray[np.float64]
    joints: Mapping[str, float]
    frames: Mapping[str, NDArray[np.float64]]
    box: tuple[float, float, float, float] | None


@dataclass(frozen=True)
class Sample:
    """One labelled rendering (x, b*, h).

    Attributes:
        image: RGBA, ``(H, W, 4)`` uint8, straight alpha, display sRGB; alpha 0 is background.
        keypoints: pixels ``(J, 2)``; NaN where a point lies behind the camera, or where the lens does not show it.
        depths: metres along the camera's z, ``(J,)``.
        visibility: 0 outside, 1 occluded, 2 visible, ``(J,)``.
        latents: the variables that produced the image.
        version: version of the prior they were drawn from.
        worker, sequence: who rendered it, and as which of its samples.
        camera_matrix: K ``(3, 3)``, pixels.
        distortion: OpenCV's k1, k2, p1, p2, k3, ``(5,)``.
        base_in_camera: ``T_cam_base`` ``(4, 4)`` of the first robot.
        instances: every robot in full, where the run asks for details.
        mask: ``(H, W)`` uint16, where the run asks for it: 0 for what is no robot, else 1 + the link's place among the
            frames of all instances, one after the other.
        seconds: that the parts of making it took, and of sending the one before: see :mod:`.step_times`; empty where
            the worker does not say.
    """

    image: NDArray[np.uint8]
    keypoints: NDArray[np.float64]
    depths: NDArray[np.float64]
    visibility: NDArray[np.int64]
    latents: SceneDraw
    version: int
    worker: int
    sequence: int
    camera_matrix: NDArray[np.float64]
    base_in_camera: NDArray[np.float64]
    distortion: NDArray[np.float64] = field(default_factory=lambda: np.zeros(5))
    instances: tuple[Instance, ...] = ()
    mask: NDArray[np.uint16] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SampleContract:
    """What every sample of one run must look like.

    Attributes:
        ranges: the least and greatest value of each variable.
        details: whether samples carry their instances.
        masks: whether samples carry a mask.
    """

    run_id: str
    width: int
    height: int
    keypoints: int
    bins: Mapping[str, int]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    details: bool = False
    masks: bool = False

    @classmethod
    def of(
        cls, run_id: str, width: int, height: int, keypoints: int, model: SceneModel, *, details: bool = False,
        masks: bool = False,
    ) -> SampleContract:  # fmt: skip
        """The contract of a run that draws from ``model``."""
        bins = {v.name: v.prior.bins for v in model.variables}
        ranges = {v.name: (v.prior.low, v.prior.high) for v in model.variables}
        return cls(run_id, width, height, keypoints, bins, ranges, details, masks)


def encode_sample(sample: Sample, run_id: str) -> list[bytes | memoryview]:
    """The JSON header, the image's own bytes (not copied), and those of the mask if there is one."""
    height, width, _ = sample.image.shape
    uv = [[None if math.isnan(c) else round(c, 5) for c in p] for p in sample.keypoints.tolist()]
    header = {
        "schema": SCHEMA, "type": "sample", "run": run_id, "worker": sample.worker, "sequence": sample.sequence,
        "version": sample.version, "width": width, "height": height, "keypoints": uv,
        "depths": sample.depths.tolist(), "visibility": sample.visibility.tolist(),
        "bins": dict(sample.latents.bins), "values": dict(sample.latents.values),
        "camera_matrix": sample.camera_matrix.tolist(), "base_in_camera": sample.base_in_camera.tolist(),
        "distortion": sample.distortion.tolist(),
    }  # fmt: skip
    if sample.seconds:
        header["seconds"] = {k: round(v, 6) for k, v in sample.seconds.items()}
    if sample.instances:
        header["instances"] = [_plain_instance(i) for i in sample.instances]
    frames: list[bytes | memoryview] = [dump(header), np.ascontiguousarray(sample.image).data.cast("B")]
    if sample.mask is not None:
        frames.append(np.ascontiguousarray(sample.mask, dtype="<u2").data.cast("B"))
    return frames


def largest_sample(width: int, height: int) -> int:
    """Bytes of a sample with an image of so many pixels, and a mask."""
    return MAX_HEADER + 6 * width * height


def _plain_instance(instance: Instance) -> dict[str, Any]:
    return {
        "name": instance.name, "base_in_camera": instance.base_in_camera.tolist(), "joints": dict(instance.joints),
        "frames": {k: v.tolist() for k, v in instance.frames.items()},
        "box": None if instance.box is None else list(instance.box),
    }  # fmt: skip


def decode_sample(frames: Sequence[bytes | memoryview], contract: SampleContract) -> Sample:
    """Inverse of :func:`encode_sample`; the image is a read-only view of the second frame.

    Raises:
        MessageError: if anything differs from the contract.
    """
    expected = 3 if contract.masks else 2
    if len(frames) != expected:
        raise MessageError(f"a sample has {expected} frames, not {len(frames)}")
    header = parse(frames[0], "sample")
    if header.get("run") != contract.run_id:
        raise MessageError("the sample belongs to another run")
    if (header.get("width"), header.get("height")) != (contract.width, contract.height):
        raise MessageError(f"the image is {header.get('width')} × {header.get('height')} pixels")
    if len(frames[1]) != contract.width * contract.height * 4:
        raise MessageError(f"the image has {len(frames[1])} bytes")
    mask = None
    if contract.masks:
        if len(frames[2]) != contract.width * contract.height * 2:
            raise MessageError(f"the mask has {len(frames[2])} bytes")
        mask = np.frombuffer(frames[2], "<u2").reshape(contract.height, contract.width)
    instances = _instances(header, contract) if contract.details else ()
    if mask is not None and contract.details and int(mask.max()) > sum(len(i.frames) for i in instances):
        raise MessageError(f"the mask names link {int(mask.max())}, which no instance has")
    j = contract.keypoints
    keypoints = array_in(header, "keypoints", (j, 2), missing=True)
    visibility = array_in(header, "visibility", (j,))
    if not {0, 1, 2}.issuperset(visibility.tolist()):
        raise MessageError("a visibility is not 0, 1 or 2")
    inside = keypoints[visibility > 0]
    if not ((inside > -0.51) & (inside < np.array([contract.width, contract.height]) - 0.49)).all():
        raise MessageError("a keypoint inside the image has no position there")
    bins, values = header.get("bins"), header.get("values")
    if not isinstance(bins, dict) or not isinstance(values, dict):
        raise MessageError("the latent values are not tables")
    if bins.keys() != contract.bins.keys() or values.keys() != contract.bins.keys():
        raise MessageError("the latent values are not those of this run")
    for name, count in contract.bins.items():
        if type(bins[name]) is not int or not 0 <= bins[name] < count:
            raise MessageError(f"{name} has no bin {bins[name]!r}")
        if not finite(values[name]):
            raise MessageError(f"{name} has the value {values[name]!r}")
        low, high = contract.ranges.get(name, (-math.inf, math.inf))
        if not low <= values[name] <= high:
            raise MessageError(f"{name} has the value {values[name]!r}, outside {low} … {high}")
    return Sample(
        image=np.frombuffer(frames[1], np.uint8).reshape(contract.height, contract.width, 4),
        keypoints=keypoints,
        depths=array_in(header, "depths", (j,)),
        visibility=visibility.astype(np.int64),
        latents=SceneDraw(bins, {k: float(v) for k, v in values.items()}),
        version=whole_number(header, "version"),
        worker=whole_number(header, "worker"),
        sequence=whole_number(header, "sequence"),
        camera_matrix=array_in(header, "camera_matrix", (3, 3)),
        base_in_camera=array_in(header, "base_in_camera", (4, 4)),
        distortion=array_in(header, "distortion", (5,)),
        instances=instances,
        mask=mask,
        seconds=_seconds(header.get("seconds", {})),
    )


def _seconds(table: Any) -> dict[str, float]:
    """Those that this version knows; a later one may tell more."""
    if not isinstance(table, dict):
        raise MessageError("the seconds are not a table")
    known = {name: table[name] for name in (*SIMULATION, *BESIDE) if name in table}
    for name, value in known.items():
        if not is_time(value):
            raise MessageError(f"{name} took {value!r} seconds")
    return {name: float(value) for name, value in known.items()}


def _instances(header: Mapping[str, Any], contract: SampleContract) -> tuple[Instance, ...]:
    entries = header.get("instances")
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        raise MessageError("the sample has no instances")
    result: dict[str, Instance] = {}
    for e in entries:
        name, joints, frames = (e.get(k) for k in ("name", "joints", "frames"))
        if not isinstance(name, str) or not isinstance(joints, dict) or not isinstance(frames, dict):
            raise MessageError("an instance has no name, joints or frames")
        if name in result:
            raise MessageError(f"two instances are called {name!r}")
        if not all(finite(q) for q in joints.values()):
            raise MessageError(f"a joint of instance {name!r} has no finite position")
        result[name] = Instance(
            name,
            array_in(e, "base_in_camera", (4, 4)),
            {k: float(v) for k, v in joints.items()},
            {k: array_in(frames, k, (4, 4)) for k in frames},
            _box(e, contract),
        )
    return tuple(result.values())


def _box(entry: Mapping[str, Any], contract: SampleContract) -> tuple[float, float, float, float] | None:
    if entry.get("box") is None:
        return None
    left, top, right, bottom = array_in(entry, "box", (4,)).tolist()
    inside = left > -0.51 and top > -0.51 and right < contract.width - 0.49 and bottom < contract.height - 0.49
    if not (left <= right and top <= bottom and inside):
        raise MessageError(f"a box is {left:g}, {top:g}, {right:g}, {bottom:g}")
    return left, top, right, bottom
