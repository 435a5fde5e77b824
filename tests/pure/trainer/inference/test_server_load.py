# SPDX-License-Identifier: GPL-3.0-or-later
"""A model server among strangers: no message ends it, and nobody takes more than a fair share of it."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from fake_network import ANGLES, INFO, Fake
from numpy.typing import NDArray
from PIL import Image
from robot_keypoints.core.errors import LONGEST
from robot_keypoints.core.messages.envelope import MAX_HEADER, encode_request, parse
from robot_keypoints.trainer.images import image_file
from robot_keypoints.trainer.inference import request_queue
from robot_keypoints.trainer.inference.image_feed import PictureFeed
from robot_keypoints.trainer.inference.image_sources import Picture
from robot_keypoints.trainer.inference.predictor import Found
from robot_keypoints.trainer.inference.request_queue import Request, RequestQueue
from robot_keypoints.trainer.inference.server import Server, ServerSockets
from robot_keypoints.trainer.inference.server_requests import Poses, answer
from robot_keypoints.trainer.inference.turns import Turns

FOCAL = {"fx": 61.0, "fy": 60.0, "cx": 32.0, "cy": 24.0}
GOOD: dict[str, Any] = {"schema": 1, "type": "predict", "id": 4, "encoding": "rgb", "width": 64, "height": 48}
STRANGE = [
    None, True, 0, -1, 1, 2**63, -(2**63), 10**4000, 0.5, 1e308, 5e-324, "", "rgb", "x" * 100_000, "\ud800", "\0", [],
    [[]], {}, {"a": 1}, [1] * 10_000, {"camera": FOCAL}, {"camera": {**FOCAL, "distortion": [1e308] * 5}},
]  # fmt: skip


def refused(header: bytes, *more: bytes) -> str:
    """Why a message is; fails if it isn't."""
    document = parse(answer(Fake(), [b"me", b"", header, *more], Poses(INFO), pytest.fail)[0])  # type: ignore[arg-type]
    assert document["type"] == "refused"
    return str(document["reason"])


@pytest.mark.parametrize("name", [*GOOD, "pose", "joints", "distortion"])
def test_no_value_of_any_entry_is_the_end(name: str) -> None:
    """There is an answer to each, and none of them takes the server by surprise."""
    image = bytes(64 * 48 * 3)
    for value, kind in itertools.product(STRANGE, ("predict", "joints")):
        header = json.dumps({**GOOD, "type": kind, name: value}).encode()
        for more in ([image], [], [b""], [image, image]):
            frames = [b"me", b"", header, *more]
            message, _ = answer(Fake(), frames, Poses(INFO), pytest.fail)  # type: ignore[arg-type]
            assert parse(message)["type"] in ("refused", "prediction", "noted") and len(message) < 20_000


