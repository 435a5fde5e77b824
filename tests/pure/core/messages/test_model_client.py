# SPDX-License-Identifier: GPL-3.0-or-later
"""The model client never waits, never queues, and drops what it can't read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq
from robot_keypoints.core.camera.intrinsics import Intrinsics
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.messages import model_client
from robot_keypoints.core.messages.envelope import encode_request, parse
from robot_keypoints.core.messages.model_client import ModelClient, Server
from robot_keypoints.core.messages.pose import PoseRequest
from robot_keypoints.core.messages.prediction import Prediction, Refusal
from robot_keypoints.core.messages.robot_shapes import RobotShapes, ShapePart


class FakeServer:
    """A ROUTER that answers when told to."""

    def __init__(self) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")

    def requests(self, wait: float = 0.3) -> list[list[bytes]]:
        found = []
        while self.socket.poll(int(1000 * wait)):
            found.append(self.socket.recv_multipart())
            wait = 0.1
        return found

    def answer(self, request: list[bytes], data: bytes | None = None) -> None:
        header = parse(request[2])
        if data is None:
            data = prediction(int(header["id"]))
        self.socket.send_multipart([request[0], b"", data])


def prediction(number: int, **changes: object) -> bytes:
    point = {"name": "a", "u": 1.5, "v": 2.5, "confidence": 0.9, "covariance": [[1.0, 0.0], [0.0, 2.0]]}
    content = {
        "id": number, "width": 4, "height": 3, "keypoints": [point], "skeleton": [["a", "a"]], "milliseconds": 7.0
    }  # fmt: skip
    return encode_request("prediction", **{**content, **changes})


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    yield made
    made.context.destroy(linger=0)


@pytest.fixture
def client(server: FakeServer) -> Iterator[ModelClient]:
    made = ModelClient("127.0.0.1", server.port)
    yield made
    made.close()


def wait_for(poll: Callable[[], object], seconds: float = 10.0) -> object:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = poll()
        if result is not None:
            return result
        time.sleep(0.01)
    raise AssertionError("nothing came")


def test_a_request_and_its_answer(server: FakeServer, client: ModelClient) -> None:
    client.request("rgba", 4, 3, bytes(48))
    (request,) = server.requests()
    header = parse(request[2], "predict")
    assert (header["encoding"], header["width"], header["height"]) == ("rgba", 4, 3)
    assert request[1] == b""
    assert request[3] == bytes(48)
    assert client.poll() is None
    assert client.busy
    server.answer(request)
    answer = wait_for(client.poll)
    assert isinstance(answer, Prediction)
    assert answer.keypoints[0].covariance == ((1.0, 0.0), (0.0, 2.0))
    assert answer.skeleton == (("a", "a"),)
    assert not client.busy


def test_the_latest_request_wins(server: FakeServer, client: ModelClient) -> None:
    for size in (1, 2, 3, 4):
        client.request("rgb", size, 1, bytes(3 * size))
    first = server.requests()
    assert [parse(r[2])["width"] for r in first] == [1]
    server.answer(first[0])
    wait_for(client.poll)
    second = server.requests()
    assert [parse(r[2])["width"] for r in second] == [4]


def test_a_refusal(server: FakeServer, client: ModelClient) -> None:
    client.request("file", 0, 0, b"no image")
    (request,) = server.requests()
    server.answer(request, encode_request("refused", id=1, reason="the file is not an image"))
    assert wait_for(client.poll) == Refusal(1, "the file is not an image")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"nothing", b"[]", b"{}", encode_request("prediction", id=1), encode_request("other", id=1),
        prediction(1, width="x"), prediction(1, keypoints=[{"name": "a"}]), prediction(1, skeleton=[["a"]]),
        prediction(1, milliseconds="nan"), prediction(99), prediction(1)[:-1], prediction(1, keypoints=[3]),
        prediction(1, keypoints=["a"]), prediction(1, width=-1), prediction(1, width=1.5), prediction(1, id=True),
        prediction(1).replace(b'"width":4', b'"width":1e999'), prediction(1, height=10**400), prediction(1, pose=3),
        prediction(1, milliseconds=10**400), encode_request("refused", id=None, reason="what?"),
    ],
)  # fmt: skip
def test_malformed_and_foreign_answers_are_dropped(server: FakeServer, client: ModelClient, data: bytes) -> None:
    client.request("rgb", 1, 1, bytes(3))
    (request,) = server.requests()
    server.answer(request, data)
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        assert client.poll() is None
    assert client.busy
    server.answer(request)
    assert isinstance(wait_for(client.poll), Prediction)


def test_a_reason_is_one_line(server: FakeServer, client: ModelClient) -> None:
    client.request("rgb", 1, 1, bytes(3))
    (request,) = server.requests()
    server.answer(request, encode_request("refused", id=1, reason="no\n\x1b[2J" + "a" * 5000))
    answer = wait_for(client.poll)
    assert isinstance(answer, Refusal) and answer.reason.startswith("no \\x1b[2Jaaa") and len(answer.reason) < 1000


def test_a_silent_server_is_given_up(server: FakeServer, client: ModelClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_client, "ANSWER_DEADLINE", 0.2)
    client.request("rgb", 1, 1, bytes(3))
    answer = wait_for(client.poll)
    assert isinstance(answer, Refusal)
    assert not client.busy
    client.request("rgb", 2, 1, bytes(6))
    old, new = server.requests()
    server.answer(old)
    server.answer(new)
    late = wait_for(client.poll)
    assert isinstance(late, Prediction)
    assert late.id == 2


def test_shapes_are_a_frame_of_their_own_and_may_take_longer(
    server: FakeServer, client: ModelClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_client, "ANSWER_DEADLINE", 0.05)
    corner = ShapePart(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.uint32))
    shapes = RobotShapes((corner, corner))
    client.request("rgb", 1, 1, bytes(3), PoseRequest.of(Intrinsics(1, 1, 1.0, 1.0, 0.0, 0.0)), shapes)
    (request,) = server.requests()
    assert len(request) == 5 and request[3] == bytes(3) and request[4] == shapes.data
    assert parse(request[2], "predict")["shapes"] == [[3, 1], [3, 1]]
    time.sleep(0.1)
    assert client.poll() is None and client.busy, "an outline takes seconds"
    server.answer(request)
    assert isinstance(wait_for(client.poll), Prediction)
    client.request("rgb", 1, 1, bytes(3))
    assert isinstance(wait_for(client.poll), Refusal), "and the next one may not"


def test_the_ready_file(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    assert Server.read(ready) is None
    ready.write_text(json.dumps({"host": "127.0.0.1", "port": 5, "model": {"keypoints": ["a"]}}))
    assert Server.read(ready) == Server("127.0.0.1", 5, {"keypoints": ["a"]})
    for text in ("", "[]", "{}", '{"host": 1, "port": "x", "model": 2}'):
        ready.write_text(text)
        with pytest.raises(UserError, match="load the model again"):
            Server.read(ready)
