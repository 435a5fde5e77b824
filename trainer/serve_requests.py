# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to a model server and their answers: an image comes, keypoints go, and a pose where the camera is known."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..core.errors import UserError
from ..core.messages import MAX_IMAGE, MessageError, encode_request, parse
from ..core.pose_messages import PoseRequest, joint_table
from .checkpoint import ModelInfo
from .pose_command import PlacedRobot, PoseFinder
from .prediction import Predictor

CHANNELS = {"rgb": 3, "rgba": 4}
LARGEST_SIDE = 16384


@dataclass(frozen=True)
class Predicted:
    """What was found in an image, as plain JSON values.

    Attributes:
        camera: fx, fy, cx, cy, k1, k2, p1, p2, k3 in pixels, where they were told.
        pose: as :meth:`.PoseFinder.find` gives it, where the camera was told.
        milliseconds: that finding took.
    """

    width: int
    height: int
    keypoints: list[dict[str, Any]]
    camera: tuple[float, ...] | None
    pose: dict[str, Any] | None
    milliseconds: float

    def camera_document(self) -> dict[str, Any] | None:
        """The camera as a request has it."""
        return None if self.camera is None else PoseRequest(self.camera, {}).to_dict()["camera"]


class Poses:
    """Solves the poses that are asked for; the robot is read once.

    Attributes:
        source: what solves the poses of the server's own source, where its camera is known.

    Args:
        urdf: the robot, where the model doesn't bring it.

    Raises:
        UserError: if ``urdf`` is given and can't be used. A model without a robot only fails those who ask for a pose.
    """

    def __init__(self, info: ModelInfo, urdf: Path | None = None) -> None:
        self.source: PoseFinder | None = None
        self._info = info
        self._placed = None if urdf is None else PlacedRobot.of(info, urdf)

    @property
    def name(self) -> str | None:
        """The robot's name, where one is known."""
        if self._placed is not None:
            return self._placed.robot.name
        robot = self._info.robot
        return str(robot["name"]) if robot is not None and robot.get("name") else None

    def tell(self, joints: Mapping[str, float]) -> None:
        """From now on these joints of the robot before the source's camera are known, and no others.

        Raises:
            UserError: if there is no such camera, or a joint or a number is of no use.
        """
        if self.source is None:
            raise UserError("The server has no source whose camera it knows: start it with --source and --camera")
        self.source = replace(self.finder(PoseRequest(self.source.numbers, joints)), option=self.source.option)

    def finder(self, request: PoseRequest) -> PoseFinder:
        """What solves poses as ``request`` says.

        Raises:
            UserError: if there is no robot, or a joint or a number is of no use.
        """
        if self._placed is None:
            self._placed = PlacedRobot.of(self._info)
        return PoseFinder.of_numbers(self._placed, request.camera, request.joints)


def find(predictor: Predictor, image: NDArray[np.uint8], finder: PoseFinder | None) -> Predicted:
    """Keypoints, and with a ``finder`` the pose, in an image ``(H, W, 3 or 4)``."""
    begin = time.perf_counter()
    found = predictor.predict([image])[0]
    pose = None if finder is None else finder.find(found)
    milliseconds = 1000 * (time.perf_counter() - begin)
    height, width = image.shape[:2]
    camera = None if finder is None else finder.numbers
    return Predicted(width, height, [k.to_dict() for k in found], camera, pose, milliseconds)


def answer(predictor: Predictor, frames: Sequence[bytes], poses: Poses) -> tuple[bytes, Predicted | None]:
    """The answer to one request ``[identity, b"", header, image]``: a prediction, or why there is none.

    A header's ``pose`` is what :class:`.PoseRequest` says; the answer then has ``pose`` as well. A request of type
    ``joints`` has no image and tells :meth:`Poses.tell`; it is ``noted``.

    Returns:
        the message, and what was predicted if something was.
    """
    number: int | None = None
    try:
        header = parse(frames[2])
        number = header.get("id") if type(header.get("id")) is int else None
        if header["type"] == "joints" and number is not None and len(frames) == 3:
            poses.tell(joint_table(header.get("joints")))
            return encode_request("noted", id=number), None
        if header["type"] != "predict" or number is None or len(frames) != 4:
            raise MessageError("the request is not one for a prediction")
        finder = None if header.get("pose") is None else poses.finder(PoseRequest.from_dict(header["pose"]))
        found = find(predictor, decode_image(header, frames[3]), finder)
    except (MessageError, UserError) as problem:
        return encode_request("refused", id=number, reason=str(problem)), None
    pose = {} if found.pose is None else {"pose": found.pose}
    try:
        return encode_request(
            "prediction", id=number, width=found.width, height=found.height, keypoints=found.keypoints,
            skeleton=[list(edge) for edge in predictor.info.skeleton], milliseconds=found.milliseconds, **pose,
        ), found  # fmt: skip
    except ValueError:
        reason = "the model gave something that is no number: train it anew"
        return encode_request("refused", id=number, reason=reason), None


def decode_image(header: dict[str, Any], data: bytes) -> NDArray[np.uint8]:
    """Raw pixels, or an image file in memory.

    Raises:
        MessageError: if it is neither.
    """
    encoding = header.get("encoding")
    if encoding == "file":
        return _decode_file(data)
    width, height = header.get("width"), header.get("height")
    if encoding not in CHANNELS:
        raise MessageError(f"there is no encoding {encoding!r}")
    if type(width) is not int or type(height) is not int:
        raise MessageError("the image has no size")
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
        raise MessageError(f"the image has {width} × {height} pixels")
    channels = CHANNELS[encoding]
    if len(data) != width * height * channels:
        raise MessageError(f"the image has {len(data)} bytes, not {width * height * channels}")
    return np.frombuffer(data, np.uint8).reshape(height, width, channels)


def _decode_file(data: bytes) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            # Sizes are known before anything is unpacked.
            if image.width > LARGEST_SIDE or image.height > LARGEST_SIDE or 4 * image.width * image.height > MAX_IMAGE:
                raise MessageError(f"the image has {image.width} × {image.height} pixels")
            has_alpha = "A" in image.getbands() or "transparency" in image.info
            return np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
    except MessageError:
        raise
    except Exception as problem:  # a foreign file can break any decoder in its own way
        raise MessageError("the file is not an image that can be read") from problem
