# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a model server (``launch.py serve``) for predictions without ever waiting.

At most one request is under way. One more may be kept back; a newer one takes its place, so what is shown is never
older than one answer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from ..errors import UserError
from .curve_security import Security
from .envelope import MessageError, encode_request
from .pose import PoseRequest
from .prediction import Prediction, Refusal, decode_answer
from .robot_shapes import RobotShapes
from .run_sockets import Endpoints
from .samples import MALFORMED

ANSWER_DEADLINE = 20.0
"""A request that is not answered within so many seconds is given up."""
OUTLINE_DEADLINE = 120.0
"""The same of one with a robot's shapes, whose outline takes seconds to find."""
MAX_ANSWER = 1 << 20
AT_ONCE = 64
"""Messages that are looked at in one call."""


@dataclass(frozen=True)
class Server:
    """What a server writes when it is ready; ``model`` is the model file's own document, ``publish`` the port on which
    it publishes what it finds, if it does."""

    host: str
    port: int
    model: Mapping[str, Any]
    publish: int | None = None

    @classmethod
    def read(cls, ready: Path) -> Server | None:
        """Read the file given with ``--ready``; None while it is not there.

        Raises:
            UserError: if it is not such a file.
        """
        try:
            document = json.loads(ready.read_text(encoding="utf-8"))
            publish = document.get("publish")
            port = int(document["port"])
            return cls(str(document["host"]), port, dict(document["model"]), None if publish is None else int(publish))
        except FileNotFoundError:
            return None
        except (OSError, *MALFORMED) as problem:
            raise UserError("The model server gave no usable address: load the model again") from problem


class ModelClient:
    """A connection to one server."""

    def __init__(self, host: str, port: int, keys: str = "") -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_ANSWER)
        Security(host, keys).client(self._socket)
        self._socket.connect(Endpoints(host, port, port, port).url(port))
        self._next = 1
        self._busy: int | None = None
        self._since, self._deadline = 0.0, ANSWER_DEADLINE
        self._waiting: tuple[dict[str, Any], list[bytes]] | None = None

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._busy is not None

    def request(
        self, encoding: str, width: int, height: int, data: bytes, pose: PoseRequest | None = None,
        shapes: RobotShapes | None = None, *, still: bool = False,
    ) -> None:  # fmt: skip
        """Ask for the keypoints of an image.

        Args:
            encoding: ``rgb`` or ``rgba`` rows, top first, or an encoded ``file``.
            pose: with what camera it was taken, where the robot's pose is wanted as well.
            shapes: the robot's, where that is to go by the outline, too.
            still: whether it is a single picture, which is looked at more thoroughly than one of many.
        """
        asked: dict[str, Any] = {} if pose is None else {"pose": pose.to_dict()}
        if still:
            asked["still"] = True
        frames = [data]
        if shapes is not None:
            asked["shapes"] = shapes.counts
            frames.append(shapes.data)
        self._waiting = ({"encoding": encoding, "width": width, "height": height, **asked}, frames)
        self._send()

    def poll(self) -> Prediction | Refusal | None:
        """The newest answer, if one has come."""
        result: Prediction | Refusal | None = None
        for _ in range(AT_ONCE):
            if not self._socket.poll(0):
                break
            frames = self._socket.recv_multipart()
            try:
                answer = decode_answer(frames[-1])
            except MessageError:
                continue
            if answer.id == self._busy:
                self._busy = None
                result = answer
        if self._busy is not None and time.monotonic() - self._since > self._deadline:
            result = Refusal(self._busy, f"The model did not answer within {self._deadline:.0f} s: load it again")
            self._busy = None
        self._send()
        return result

    def close(self) -> None:
        """Close the socket at once."""
        self._context.destroy(linger=0)

    def _send(self) -> None:
        if self._busy is not None or self._waiting is None:
            return
        header, frames = self._waiting
        self._waiting = None
        self._busy, self._since = self._next, time.monotonic()
        self._deadline = OUTLINE_DEADLINE if "shapes" in header else ANSWER_DEADLINE
        # A server that doesn't know our keys leaves nobody to send to; that is as if it did not answer.
        with suppress(zmq.Again):
            request = encode_request("predict", id=self._next, **header)
            self._socket.send_multipart([b"", request, *frames], zmq.NOBLOCK)
        self._next += 1
