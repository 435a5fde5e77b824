# SPDX-License-Identifier: GPL-3.0-or-later
"""The sample stream and the news: fair, bounded, in order, lossless, and closed to strangers."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zmq
from robot_keypoints.core.errors import LONGEST, UserError
from robot_keypoints.core.messages.addresses import is_loopback
from robot_keypoints.core.messages.curve_security import Security
from robot_keypoints.core.messages.envelope import MessageError, encode_request, parse
from robot_keypoints.core.messages.events import Posterior, State, encode_event
from robot_keypoints.core.messages.run_sockets import QUEUE, Endpoints, Hub, Link, SampleReceiver
from robot_keypoints.core.messages.samples import Instance, Sample, SampleContract, encode_sample
from robot_keypoints.core.scene.prior import Prior
from robot_keypoints.core.scene.scene_model import SceneModel, Variable

RUN = "run"
STATE: State = {"phase": "training", "message": "all is well"}
MODEL = SceneModel((Variable("joint/a", Prior.symmetric(0, 1, 4)),))
KERNEL = 48 << 20
"""Bytes that the system's own socket buffers may hold on one connection (Linux: 4 MiB sending, 6 to 32 receiving)."""
PATIENCE = 30.0
"""Seconds after which something that must happen is taken to have failed; no test measures time with it."""


def make(worker: int, sequence: int, width: int = 64, height: int = 48) -> Sample:
    rng = np.random.default_rng(sequence)
    return Sample(
        np.full((height, width, 4), sequence % 251, np.uint8), np.zeros((1, 2)), np.ones(1), np.array([2]),
        MODEL.sample(rng), 0, worker, sequence, np.eye(3), np.eye(4),
    )  # fmt: skip


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub("127.0.0.1", 0)
    yield hub
    hub.close()


def receiver(hub: Hub, width: int = 64, height: int = 48) -> tuple[SampleReceiver, list[str]]:
    reasons: list[str] = []
    return SampleReceiver(hub.samples, SampleContract.of(RUN, width, height, 1, MODEL), reasons.append), reasons


class Worker(threading.Thread):
    """Sends ``count`` samples as fast as it may."""

    def __init__(
        self, endpoints: Endpoints, number: int, count: int, size: tuple[int, int] = (64, 48), keys: str = ""
    ) -> None:
        super().__init__(daemon=True)
        self.link = Link(endpoints, RUN, keys)
        self.number, self.count, self.size = number, count, size
        self.sent = 0
        self.halt = threading.Event()
        self.start()

    def run(self) -> None:
        for sequence in range(self.count):
            if not self.link.send(make(self.number, sequence, *self.size), self.halt.is_set):
                return
            self.sent += 1

    def end(self) -> None:
        self.halt.set()
        self.join(PATIENCE)
        assert not self.is_alive(), "send does not notice that it is to stop"
        self.link.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def at_rest(workers: list[Worker]) -> None:
    """Wait until no worker has sent anything for a while."""
    last, since = -1, time.monotonic()
    end = since + PATIENCE
    while time.monotonic() < since + 1.0:
        now = sum(w.sent for w in workers)
        if now != last:
            last, since = now, time.monotonic()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_workers_are_read_in_turn(hub: Hub) -> None:
    """Three workers, one of them joined late and one with all its queues full long before: each gets its third."""
    incoming, _ = receiver(hub)
    workers = [Worker(hub.endpoints, i, 100_000) for i in range(2)]
    at_rest(workers)
    workers.append(Worker(hub.endpoints, 2, 100_000))
    at_rest(workers)
    seen = [incoming.receive(PATIENCE) for _ in range(600)]
    counts = Counter(s.worker for s in seen[:300] if s)
    assert set(counts) == {0, 1, 2}
    assert min(counts.values()) >= 60, counts  # a third each, but for what a busy machine does to their threads
    # The workers and the gate before the sockets are threads of one interpreter here, which takes turns of its own.
    runs = [sum(1 for s in seen[i : i + 100] if s and s.worker == w) for i in range(0, 300, 100) for w in range(3)]
    assert min(runs) >= 10, "a worker was left out for a while"
    for w in workers:
        w.end()


def test_a_slow_reader_stops_its_workers_and_loses_nothing(hub: Hub) -> None:
    size = (1280, 960)
    incoming, reasons = receiver(hub, *size)
    workers = [Worker(hub.endpoints, i, 60, size) for i in range(2)]
    at_rest(workers)
    in_kernel = KERNEL // (size[0] * size[1] * 4) + 1
    for w in workers:
        assert w.sent <= 2 * QUEUE + in_kernel + 1, f"{w.sent} samples wait somewhere"
        assert w.sent < w.count
    order: dict[int, list[int]] = {0: [], 1: []}
    for _ in range(120):
        got = incoming.receive(PATIENCE)
        assert got is not None, f"something was lost: {order}"
        assert (got.image == got.sequence % 251).all()
        order[got.worker].append(got.sequence)
    assert order == {0: list(range(60)), 1: list(range(60))}
    assert incoming.receive(0.2) is None and not reasons
    for w in workers:
        w.end()


