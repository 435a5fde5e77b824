# SPDX-License-Identifier: GPL-3.0-or-later
"""``serve --publish``: documents as their schema says, from sources and from requests, until the source ends."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import zmq
from fake_network import ANGLES, CAMERA, INFO, LIFT, PAN, POSE, Fake
from listening import listeners
from PIL import Image
from robot_keypoints.core.messages.curve_security import Security
from robot_keypoints.core.messages.envelope import encode_request, parse
from robot_keypoints.core.messages.model_client import ModelClient
from robot_keypoints.core.messages.pose import PoseRequest
from robot_keypoints.core.messages.pose_publishing import PoseListener, PublishedPose
from robot_keypoints.core.messages.prediction import Prediction
from robot_keypoints.core.messages.run_sockets import Hub, Link
from robot_keypoints.core.processes import programs
from robot_keypoints.core.processes.child_process import Child
from robot_keypoints.trainer.commands import main as cli
from robot_keypoints.trainer.inference import image_feed
from robot_keypoints.trainer.inference.camera_size import CameraSize
from robot_keypoints.trainer.inference.image_feed import PictureFeed
from robot_keypoints.trainer.inference.image_sources import Picture
from robot_keypoints.trainer.inference.server import Server, ServerSockets
from robot_keypoints.trainer.inference.server_requests import Poses, answer
from robot_keypoints.trainer.networks import factory, model_file

SCHEMA = json.loads((Path(__file__).parents[4] / "docs" / "published_pose.schema.json").read_text(encoding="utf-8"))


def check(heard: PublishedPose | None) -> PublishedPose:
    assert heard is not None, "nothing was heard"
    jsonschema.Draft202012Validator(SCHEMA).validate(dict(heard.document))
    return heard


class Camera:
    """A source whose pictures come when they are told to."""

    name, kind = "webcam:0", "webcam"

    def __init__(self, kind: str = "webcam") -> None:
        self.kind = kind
        self.given = threading.Semaphore(0)
        self.read = 0
        self.problem: Exception | None = None

    def pictures(self, frames: int | None = None) -> Iterator[Picture]:
        while True:
            self.given.acquire()
            if self.problem is not None:
                raise self.problem
            self.read += 1
            yield Picture(self.name, np.zeros((48, 64, 3), np.uint8), self.read - 1, 0.1)


def wait_for(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not there():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


class Opened:
    """Sockets left open would keep their contexts waiting for ever."""

    def __init__(self) -> None:
        self.all: list[PoseListener | ModelClient] = []

    def listener(self, port: int | None, keys: str = "") -> PoseListener:
        assert port is not None
        ear = PoseListener("127.0.0.1", port, keys)
        self.all.append(ear)
        return ear

    def client(self, port: int, keys: str = "") -> ModelClient:
        client = ModelClient("127.0.0.1", port, keys)
        self.all.append(client)
        return client


@pytest.fixture
def opened() -> Iterator[Opened]:
    made = Opened()
    yield made
    for one in made.all:
        one.close()


@pytest.fixture
def sockets() -> Iterator[ServerSockets]:
    made = ServerSockets("127.0.0.1", 0, "", 0)
    yield made
    made.close()


def test_documents_are_as_their_schema_says(sockets: ServerSockets, opened: Opened) -> None:
    """With a pose and other poses, without one, without a camera; from a source and from a request."""
    assert sockets.publisher is not None
    publisher = sockets.publisher
    ear, client = opened.listener(sockets.published), opened.client(sockets.port)
    wait_for(lambda: sockets.wait() is None and publisher.listeners == 1)
    sharp, blurred, unsure = Fake(), Fake(), Fake()
    blurred.found = [replace(k, covariance=((9.0, 0.0), (0.0, 9.0))) for k in blurred.found]
    unsure.found = [replace(k, confidence=0.1) for k in unsure.found]
    poses = Poses(INFO)
    finder = poses.finder(PoseRequest.of(CAMERA, ANGLES))
    ended = threading.Event()
    documents = []
    for model, solver in ((sharp, finder), (blurred, finder), (unsure, finder), (sharp, None)):
        source = Camera()
        feed = PictureFeed([source], sockets.wake)  # type: ignore[list-item]
        poses.source = solver
        server = Server(model, poses, sockets, feed, {"robot": poses.name, "model": "m"}, True)  # type: ignore[arg-type]
        ended.clear()
        thread = threading.Thread(target=server.run, args=(ended,))
        thread.start()
        source.given.release()
        documents.append(check(ear.newest(60)))
        if model is sharp and solver is None:
            client.request("rgb", 64, 48, bytes(64 * 48 * 3), PoseRequest.of(CAMERA, ANGLES))
            documents.append(check(ear.newest(60)))
            wait_for(lambda: isinstance(client.poll(), Prediction))
        ended.set()
        thread.join()
        source.given.release()
        feed.close()
    solved, double, occluded, plain, asked = documents
    assert INFO.robot is not None
    for d in (solved, asked):
        assert d.pose is not None and d.pose.base_in_camera is not None and d.document["camera"]["fx"] == CAMERA.fx
        assert np.abs(d.pose.base_in_camera - POSE).max() < 1e-4 and d.robot == INFO.robot["name"]
    assert double.pose is not None and double.pose.alternatives
    assert occluded.pose is not None and occluded.pose.status == "hidden" and occluded.pose.sentence
    assert plain.pose is None and plain.document["camera"] is None
    assert [(d.source, d.frame) for d in documents] == [("webcam:0", 0)] * 4 + [("request", None)]
    assert [d.sequence for d in documents] == [0, 1, 2, 3, 4]


def test_the_camera_of_a_source_may_be_of_larger_pictures(sockets: ServerSockets, opened: Opened) -> None:
    ear = opened.listener(sockets.published)
    wait_for(lambda: sockets.wait() is None and sockets.publisher is not None and sockets.publisher.listeners == 1)
    poses = Poses(INFO)
    finder = poses.finder(PoseRequest.of(CAMERA, ANGLES))
    poses.source = finder.resized((2.0, 2.0))
    source, ended = Camera(), threading.Event()
    feed = PictureFeed([source], sockets.wake)  # type: ignore[list-item]
    names = {"robot": poses.name, "model": "m"}
    server = Server(Fake(), poses, sockets, feed, names, True, camera_size=CameraSize((128, 96)))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run, args=(ended,))
    thread.start()
    source.given.release()
    heard = check(ear.newest(60))
    ended.set()
    thread.join()
    source.given.release()
    feed.close()
    assert heard.document["camera"]["fx"] == pytest.approx(CAMERA.fx)
    assert heard.pose is not None and heard.pose.base_in_camera is not None
    assert np.abs(heard.pose.base_in_camera - POSE).max() < 1e-4


@pytest.mark.parametrize("host", ["::1", "[::1]", "localhost", "127.0.0.1"])
def test_every_way_to_write_this_machine(host: str, tmp_path: Path) -> None:
    """Requests and documents, with keys and without."""
    Security.create_keys(tmp_path)
    for keys in ("", str(tmp_path)):
        sockets = ServerSockets(host, 0, keys, 0)
        assert sockets.published is not None and all(one.loopback for one in listeners(os.getpid()))
        ended = threading.Event()
        server = Server(Fake(), Poses(INFO), sockets, None, {"robot": None, "model": "m"}, False)  # type: ignore[arg-type]
        thread = threading.Thread(target=server.run, args=(ended,))
        thread.start()
        client, ear = ModelClient(host, sockets.port, keys), PoseListener(host, sockets.published, keys)
        try:
            client.request("rgb", 64, 48, bytes(64 * 48 * 3))
            wait_for(lambda c=client: isinstance(c.poll(), Prediction))  # type: ignore[misc]
            assert check(ear.newest(60)).source == "request"
        finally:
            ended.set()
            thread.join()
            for one in (client, ear, sockets):
                one.close()


def test_with_keys_strangers_neither_ask_nor_hear(tmp_path: Path, opened: Opened) -> None:
    Security.create_keys(tmp_path)
    sockets = ServerSockets("127.0.0.1", 0, str(tmp_path), 0)
    ended = threading.Event()
    server = Server(Fake(), Poses(INFO), sockets, None, {"robot": None, "model": "m"}, False)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run, args=(ended,))
    thread.start()
    try:
        assert sockets.published is not None
        Security.create_keys(tmp_path / "others")
        other = str(tmp_path / "others")
        strangers = [opened.client(sockets.port), opened.client(sockets.port, other)]
        deaf = [opened.listener(sockets.published), opened.listener(sockets.published, other)]
        friend, ear = (
            opened.client(sockets.port, str(tmp_path)),
            opened.listener(sockets.published, str(tmp_path)),
        )
        for client in (*strangers, friend):
            client.request("rgb", 64, 48, bytes(64 * 48 * 3))
        wait_for(lambda: isinstance(friend.poll(), Prediction))
        assert check(ear.newest(60)).source == "request"
        time.sleep(0.2)
        assert all(stranger.poll() is None for stranger in strangers) and all(d.newest() is None for d in deaf)
    finally:
        ended.set()
        thread.join()
        sockets.close()


def test_a_client_that_was_turned_away_does_not_wait(tmp_path: Path, opened: Opened) -> None:
    """Neither a model's client nor a run's: ZeroMQ itself would wait for ever for somebody to send to."""
    Security.create_keys(tmp_path / "ours")
    Security.create_keys(tmp_path / "others")
    (tmp_path / "others" / "server.key").write_bytes((tmp_path / "ours" / "server.key").read_bytes())
    hub, sockets = (
        Hub("127.0.0.1", 0, str(tmp_path / "ours")),
        ServerSockets("127.0.0.1", 0, str(tmp_path / "ours"), None),
    )
    client = opened.client(sockets.port, str(tmp_path / "others"))
    link = Link(hub.endpoints, "run", str(tmp_path / "others"))
    try:
        link.command("pause")
        assert link._control is not None
        for socket in (client._socket, link._control):
            wait_for(lambda s=socket: s.poll(0, zmq.POLLOUT) == 0)  # type: ignore[misc]
        client.request("rgb", 64, 48, bytes(64 * 48 * 3))
        link.command("pause")
        assert client.busy and link.request([b"{}"], 0.2) is None
    finally:
        for one in (link, hub, sockets):
            one.close()


def test_with_keys_a_client_tells_nothing_to_another_server(tmp_path: Path, opened: Opened) -> None:
    """Neither to one with keys of its own, which the client may even be known to, nor to one without."""
    Security.create_keys(tmp_path / "ours")
    Security.create_keys(tmp_path / "theirs")
    for name in ("client.key", "server.key"):  # what is public they may have
        (tmp_path / "theirs" / f"our_{name}").write_bytes((tmp_path / "ours" / name).read_bytes())
    for keys in (str(tmp_path / "theirs"), ""):
        sockets = ServerSockets("127.0.0.1", 0, keys, 0)
        ended = threading.Event()
        model = Fake()
        server = Server(model, Poses(INFO), sockets, None, {"robot": None, "model": "m"}, False)  # type: ignore[arg-type]
        thread = threading.Thread(target=server.run, args=(ended,))
        thread.start()
        try:
            assert sockets.published is not None
            ours, theirs = (opened.client(sockets.port, k) for k in (str(tmp_path / "ours"), keys))
            ours.request("rgb", 64, 48, bytes(64 * 48 * 3))
            theirs.request("rgb", 64, 48, bytes(64 * 48 * 3))
            wait_for(lambda t=theirs: isinstance(t.poll(), Prediction))  # type: ignore[misc]
            time.sleep(0.2)
            assert ours.poll() is None
        finally:
            ended.set()
            thread.join()
            sockets.close()


def test_a_controller_tells_the_joints() -> None:
    """Those of before are forgotten; what is of no use is refused, and changes nothing."""
    poses = Poses(INFO)

    def tell(joints: object, *more: bytes) -> dict[str, Any]:
        frames = [b"me", b"", encode_request("joints", id=3, joints=joints), *more]
        return parse(answer(Fake(), frames, poses)[0])  # type: ignore[arg-type]

    assert "start it with --source and --camera" in tell(ANGLES)["reason"]
    poses.source = poses.finder(PoseRequest.of(CAMERA, {PAN: 0.1}))
    assert tell(ANGLES) == {"schema": 1, "type": "noted", "id": 3}
    solved = poses.source.find(Fake().found)
    assert np.abs(np.array(solved["T_cam_base"]) - POSE).max() < 1e-4 and dict(poses.source.given) == ANGLES
    for strange, words in (({"x": 1}, "no joint 'x'"), ([1], "not one table"), ({PAN: None}, "finite number")):
        assert words in tell(strange)["reason"]
    assert tell({PAN: 0.2}, b"image")["type"] == "refused"
    assert dict(poses.source.given) == ANGLES
    tell({LIFT: -1.0})
    assert dict(poses.source.given) == {LIFT: -1.0}


def test_a_feed_reads_ahead_of_files_and_keeps_the_newest_of_a_camera() -> None:
    files, live = Camera("video"), Camera("webcam")
    feeds = [PictureFeed([s], lambda: None) for s in (files, live)]  # type: ignore[list-item]
    for source, feed in zip((files, live), feeds, strict=True):
        feed.start()
        for _ in range(9):
            source.given.release()
    wait_for(lambda: live.read == 9)
    wait_for(lambda: files.read == image_feed.AHEAD + 1)
    time.sleep(0.05)
    assert files.read == image_feed.AHEAD + 1, "nothing holds the reader back"
    numbers = []
    while len(numbers) < 9:
        if (taken := feeds[0].take()) is not None:
            numbers.append(taken.picture.frame)
    assert numbers == list(range(9))
    wait_for(lambda: (taken := feeds[1].take()) is not None and taken.picture.frame == 8)
    assert feeds[1].take() is None and not feeds[1].ended
    live.problem = RuntimeError("gone")
    live.given.release()

    def fails() -> bool:
        try:
            return feeds[1].take() is not None
        except RuntimeError:
            return True

    wait_for(fails)
    files.given.release()
    for feed in feeds:
        feed.close()


class Process:
    """``launch.py serve`` in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        model, ready = folder / "model.safetensors", folder / "ready.json"
        model_file.save_model(model, factory.build(INFO.network).state_dict(), INFO)
        words = ["serve", str(model), "--ready", str(ready), *options]
        self.child = Child("serve", [sys.executable, str(programs.LAUNCHER), *words], folder / "serve.log")
        wait = time.monotonic() + 120
        while not ready.exists():
            assert self.child.exit_code is None and time.monotonic() < wait, self.child.last_words()
            time.sleep(0.05)
        self.ready: dict[str, Any] = json.loads(ready.read_text(encoding="utf-8"))


