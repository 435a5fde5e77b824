# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model server is asked about a robot's pose, and what it answers; plain JSON values underneath."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..camera.intrinsics import Intrinsics
from ..errors import UserError
from .envelope import MessageError
from .samples import MALFORMED

FOCAL = ("fx", "fy", "cx", "cy")
COEFFICIENTS = 5
MOST_ALTERNATIVES = 64


@dataclass(frozen=True)
class PoseRequest:
    """What is known besides the image.

    Attributes:
        camera: fx, fy, cx, cy in pixels of the image that goes along, then k1, k2, p1, p2, k3.
        joints: positions that are known, radians or metres, by the joint's name; the others are solved for.
        deviations: standard deviations of those of them that aren't exact, but starting values and weak evidence.
    """

    camera: tuple[float, ...]
    joints: Mapping[str, float]
    deviations: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        camera: Intrinsics,
        joints: Mapping[str, float] | None = None,
        deviations: Mapping[str, float] | None = None,
    ) -> PoseRequest:
        """The numbers of a camera whose size is that of the image.

        Raises:
            UserError: if a number isn't finite.
        """
        numbers = (camera.fx, camera.fy, camera.cx, camera.cy, *camera.distortion)
        values = {str(name): float(value) for name, value in (joints or {}).items()}
        if not all(map(math.isfinite, numbers)):
            raise UserError("The camera has a number that isn't finite: check its focal length and its lens")
        for name, value in values.items():
            if not math.isfinite(value):
                raise UserError(f"The joint {name} is {value}: give a finite number")
        return cls(tuple(map(float, numbers)), values, dict(deviations or {}))

    def to_dict(self) -> dict[str, Any]:
        """The question as it stands in a request's header under ``pose``."""
        focal = dict(zip(FOCAL, self.camera[:4], strict=True))
        document = {"camera": {**focal, "distortion": list(self.camera[4:])}, "joints": dict(self.joints) or None}
        return document | ({"joints_deviation": dict(self.deviations)} if self.deviations else {})

    @classmethod
    def from_dict(cls, document: Any) -> PoseRequest:
        """Inverse of :meth:`to_dict`; ``distortion``, ``joints`` and ``joints_deviation`` may be missing or null.

        Raises:
            MessageError: if it is malformed.
        """
        if not isinstance(document, dict) or not isinstance(document.get("camera"), dict):
            raise MessageError("the pose is asked for without a camera: give fx, fy, cx, cy and distortion")
        camera, joints = document["camera"], document.get("joints")
        strange = [*(set(document) - {"camera", "joints", "joints_deviation"}), *(set(camera) - {*FOCAL, "distortion"})]
        if strange:
            raise MessageError(f"the pose is asked for with {sorted(strange)[0]!r}, which means nothing")
        bent = camera.get("distortion")
        bent = [0.0] * COEFFICIENTS if bent is None else bent
        if not isinstance(bent, list) or len(bent) != COEFFICIENTS:
            raise MessageError("the camera's distortion is not a list of five numbers k1, k2, p1, p2, k3")
        numbers = [_number(camera.get(n), f"the camera's {n}") for n in FOCAL]
        numbers += [_number(k, "the camera's distortion") for k in bent]
        deviations = document.get("joints_deviation")
        return cls(
            tuple(numbers),
            {} if joints is None else joint_table(joints),
            {} if deviations is None else joint_table(deviations),
        )


@dataclass(frozen=True)
class OutlineFit:
    """How a pose by the robot's outline went, where that was asked for.

    Attributes:
        used: whether the pose goes by it; else by keypoints alone, as the outline wasn't clear enough.
        support: how much of the silhouette has edges of the image on it, 0 … 1; None where too few were found.
        before: the same of the pose by keypoints.
    """

    used: bool
    support: float | None = None
    before: float | None = None

    @classmethod
    def from_dict(cls, document: Any) -> OutlineFit:
        """Read ``outline`` of a pose.

        Raises:
            MessageError: if it is malformed.
        """
        if not isinstance(document, dict) or type(document.get("used")) is not bool:
            raise MessageError("the pose does not say whether it goes by the outline")
        shares = {n: _number(v, f"the outline's {n}") for n, v in document.items() if n != "used"}
        return cls(document["used"], shares.get("support"), shares.get("before"))