@pytest.mark.parametrize("name", [*FOCAL, "distortion", "joint"])
def test_no_camera_and_no_joint_is_the_end(name: str) -> None:
    for value in (*STRANGE, [1e300] * 5, [1e5, -1e5, 1e3, 1e3, 1e9], [1e-320] * 5, 1e-300, 1e12):
        joints = {**ANGLES, "elbow_joint": value} if name == "joint" else ANGLES
        camera = {**FOCAL, name: value} if name != "joint" else FOCAL
        for known in (joints, None):
            header = json.dumps({**GOOD, "pose": {"camera": camera, "joints": known}}).encode()
            frames = [b"me", b"", header, bytes(64 * 48 * 3)]
            message, _ = answer(Fake(), frames, Poses(INFO), pytest.fail)  # type: ignore[arg-type]
            assert parse(message)["type"] in ("refused", "prediction")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b'{"schema":1,"type":"predict","id":4,"encoding":[]}', "no encoding []"),
        (b'{"schema":1,"type":"predict","id":4,"encoding":"rgb","width":64.0,"height":48}', "no size"),
        (b'{"schema":1,"type":"predict","id":4,"width":NaN}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"id":' * 100_000, "not JSON"),
        (b" " * (MAX_HEADER + 1), f"the header has {MAX_HEADER + 1} bytes"),
        (b"\xff\xfe", "not JSON"),
        (b"1" * 100_000, "not JSON"),
        (b"", "not JSON"),
        (json.dumps({"schema": "1" * 900_000}).encode(), "the message has schema"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(header: bytes, words: str) -> None:
    reason = refused(header, bytes(64 * 48 * 3))
    assert words in reason and len(reason) <= LONGEST and "\n" not in reason


def test_a_server_that_fails_at_a_request_says_so_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(Fake):
        def predict(self, images: Sequence[NDArray[np.uint8]], *_: object) -> list[list[Found]]:
            raise ArithmeticError("something that nobody thought of")

    header = encode_request("predict", id=4, encoding="rgb", width=64, height=48)
    for _ in range(50):
        message, found = answer(Broken(), [b"me", b"", header, bytes(64 * 48 * 3)], Poses(INFO))  # type: ignore[arg-type]
        assert found is None and "ArithmeticError" in parse(message)["reason"] and parse(message)["id"] == 4
    assert capsys.readouterr().err.count("Traceback") == 1, "a log must not be flooded"


def test_an_image_file_is_read_as_predict_reads_it(tmp_path: Path) -> None:
    """Upright, as the camera noted; and 16 bits of grey are grey."""
    turned = Image.Exif()
    turned[image_file.ORIENTATION_TAG] = 6
    shades = np.linspace(0, 255, 40 * 20 * 3).reshape(20, 40, 3).astype(np.uint8)
    Image.fromarray(shades).save(tmp_path / "turned.jpg", exif=turned)
    Image.fromarray(np.linspace(0, 65535, 800).reshape(20, 40).astype(np.uint16)).save(tmp_path / "deep.png")

    class Looks(Fake):
        seen: NDArray[np.uint8]

        def predict(self, images: Sequence[NDArray[np.uint8]], *_: object) -> list[list[Found]]:
            self.seen = images[0]
            return super().predict(images)

    for file, size in ((tmp_path / "turned.jpg", (20, 40)), (tmp_path / "deep.png", (40, 20))):
        model, header = Looks(), encode_request("predict", id=4, encoding="file")
        document = parse(answer(model, [b"me", b"", header, file.read_bytes()], Poses(INFO))[0])  # type: ignore[arg-type]
        assert (document["width"], document["height"]) == size
        np.testing.assert_array_equal(model.seen, image_file.read(file).pixels)
        assert model.seen.std() > 40


def test_turns_are_shared_by_time_and_not_by_number() -> None:
    turns: Turns[str] = Turns()
    costs = {"slow": 5.0, "quick": 0.25, "other": 1.0}
    spent: Counter[str] = Counter()
    for _ in range(4000):
        party = turns.next(costs)
        turns.charge(party, costs[party])
        spent[party] += int(100 * costs[party])
    total = spent.total()
    assert all(0.31 < spent[p] / total < 0.36 for p in costs), spent


def test_who_was_away_does_not_catch_up_and_newcomers_do_not_come_first() -> None:
    turns: Turns[str] = Turns()
    for _ in range(1000):
        turns.charge(turns.next(["a"]), 1.0)
    served = []
    for _ in range(100):
        served.append(turns.next(["a", "b"]))
        turns.charge(served[-1], 1.0)
    assert 49 <= served.count("a") <= 51
    served = []
    for i in range(200):  # always another stranger
        served.append(turns.next(["a", f"stranger {i}"]))
        turns.charge(served[-1], 1.0)
    assert served.count("a") >= 99
    assert len(turns._clocks) < 100, "strangers are remembered for ever"


def asked(client: str, number: int, size: int = 10) -> Request:
    return Request([client.encode(), b"", str(number).encode(), bytes(size)])


def test_those_who_ask_too_fast_share_one_half_of_the_turns() -> None:
    """However many they are; and each of them gets as much as the others."""
    queue, served = RequestQueue(), Counter[str]()
    flood = [f"flood {i}" for i in range(5)]
    for turn in range(2000):
        for client in flood:
            for _ in range(3):
                queue.put(asked(client, turn))
        if not any(r.client == b"polite" for r in queue._waiting.values()):
            queue.put(asked("polite", turn))
        request = queue.take()
        served[request.client.decode()] += 1
        queue.answered(request, 1.0)
    assert served["polite"] >= 950, served
    assert min(served[c] for c in flood) >= 190, served


def test_what_waits_is_bounded_and_the_largest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_queue, "MOST_BYTES", 1000)
    monkeypatch.setattr(request_queue, "MOST_CLIENTS", 8)
    queue = RequestQueue()
    assert queue.put(asked("a", 1, 400)) == [] and queue.put(asked("b", 1, 500)) == []
    assert queue.put(asked("c", 1, 300)) != []
    assert sorted(r.client for r in queue._waiting.values()) == [b"a", b"c"]
    (late,) = queue.put(asked("b", 2, 900))
    assert late.request.client == b"b" and "ask again" in late.reason
    for i in range(50):
        queue.put(asked(f"client {i}", 1))
    assert len(queue) <= 8 and sum(r.size for r in queue._waiting.values()) <= 1000
    kept = next(r.client for r in queue._waiting.values() if r.client.startswith(b"client"))
    older, largest = queue.put(asked(kept.decode(), 2, 2000))
    assert (older.request.frames[2], largest.request.frames[2]) == (b"1", b"2")


