# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model server answers: keypoints, poses, or one sentence why not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import one_line
from .envelope import MessageError, parse, whole_number
from .pose import PredictedPose
from .samples import MALFORMED


@dataclass(frozen=True)
class PredictedKeypoint:
    """One keypoint: pixels of the image that was sent, confidence 0 … 1, covariance ``(2, 2)`` in square pixels."""

    name: str
    u: float
    v: float
    confidence: float
    covariance: tuple[tuple[float, float], tuple[float, float]] | None = None


@dataclass(frozen=True)
class Prediction:
    """The answer to one request; ``skeleton`` links keypoints by name, ``pose`` is there where it was asked for."""

    id: int
    width: int
    height: int
    keypoints: tuple[PredictedKeypoint, ...]
    skeleton: tuple[tuple[str, str], ...]
    milliseconds: float
    pose: PredictedPose | None = None


@dataclass(frozen=True)
class Refusal:
    """The server's reason not to answer, one sentence."""

    id: int
    reason: str


def decode_answer(data: bytes) -> Prediction | Refusal:
    """A server's answer.

    Raises:
        MessageError: if it is malformed.
    """
    header = parse(data)
    try:
        if header["type"] == "refused":
            return Refusal(whole_number(header, "id"), one_line(str(header["reason"])))
        if header["type"] != "prediction":
            raise MessageError(f"an answer of type {header['type']!r}")
        keypoints = tuple(decode_keypoint(k) for k in header["keypoints"])
        skeleton = tuple((str(a), str(b)) for a, b in header["skeleton"])
        return Prediction(
            whole_number(header, "id"), whole_number(header, "width"), whole_number(header, "height"), keypoints,
            skeleton, _finite(header["milliseconds"]),
            None if header.get("pose") is None else PredictedPose.from_dict(header["pose"]),
        )  # fmt: skip
    except MALFORMED as problem:
        if isinstance(problem, MessageError):
            raise
        raise MessageError("the answer lacks something") from problem


def decode_keypoint(k: Mapping[str, Any]) -> PredictedKeypoint:
    """One keypoint as a server writes it.

    Raises:
        MALFORMED: if it is malformed.
    """
    covariance = None
    if k.get("covariance") is not None:
        (a, b), (c, d) = k["covariance"]
        covariance = ((_finite(a), _finite(b)), (_finite(c), _finite(d)))
    return PredictedKeypoint(str(k["name"]), _finite(k["u"]), _finite(k["v"]), _finite(k["confidence"]), covariance)


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise MessageError(f"{value!r} is not finite")
    return number