def test_a_source_is_published_to_its_end(tmp_path: Path, opened: Opened) -> None:
    """The pictures wait for someone to listen; then the server ends by itself, and says so."""
    (tmp_path / "shots").mkdir()
    for i, size in enumerate(((64, 48), (100, 50), (48, 64))):
        Image.new("RGB", size, (90, 90, 90)).save(tmp_path / "shots" / f"{i}.png")
    known = f"{PAN}=0.4,{LIFT}=-1.1"
    server = Process(
        tmp_path, "--publish", "0", "--wait", "--source", str(tmp_path / "shots"), "--camera", "60,60,32,24",
        "--joints", known,
    )  # fmt: skip
    try:
        client = opened.client(server.ready["port"])
        picture = io.BytesIO()
        Image.new("RGB", (20, 30)).save(picture, "PNG")
        client.request("file", 0, 0, picture.getvalue())
        wait_for(lambda: isinstance(client.poll(), Prediction))
        ear = opened.listener(server.ready["publish"])
        heard = [check(ear.newest(60))]
        while not heard[-1].end:
            heard.append(check(ear.newest(60)))
        assert heard[0].source == "request" or heard[0].sequence > 0
        last = heard[-1]
        assert (last.source, last.width, last.height, last.sequence) == (str(tmp_path / "shots" / "2.png"), 48, 64, 3)
        assert last.pose is not None and last.model.endswith("model.safetensors")
        assert server.child.wait(60) and server.child.exit_code == 0, server.child.last_words()
    finally:
        server.child.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