def test_details_and_masks_travel_along(hub: Hub) -> None:
    contract = replace(SampleContract.of(RUN, 64, 48, 1, MODEL), details=True, masks=True)
    taker = SampleReceiver(hub.samples, contract, pytest.fail)
    turned = np.eye(4)[[1, 0, 2, 3]]
    arm = Instance("", turned, {"a": 0.25}, {"base": np.eye(4), "tip": turned}, (0.5, 1.5, 20.0, 30.0))
    mask = (np.arange(48 * 64, dtype=np.uint16) % 3).reshape(48, 64)
    link = Link(hub.endpoints, RUN)
    assert link.send(replace(make(0, 7), instances=(arm,), mask=mask), lambda: False)
    sample = taker.receive(PATIENCE)
    link.close()
    assert sample is not None and sample.mask is not None
    np.testing.assert_array_equal(sample.mask, mask)
    (found,) = sample.instances
    assert (found.name, found.joints, found.box) == (arm.name, arm.joints, arm.box)
    np.testing.assert_array_equal(found.base_in_camera, turned)
    np.testing.assert_array_equal(found.frames["tip"], turned)


def test_a_worker_waits_for_a_trainer_that_is_not_there_and_can_be_stopped() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    worker = Worker(Endpoints("127.0.0.1", port, port, port), 0, 10)
    time.sleep(0.5)
    assert worker.sent == 0, "what was sent before the trainer was there would be lost with the worker"
    worker.end()


def test_strangers_are_counted_and_dropped(hub: Hub) -> None:
    incoming, reasons = receiver(hub)
    context = zmq.Context()
    push = context.socket(zmq.PUSH)
    push.connect(hub.endpoints.url(hub.endpoints.samples))
    good = encode_sample(make(5, 3), RUN)
    rng = np.random.default_rng(0)
    for frames in (
        [b""], [b"", b""], [rng.bytes(100)], [rng.bytes(100), rng.bytes(64 * 48 * 4)], [b"{}", b""], [b"a"] * 20,
        encode_sample(make(5, 0), "another run"), encode_sample(make(5, 1, 48, 64), RUN), [good[0]],
    ):  # fmt: skip
        push.send_multipart(frames)
    push.send_multipart(good)
    got = incoming.receive(PATIENCE)
    assert got is not None and (got.worker, got.sequence) == (5, 3)
    assert incoming.dropped == 9 and len(reasons) == 9
    context.destroy(linger=0)


class Flooded:
    """A socket at which there is always more of what is no sample."""

    received = 0

    def recv_multipart(self, flags: int, copy: bool) -> list[zmq.Frame]:
        self.received += 1
        assert self.received < 1000, "it waits for the flood to end"
        return [zmq.Frame(json.dumps({"schema": "x" * 100_000}).encode())]


def test_a_flood_of_what_is_no_sample_keeps_nobody_waiting_and_fills_no_log() -> None:
    reasons: list[str] = []
    contract = SampleContract.of(RUN, 64, 48, 1, MODEL)
    flooded = SampleReceiver(Flooded(), contract, reasons.append)  # type: ignore[arg-type]
    assert flooded.receive(0.0) is None and flooded.dropped == len(reasons) > 0
    assert max(map(len, reasons)) <= LONGEST


def test_bytes_that_are_no_zeromq_at_all(hub: Hub) -> None:
    incoming, _ = receiver(hub)
    rng = np.random.default_rng(1)
    for port in (hub.endpoints.samples, hub.endpoints.news, hub.endpoints.control):
        for data in (b"GET / HTTP/1.1\r\n\r\n", rng.bytes(5000), b"\xff" + b"\0" * 8 + b"\x7f\x03" + rng.bytes(100)):
            with socket.create_connection((hub.endpoints.host, port)) as stranger:
                stranger.sendall(data)
    worker = Worker(hub.endpoints, 0, 3)
    assert [s.sequence for s in (incoming.receive(PATIENCE) for _ in range(3)) if s] == [0, 1, 2]
    worker.end()


def test_news_reach_who_subscribed(hub: Hub) -> None:
    link = Link(hub.endpoints, RUN)
    assert link.news() == []
    link.subscribe(b"posterior")
    link.subscribe(b"event")
    posterior = Posterior(2, {"joint/a": (1.0, 2.0, 3.0, 4.0)})
    heard: list[object] = []

    def publish() -> bool:
        for frames in (
            [b"posterior", posterior.encode("other")], [b"posterior"], [b"posterior", b"\0"], [b"event", b"{}", b""],
            [b"posterior", posterior.encode(RUN)], [b"event", encode_event(RUN, ("state", STATE))],
            [b"other", b"x"],
        ):  # fmt: skip
            hub.news.send_multipart(frames)
        time.sleep(0.02)
        heard.extend(link.news())
        return len(heard) >= 4

    until(publish)
    assert heard[:2] == [posterior, ("state", STATE)]
    assert all(h in (posterior, ("state", STATE)) for h in heard)
    link.close()


