# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages between the processes, and requests to the model server."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import fake_blender
import numpy as np
import synthetic
from PIL import Image
from robot_keypoints.core.messages import pose_publishing, prediction
from robot_keypoints.core.messages.envelope import MessageError, encode_request, parse
from robot_keypoints.core.messages.events import Posterior, decode_event, encode_event
from robot_keypoints.core.messages.robot_shapes import RobotShapes, ShapePart
from robot_keypoints.core.messages.samples import SampleContract, decode_sample, encode_sample
from robot_keypoints.core.processes.programs import Programs
from robot_keypoints.core.processes.session import Session
from robot_keypoints.core.robot.robot import Robot
from robot_keypoints.core.settings.schema import Settings
from subjects import Seed

RUN = "run"
POSE = {
    "status": "solved", "T_cam_base": np.eye(4).tolist(), "covariance": (1e-4 * np.eye(6)).tolist(),
    "reprojection_px": 0.5, "inliers": ["foot", "knee"], "joints": {"a": 0.5},
    "alternatives": [np.eye(4).tolist()], "undetermined": [],
}  # fmt: skip
KEYPOINT = {"name": "foot", "u": 3.5, "v": 2.0, "confidence": 0.9, "covariance": [[1.0, 0.1], [0.1, 2.0]]}
CAMERA = {"camera": {"fx": 60.0, "fy": 60.0, "cx": 31.5, "cy": 23.5, "distortion": [0.0] * 5}, "joints": None}

SHAPES = RobotShapes(
    (ShapePart(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.uint32)),
     ShapePart(np.full((3, 3), 0.2, np.float32), np.array([[0, 1, 2], [2, 1, 0]], np.uint32)))
)  # fmt: skip


class Messages:
    """Whatever one process of a run, or a listener, hears from another."""

    def __init__(self, scratch: Path) -> None:
        settings = synthetic.settings()
        self._settings: Settings = replace(settings, render=replace(settings.render, masks=True))
        self._model = self._settings.scene_model()
        self._contract = SampleContract.of(
            RUN, synthetic.WIDTH, synthetic.HEIGHT, 3, self._model, details=True, masks=True
        )
        self._session = Session(scratch / "run", settings, Programs(("none",), ("none",)))
        self._readers: dict[str, Callable[[Path], object]] = {
            "sample.json": self._sample, "posterior.json": self._posterior, "event.json": self._event,
            "control.json": self._control, "answer.json": lambda p: prediction.decode_answer(p.read_bytes()),
            "published.json": lambda p: pose_publishing.PublishedPose.decode(pose_publishing.TOPIC + p.read_bytes()),
        }  # fmt: skip

    def seeds(self) -> Sequence[Seed]:
        plain = synthetic.sample(self._model, np.random.default_rng(1))
        header, *buffers = (bytes(f) for f in encode_sample(fake_blender.detailed(plain, self._settings), RUN))
        progress = {
            "step": 3, "epoch": 1, "fraction": 0.5, "images": 20, "loss": 0.25, "steps_per_second": 2.0,
            "images_per_second": 30.0, "workers": {"0": 3.0, "1": 4.0}, "stall_fraction": 0.1, "seconds_left": 20.0,
            "dropped": 1, "device": "CPU", "error_percent": 2.5, "median_error_percent": 1.5,
        }  # fmt: skip
        metrics = {
            "step": 3, "mean_error_percent": 2.5, "median_error_percent": 1.5,
            "per_keypoint": {"foot": {"mean": 2.5, "median": 1.5}}, "pck": {"1": 0.5},
            "hardest": [{"variable": "light/world", "low": 1.0, "high": 2.0, "share": 0.5}],
        }  # fmt: skip
        published = {
            "run": RUN, "sequence": 3, "end": False, "published": 5.0, "time": 4.0, "source": "a.png", "frame": None,
            "seconds": None, "width": 64, "height": 48, "keypoints": [KEYPOINT], "camera": None, "pose": POSE,
            "robot": "stick", "model": "model", "milliseconds": 3.0,
        }  # fmt: skip
        answer = encode_request(
            "prediction", id=1, width=64, height=48, keypoints=[KEYPOINT], skeleton=[["foot", "knee"]],
            milliseconds=3.0, pose=POSE,
        )  # fmt: skip
        return [
            Seed("sample.json", {"sample.json": header, "image.bin": buffers[0], "mask.bin": buffers[1]}),
            Seed("posterior.json", {"posterior.json": Posterior(3, self._model.concentrations()).encode(RUN)}),
            Seed("event.json", {"event.json": encode_event(RUN, ("progress", progress))}),
            Seed("event.json", {"event.json": encode_event(RUN, ("metrics", metrics))}),
            Seed("event.json", {"event.json": encode_event(RUN, ("state", {"phase": "training", "message": "so"}))}),
            Seed("control.json", {"control.json": encode_request("hello", run=RUN)}),
            Seed("answer.json", {"answer.json": answer}),
            Seed("published.json", {"published.json": encode_request("pose", **published)}),
        ]

    def attempt(self, entry: Path) -> None:
        self._readers[entry.name](entry)

    def _sample(self, path: Path) -> None:
        image, mask = (path.with_name(n).read_bytes() for n in ("image.bin", "mask.bin"))
        sample = decode_sample([path.read_bytes(), image, mask], self._contract)
        encode_sample(sample, RUN)

    def _posterior(self, path: Path) -> None:
        news = Posterior.decode(path.read_bytes(), RUN)
        try:
            drawn = self._model.with_concentrations(news.concentrations, news.version)
        except ValueError as problem:
            raise MessageError(str(problem)) from problem  # as a worker takes it
        drawn.sample(np.random.default_rng(0))

    def _event(self, path: Path) -> None:
        from robot_keypoints.trainer.commands.run_display import Display

        self._session._hear(decode_event(path.read_bytes(), RUN))
        with contextlib.redirect_stderr(io.StringIO()):
            Display(0.0).show(self._session.status, last=True)

    def _control(self, path: Path) -> None:
        from robot_keypoints.trainer.training.control_server import Switchboard

        news = Posterior(0, self._model.concentrations())
        board = Switchboard(None, None, RUN, news, threading.Event())  # type: ignore[arg-type]
        parse(board._obey(parse(path.read_bytes())))