class Endless:
    """A video of pictures that cost as much as requests."""

    name, kind = "film.mp4", "video"

    def pictures(self, frames: int | None = None) -> Iterator[Picture]:
        for number in itertools.count():
            yield Picture(self.name, np.zeros((48, 64, 3), np.uint8), number, 0.1)


class Counting(Fake):
    """Counts what it looks at, by width, and ends the server after enough of it."""

    def __init__(self, enough: int) -> None:
        super().__init__()
        self.seen: Counter[int] = Counter()
        self.enough = enough
        self.ended = threading.Event()

    def predict(self, images: Sequence[NDArray[np.uint8]], *_: object) -> list[list[Found]]:
        self.seen[images[0].shape[1]] += 1
        if self.seen.total() >= self.enough:
            self.ended.set()
        return super().predict(images)


def test_a_flood_of_requests_leaves_others_and_the_source_their_share() -> None:
    """Two clients send without waiting for answers, one asks politely, and a source is being published."""
    model = Counting(300)
    sockets = ServerSockets("127.0.0.1", 0, "", 0)
    feed = PictureFeed([Endless()], sockets.wake)  # type: ignore[list-item]
    # Every turn costs the same, so that a busy machine's pauses don't count.
    steps = itertools.count()
    server = Server(
        model, Poses(INFO), sockets, feed, {"robot": None, "model": "m"}, False, clock=lambda: float(next(steps)),
    )  # type: ignore[arg-type]  # fmt: skip
    halt = threading.Event()

    def send(width: int, *, wait: bool) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.connect(sockets.url(sockets.port))
        number = 0
        while not halt.is_set():
            number += 1
            header = encode_request("predict", id=number, encoding="rgb", width=width, height=48)
            try:
                socket.send_multipart([b"", header, bytes(width * 48 * 3)], 0 if wait else zmq.NOBLOCK)
            except zmq.Again:
                halt.wait(0.001)
            while socket.poll(50 if wait else 0) == 0 and wait and not halt.is_set():
                pass
            while socket.poll(0):
                socket.recv_multipart()
        context.destroy(linger=0)

    clients = [
        threading.Thread(target=send, args=(width,), kwargs={"wait": wait}, daemon=True)
        for width, wait in ((65, False), (66, False), (67, True))
    ]
    for client in clients:
        client.start()
    thread = threading.Thread(target=server.run, args=(model.ended,), daemon=True)
    thread.start()
    try:
        assert model.ended.wait(120), f"the server came to a standstill: {model.seen}"
    finally:
        halt.set()
        model.ended.set()
        thread.join(30)
        feed.close()
        for client in clients:
            client.join(30)
        sockets.close()
    assert model.seen[64] >= 0.4 * model.seen.total(), model.seen
    assert model.seen[65] + model.seen[66] > 0, "the flood did not arrive"
    assert model.seen[67] > 0, f"the polite client was left out: {model.seen}"
