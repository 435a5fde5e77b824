# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a model loaded and answers over ZeroMQ; the viewport's overlay asks it."""

from __future__ import annotations

import argparse
import io
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zmq
from numpy.typing import NDArray
from PIL import Image

from ..core import files
from ..core.channel import Hub
from ..core.errors import UserError
from ..core.lifeline import end_with_parent
from ..core.messages import MAX_IMAGE, MessageError, encode_request, parse
from ..core.pose_messages import PoseRequest

if TYPE_CHECKING:
    from .checkpoint import ModelInfo
    from .pose_command import PlacedRobot, PoseFinder
    from .prediction import Predictor

CHANNELS = {"rgb": 3, "rgba": 4}
POLL_MS = 100
LARGEST_SIDE = 16384


def main(argv: Sequence[str]) -> int:
    """``MODEL --ready FILE [--robot URDF] [--host H] [--port P] [--keys DIR]``; 0 when stdin closed, 2 on a user's
    mistake."""
    parser = argparse.ArgumentParser(prog="robot-keypoints serve", description=__doc__)
    parser.add_argument("model", type=Path, help="a model.safetensors")
    parser.add_argument("--ready", type=Path, help="file to write the address to, as JSON, once it answers")
    parser.add_argument("--robot", type=Path, metavar="URDF", help="the robot, where the model doesn't bring it")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port; 0 takes any free one")
    parser.add_argument("--keys", default="", help="folder of CURVE keys, needed for any address but loopback")
    try:
        options = parser.parse_args(list(argv))
    except SystemExit as usage:
        return int(usage.code or 0)
    ended = threading.Event()
    try:
        serve(options, ended)
    except UserError as problem:
        print(f"error: {problem}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def serve(options: Any, ended: threading.Event) -> None:
    """Answer until ``ended``.

    Raises:
        UserError: if the model can't be loaded or the address not be used.
    """
    import torch

    from .prediction import Predictor

    torch.set_num_threads(max(1, torch.get_num_threads() // 2))  # Blender needs the rest
    predictor = Predictor.load(options.model)
    poses = Poses(predictor.info, options.robot)
    blank = np.zeros((predictor.info.height, predictor.info.width, 3), np.uint8)
    predictor.predict([blank])  # the first one is slow
    hub = Hub(options.host, options.port, options.keys)
    try:
        ready = {"host": hub.endpoints.host, "port": hub.endpoints.control, "model": predictor.info.to_dict()}
        if options.ready is not None:
            files.write_json(options.ready, ready)
        print(f"serving {options.model} at {hub.endpoints.url(hub.endpoints.control)}", file=sys.stderr, flush=True)
        end_with_parent(ended.set)
        while not ended.is_set():
            if hub.control.poll(POLL_MS):
                for frames in newest(hub.control):
                    hub.control.send_multipart([frames[0], b"", answer(predictor, frames, poses)])
    finally:
        hub.close()


def newest(socket: zmq.Socket[bytes]) -> list[list[bytes]]:
    """Everything that waits, without waiting: of each client only the newest request; foreign messages left out."""
    waiting: dict[bytes, list[bytes]] = {}
    while socket.poll(0):
        frames = socket.recv_multipart()
        if len(frames) >= 3 and frames[1] == b"":
            waiting[frames[0]] = frames
    return list(waiting.values())


class Poses:
    """Solves the poses that are asked for; the robot is read once.

    Args:
        urdf: the robot, where the model doesn't bring it.

    Raises:
        UserError: if ``urdf`` is given and can't be used. A model without a robot only fails those who ask for a pose.
    """

    def __init__(self, info: ModelInfo, urdf: Path | None = None) -> None:
        self._info = info
        self._placed: PlacedRobot | None = None
        if urdf is not None:
            from .pose_command import PlacedRobot

            self._placed = PlacedRobot.of(info, urdf)

    def finder(self, request: PoseRequest) -> PoseFinder:
        """What solves poses as ``request`` says.

        Raises:
            UserError: if there is no robot, or a joint or a number is of no use.
        """
        from .pose_command import PlacedRobot, PoseFinder

        if self._placed is None:
            self._placed = PlacedRobot.of(self._info)
        return PoseFinder.of_numbers(self._placed, request.camera, request.joints)


def answer(predictor: Predictor, frames: Sequence[bytes], poses: Poses) -> bytes:
    """The answer to one request ``[identity, b"", header, image]``: a prediction, or why there is none.

    A header's ``pose`` is what :class:`.PoseRequest` says; the answer then has ``pose`` as :meth:`.PoseFinder.find`
    gives it.
    """
    number: int | None = None
    try:
        header = parse(frames[2])
        number = header.get("id") if type(header.get("id")) is int else None
        if header["type"] != "predict" or number is None or len(frames) != 4:
            raise MessageError("the request is not one for a prediction")
        finder = None if header.get("pose") is None else poses.finder(PoseRequest.from_dict(header["pose"]))
        image = decode_image(header, frames[3])
        begin = time.perf_counter()
        found = predictor.predict([image])[0]
        pose = {} if finder is None else {"pose": finder.find(found)}
        milliseconds = 1000 * (time.perf_counter() - begin)
    except (MessageError, UserError) as problem:
        return encode_request("refused", id=number, reason=str(problem))
    try:
        return encode_request(
            "prediction", id=number, width=image.shape[1], height=image.shape[0],
            keypoints=[k.to_dict() for k in found], skeleton=[list(edge) for edge in predictor.info.skeleton],
            milliseconds=milliseconds, **pose,
        )  # fmt: skip
    except ValueError:
        return encode_request("refused", id=number, reason="the model gave something that is no number: train it anew")


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
