# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to a model server and their answers: an image comes, keypoints go, and a pose where the camera is known."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import UserError
from ...core.messages.envelope import MessageError, encode_request, parse
from ...core.messages.pose import PoseRequest, joint_table
from ...core.messages.robot_shapes import RobotShapes
from ..images import image_file
from ..images.image_file import Photograph
from ..networks.model_file import ModelInfo
from ..networks.two_passes import MOVING, STILL, Inspection
from ..pose.robot_points import PlacedRobot
from .pose_finder import PoseFinder
from .predictor import Predictor, in_whole

CHANNELS = {"rgb": 3, "rgba": 4}
LARGEST_SIDE = 16384
LARGEST_ID = 1 << 53
LOG_EVERY = 5.0
"""Seconds between two faults that are logged."""


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

    def tell(self, joints: Mapping[str, float], deviations: Mapping[str, float] | None = None) -> None:
        """Take it that from now on these joints of the robot before the source's camera are known, and no others;
        those with deviations are not exact.

        Raises:
            UserError: if there is no such camera, or a joint or a number is of no use.
        """
        if self.source is None:
            raise UserError("The server has no source whose camera it knows: start it with --source and --camera")
        self.source = replace(
            self.finder(PoseRequest(self.source.numbers, joints, deviations or {})), option=self.source.option
        )

    def finder(self, request: PoseRequest) -> PoseFinder:
        """What solves poses as ``request`` says.

        Raises:
            UserError: if there is no robot, or a joint or a number is of no use.
        """
        if self._placed is None:
            self._placed = PlacedRobot.of(self._info)
        return PoseFinder.of_numbers(self._placed, request.camera, request.joints, request.deviations)


def find(
    predictor: Predictor, picture: Photograph, finder: PoseFinder | None, inspection: Inspection = MOVING
) -> Predicted:
    """Keypoints, and with a ``finder`` the pose, in a picture, in pixels of the whole of it."""
    begin = time.perf_counter()
    found = in_whole(predictor.predict([picture.pixels], inspection)[0], picture)
    pose = None if finder is None else finder.find(found, picture)
    milliseconds = 1000 * (time.perf_counter() - begin)
    camera = None if finder is None else finder.numbers
    return Predicted(picture.width, picture.height, [k.to_dict() for k in found], camera, pose, milliseconds)


class FaultLog:
    """Writes what went wrong within the server itself to its log, at most once every few seconds."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self) -> None:
        """Take note of the exception that is being handled."""
        if time.monotonic() >= self._next:
            traceback.print_exc(file=sys.stderr)
            self._next = time.monotonic() + LOG_EVERY


LOG = FaultLog()


def refusal(number: int | None, reason: str) -> bytes:
    """The answer to a request that gets no other."""
    return encode_request("refused", id=number, reason=reason)


def number_of(frames: Sequence[bytes]) -> int | None:
    """The number by which a client knows the request ``[identity, b"", header, …]``, if it can be read."""
    try:
        return _number(parse(frames[2]))
    except (IndexError, MessageError):
        return None


def answer(
    predictor: Predictor, frames: Sequence[bytes], poses: Poses, fault: Callable[[], None] = LOG
) -> tuple[bytes, Predicted | None]:
    """The answer to one request ``[identity, b"", header, image]``: a prediction, or why there is none.

    A header's ``pose`` is what :class:`.PoseRequest` says; the answer then has ``pose`` as well. With the header's
    ``shapes`` and a further frame, which are :class:`.RobotShapes`, it goes by the robot's outline, too. Where
    ``still`` is true the image is looked at as a single one, else as one of many. A request of type ``joints`` has no
    image and tells :meth:`Poses.tell`; it is ``noted``. Whatever a request holds, there is an answer.

    Args:
        fault: called where the server itself fails, with the exception being handled.

    Returns:
        the message, and what was predicted if something was.
    """
    number: int | None = None
    try:
        header = parse(frames[2])
        number = _number(header)
        if header["type"] == "joints" and number is not None and len(frames) == 3:
            poses.tell(joint_table(header.get("joints")), joint_table(header.get("joints_deviation") or {}))
            return encode_request("noted", id=number), None
        shaped = header.get("shapes") is not None
        if header["type"] != "predict" or number is None or len(frames) != 4 + shaped:
            raise MessageError("the request is not one for a prediction")
        finder = None if header.get("pose") is None else poses.finder(PoseRequest.from_dict(header["pose"]))
        if shaped:
            if finder is None:
                raise MessageError("the robot's shapes are given and no pose is asked for: give a camera")
            finder = finder.with_shapes(RobotShapes.decode(header["shapes"], frames[4]))
        still = header.get("still", False)
        if type(still) is not bool:
            raise MessageError("the request's still is neither true nor false")
        found = find(predictor, decode_image(header, frames[3]), finder, STILL if still else MOVING)
    except (MessageError, UserError) as problem:
        return refusal(number, str(problem)), None
    except Exception as problem:  # one client's request must not be the end of all others'
        fault()
        return refusal(number, f"the server failed at it ({type(problem).__name__}): its log tells more"), None
    pose = {} if found.pose is None else {"pose": found.pose}
    try:
        return encode_request(
            "prediction", id=number, width=found.width, height=found.height, keypoints=found.keypoints,
            skeleton=[list(edge) for edge in predictor.info.skeleton], milliseconds=found.milliseconds, **pose,
        ), found  # fmt: skip
    except ValueError:
        return refusal(number, "the model gave something that is no number: train it anew"), None


def decode_image(header: Mapping[str, Any], data: bytes) -> Photograph:
    """Raw pixels, or an image file in memory.

    Raises:
        MessageError: if it is neither.
        UserError: if it is an image file that can't be used.
    """
    encoding = header.get("encoding")
    if encoding == "file":
        return image_file.decode(data)
    width, height = header.get("width"), header.get("height")
    if not isinstance(encoding, str) or encoding not in CHANNELS:
        raise MessageError(f"there is no encoding {encoding!r}")
    if type(width) is not int or type(height) is not int:
        raise MessageError("the image has no size")
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
        raise MessageError(f"the image has {width} × {height} pixels")
    channels = CHANNELS[encoding]
    if len(data) != width * height * channels:
        raise MessageError(f"the image has {len(data)} bytes, not {width * height * channels}")
    return Photograph(np.frombuffer(data, np.uint8).reshape(height, width, channels), width, height)


def _number(header: Mapping[str, Any]) -> int | None:
    number = header.get("id")
    return number if type(number) is int and -LARGEST_ID < number < LARGEST_ID else None
