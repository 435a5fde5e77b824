# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a model loaded: answers requests over ZeroMQ, and publishes keypoints and poses of a source's pictures."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zmq

from ...core import files
from ...core.errors import UserError
from ...core.messages.curve_security import Security
from ...core.messages.envelope import MAX_HEADER, MAX_IMAGE
from ...core.messages.gate import Gate, Limits
from ...core.messages.pose_publishing import PosePublisher
from ...core.messages.run_sockets import LONGEST_TOPIC, SUBSCRIPTIONS, UNANSWERED, Endpoints
from ...core.processes.lifeline import end_with_parent, has_parent_pipe
from . import image_sources, model_argument
from .camera_size import CameraSize, parse_size
from .image_feed import PictureFeed
from .joint_deviations import DEVIATION, check_deviation
from .pose_finder import PoseFinder
from .predictor import Predictor
from .request_queue import RequestQueue, take_in
from .server_requests import Poses, Predicted, answer, find, number_of, refusal
from .turns import Turns

POLL_MS = 100
WAKE = "inproc://pictures"


def main(argv: Sequence[str]) -> int:
    """``MODEL [--ready FILE] [--publish PORT] [--source SOURCE …] …``, see ``--help``; 0 when stdin closed or the
    source ended, 2 on a user's mistake."""
    parser = argparse.ArgumentParser(prog="robot-keypoints serve", description=__doc__)
    model_argument.add(parser, argv)
    model_argument.add_decoder(parser)
    parser.add_argument("--ready", type=Path, help="file to write the address to, as JSON, once it answers")
    parser.add_argument("--robot", type=Path, metavar="URDF", help="the robot, where the model doesn't bring it")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port for requests; 0 takes any free one")
    parser.add_argument("--keys", default="", help="folder of CURVE keys, needed for any address but loopback")
    parser.add_argument(
        "--publish",
        type=int,
        metavar="PORT",
        help="publish everything that is found on this port; 0 takes any free one",
    )
    parser.add_argument(
        "--source", nargs="+", default=(), metavar="SOURCE",
        help="look at these pictures, publish what is found, and end after the last: images, folders, patterns, "
        "videos, or webcam:0, of which only the newest frame counts",
    )  # fmt: skip
    parser.add_argument("--wait", action="store_true", help="begin with the source when someone listens")
    parser.add_argument(
        "--camera", metavar="fx,fy,cx,cy[,k1,k2,p1,p2,k3]",
        help="the source's intrinsics in pixels, OpenCV's: find the robot's pose as well",
    )  # fmt: skip
    parser.add_argument(
        "--camera-size", metavar="WxH", help="size of the pictures that --camera is of, where these have another"
    )
    parser.add_argument(
        "--joints", metavar="name=value,…|FILE", help="joints that are known, radians or metres; or a JSON file of them"
    )
    parser.add_argument("--joints-deviation", **DEVIATION)
    try:
        options = parser.parse_args(list(argv))
    except SystemExit as usage:
        return int(usage.code or 0)
    ended = threading.Event()
    signals: list[int] = []

    def end(number: int, _: object) -> None:
        signals.append(number)
        ended.set()

    before = signal.signal(signal.SIGTERM, end)
    try:
        serve(options, ended)
    except UserError as problem:
        print(f"error: {problem}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return 128 + signals[0] if signals else 0


def serve(options: Any, ended: threading.Event) -> None:
    """Answer and publish until ``ended``, or the source's end.

    Raises:
        UserError: if the model can't be loaded, the address not be used, or the source not be read.
    """
    _check(options)
    camera_size = None if options.camera_size is None else parse_size(options.camera_size)
    sources = image_sources.find(options.source)
    if not sources:
        torch.set_num_threads(max(1, torch.get_num_threads() // 2))  # Blender, which asks, needs the rest
    predictor = Predictor.load(options.model, decoder=options.decoder)
    poses = Poses(predictor.info, options.robot)
    if options.camera is not None:
        poses.source = PoseFinder.of(
            predictor.info, options.camera, options.joints, options.robot, options.joints_deviation
        )
        if poses.source.missing:
            lacking = ", ".join(poses.source.missing)
            print(f"warning: The pose goes without {lacking}: the robot has none", file=sys.stderr)
    blank = np.zeros((predictor.info.height, predictor.info.width, 3), np.uint8)
    predictor.predict([blank])  # the first one is slow
    sockets = ServerSockets(options.host, options.port, options.keys, options.publish)
    feed = PictureFeed(sources, sockets.wake) if sources else None
    try:
        model = predictor.info.to_dict()
        ready = {"host": options.host, "port": sockets.port, "publish": sockets.published, "model": model}
        if options.ready is not None:
            files.write_json(options.ready, ready)
        print(f"serving {options.model} at {sockets.url(sockets.port)}", file=sys.stderr, flush=True)
        if sockets.published is not None:
            print(f"publishing at {sockets.url(sockets.published)}", file=sys.stderr, flush=True)
        if has_parent_pipe():  # a service has no stdin to speak of
            end_with_parent(ended.set)
        names = {"robot": poses.name, "model": str(options.model)}
        server = Server(predictor, poses, sockets, feed, names, options.wait, camera_size=CameraSize(camera_size))
        server.run(ended)
    finally:
        if feed is not None:
            feed.close()
        sockets.close()


def _check(options: Any) -> None:
    if options.source and options.publish is None:
        raise UserError("--source needs --publish PORT: what is found has to go somewhere; 0 takes any free port")
    for given, name in ((options.camera, "--camera"), (options.joints, "--joints"), (options.wait, "--wait")):
        if given and not options.source:
            raise UserError(f"{name} is for --source SOURCE: requests say for themselves what is known")
    for given, name in ((options.joints, "--joints"), (options.camera_size, "--camera-size")):
        if given is not None and options.camera is None:
            raise UserError(f"{name} needs --camera fx,fy,cx,cy: without a camera no pose is solved")
    check_deviation(options.joints_deviation, options.joints)
    for port, name in ((options.port, "--port"), (options.publish, "--publish")):
        if port is not None and not 0 <= port <= 65535:
            raise UserError(f"{name} is {port}: a port lies between 0, for any free one, and 65535")


class ServerSockets:
    """The server's sockets: requests on one port, and where ``publish`` is a port, documents on another.

    Raises:
        UserError: if the address can't be used.
    """

    def __init__(self, host: str, port: int, keys: str, publish: int | None) -> None:
        self.host = host
        self.published: int | None = None
        self.publisher: PosePublisher | None = None
        self._security = Security(host, keys, "--keys")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._gates: list[Gate] = []
        self._poller = zmq.Poller()
        encrypted = self._security.folder is not None
        try:
            self._security.start(self._context)
            self.control = self._socket(zmq.ROUTER)
            self.control.rcvhwm = UNANSWERED
            self.control.setsockopt(zmq.ROUTER_HANDOVER, 1)
            limits = Limits(MAX_HEADER + MAX_IMAGE, unanswered=UNANSWERED)
            self._gates.append(
                Gate(self.control, host, port, limits, encrypted=encrypted, options=("--port", "--host"))
            )
            self.port = self._gates[0].port
            self._wake_reader, self._wake_socket = self._context.socket(zmq.PAIR), self._context.socket(zmq.PAIR)
            self._wake_reader.bind(WAKE)
            self._wake_socket.connect(WAKE)
            if publish is not None:
                socket = self._socket(zmq.XPUB)
                PosePublisher.prepare(socket)
                limits = Limits(LONGEST_TOPIC, lifetime=SUBSCRIPTIONS)
                self._gates.append(
                    Gate(socket, host, publish, limits, encrypted=encrypted, options=("--publish", "--host"))
                )
                self.published = self._gates[1].port
                self.publisher = PosePublisher(socket)
                self._poller.register(socket, zmq.POLLIN)
        except UserError:
            self.close()
            raise
        self._poller.register(self.control, zmq.POLLIN)
        self._poller.register(self._wake_reader, zmq.POLLIN)

    def url(self, port: int) -> str:
        """``tcp://`` address of one of the ports."""
        return Endpoints(self.host, port, port, port).url(port)

    def wake(self) -> None:
        """End :meth:`wait`; for one other thread."""
        with suppress(zmq.Again):  # it has been woken often enough
            self._wake_socket.send(b"", zmq.NOBLOCK)

    def wait(self, *, busy: bool = False) -> None:
        """Until something has come, or for a moment; not at all where there is something to do."""
        self._poller.poll(0 if busy else POLL_MS)
        while self._wake_reader.poll(0):
            self._wake_reader.recv()
        if self.publisher is not None:
            self.publisher.welcome()

    def reply(self, client: bytes, message: bytes) -> None:
        """Answer one request; nobody waits for a client that takes no answers."""
        with suppress(zmq.Again):
            self.control.send_multipart([client, b"", message], zmq.NOBLOCK)

    def close(self) -> None:
        """Close all sockets; listeners hear the last document once more."""
        if self.publisher is not None:
            self.publisher.close()
        self._security.stop()
        self._context.destroy(linger=0)
        for gate in self._gates:
            gate.close()

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.linger = 0
        self._security.server(socket)
        return socket


class Job(Enum):
    """What the server does by turns."""

    REQUEST = "request"
    PICTURE = "picture"


@dataclass
class Server:
    """What a running server has. Requests and the source get as much of its time as each other: see :mod:`.turns`."""

    predictor: Predictor
    poses: Poses
    sockets: ServerSockets
    feed: PictureFeed | None
    names: Mapping[str, str | None]
    patient: bool
    queue: RequestQueue = field(default_factory=RequestQueue)
    turns: Turns[Job] = field(default_factory=Turns)
    clock: Callable[[], float] = time.perf_counter
    camera_size: CameraSize = field(default_factory=CameraSize)

    def run(self, ended: threading.Event) -> None:
        """Until told to end, or everything is read of the source."""
        begun = False
        while not ended.is_set():
            self.sockets.wait(busy=bool(self._due()))
            self._take_in()
            publisher = self.sockets.publisher
            if self.feed is not None and not begun:
                begun = not self.patient or (publisher is not None and publisher.listeners > 0)
                if begun:
                    self.feed.start()
            self.turn()
            if self.feed is not None and self.feed.ended:
                return

    def _take_in(self) -> None:
        begin = self.clock()
        for displaced in take_in(self.sockets.control, self.queue):
            frames = displaced.request.frames
            self.sockets.reply(frames[0], refusal(number_of(frames), displaced.reason))
        if self.queue:
            self.turns.add(Job.REQUEST, self.clock() - begin)

    def turn(self) -> None:
        """Answer one request or predict one picture, if there is either."""
        due = self._due()
        if not due:
            return
        job = self.turns.next(due)
        begin = self.clock()
        if job is Job.PICTURE:
            self._predict_picture()
        else:
            self._answer(begin)
        self.turns.charge(job, self.clock() - begin)

    def _due(self) -> list[Job]:
        due = [Job.REQUEST] if self.queue else []
        return [*due, Job.PICTURE] if self.feed is not None and self.feed.waiting else due

    def _predict_picture(self) -> None:
        taken = self.feed.take() if self.feed is not None else None
        if taken is None:
            return
        picture = taken.picture
        finder = self.poses.source
        if finder is not None:
            finder = finder.resized(self.camera_size.scale(finder.numbers, picture.source, picture.photograph.size))
        found = find(self.predictor, picture.photograph, finder)
        self._publish(found, taken.time, picture.source, picture.frame, picture.seconds)

    def _answer(self, begin: float) -> None:
        request = self.queue.take()
        came = time.time()
        message, found = answer(self.predictor, request.frames, self.poses)
        self.sockets.reply(request.client, message)
        if found is not None:
            self._publish(found, came, "request")
        self.queue.answered(request, self.clock() - begin)

    def _publish(
        self, found: Predicted, when: float, source: str, frame: int | None = None, seconds: float | None = None
    ) -> None:
        if self.sockets.publisher is None:
            return
        try:
            self.sockets.publisher.publish(
                {
                    "time": when, "source": source, "frame": frame, "seconds": seconds,
                    "width": found.width, "height": found.height, "milliseconds": found.milliseconds,
                    "keypoints": found.keypoints, "camera": found.camera_document(), "pose": found.pose, **self.names,
                }
            )  # fmt: skip
        except ValueError as problem:
            raise UserError("The model gives something that is no number: train it anew") from problem
