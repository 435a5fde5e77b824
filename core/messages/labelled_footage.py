# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each frame of a recording: a file beside the data set that ``label`` writes, and that Blender reads.

A data set has labelled images only; this has all frames, in the order of time, with the reasons of those left out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import files
from ..camera.intrinsics import Intrinsics
from ..errors import UserError, one_line
from ..input_files import read_json
from ..robot.keypoints import Keypoint
from ..robot.robot import Robot

FRAMES = "frames.json"
VERSION = 1

MEND = "choose the folder of a data set that label has written"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FootageFrame:
    """One image.

    Attributes:
        camera: its name.
        path: the image's file, or the video.
        index: number of the frame in a video, from 0; None of an image file.
        time: seconds on the camera's clock; None where there are none.
        joints: radians or metres by the joint's name: corrected where the frame is labelled, else as logged; None
            where nobody knows.
        T_cam_base: ``(4, 4)``; None where the frame isn't labelled.
        label: number of the sample in the data set; None where the frame isn't labelled.
        source: ``marker``, ``filter``, ``smoother``, ``model``, or ``hand`` where a person has posed the robot; empty
            where the frame isn't labelled.
        deviation: the largest standard deviation of a keypoint inside the image, pixels; None where it isn't known.
        joint_deviations: standard deviations of ``joints``; empty where they aren't known.
        left_out: why the frame isn't labelled, a sentence; empty where it is.
        doubts: why its own marker isn't relied on, sentences.
    """

    camera: str
    path: Path
    index: int | None = None
    time: float | None = None
    joints: Mapping[str, float] | None = None
    T_cam_base: Floats | None = None
    label: int | None = None
    source: str = ""
    deviation: float | None = None
    joint_deviations: Mapping[str, float] | None = None
    left_out: str = ""
    doubts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How reports call it: the file's name, of a video with the frame's number."""
        return self.path.name if self.index is None else f"{self.path.name}#{self.index}"


@dataclass(frozen=True)
class LabelledFootage:
    """A recording and its labels.

    Attributes:
        keypoints: that are labelled.
        form: of the data set, ``coco`` or ``ndds``.
        cameras: their intrinsics by name.
    """

    robot: Robot
    keypoints: tuple[Keypoint, ...]
    form: str
    cameras: Mapping[str, Intrinsics]
    frames: tuple[FootageFrame, ...]

    def of_camera(self, camera: str) -> tuple[FootageFrame, ...]:
        """The frames that one camera took, in the order of time."""
        return tuple(f for f in self.frames if f.camera == camera)

    def with_frame(self, place: int, frame: FootageFrame) -> LabelledFootage:
        """The same with another frame in one's place."""
        return replace(self, frames=(*self.frames[:place], frame, *self.frames[place + 1 :]))


def save(footage: LabelledFootage, folder: Path, home: Path | None = None) -> None:
    """Write :data:`FRAMES` into the folder of a data set.

    Args:
        home: where that folder will be, if not here: paths of images are told from there.

    Raises:
        WriteError: if it can't be written.
    """
    files.write_json(folder / FRAMES, _document(footage, home or folder))


def load(folder: Path) -> LabelledFootage:
    """Read :data:`FRAMES` from the folder of a data set.

    Raises:
        UserError: if it is not there, or damaged.
    """
    path = folder / FRAMES
    if not path.is_file():
        raise UserError(f"There is no {path}: {MEND}")
    document = read_json(path, MEND)
    try:
        return _footage(document, folder)
    except (LookupError, TypeError, ValueError, AttributeError) as problem:
        raise UserError(f"{path} is damaged ({one_line(str(problem))}): {MEND}") from problem


def _document(footage: LabelledFootage, home: Path) -> dict[str, Any]:
    return {
        "version": VERSION,
        "format": footage.form,
        "robot": footage.robot.to_dict(),
        "keypoints": [{"name": k.name, "frame": k.frame, "offset": list(k.offset)} for k in footage.keypoints],
        "cameras": {
            name: {
                "width": k.width, "height": k.height, "camera_matrix": k.matrix.tolist(),
                "distortion": list(k.distortion),
            }
            for name, k in footage.cameras.items()
        },
        "frames": [
            {
                "camera": f.camera, "path": _relative(f.path, home), "index": f.index, "time": f.time,
                "joints": None if f.joints is None else dict(f.joints),
                "T_cam_base": None if f.T_cam_base is None else f.T_cam_base.tolist(),
                "label": f.label, "source": f.source, "deviation_px": f.deviation,
                "joint_deviations": None if f.joint_deviations is None else dict(f.joint_deviations),
                "left_out": f.left_out, "doubts": list(f.doubts),
            }
            for f in footage.frames
        ],
    }  # fmt: skip