@dataclass(frozen=True, eq=False)
class PredictedPose:
    """Where the robot is, or why nothing is known about it.

    Attributes:
        status: ``solved``, or why not: ``hidden``, ``too_few``, ``degenerate`` …
        sentence: says why not; empty for a pose.
        base_in_camera: ``T_cam_base`` ``(4, 4)``, metres; None where there is no pose, like all that follows.
        covariance: ``(6, 6)`` of the small motion (ω, v) of the camera frame by which it may be wrong, rad and m.
        reprojection: root mean square distance, pixels, of keypoints from where the pose has them.
        inliers: names of keypoints that fit.
        joints: positions that were given or found, radians or metres.
        alternatives: ``T_cam_base`` of other poses that fit about as well.
        undetermined: where there is no pose, joints that must be given before there can be one.
        deviations: standard deviations of the joints, where readings with deviations were given; radians or metres.
        outline: how the robot's outline fits, where shapes were given.
    """

    status: str
    sentence: str = ""
    base_in_camera: NDArray[np.float64] | None = None
    covariance: NDArray[np.float64] | None = None
    reprojection: float | None = None
    inliers: tuple[str, ...] = ()
    joints: Mapping[str, float] | None = None
    alternatives: tuple[NDArray[np.float64], ...] = ()
    undetermined: tuple[str, ...] = ()
    deviations: Mapping[str, float] = field(default_factory=dict)
    outline: OutlineFit | None = None

    @classmethod
    def from_dict(cls, document: Any) -> PredictedPose:
        """Read a pose from ``pose`` of an answer or of a published document.

        Raises:
            MessageError: if it is malformed.
        """
        try:
            status = str(document["status"])
            if status != "solved":
                return cls(
                    status,
                    str(document["sentence"]),
                    undetermined=tuple(str(n) for n in document.get("undetermined", ())),
                )
            others = document.get("alternatives") or []
            if not isinstance(others, list) or len(others) > MOST_ALTERNATIVES:
                raise MessageError("the pose has strange alternatives")
            return cls(
                status, "", _matrix(document["T_cam_base"], 4), _matrix(document["covariance"], 6),
                _number(document["reprojection_px"], "the reprojection error"),
                tuple(str(n) for n in document["inliers"]),
                {str(n): _number(v, f"the joint {n}") for n, v in document["joints"].items()},
                tuple(_matrix(m, 4) for m in others),
                deviations=joint_table(document.get("joints_deviation") or {}),
                outline=None if document.get("outline") is None else OutlineFit.from_dict(document["outline"]),
            )  # fmt: skip
        except MALFORMED as problem:
            if isinstance(problem, MessageError):
                raise
            raise MessageError("the pose lacks something") from problem


def joint_table(document: Any) -> dict[str, float]:
    """Positions of joints by their names, radians or metres, as they stand in a message.

    Raises:
        MessageError: if it is malformed.
    """
    if not isinstance(document, dict):
        raise MessageError("the joints are not one table with a number for each name")
    return {n: _number(v, f"the joint {n}") for n, v in document.items()}


def _number(value: Any, what: str) -> float:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        number = float(value) if plain else math.nan
    except OverflowError:
        number = math.nan
    if not math.isfinite(number):
        raise MessageError(f"{what} is {str(value)[:40]}: give a finite number")
    return number


def _matrix(rows: Sequence[Sequence[Any]], size: int) -> NDArray[np.float64]:
    if not isinstance(rows, list) or len(rows) != size or not all(isinstance(r, list) and len(r) == size for r in rows):
        raise MessageError(f"a matrix is not {size} × {size}")
    return np.array([[_number(v, "an entry of a matrix") for v in row] for row in rows])