def answer_once(hub: Hub, answer: list[bytes]) -> threading.Thread:
    def serve() -> None:
        if hub.control.poll(int(1000 * PATIENCE)):
            identity, empty, _ = hub.control.recv_multipart()
            hub.control.send_multipart([identity, empty, *answer])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def test_requests_are_answered(hub: Hub) -> None:
    link = Link(hub.endpoints, RUN)
    thread = answer_once(hub, [encode_request("welcome", version=3)])
    answer = link.request([encode_request("hello", run=RUN)], PATIENCE)
    assert answer is not None and answer["type"] == "welcome" and answer["version"] == 3
    thread.join(PATIENCE)
    thread = answer_once(hub, [b"\x80 not JSON"])
    with pytest.raises(MessageError):
        link.request([encode_request("hello", run=RUN)], PATIENCE)
    thread.join(PATIENCE)
    assert link.request([encode_request("hello", run=RUN)], 0.1) is None
    link.close()


def test_commands_arrive_without_waiting(hub: Hub) -> None:
    link = Link(hub.endpoints, RUN)
    for kind in ("pause", "resume", "stop"):
        link.command(kind)
    heard = []
    for _ in range(3):
        assert hub.control.poll(int(1000 * PATIENCE))
        _, empty, request = hub.control.recv_multipart()
        assert empty == b""
        heard.append(parse(request))
    assert [h["type"] for h in heard] == ["pause", "resume", "stop"] and {h["run"] for h in heard} == {RUN}
    link.close()


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError) as refusal:
            Hub("127.0.0.1", port)
    assert f"Port {port} on 127.0.0.1 is in use" in str(refusal.value) and "stream.port" in str(refusal.value)


def test_an_address_that_is_not_ours_is_one_sentence(tmp_path: Path) -> None:
    Security.create_keys(tmp_path)
    with pytest.raises(UserError, match=r"stream\.host"):
        Hub("192.0.2.7", 0, str(tmp_path))


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "192.168.1.4",
        "::",
        "example.org",
        "127.0.0.1.example.org",
        "*",
        "",
        "127.1",
        "0",
        "localhost.example.org",
        "::ffff:10.0.0.1",
        "2130706433",
        "0x7f.1",
        "lo",
        "[::]",
    ],
)
def test_the_open_network_needs_keys(host: str) -> None:
    assert not is_loopback(host)
    for make_one in (lambda: Hub(host, 0), lambda: Link(Endpoints(host, 1, 2, 3), RUN)):
        with pytest.raises(UserError, match=r"stream\.keys"):
            make_one()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "::ffff:127.0.0.1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    assert is_loopback(host)


def test_with_keys_only_who_holds_them_is_heard(tmp_path: Path) -> None:
    keys, foreign = tmp_path / "keys", tmp_path / "foreign"
    Security.create_keys(keys)
    Security.create_keys(foreign)
    (foreign / "server.key").write_bytes((keys / "server.key").read_bytes())  # the public part may be known
    hub = Hub("127.0.0.1", 0, str(keys))
    incoming, reasons = receiver(hub)
    strangers = [Worker(hub.endpoints, 8, 5), Worker(hub.endpoints, 9, 5, keys=str(foreign))]
    friend = Worker(hub.endpoints, 1, 40, keys=str(keys))
    got = [incoming.receive(PATIENCE) for _ in range(40)]
    assert [s.sequence for s in got if s] == list(range(40)) and {s.worker for s in got if s} == {1}
    assert incoming.receive(1.0) is None, "a stranger was heard"
    assert all(w.sent == 0 for w in strangers) and not reasons
    deaf, ear = Link(hub.endpoints, RUN), Link(hub.endpoints, RUN, str(keys))
    for link in (deaf, ear):
        link.subscribe(b"event")

    def heard() -> bool:
        hub.news.send_multipart([b"event", encode_event(RUN, ("state", STATE))])
        time.sleep(0.02)
        return bool(ear.news())

    until(heard)
    assert deaf.news() == [] and deaf.request([encode_request("hello")], 0.3) is None
    assert (keys / "server.key_secret").stat().st_mode & 0o077 == 0
    for w in (*strangers, friend):
        w.end()
    deaf.close()
    ear.close()
    hub.close()


def test_missing_or_broken_keys_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make the keys anew"):
        Hub("127.0.0.1", 0, str(tmp_path / "absent"))
    Security.create_keys(tmp_path)
    (tmp_path / "server.key_secret").write_text("nonsense", encoding="utf-8")
    with pytest.raises(UserError, match="make the keys anew"):
        Hub("127.0.0.1", 0, str(tmp_path))


def test_closing_frees_the_ports() -> None:
    first = Hub("127.0.0.1", 0)
    ports = (first.endpoints.samples, first.endpoints.news, first.endpoints.control)
    first.close()
    for port in ports:
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))