def _relative(path: Path, home: Path) -> str:
    """From the data set, so that both may be moved together; whole where they lie on different drives."""
    try:
        return Path(os.path.relpath(path.absolute(), home.absolute())).as_posix()
    except ValueError:
        return str(path.absolute())


def _footage(document: Mapping[str, Any], folder: Path) -> LabelledFootage:
    if document["version"] != VERSION:
        raise ValueError(f"version {document['version']} instead of {VERSION}")
    if document["format"] not in ("coco", "ndds"):
        raise ValueError(f"format {document['format']!r}")
    robot = Robot.from_dict(document["robot"])
    cameras = {str(name): _camera(entry) for name, entry in document["cameras"].items()}
    known = {j.name for j in robot.moving_joints}
    keypoints = tuple(_keypoint(entry, robot) for entry in document["keypoints"])
    frames = tuple(_frame(entry, folder, cameras, known) for entry in document["frames"])
    return LabelledFootage(robot, keypoints, document["format"], cameras, frames)


def _keypoint(entry: Mapping[str, Any], robot: Robot) -> Keypoint:
    if entry["frame"] not in robot.links:
        raise ValueError(f"no link {entry['frame']!r}")
    x, y, z = _array(entry["offset"], (3,)).tolist()
    return Keypoint(str(entry["name"]), entry["frame"], (x, y, z))


def _camera(entry: Mapping[str, Any]) -> Intrinsics:
    matrix, distortion = _array(entry["camera_matrix"], (3, 3)), _array(entry["distortion"], (5,))
    width, height = int(entry["width"]), int(entry["height"])
    fx, fy = float(matrix[0, 0]), float(matrix[1, 1])
    if min(width, height) < 1 or min(fx, fy) <= 0:
        raise ValueError("a camera without size or focal length")
    k1, k2, p1, p2, k3 = distortion.tolist()
    return Intrinsics(width, height, fx, fy, float(matrix[0, 2]), float(matrix[1, 2]), (k1, k2, p1, p2, k3))


def _frame(entry: Mapping[str, Any], folder: Path, cameras: Mapping[str, Any], known: set[str]) -> FootageFrame:
    if entry["camera"] not in cameras:
        raise ValueError(f"no camera {entry['camera']!r}")
    pose, index, label = entry["T_cam_base"], entry["index"], entry["label"]
    for number in (index, label):
        if number is not None and not (type(number) is int and 0 <= number < 1 << 31):
            raise ValueError(f"frame number {number!r}")
    return FootageFrame(
        entry["camera"], Path(os.path.normpath(folder.absolute() / str(entry["path"]))), index,
        _number(entry["time"]), _numbers(entry["joints"], known), None if pose is None else _array(pose, (4, 4)), label,
        str(entry["source"]), _number(entry["deviation_px"]), _numbers(entry["joint_deviations"], known),
        one_line(str(entry["left_out"])), tuple(one_line(str(d)) for d in entry["doubts"]),
    )  # fmt: skip


def _numbers(value: Any, known: set[str]) -> dict[str, float] | None:
    if value is None:
        return None
    if set(value) - known:
        raise ValueError(f"no joint {next(iter(set(value) - known))!r}")
    return dict(zip(value, _array(list(value.values()), (len(value),)).tolist(), strict=True))


def _number(value: Any) -> float | None:
    return None if value is None else float(_array([value], (1,))[0])


def _array(value: Any, shape: Sequence[int]) -> Floats:
    array = np.array(value, dtype=np.float64)
    if array.shape != tuple(shape) or not np.isfinite(array).all():
        raise ValueError(f"not {'×'.join(map(str, shape))} finite numbers")
    return array
