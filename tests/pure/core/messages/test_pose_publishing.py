# SPDX-License-Identifier: GPL-3.0-or-later
"""Published poses: the newest counts, nobody is waited for, newcomers hear the last one, strangers hear nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.messages.curve_security import Security
from robot_keypoints.core.messages.envelope import MessageError, encode_request
from robot_keypoints.core.messages.pose_publishing import TOPIC, PoseListener, PosePublisher, PublishedPose

POINT = {"name": "a", "u": 1.5, "v": 2.5, "confidence": 0.9, "covariance": [[1.0, 0.0], [0.0, 2.0]]}
FOUND: dict[str, Any] = {
    "time": 5.0, "source": "request", "frame": None, "seconds": None, "width": 4, "height": 3, "milliseconds": 7.0,
    "keypoints": [POINT], "camera": None, "pose": None, "robot": None, "model": "m",
}  # fmt: skip


class Radio:
    """A publisher, and those who listen to it."""

    def __init__(self, keys: str = "") -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.security = Security("127.0.0.1", keys)
        self.security.start(self.context)
        socket = self.context.socket(zmq.XPUB)
        self.security.server(socket)
        PosePublisher.prepare(socket)
        self.port = socket.bind_to_random_port("tcp://127.0.0.1")
        self.publisher = PosePublisher(socket)
        self.ears: list[PoseListener] = []

    def listener(self, keys: str = "") -> PoseListener:
        self.ears.append(PoseListener("127.0.0.1", self.port, keys))
        return self.ears[-1]

    def until(self, there: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not there():
            assert time.monotonic() < end, "it never came to that"
            self.publisher.welcome()
            time.sleep(0.01)

    def joined(self, count: int) -> None:
        self.until(lambda: self.publisher.listeners == count)

    def close(self) -> None:
        for ear in self.ears:
            ear.close()
        self.security.stop()
        self.context.destroy(linger=0)


@pytest.fixture
def radio() -> Iterator[Radio]:
    made = Radio()
    yield made
    made.close()


def test_what_is_said_is_heard_once(radio: Radio) -> None:
    ear = radio.listener()
    radio.joined(1)
    radio.publisher.publish(FOUND)
    heard = ear.newest(60)
    assert heard is not None and heard.keypoints[0].covariance == ((1.0, 0.0), (0.0, 2.0))
    assert (heard.sequence, heard.end, heard.width, heard.height) == (0, False, 4, 3) and heard.pose is None
    assert abs(heard.published - time.time()) < 60
    assert ear.newest() is None
    radio.publisher.publish({**FOUND, "frame": 7, "seconds": 0.25})
    heard = ear.newest(60)
    assert heard is not None and (heard.sequence, heard.frame, heard.seconds) == (1, 7, 0.25)
    with pytest.raises(ValueError):
        radio.publisher.publish({**FOUND, "time": float("nan")})


def test_a_newcomer_hears_the_last_document_and_others_do_not_hear_it_twice(radio: Radio) -> None:
    first = radio.listener()
    radio.joined(1)
    for _ in range(3):
        radio.publisher.publish(FOUND)
        assert first.newest(60) is not None
    late = radio.listener()
    radio.joined(2)
    heard = late.newest(60)
    assert heard is not None and heard.sequence == 2
    assert first.newest(0.3) is None
    first.close()
    radio.joined(1)


def test_a_slow_listener_gets_the_newest_and_holds_nobody_up(radio: Radio) -> None:
    """Far more than any queue on the way holds."""
    slow, quick = radio.listener(), radio.listener()
    deaf = radio.context.socket(zmq.SUB)
    deaf.rcvhwm = 1
    deaf.setsockopt(zmq.SUBSCRIBE, TOPIC)
    deaf.connect(f"tcp://127.0.0.1:{radio.port}")
    radio.joined(3)
    big = {**FOUND, "keypoints": [POINT] * 300}
    for _ in range(300):
        radio.publisher.publish(big)
        heard = quick.newest(0.2)
    time.sleep(0.3)
    heard = quick.newest(0.2) or heard
    radio.publisher.publish(FOUND)
    heard = slow.newest(60)
    assert heard is not None
    while heard.sequence < 300:
        assert heard.sequence > 250, "an old document was kept"
        heard = slow.newest(60)
        assert heard is not None
    assert heard.sequence == 300


def test_the_end_is_told(radio: Radio) -> None:
    ear = radio.listener()
    radio.joined(1)
    radio.publisher.publish(FOUND)
    assert ear.newest(60) is not None
    radio.publisher.close()
    heard = ear.newest(60)
    assert heard is not None and heard.end and heard.sequence == 0


def test_nobody_listens_without_keys(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give --keys a folder with keys"):
        PoseListener("192.0.2.1", 5)
    Security.create_keys(tmp_path / "ours")
    Security.create_keys(tmp_path / "others")
    radio = Radio(str(tmp_path / "ours"))
    try:
        friend = radio.listener(str(tmp_path / "ours"))
        strangers = [radio.listener(), radio.listener(str(tmp_path / "others"))]
        radio.joined(1)
        radio.publisher.publish(FOUND)
        assert friend.newest(60) is not None
        assert radio.publisher.listeners == 1 and all(s.newest(0.2) is None for s in strangers)
    finally:
        radio.close()


@pytest.mark.parametrize(
    "message",
    [
        b"", b"pose", b"pose {}", b"pose nothing", b"other {}", TOPIC + encode_request("other"),
        TOPIC + encode_request("pose", **FOUND),
        *(
            TOPIC + encode_request("pose", run="r", sequence=0, end=False, published=1.0, **{**FOUND, **change})
            for change in ({"time": "x"}, {"frame": "x"}, {"keypoints": [{}]}, {"pose": {}}, {"width": None})
        ),
    ],
)  # fmt: skip
def test_foreign_messages_are_left_out(radio: Radio, message: bytes) -> None:
    with pytest.raises(MessageError):
        PublishedPose.decode(message)
    ear = radio.listener()
    radio.joined(1)
    radio.publisher.socket.send(message)
    time.sleep(0.05)
    radio.publisher.publish(FOUND)
    assert ear.newest(60) is not None


def test_strangers_may_send_nothing(radio: Radio) -> None:
    """What is no subscription is not counted, and too much of it is cut off."""
    rude = radio.context.socket(zmq.XSUB)
    rude.linger = 0
    rude.connect(f"tcp://127.0.0.1:{radio.port}")
    for message in (b"\1other", b"\2pose", b"hello", b"\1" + bytes(100_000)):
        rude.send(message)
    ear = radio.listener()
    radio.joined(1)
    time.sleep(0.1)
    radio.publisher.publish(FOUND)
    assert ear.newest(60) is not None and radio.publisher.listeners == 1
