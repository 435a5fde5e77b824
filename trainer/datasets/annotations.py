# SPDX-License-Identifier: GPL-3.0-or-later
"""What is annotated in images, whichever file says so."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from ...core.errors import UserError
from ..images import image_file
from ..images.image_file import Photograph

UNKNOWN, OUTSIDE = -1, 0
MEND = "export the annotations again, or choose another file"
FARTHEST = 1e12
"""Pixels; what is seen near the camera's own plane lies far outside its image, but not so far."""

RIGID = 1e-3
"""How far a matrix may be from a rotation."""


@dataclass(frozen=True)
class Annotation:
    """One robot in one image.

    Attributes:
        points: ``{name: (u, v, visibility)}`` in pixels; visibility 0 outside (place without meaning), 1 occluded,
            2 visible. What is not annotated is not in it.
        area: of the robot, pixels²; None where the file does not say.
        robot: number of the robot in its scene, or its name; None where the file does not say.
        pose: ``T_cam_base``, rows of 4 × 4, metres; None where it is not known.
        joints: positions, radians or metres; None where they are not known.
        variances: of the keypoints' places, by name, pixels²: half the trace of the covariance. Without those of which
            nothing is told.
    """

    points: Mapping[str, tuple[float, float, int]]
    area: float | None = None
    robot: int | str | None = None
    pose: tuple[tuple[float, ...], ...] | None = None
    joints: Mapping[str, float] | None = None
    variances: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keypoints lie at places that arithmetic reaches.

        Raises:
            ValueError: if one does not.
        """
        for name, (u, v, _) in self.points.items():
            if max(abs(u), abs(v)) > FARTHEST:
                raise ValueError(f"{name} lies at ({u:g}, {v:g}), which is no place in an image")


@dataclass(frozen=True)
class Item:
    """One image and the robots that are annotated in it.

    Attributes:
        name: as its file calls it.
        width, height: as annotated; 0 where the annotation does not say.
        camera: fx, fy, cx, cy, k1, k2, p1, p2, k3, pixels; None where it is not known.
        taken_by: the camera's name, where the image comes from footage.
    """

    name: str
    path: Path
    width: int
    height: int
    robots: tuple[Annotation, ...]
    camera: tuple[float, ...] | None = None
    taken_by: str | None = None

    def picture(self) -> Photograph:
        """The picture, turned as annotated where the camera noted how it was held.

        Raises:
            UserError: if it can't be read, or has another size than annotated.
        """
        size = (self.width, self.height) if self.width else None
        if not self.path.exists() and _leads_away(self.name):
            raise UserError(
                f"The annotations name {self.name}, and pictures are only read from the annotations' own folder and "
                "those below, where it isn't: put both into one folder"
            )
        image = image_file.read(self.path, size)
        if size not in (None, (image.width, image.height)):
            raise UserError(
                f"{self.path} has {image.width} × {image.height} pixels but was annotated with "
                f"{self.width} × {self.height}: use the picture that was annotated"
            )
        return image


def _leads_away(name: str) -> bool:
    """Whether a picture's name is a path from a root, of this system or another, or one that goes up."""
    return bool(PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or ".." in re.split(r"[/\\]", name))


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


def repeated(values: Sequence[str]) -> str | None:
    """The first that is there twice."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def camera_of(entry: Mapping[str, Any], name: str) -> tuple[float, ...] | None:
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


def taken_by(entry: Mapping[str, Any]) -> str | None:
    """The name of the camera that took an image of footage, if it says so."""
    footage = entry.get("footage")
    return str(footage["camera"]) if isinstance(footage, Mapping) and "camera" in footage else None


def pose_of(
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


def variances_of(entry: Mapping[str, Any], names: Sequence[str], name: str) -> Mapping[str, float]:
    """The keypoints' variances, pixels², as far as a label's ``keypoint_covariances`` tell of them."""
    given = entry.get("keypoint_covariances")
    if given is None:
        return {}
    if not isinstance(given, list) or len(given) != len(names):
        raise ValueError(f"{name} does not have one of its keypoint_covariances for each of {len(names)} keypoints")
    result = {}
    for keypoint, rows in zip(names, given, strict=True):
        if rows is None:
            continue
        matrix = np.array(rows, np.float64)
        if matrix.shape != (2, 2) or not np.isfinite(matrix).all() or matrix.diagonal().min() < 0:
            raise ValueError(f"the covariance of {keypoint} in {name} is none of two coordinates")
        result[keypoint] = float(matrix.trace()) / 2
    return result
