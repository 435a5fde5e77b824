# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands before every ZeroMQ socket that listens: nobody outside fills the memory or shuts others out."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import zmq
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.messages import gate as gate_module
from robot_keypoints.core.messages.curve_security import Security
from robot_keypoints.core.messages.gate import COMMAND, GREETING, LONG, MORE, Gate, Limits
from robot_keypoints.core.messages.run_sockets import LONGEST_TOPIC, SUBSCRIPTIONS, UNANSWERED, Hub

MEGABYTE = 1 << 20
PATIENCE = 60.0
"""Seconds after which something that must happen is taken to have failed; no test measures time with it."""


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def frame(flags: int, body: bytes) -> bytes:
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | LONG]) + len(body).to_bytes(8, "big") + body


class Raw:
    """A client that speaks ZMTP 3 by itself, as rudely as it is told to."""

    def __init__(self, port: int, kind: bytes = b"DEALER", mechanism: bytes = b"NULL") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(PATIENCE)
        self.socket.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x01" + mechanism.ljust(20, b"\0") + bytes(32))
        left = GREETING
        while left:
            left -= len(self.socket.recv(left))
        if mechanism == b"NULL":
            self.command(b"\5READY" + b"\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind)
            flags, length = self.socket.recv(2)
            assert flags == COMMAND
            self.socket.recv(length)

    def command(self, body: bytes) -> None:
        self.socket.sendall(frame(COMMAND, body))

    def message(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(frame(MORE if i < len(parts) - 1 else 0, p) for i, p in enumerate(parts)))

    def cut_off(self, data: bytes, times: int) -> bool:
        """Whether the connection is closed while, or after, so much is sent."""
        try:
            for _ in range(times):
                self.socket.sendall(data)
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True


class Served:
    """A ROUTER behind a gate."""

    def __init__(self, limits: Limits, kind: int = zmq.ROUTER) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(kind)
        self.socket.linger = 0
        self.socket.rcvhwm = 4
        self.gate = Gate(self.socket, "127.0.0.1", 0, limits)
        self.port = self.gate.port

    def client(self, kind: int = zmq.DEALER) -> zmq.Socket[bytes]:
        made = self.context.socket(kind)
        made.linger = 0
        made.connect(f"tcp://127.0.0.1:{self.port}")
        return made

    def echo(self, seconds: float = PATIENCE) -> list[bytes]:
        """Answer one request."""
        assert self.socket.poll(int(1000 * seconds)), "nothing came"
        frames = self.socket.recv_multipart()
        self.socket.send_multipart([*frames[:2], b"heard"])
        return frames

    def goes_on(self) -> None:
        """A client that keeps to the rules is answered."""
        friend = self.client()
        friend.send_multipart([b"", b"friend"])
        while self.echo()[2] != b"friend":
            pass
        assert friend.poll(int(1000 * PATIENCE)) and friend.recv_multipart() == [b"", b"heard"]
        friend.close()

    def close(self) -> None:
        self.context.destroy(linger=0)
        self.gate.close()


@pytest.fixture
def opened() -> Iterator[list[Served]]:
    made: list[Served] = []
    yield made
    for one in made:
        one.close()


def serve(opened: list[Served], limits: Limits, kind: int = zmq.ROUTER) -> Served:
    opened.append(Served(limits, kind))
    return opened[-1]


def memory() -> int:
    """Bytes of this process in main memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("data", "times"),
    [
        (frame(MORE, b"") * 10_000, 100),  # each takes 64 bytes of memory
        (frame(MORE, b"x" * 1000) * 100, 100),
        (frame(MORE, bytes(60_000)), 100),
        (frame(0, bytes(200_000)), 1),
        (bytes([LONG]) + b"\x7f" + bytes(7), 1),  # 9 · 10¹⁸ bytes
        (bytes([LONG]) + b"\xff" * 8, 1),
        (frame(COMMAND, bytes(5000)), 1),
        (frame(COMMAND | MORE, b"\4PING"), 1),
        (b"\x80\0", 1),
    ],
)
def test_a_message_that_is_too_much_ends_its_connection_alone(opened: list[Served], data: bytes, times: int) -> None:
    served = serve(opened, Limits(100_000, unanswered=4))
    before = memory()
    assert Raw(served.port).cut_off(data, times)
    assert memory() - before < 32 * MEGABYTE
    served.goes_on()


def test_many_unfinished_messages_stay_within_the_limit(opened: list[Served]) -> None:
    """As many parts as may be, again and again, by as many as may connect."""
    served = serve(opened, Limits(MEGABYTE, parts=8, unanswered=4, connections=16))
    before = memory()
    strangers = [Raw(served.port) for _ in range(12)]
    for stranger in strangers:
        stranger.socket.sendall(frame(MORE, bytes(100_000)) * 7)
    time.sleep(0.5)
    assert memory() - before < 48 * MEGABYTE
    served.goes_on()


def test_nobody_speaks_before_the_handshake(opened: list[Served]) -> None:
    served = serve(opened, Limits(100_000))
    for data in (
        b"GET / HTTP/1.1\r\n\r\n", b"\xff" + bytes(8) + b"\x7f\x01" + bytes(100), bytes(1000), b"\x01\x00",
        b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32) + frame(0, bytes(50_000)),
    ):  # fmt: skip
        stranger = socket.create_connection(("127.0.0.1", served.port))
        stranger.settimeout(PATIENCE)
        stranger.sendall(data)
        with suppress(ConnectionError):
            while stranger.recv(1000):
                pass
        stranger.close()
    served.goes_on()


@pytest.mark.parametrize("command", [True, False])
def test_subscriptions_are_counted(command: bool) -> None:
    """Both as commands, as ZMTP 3.1 has them, and as messages, as 3.0 has them; a heartbeat is none."""
    hub = Hub("127.0.0.1", 0)
    try:
        patient = Raw(hub.endpoints.news, b"SUB")
        for _ in range(2 * SUBSCRIPTIONS):
            patient.command(b"\4PING" + bytes(2))

        def subscription(topic: bytes) -> bytes:
            return frame(COMMAND, b"\x09SUBSCRIBE" + topic) if command else frame(0, b"\1" + topic)

        def topic(number: int) -> bytes:
            return subscription(f"{number:08}".encode() * 20)

        before = memory()
        assert Raw(hub.endpoints.news, b"SUB").cut_off(b"".join(map(topic, range(1000))), 100)
        assert command or Raw(hub.endpoints.news, b"SUB").cut_off(subscription(bytes(LONGEST_TOPIC + 1)), 1)
        assert memory() - before < 32 * MEGABYTE
        patient.socket.sendall(subscription(b"event"))

        def heard() -> bool:
            hub.news.send_multipart([b"event", b"news"])
            patient.socket.settimeout(0.05)
            with suppress(TimeoutError):
                return b"news" in patient.socket.recv(65536)
            return False

        until(heard)
    finally:
        hub.close()


def test_what_waits_for_answers_is_bounded_for_each_and_in_all(opened: list[Served]) -> None:
    """More large images at once than fit: some wait outside, small requests overtake them, and each gets its answer."""
    size = 8 * MEGABYTE
    served = serve(opened, Limits(2 * size, unanswered=2, waiting=3 * size))
    clients = [served.client() for _ in range(8)]
    for client in clients:
        for _ in range(3):
            client.send_multipart([b"", b"large", bytes(size)])
    until(lambda: served.gate._waiting == 3 * size)
    time.sleep(0.2)
    assert served.gate._waiting == 3 * size
    served.goes_on()
    left = 3 * len(clients)
    while left:
        while served.socket.poll(10):
            served.echo()
        for client in clients:
            while client.poll(0):
                client.recv_multipart()
                left -= 1
    until(lambda: served.gate._waiting == 0)


def test_a_client_has_so_many_messages_on_their_way_and_no_more(opened: list[Served]) -> None:
    served = serve(opened, Limits(MEGABYTE, unanswered=UNANSWERED))
    served.socket.rcvhwm = 0
    client = served.client()
    for number in range(20):
        client.send_multipart([b"", str(number).encode()])
    waiting: list[list[bytes]] = []

    def count() -> int:
        while served.socket.poll(0):
            waiting.append(served.socket.recv_multipart())
        return len(waiting)

    until(lambda: count() >= UNANSWERED)
    time.sleep(0.2)
    assert count() == UNANSWERED
    for done in range(20):
        until(lambda done=done: count() > done)  # type: ignore[misc]
        served.socket.send_multipart([waiting[done][0], b"", b"heard"])
    assert [int(w[2]) for w in waiting] == list(range(20))


def test_an_upload_that_stands_still_gives_way(opened: list[Served], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "PATIENCE", 0.2)
    size = 8 * MEGABYTE
    served = serve(opened, Limits(2 * size, unanswered=2, waiting=size))
    slow = Raw(served.port)
    slow.socket.sendall(frame(MORE, b"") + frame(0, bytes(size))[: size // 2])
    until(lambda: served.gate._waiting == size)
    friend = served.client()
    friend.send_multipart([b"", b"large", bytes(size)])
    assert served.echo()[1:3] == [b"", b"large"]
    assert slow.cut_off(b"", 1)


def test_those_who_are_silent_give_way_where_there_are_too_many(
    opened: list[Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "PATIENCE", 0.0)
    served = serve(opened, Limits(MEGABYTE, unanswered=4, connections=8))
    files = len(os.listdir("/proc/self/fd"))
    crowd = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(200)]
    served.goes_on()
    assert len(served.gate._connections) <= 9
    for one in crowd:
        one.close()
    until(lambda: len(served.gate._connections) <= 1)
    served.goes_on()
    assert len(os.listdir("/proc/self/fd")) < files + 20


def test_those_who_are_at_work_do_not_give_way(opened: list[Served]) -> None:
    served = serve(opened, Limits(MEGABYTE, unanswered=4, connections=2))
    friends = [served.client() for _ in range(2)]
    for friend in friends:
        friend.send_multipart([b"", b"here"])
        served.echo()
        assert friend.poll(int(1000 * PATIENCE)) and friend.recv_multipart()
    with socket.create_connection(("127.0.0.1", served.port)) as late:
        late.settimeout(PATIENCE)
        assert late.recv(100) == b"", "there are more than may be"
    for friend in friends:
        friend.send_multipart([b"", b"still here"])
        served.echo()
        assert friend.poll(int(1000 * PATIENCE)) and friend.recv_multipart()


def test_what_a_client_has_asked_counts_until_it_is_answered_though_it_has_gone(opened: list[Served]) -> None:
    size = 8 * MEGABYTE
    served = serve(opened, Limits(2 * size, unanswered=2, waiting=2 * size, connections=4))
    for _ in range(2):
        stranger = Raw(served.port)
        stranger.message(b"", b"large", bytes(size))
        until(lambda: bool(served.gate._connections[-1]._unanswered))
        stranger.socket.close()
    time.sleep(0.2)
    assert served.gate._waiting == 2 * size and len(served.gate._connections) == 2
    for _ in range(2):
        served.echo()
    until(lambda: served.gate._waiting == 0 and not served.gate._connections)


def test_a_client_that_comes_again_under_its_name_is_served() -> None:
    hub = Hub("127.0.0.1", 0)
    try:
        for number in range(20):
            context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            client = context.socket(zmq.DEALER)
            client.linger = 0
            client.setsockopt(zmq.IDENTITY, b"always the same")
            client.connect(hub.endpoints.url(hub.endpoints.control))
            client.send_multipart([b"", str(number).encode()])
            assert hub.control.poll(int(1000 * PATIENCE)), f"client {number} is not heard"
            frames = hub.control.recv_multipart()
            assert int(frames[2]) == number
            if number % 2:
                hub.control.send_multipart([*frames[:2], b"heard"])
            context.destroy(linger=0)
    finally:
        hub.close()


@pytest.mark.skipif(sys.platform != "linux", reason="names without files are Linux's")
def test_inside_nobody_else_gets_in(opened: list[Served]) -> None:
    served = serve(opened, Limits(1000, unanswered=4))
    table = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace")
    names = re.findall(r"@(robot-keypoints-[0-9a-f]{32})$", table, re.MULTILINE)
    assert names
    code = (
        "import socket, sys\n"
        "for name in sys.argv[1:]:\n"
        "    s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.connect('\\0' + name)\n"
        "    s.sendall(b'\\xff' + bytes(8) + b'\\x7f')\n"
        "    assert s.recv(10) == b'', name\n"
    )
    ours = [n for n in names if f"\0{n}" == served.gate._inside._address]
    assert len(ours) == 1
    made = subprocess.run([sys.executable, "-c", code, *ours], capture_output=True, text=True)
    assert made.returncode == 0 or "ConnectionResetError" in made.stderr or "BrokenPipeError" in made.stderr, (
        made.stderr
    )
    served.goes_on()


def test_with_keys_a_stranger_is_cut_off_before_the_handshake(tmp_path: Path) -> None:
    Security.create_keys(tmp_path)
    hub = Hub("127.0.0.1", 0, str(tmp_path))
    try:
        for port in (hub.endpoints.samples, hub.endpoints.news, hub.endpoints.control):
            assert Raw(port, mechanism=b"CURVE").cut_off(frame(0, bytes(2 * MEGABYTE)), 1)
            assert Raw(port, mechanism=b"CURVE").cut_off(frame(COMMAND, bytes(5000)), 1)
            assert Raw(port, mechanism=b"CURVE").cut_off(frame(COMMAND, b"\5HELLO" + bytes(194)), 1)
    finally:
        hub.close()


def test_nothing_is_left() -> None:
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(3):
        hub = Hub("127.0.0.1", 0)
        strangers = [Raw(hub.endpoints.control) for _ in range(5)]
        strangers[0].message(b"", b"hello")
        hub.close()
        assert all(s.cut_off(b"", 1) for s in strangers)
        for one in strangers:
            one.socket.close()
    until(lambda: threading.active_count() <= threads)
    until(lambda: len(os.listdir("/proc/self/fd")) <= files)


def test_a_port_that_is_taken_or_an_address_that_is_not_ours_is_a_sentence() -> None:
    hub = Hub("127.0.0.1", 0)
    try:
        with pytest.raises(UserError, match=f"Port {hub.endpoints.news} on 127.0.0.1 is in use: choose another"):
            Hub("127.0.0.1", hub.endpoints.news)
    finally:
        hub.close()
    with zmq.Context() as context, context.socket(zmq.PULL) as inner:
        for host in ("192.0.2.7", "no such host", "x" * 300, "\ud800", "::9"):
            with pytest.raises(UserError, match=r"can't be used"):
                Gate(inner, host, 0, Limits(1000))
