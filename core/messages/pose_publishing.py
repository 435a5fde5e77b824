# SPDX-License-Identifier: GPL-3.0-or-later
"""Keypoints and poses for whoever listens, over ZeroMQ: the publisher binds, listeners connect.

A message is one frame: ``pose``, a space, and a JSON document (``docs/published_pose.schema.json``). Only the newest
document counts, so that nothing ever waits for a slow listener; a new listener gets the last one at once, so that
one may come twice, with the same ``sequence``.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import zmq

from .curve_security import Security
from .envelope import MessageError, encode_request, parse
from .model_client import MAX_ANSWER
from .pose import PredictedPose
from .prediction import PredictedKeypoint, decode_keypoint
from .run_sockets import Endpoints
from .samples import MALFORMED

TOPIC = b"pose "
QUEUE = 2
"""Documents that may wait for one listener; what comes then is dropped, and the next one may fit again."""

SEND_BUFFER = 1 << 16
"""Bytes that the system may keep for one listener: some ten documents."""

LONGEST_SUBSCRIPTION = 4096
"""Bytes; what the encrypted greeting needs is less than that, too."""
AT_ONCE = 64
"""Subscriptions that are read in one turn."""

LINGER_MS = 500


class PosePublisher:
    """Publishes documents on a bound XPUB socket, which it closes.

    Attributes:
        listeners: how many listen.
        sequence: number of the next document, from 0.
        run_id: tells this publisher from one that is started later.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket
        self.listeners = 0
        self.sequence = 0
        self.run_id = uuid.uuid4().hex
        self._last: dict[str, Any] | None = None

    @staticmethod
    def prepare(socket: zmq.Socket[bytes]) -> None:
        """Set an XPUB socket up before it is bound."""
        socket.sndhwm = QUEUE
        socket.sndbuf = SEND_BUFFER
        socket.setsockopt(zmq.MAXMSGSIZE, LONGEST_SUBSCRIPTION)
        socket.setsockopt(zmq.XPUB_VERBOSER, 1)

    def publish(self, document: Mapping[str, Any]) -> None:
        """Send plain JSON values to all listeners, without waiting for any.

        Raises:
            ValueError: if a number isn't finite.
        """
        self.welcome()
        entry = {"run": self.run_id, "sequence": self.sequence, "end": False, "published": time.time(), **document}
        message = TOPIC + encode_request("pose", **entry)
        self._last = entry
        self.sequence += 1
        self.socket.send(message)

    def welcome(self) -> None:
        """Take note of who listens, and give the last document again if someone is new."""
        new = False
        for _ in range(AT_ONCE):
            if not self.socket.poll(0):
                break
            frames = self.socket.recv_multipart()
            if len(frames) == 1 and frames[0][:1] in (b"\0", b"\1") and TOPIC.startswith(frames[0][1:]):
                joined = frames[0][:1] == b"\1"
                self.listeners = max(0, self.listeners + (1 if joined else -1))
                new = new or joined
        if new and self._last is not None:
            self.socket.send(TOPIC + encode_request("pose", **self._last))

    def close(self) -> None:
        """Give the last document again, with ``end`` set, and close the socket once it is sent."""
        self.welcome()
        if self._last is not None:
            message = TOPIC + encode_request("pose", **{**self._last, "end": True})
            # Nothing else tells a listener that there is no more, so this one waits for room.
            self.socket.sndtimeo = LINGER_MS
            self.socket.setsockopt(zmq.XPUB_NODROP, 1)
            try:
                self.socket.send(message)
            except zmq.Again:  # a listener that takes nothing must not keep it from the others
                self.socket.setsockopt(zmq.XPUB_NODROP, 0)
                self.socket.send(message)
        self.socket.close(linger=LINGER_MS)


@dataclass(frozen=True)
class PublishedPose:
    """What was found in one picture.

    Attributes:
        run_id: changes when the publisher starts anew.
        sequence: counts the publisher's documents from 0.
        end: whether the publisher has ended, this being its last document once more.
        time: when the picture was taken or came, seconds since 1970.
        published: when the document was sent.
        source: a file's name, ``webcam:N``, or ``request``.
        frame, seconds: number and time of a video's frame; None for other pictures.
        width, height: of the picture, pixels.
        keypoints: in the model's order.
        pose: None where no camera is known.
        robot, model: their names.
        document: all of it as plain JSON values.
    """

    run_id: str
    sequence: int
    end: bool
    time: float
    published: float
    source: str
    frame: int | None
    seconds: float | None
    width: int
    height: int
    keypoints: tuple[PredictedKeypoint, ...]
    pose: PredictedPose | None
    robot: str | None
    model: str
    document: Mapping[str, Any]

    @classmethod
    def decode(cls, message: bytes) -> PublishedPose:
        """One message, topic and all.

        Raises:
            MessageError: if it is malformed.
        """
        if not message.startswith(TOPIC):
            raise MessageError("the message is of another topic")
        d = parse(memoryview(message)[len(TOPIC) :], "pose")
        try:
            frame, seconds, robot = d["frame"], d["seconds"], d["robot"]
            return cls(
                str(d["run"]), int(d["sequence"]), d["end"] is True, float(d["time"]), float(d["published"]),
                str(d["source"]), None if frame is None else int(frame), None if seconds is None else float(seconds),
                int(d["width"]), int(d["height"]), tuple(decode_keypoint(k) for k in d["keypoints"]),
                None if d["pose"] is None else PredictedPose.from_dict(d["pose"]),
                None if robot is None else str(robot), str(d["model"]), d,
            )  # fmt: skip
        except MALFORMED as problem:
            if isinstance(problem, MessageError):
                raise
            raise MessageError("the document lacks something") from problem


class PoseListener:
    """Hears what a publisher says; older documents give way to newer ones before they are read."""

    def __init__(self, host: str, port: int, keys: str = "") -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.setsockopt(zmq.CONFLATE, 1)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_ANSWER)
        Security(host, keys, "--keys").client(self._socket)
        self._socket.connect(Endpoints(host, port, port, port).url(port))
        self._socket.setsockopt(zmq.SUBSCRIBE, TOPIC)
        self._heard: tuple[str, int, bool] | None = None

    def newest(self, timeout: float = 0.0) -> PublishedPose | None:
        """The newest document that was not given before, or None after ``timeout`` seconds; foreign messages are
        left out, however many there are."""
        end = time.monotonic() + timeout
        while self._socket.poll(max(0, int(1000 * (end - time.monotonic())))):
            with suppress(MessageError):
                found = PublishedPose.decode(self._socket.recv())
                identity = (found.run_id, found.sequence, found.end)
                if identity != self._heard:
                    self._heard = identity
                    return found
            if time.monotonic() >= end:
                break
        return None

    def close(self) -> None:
        """Close the socket at once."""
        self._context.destroy(linger=0)
