# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels of footage as a data set on disk, in the form of what ``render`` writes.

Each label also tells of the image that it belongs to and, of its robot, where the label comes from (``source``) and how
far it may be off: see :func:`label_document`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import Intrinsics
from ...core.robot.keypoints import Keypoint, skeleton
from ...core.robot.robot import Robot
from ..datasets.coco_writer import CocoDataSet
from ..datasets.ndds_writer import NddsDataSet
from ..datasets.sample_label import Body
from ..datasets.writer import DataSet, Finished
from .labelling import FrameLabel, LabelledKeypoint
from .recording import Frame, MarkerObservation

FORMATS: dict[str, type[DataSet]] = {"coco": CocoDataSet, "ndds": NddsDataSet}

DESCRIPTION = "Footage labelled by Robot Keypoints"


def open_data_set(folder: Path, form: str, robot: Robot, keypoints: Sequence[Keypoint]) -> DataSet:
    """An empty data set of one robot in an empty folder."""
    data = FORMATS[form](folder, [body_of(robot, keypoints)], masks=False, description=DESCRIPTION)
    data.begin()
    return data


def body_of(robot: Robot, keypoints: Sequence[Keypoint]) -> Body:
    """The robot as data sets know it."""
    index = {k.name: i for i, k in enumerate(keypoints)}
    pairs = tuple((index[a], index[b]) for a, b in skeleton(robot, keypoints))
    return Body(
        "", robot.name, tuple(range(len(keypoints))), tuple(k.name for k in keypoints),
        tuple(k.frame for k in keypoints), tuple(k.offset for k in keypoints), pairs,
    )  # fmt: skip


def write(
    data: DataSet, index: int, label: FrameLabel, frame: Frame, intrinsics: Intrinsics, pixels: NDArray[np.uint8],
    observations: Sequence[MarkerObservation],
) -> None:  # fmt: skip
    """Write one image and its label.

    Raises:
        WriteError: if the disk is full, or the folder can't be written.
    """
    document = label_document(index, label, frame, intrinsics, data.bodies[0].kind, observations)
    data.write(Finished(index, pixels, document))


def label_document(
    index: int, label: FrameLabel, frame: Frame, intrinsics: Intrinsics, kind: str,
    observations: Sequence[MarkerObservation],
) -> dict[str, Any]:  # fmt: skip
    """A label as plain data: what :func:`.sample_label.label` has, and where it comes from.

    That is

    - of the image ``footage``: its ``camera``, ``file``, ``frame`` (of a video, else None) and ``time`` (or None);
    - of the robot ``source`` (``marker``, ``filter``, ``smoother`` or ``model``), ``covariance`` of ``T_cam_base``
      (6 × 6, of its error (ω, v) from the left, radians and metres), ``joint_deviations``, ``keypoint_covariances``
      (2 × 2, pixels²; None where the keypoint isn't seen), and ``quality`` of each marker in the image.
    """
    instance = {
        "robot": "", "kind": kind, "box": _box(label.keypoints, intrinsics), "T_cam_base": label.T_cam_base.tolist(),
        "joints": dict(label.joints), "T_cam_link": {n: t.tolist() for n, t in label.links.items()},
        "keypoints": [_keypoint(k) for k in label.keypoints],
        "source": label.source, "covariance": label.covariance.tolist(), "joint_deviations": dict(label.deviations),
        "keypoint_covariances": [None if k.covariance is None else k.covariance.tolist() for k in label.keypoints],
        "quality": [_quality(o) for o in observations],
    }  # fmt: skip
    return {
        "index": index, "width": intrinsics.width, "height": intrinsics.height,
        "camera_matrix": intrinsics.matrix.tolist(), "distortion": list(intrinsics.distortion),
        "instances": [instance], "hidden": {"bins": {}, "values": {}},
        "footage": {"camera": frame.camera, "file": frame.path.name, "frame": frame.index, "time": frame.time},
    }  # fmt: skip


def _keypoint(keypoint: LabelledKeypoint) -> dict[str, Any]:
    """Inside the image it counts as visible: what covers it isn't known."""
    return {
        "name": keypoint.name, "uv": None if keypoint.uv is None else list(keypoint.uv), "xyz": list(keypoint.xyz),
        "visibility": 2 if keypoint.inside else 0,
    }  # fmt: skip


def _box(keypoints: Sequence[LabelledKeypoint], intrinsics: Intrinsics) -> list[float] | None:
    if not any(k.inside for k in keypoints):
        return None
    return box_of(np.array([k.uv for k in keypoints if k.uv is not None]).reshape(-1, 2), intrinsics)


def box_of(places: NDArray[np.float64], intrinsics: Intrinsics) -> list[float]:
    """Around keypoints ``(N, 2)``, as far as it is in the image: left, top, right, bottom."""
    low = np.maximum(places.min(0), -0.5)
    high = np.minimum(places.max(0), (intrinsics.width - 0.5, intrinsics.height - 0.5))
    return [float(x) for x in (*low, *high)]


def _quality(observation: MarkerObservation) -> Mapping[str, Any]:
    q = observation.quality
    return {
        "marker": observation.marker, "high": q.high, "reasons": list(q.reasons), "share": q.share, "size_px": q.size,
        "edge_px": q.sharpness, "reprojection_px": q.reprojection, "ambiguity": q.ambiguity,
    }  # fmt: skip
