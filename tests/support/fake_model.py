# SPDX-License-Identifier: GPL-3.0-or-later
"""A model server whose keypoints are exact: it knows the camera, and asks the real pose solver.

Beside the model file that it is to serve lies ``truth.json``: ``camera`` (fx, fy, cx, cy, k1, k2, p1, p2, k3), and for
each picture's checksum (CRC-32 of what is sent) or ``*`` its ``T_cam_base`` and ``joints``, and ``occluded``, keypoints
that are not seen. A movie's frames are told apart by their brightness, ``grey 0`` to ``grey 5`` from black to white.
``urdf`` is the robot, where it isn't the built-in one.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from robot_keypoints.core.camera.intrinsics import Intrinsics, transform
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.messages.envelope import MessageError, encode_request, parse
from robot_keypoints.core.messages.pose import PoseRequest
from robot_keypoints.core.messages.robot_shapes import RobotShapes
from robot_keypoints.core.robot import keypoints
from robot_keypoints.core.robot.robot import Robot
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.trainer.inference.pose_finder import PoseFinder
from robot_keypoints.trainer.inference.predictor import Found
from robot_keypoints.trainer.inference.server_requests import decode_image
from robot_keypoints.trainer.networks import factory
from robot_keypoints.trainer.networks.model_file import ModelInfo
from robot_keypoints.trainer.pose.robot_points import PlacedRobot

SPREAD = ((0.04, 0.01), (0.01, 0.02))


def model_of(robot: Robot) -> ModelInfo:
    """What a model of a robot tells of itself."""
    points = keypoints.joint_keypoints(robot)
    edges = keypoints.skeleton(robot, points)
    config = factory.NetworkConfig("light", len(points), 1.0, width=8)
    return ModelInfo(config, 160, 120, tuple(k.name for k in points), edges, robot.to_dict(), places=points)


class ExactServer:
    """Answers on a port of this machine until closed.

    Attributes:
        truth: as in the file; may be changed while it runs.
        asked: the headers of all requests.
    """

    def __init__(self, truth: dict[str, Any], robot: Robot | None = None) -> None:
        self.truth = truth
        self.robot = robot or load_urdf(builtin_urdf())
        self.info = model_of(self.robot)
        self.asked: list[dict[str, Any]] = []
        self._placed = PlacedRobot.of(self.info)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self.port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(20)
        self._context.destroy(linger=0)

    def _serve(self) -> None:
        while not self._ended.is_set():
            if self._socket.poll(20):
                identity, _, header, *frames = self._socket.recv_multipart()
                self._socket.send_multipart([identity, b"", self.answer(parse(header), *frames)])

    def answer(self, header: dict[str, Any], data: bytes, shapes: bytes | None = None) -> bytes:
        self.asked.append(header)
        try:
            found = self._found(header, data)
            pose = {}
            if header.get("pose") is not None:
                request = PoseRequest.from_dict(header["pose"])
                finder = PoseFinder.of_numbers(self._placed, request.camera, request.joints, request.deviations)
                if shapes is not None:
                    finder = finder.with_shapes(RobotShapes.decode(header["shapes"], shapes))
                pose = {"pose": finder.find(found, decode_image(header, data))}
        except (MessageError, UserError) as problem:
            return encode_request("refused", id=header["id"], reason=str(problem))
        return encode_request(
            "prediction", id=header["id"], width=header["width"], height=header["height"], milliseconds=1.0,
            keypoints=[k.to_dict() for k in found], skeleton=[list(e) for e in self.info.skeleton], **pose,
        )  # fmt: skip

    def _found(self, header: dict[str, Any], data: bytes) -> list[Found]:
        key = str(zlib.crc32(data))
        if header["encoding"] == "rgb":
            key = f"grey {round(float(np.frombuffer(data, np.uint8).mean()) / 51)}"
        truth = self.truth.get(key, self.truth.get("*"))
        if truth is None:
            raise MessageError("the file is not an image that can be read")
        fx, fy, cx, cy, *bent = self.truth["camera"]
        camera = Intrinsics(1, 1, fx, fy, cx, cy, tuple((*bent, 0.0, 0.0, 0.0, 0.0, 0.0)[:5]))  # type: ignore[arg-type]
        places = keypoints.positions(
            keypoints.joint_keypoints(self.robot), {"": self.robot.link_frames(truth["joints"])}
        )
        pixels, _ = camera.project(transform(np.array(truth["T_cam_base"]), places))
        occluded, spread = truth.get("occluded", ()), truth.get("spread", SPREAD)
        return [
            Found(n, float(u), float(v), 0.01 if n in occluded else 0.98, spread)
            for n, (u, v) in zip(self.info.keypoints, pixels, strict=True)
        ]


def main() -> None:
    """Stands in for ``launch.py serve MODEL --ready FILE``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("launcher")
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model", type=Path)
    parser.add_argument("--ready", type=Path)
    options = parser.parse_args()
    truth = json.loads((options.model.parent / "truth.json").read_text(encoding="utf-8"))
    server = ExactServer(truth, load_urdf(truth["urdf"]) if "urdf" in truth else None)
    ready = {"host": "127.0.0.1", "port": server.port, "model": server.info.to_dict()}
    part = options.ready.with_suffix(".part")
    part.write_text(json.dumps(ready), encoding="utf-8")
    part.replace(options.ready)
    sys.stdin.read()
    server.close()


if __name__ == "__main__":
    main()
