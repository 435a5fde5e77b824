# SPDX-License-Identifier: GPL-3.0-or-later
"""Prediction on images of any size, and the server that gives it to others."""

from __future__ import annotations

import io
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import zmq
from PIL import Image
from robot_keypoints.core.messages.envelope import encode_request, parse
from robot_keypoints.core.processes import programs
from robot_keypoints.core.processes.child_process import Child
from robot_keypoints.trainer.inference.predictor import Predictor, fit_image
from robot_keypoints.trainer.inference.request_queue import RequestQueue, take_in
from robot_keypoints.trainer.networks import factory, model_file
from robot_keypoints.trainer.networks.factory import Output
from robot_keypoints.trainer.networks.model_file import ModelInfo
from robot_keypoints.trainer.networks.two_passes import Inspection

CONFIG = factory.NetworkConfig("light", 1, 1.6, width=8)
INFO = ModelInfo(CONFIG, 160, 120, ("dot",), ())


class FindsRed(factory.LightNetwork):
    """Believes exactly where the picture is red."""

    def forward(self, images: torch.Tensor) -> Output:
        red = (images[:, 0] - images[:, 1] - images[:, 2]).clamp_min(0.0)
        cells = torch.nn.functional.avg_pool2d(red[:, None], self.stride)
        return Output((torch.log(cells + 1e-9),), torch.full((len(images), 1), -9.0))


def dot(width: int, height: int, u: float, v: float, size: float, channels: int = 3) -> np.ndarray:
    """A soft red dot on grey, or on nothing."""
    y, x = np.mgrid[0:height, 0:width]
    weight = np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * size**2))[..., None]
    red, grey = np.array([255.0, 0, 0]), np.array([127.0, 127, 127])
    if channels == 4:
        return np.concatenate([np.broadcast_to(red, (height, width, 3)), 255 * weight], 2).round().astype(np.uint8)
    return (grey + weight * (red - grey)).round().astype(np.uint8)


@pytest.mark.parametrize(
    ("width", "height"), [(160, 120), (640, 480), (320, 120), (90, 300), (1601, 899), (40, 30), (161, 120)]
)
@pytest.mark.parametrize("channels", [3, 4])
def test_keypoints_come_back_in_the_pixels_of_the_image_that_was_given(width: int, height: int, channels: int) -> None:
    predictor = Predictor(FindsRed(CONFIG).eval(), INFO, torch.device("cpu"))
    scale = math.sqrt(160 * 120 / (width * height))
    for fu, fv in ((0.3, 0.4), (0.71, 0.62), (0.5, 0.5)):
        u, v = fu * (width - 1), fv * (height - 1)
        image = dot(width, height, u, v, max(2.0 / scale, 0.8), channels)
        (found,) = predictor.predict([image])[0]
        assert math.hypot(found.u - u, found.v - v) * scale < 0.25  # pixels of the network's input
        assert found.confidence > 0.99
        assert 1.0 < found.covariance[0][0] * scale**2 < 12.0


def test_several_images_of_different_shapes_at_once() -> None:
    predictor = Predictor(FindsRed(CONFIG).eval(), INFO, torch.device("cpu"))
    first, second = predictor.predict([dot(160, 120, 50, 60, 2.0), dot(400, 100, 300, 20, 5.0)])
    assert abs(first[0].u - 50) < 0.3 and abs(second[0].u - 300) < 1 and abs(second[0].v - 20) < 1
    assert predictor.predict([]) == []


def test_an_image_keeps_its_shape_and_about_as_many_pixels_as_the_training_had() -> None:
    for width, height in ((100, 100), (1600, 900), (768, 1024), (160, 120), (20, 30)):
        fitted_image = fit_image(np.zeros((height, width, 3), np.uint8), 160, 120)
        fitted, fit = fitted_image.pixels, fitted_image.fit
        assert fitted_image.view == (fitted.shape[1], fitted.shape[0])
        assert abs(fitted.shape[0] * fitted.shape[1] / (160 * 120) - 1) < 0.02
        assert abs(fitted.shape[1] / fitted.shape[0] / (width / height) - 1) < 0.02
        corners = np.array([[-0.5, -0.5], [fitted.shape[1] - 0.5, fitted.shape[0] - 0.5]])
        np.testing.assert_allclose(fit.to_image(corners), [[-0.5, -0.5], [width - 0.5, height - 0.5]])
    same = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    assert (fit_image(same, 160, 120).pixels == same).all()
    for width, height in ((4000, 40), (1, 3000), (1, 1)):  # out of all measure, but no reason to fail
        fitted = fit_image(np.zeros((height, width, 3), np.uint8), 160, 120).pixels
        assert max(fitted.shape) <= 4 * 160 and min(fitted.shape[:2]) >= 1


def test_several_robots_are_several_peaks() -> None:
    predictor = Predictor(FindsRed(CONFIG).eval(), INFO, torch.device("cpu"))
    first, second = dot(320, 240, 80, 60, 4.0), dot(320, 240, 230, 170, 4.0)
    both = np.where(first[..., :1] > 128, first, second)
    (found,) = predictor.predict([both], peaks=5)[0]
    assert found.peaks is not None and len(found.peaks) == 2
    for u, v in ((80, 60), (230, 170)):
        assert min(math.hypot(p[0] - u, p[1] - v) for p in found.peaks) < 1
    assert sum(score for _, _, score in found.peaks) == pytest.approx(1, abs=0.1)
    assert found.to_dict()["peaks"][0]["score"] == found.peaks[0][2]
    assert "peaks" not in predictor.predict([both])[0][0].to_dict()