def test_a_server_that_is_told_to_end_says_so(tmp_path: Path, opened: Opened) -> None:
    server = Process(tmp_path, "--publish", "0")
    try:
        ear, client = opened.listener(server.ready["publish"]), opened.client(server.ready["port"])
        client.request("rgb", 64, 48, bytes(64 * 48 * 3))
        assert not check(ear.newest(60)).end
        os.kill(server.child.pid, signal.SIGTERM)
        assert check(ear.newest(60)).end
        assert server.child.wait(60) and server.child.exit_code == 128 + signal.SIGTERM
    finally:
        server.child.kill()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--source", "webcam:0"], "--source needs --publish PORT"),
        (["--publish", "0", "--source", "{0}/none.png", "--joints", f"{PAN}=1"], "needs --camera"),
        (["--camera", "1,1,1,1"], "is for --source"),
        (["--wait"], "is for --source"),
        (["--publish", "70000"], "--publish is 70000"),
        (["--port", "-1"], "--port is -1"),
        (["--publish", "0", "--source", "{0}/*.gif"], "No file matches"),
        (["--publish", "0", "--source", "{0}/none.png"], "There is no image at"),
        (["--publish", "0", "--source", "{0}/a.png", "--camera", "1,2,3"], "The camera has 3 numbers"),
        (["--publish", "0", "--source", "{0}/a.png", "--camera", "9,9,1,1", "--joints", "x=1"], "has no joint 'x'"),
        (["--robot", "{0}/none.urdf"], "There is no URDF file"),
        (["--publish", "0", "--host", "0.0.0.0"], "give --keys a folder with keys"),
        (["--host", "192.0.2.7", "--keys", "{0}"], "can't be"),
        (["--host", "127.0.0.1", "--keys", "{0}/none"], "make the keys anew as docs/serving.md says"),
        (["--host", "0.0.0.0"], "through an SSH tunnel"),
        (["--host", "127.1"], "can be reached from other machines"),
        (["--host", "127.0.0.1.example.org"], "can be reached from other machines"),
        (["--host", "::"], "can be reached from other machines"),
        (["--host", "::ffff:10.0.0.1"], "can be reached from other machines"),
        (["--host", ""], "The address '' can be reached"),
        (["--ready", "{0}/no/such/ready.json"], "there is no folder"),
        (["--ready", "{0}"], "can't be written"),
        (["--ready", "{0}/a.png/ready.json"], "can't be written"),
        (["--ready", "/dev/full/ready.json"], "can't be written"),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    model = tmp_path / "model.safetensors"
    model_file.save_model(model, factory.build(INFO.network).state_dict(), INFO)
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    code = cli.main(["serve", str(model), *(o.format(tmp_path) for o in options)])
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert code == 2 and len(errors) == 1 and words in errors[0]
