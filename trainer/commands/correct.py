# SPDX-License-Identifier: GPL-3.0-or-later
"""``robot-keypoints correct``: labels of single frames as a person has posed the robot, in a data set of ``label``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core.camera.intrinsics import Intrinsics, transform
from ...core.errors import UserError, one_line
from ...core.input_files import read_json
from ...core.messages import labelled_footage
from ...core.messages.labelled_footage import FootageFrame, LabelledFootage
from ..datasets.writer import DataSet, Finished
from ..footage import label_writer
from ..footage.frame_reader import read_frame

HAND = "hand"

MEND = 'give JSON such as {"frame": 3, "T_cam_base": [[…], …], "joints": {"elbow_joint": 1.2}}'


@dataclass(frozen=True)
class Correction:
    """How the robot stands in a frame.

    Attributes:
        frame: its place in the list of frames.
        T_cam_base: ``(4, 4)``.
        joints: radians or metres.
    """

    frame: int
    T_cam_base: Any
    joints: Mapping[str, float]


def correct(data: Path, file: Path) -> int:
    """Write the label of one frame, in place of the one it has, if any.

    Raises:
        UserError: if the data set isn't of ``label``, the correction is of no use, or something can't be written.
    """
    footage = labelled_footage.load(data)
    given = _correction(file, footage)
    frame = footage.frames[given.frame]
    body = label_writer.body_of(footage.robot, footage.keypoints)
    data_set = label_writer.FORMATS[footage.form](data, [body], masks=False, description=label_writer.DESCRIPTION)
    if frame.label is None:
        index, pixels = max(data_set, default=-1) + 1, read_frame(frame.path, frame.index)
    else:
        index, pixels = frame.label, np.asarray(data_set.read(frame.label)[0])
    camera = footage.cameras[frame.camera]
    if pixels.shape[:2] != (camera.height, camera.width):
        raise UserError(f"{frame.name} has another size than its camera {frame.camera}: label the footage again")
    data_set.write(Finished(index, pixels, _document(index, given, frame, camera, footage, data_set)))
    data_set.finish()
    corrected = replace(
        frame, joints=dict(given.joints), T_cam_base=given.T_cam_base, label=index, source=HAND, deviation=None,
        joint_deviations=None, left_out="", doubts=(),
    )  # fmt: skip
    labelled_footage.save(footage.with_frame(given.frame, corrected), data)
    print(f"{frame.name} has the label {data_set.label_path(index)}", file=sys.stderr)
    print(json.dumps({"frame": given.frame, "label": index}))
    return 0


def _correction(file: Path, footage: LabelledFootage) -> Correction:
    document = read_json(file, MEND)
    try:
        place, pose = document["frame"], np.array(document["T_cam_base"], dtype=np.float64)
        joints = {str(n): float(v) for n, v in document["joints"].items()}
        if type(place) is not int or not 0 <= place < len(footage.frames):
            raise ValueError(f"there is no frame {place!r}")
        if pose.shape != (4, 4) or not np.isfinite([*pose.ravel(), *joints.values()]).all():
            raise ValueError("T_cam_base is not 4×4, or a number isn't finite")
        if not np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-4):
            raise ValueError("T_cam_base is no rigid motion")
        wanted = {j.name for j in footage.robot.moving_joints if not j.fixed}
        if wanted - set(joints) or set(joints) - {j.name for j in footage.robot.moving_joints}:
            raise ValueError(f"joints must be of {', '.join(sorted(wanted))}")
    except (LookupError, TypeError, ValueError, AttributeError) as problem:
        raise UserError(f"{file} is no correction ({one_line(str(problem))}): {MEND}") from problem
    return Correction(place, pose, joints)


def _document(
    index: int, given: Correction, frame: FootageFrame, camera: Intrinsics, footage: LabelledFootage, data_set: DataSet
) -> dict[str, Any]:
    """The label, without the covariances that only an estimate has."""
    frames = footage.robot.link_frames(given.joints)
    body = data_set.bodies[0]
    points = [(frames[f] @ np.array([*o, 1.0]))[:3] for f, o in zip(body.frames, body.offsets, strict=True)]
    xyz = transform(given.T_cam_base, points)
    pixels, _ = camera.project(xyz)
    seen = np.isfinite(pixels).all(1)
    inside = seen & camera.contains(pixels)
    if not inside.any():
        raise UserError(f"No keypoint of the robot is inside {frame.name} as it is posed: pose it over the image")
    instance = {
        "robot": "", "kind": body.kind, "box": label_writer.box_of(pixels[seen], camera),
        "T_cam_base": given.T_cam_base.tolist(), "joints": dict(given.joints),
        "T_cam_link": {n: (given.T_cam_base @ f).tolist() for n, f in frames.items()},
        "keypoints": [
            {"name": name, "uv": uv.tolist() if s else None, "xyz": p.tolist(), "visibility": 2 if i else 0}
            for name, uv, p, s, i in zip(body.keypoints, pixels, xyz, seen, inside, strict=True)
        ],
        "source": HAND,
    }  # fmt: skip
    return {
        "index": index, "width": camera.width, "height": camera.height, "camera_matrix": camera.matrix.tolist(),
        "distortion": list(camera.distortion), "instances": [instance], "hidden": {"bins": {}, "values": {}},
        "footage": {"camera": frame.camera, "file": frame.path.name, "frame": frame.index, "time": frame.time},
    }  # fmt: skip