def test_several_sizes_find_the_same_place() -> None:
    predictor = Predictor(FindsRed(CONFIG).eval(), INFO, torch.device("cpu"))
    image = dot(320, 240, 100.0, 140.0, 4.0)
    (found,) = predictor.predict([image], Inspection.averaged((0.75, 1.0, 1.5)))[0]
    assert math.hypot(found.u - 100, found.v - 140) < 0.7 and found.confidence > 0.99


class Server:
    """``launch.py serve`` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        model = folder / "model.safetensors"
        model_file.save_model(model, factory.build(CONFIG).state_dict(), INFO)
        ready = folder / "ready.json"
        command = [sys.executable, str(programs.LAUNCHER), "serve", str(model), "--ready", str(ready)]
        self.child = Child("serve", command, folder / "serve.log")
        end = time.monotonic() + 120
        while not ready.exists():
            assert self.child.exit_code is None and time.monotonic() < end, self.child.last_words()
            time.sleep(0.05)
        self.document = json.loads(ready.read_text(encoding="utf-8"))
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()

    def socket(self) -> zmq.Socket[bytes]:
        socket = self.context.socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(f"tcp://{self.document['host']}:{self.document['port']}")
        return socket

    def ask(self, header: dict[str, object] | bytes, data: bytes) -> dict[str, object]:
        socket = self.socket()
        payload = header if isinstance(header, bytes) else encode_request("predict", **header)
        socket.send_multipart([b"", payload, data])
        assert socket.poll(20000), "no answer"
        return parse(socket.recv_multipart()[-1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("serve"))
    yield server
    server.context.destroy(linger=0)
    server.child.let_go()
    ended = server.child.wait(30)
    server.child.kill()
    assert ended and server.child.exit_code == 0


def test_the_server_answers_raw_pixels_and_files(server: Server) -> None:
    assert server.document["model"]["keypoints"] == ["dot"]
    image = dot(200, 100, 50, 60, 4.0)
    raw = server.ask({"encoding": "rgb", "width": 200, "height": 100, "id": 7}, image.tobytes())
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    file = server.ask({"encoding": "file", "id": 8}, buffer.getvalue())
    assert (raw["type"], raw["id"], raw["width"], raw["height"]) == ("prediction", 7, 200, 100)
    assert file["id"] == 8 and file["keypoints"] == raw["keypoints"]
    (found,) = raw["keypoints"]  # type: ignore[misc]
    assert found["name"] == "dot" and len(found["covariance"]) == 2 and 0 <= found["confidence"] <= 1


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (b"not JSON", b""),
        (b"\x80\x04.", b""),
        ({"encoding": "rgb", "width": 9, "height": 9, "id": 1}, b"short"),
        ({"encoding": "rgb", "width": -1, "height": 9, "id": 1}, b""),
        ({"encoding": "rgb", "width": 10**12, "height": 10**12, "id": 1}, b""),
        ({"encoding": "file", "id": 1}, b"no image"),
        ({"encoding": "exec", "id": 1}, b""),
        ({"encoding": "file"}, b""),
        (encode_request("shutdown", id=1), b""),
    ],
)
def test_malformed_requests_are_refused_and_not_fatal(
    server: Server, header: dict[str, object] | bytes, data: bytes
) -> None:
    answer = server.ask(header, data)
    assert answer["type"] == "refused" and answer["reason"]
    assert server.child.exit_code is None


def test_stray_frames_do_not_stop_the_server(server: Server) -> None:
    socket = server.socket()
    socket.send_multipart([b"one"])
    socket.send_multipart([b"", b"two"])
    socket.send_multipart([b"x"] * 9)
    image = dot(20, 10, 5, 6, 2.0)
    answer = server.ask({"encoding": "rgb", "width": 20, "height": 10, "id": 3}, image.tobytes())
    assert answer["type"] == "prediction"


def test_only_the_newest_request_of_a_client_is_answered() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    clients = [context.socket(zmq.DEALER) for _ in range(2)]
    try:
        for name, client in zip((b"a", b"b"), clients, strict=True):
            client.connect(f"tcp://127.0.0.1:{port}")
            for i in range(5):
                client.send_multipart([b"", name + str(i).encode()])
        seen: set[bytes] = set()
        waiting = RequestQueue()
        while seen != {b"a4", b"b4"}:
            assert router.poll(5000)
            time.sleep(0.2)
            older = take_in(router, waiting)
            assert all(d.request.frames[2] not in (b"a4", b"b4") and "newer" in d.reason for d in older)
            found = []
            while waiting:
                found.append((request := waiting.take()).frames[2])
                waiting.answered(request, 0.0)
            assert len({f[:1] for f in found}) == len(found)
            seen |= set(found)
    finally:
        context.destroy(linger=0)