class Requests:
    """What a client asks the model server."""

    def __init__(self, scratch: Path) -> None:
        import subjects_models
        import torch
        from robot_keypoints.trainer.inference.predictor import Predictor
        from robot_keypoints.trainer.inference.server_requests import Poses

        path = subjects_models.write_model(scratch / "model.safetensors", subjects_models.robot_info())
        self._predictor = Predictor.load(path, torch.device("cpu"))
        self._poses = Poses(self._predictor.info)
        robot = Robot.from_dict(self._predictor.info.robot or {})
        self._joints = dict.fromkeys((j.name for j in robot.moving_joints), 0.0)

    def seeds(self) -> Sequence[Seed]:
        picture = Image.effect_noise((64, 48), 60).convert("RGB")
        png = io.BytesIO()
        picture.save(png, "PNG")
        known = {**CAMERA, "joints": self._joints}
        shaped = encode_request("predict", id=7, encoding="file", still=True, pose=known, shapes=SHAPES.counts)
        headers = [
            ({"encoding": "file"}, png.getvalue()),
            ({"encoding": "rgb", "width": 64, "height": 48}, picture.tobytes()),
            ({"encoding": "rgba", "width": 64, "height": 48}, picture.convert("RGBA").tobytes()),
            ({"encoding": "file", "pose": CAMERA}, png.getvalue()),
        ]
        return [
            Seed("request.json", {"request.json": encode_request("predict", id=7, **h), "image.png": image})
            for h, image in headers
        ] + [Seed("request.json", {"request.json": shaped, "image.png": png.getvalue(), "shapes.bin": SHAPES.data})]

    def attempt(self, entry: Path) -> None:
        from robot_keypoints.trainer.inference import server_requests

        def fault() -> None:
            raise  # what the server itself would only write down

        shapes = entry.with_name("shapes.bin")
        frames = [b"client", b"", entry.read_bytes(), entry.with_name("image.png").read_bytes()]
        frames += [shapes.read_bytes()] if shapes.is_file() else []
        message, _ = server_requests.answer(self._predictor, frames, self._poses, fault)
        answer = parse(message)
        if answer["type"] == "refused":
            raise MessageError(answer["reason"])
        assert isinstance(prediction.decode_answer(message), prediction.Prediction)
