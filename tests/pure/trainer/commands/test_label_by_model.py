# SPDX-License-Identifier: GPL-3.0-or-later
"""``label --model`` without markers, by a model whose errors are known, against what is true."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from marker_footage import CAMERA, MIDDLE, ROBOT, UR10, Floats, apart, frames_at, looking_at
from PIL import Image
from robot_keypoints.core.camera.intrinsics import invert, transform
from robot_keypoints.core.robot.keypoints import joint_keypoints
from robot_keypoints.trainer.commands.main import main
from robot_keypoints.trainer.datasets import reader
from robot_keypoints.trainer.inference.predictor import Found, Predictor
from robot_keypoints.trainer.networks import factory
from robot_keypoints.trainer.networks.model_file import ModelInfo

COUNT = 30
WRONG, UNSURE, UNKNOWN = 4, 9, 29
"""Images with the joints of another, of which the model is unsure, and of which the log says nothing."""
NOISE, SHIFT = 6.0, 2.0
"""Pixels that the model is off: from image to image, and alike in all of them."""
POINTS = joint_keypoints(ROBOT)
NAMES = tuple(k.name for k in POINTS)
INFO = ModelInfo(factory.NetworkConfig("light", len(NAMES), 1.0, width=8), 64, 48, NAMES, ())
POSE = invert(looking_at(np.array([-0.3, -0.1, 0.5]), np.array([0.4, -1.0, 0.3]), 3.2))


@dataclass
class Known:
    """A recording without a marker, what its keypoints truly are ``(F, N, 2)``, and what the model finds."""

    file: Path
    document: dict[str, Any]
    true: Floats
    found: Floats
    sure: np.ndarray

    def save(self, **changes: Any) -> Path:
        """Another footage file beside the images."""
        other = self.file.with_name("changed.json")
        other.write_text(json.dumps({**self.document, **changes}))
        return other


class Finds(Predictor):
    """Answers what it was given, one image after another."""

    def __init__(self, known: Known) -> None:
        super().__init__(factory.build(INFO.network), INFO, torch.device("cpu"))
        self.answers = list(zip(known.found, known.sure, strict=True))

    def predict(self, images: Sequence[Any], inspection: Any = None, peaks: int = 0) -> list[list[Found]]:
        results = []
        for _ in images:
            pixels, confidences = self.answers.pop(0)
            spread = ((NOISE**2, 0.0), (0.0, NOISE**2))
            rows = zip(NAMES, pixels, confidences, strict=True)
            results.append([Found(n, float(u), float(v), float(c), spread) for n, (u, v), c in rows])
        return results


@pytest.fixture
def known(tmp_path: Path) -> Known:
    random = np.random.default_rng(3)
    poses, true = [], []
    for k in range(COUNT):
        poses.append({n: v + random.uniform(-0.7, 0.7) for n, v in MIDDLE.items()})
        links = frames_at(poses[-1])
        places = np.concatenate([transform(POSE @ links[p.frame], p.offset) for p in POINTS])
        true.append(CAMERA.project(places)[0])
        Image.fromarray(np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8)).save(tmp_path / f"{k:02d}.png")
    pixels = np.stack(true)
    shift = random.normal(0, SHIFT, pixels.shape[1:])
    sure = np.full(pixels.shape[:2], 0.9)
    sure[UNSURE] = 0.1
    joints = {str(k): p for k, p in enumerate(poses)}
    joints[str(WRONG)] = joints["20"]
    del joints[str(UNKNOWN)]
    document = {
        "robot": str(UR10),
        "cameras": {"left": {"K": CAMERA.matrix.tolist(), "distortion": list(CAMERA.distortion)}},
        "frames": [{"camera": "left", "pose": k, "file": f"{k:02d}.png"} for k in range(COUNT)],
        "joints": joints,
    }
    file = tmp_path / "footage.json"
    file.write_text(json.dumps(document))
    return Known(file, document, pixels, pixels + shift + random.normal(0, NOISE, pixels.shape), sure)


@pytest.fixture(autouse=True)
def model(known: Known, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(Predictor, "load", lambda *_: Finds(known))
    path = tmp_path / "some.safetensors"
    path.touch()
    return path


def test_labels_are_better_than_what_the_model_finds(
    known: Known, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data"
    words = ["--model", str(model), "--out", str(out), "--json", "--most-deviation", "30"]
    assert main(["label", str(known.file), *words]) == 0
    summary = json.loads(capsys.readouterr().out)
    left = summary["left_out"]
    assert set(left) == {f"{k:02d}.png" for k in (WRONG, UNSURE, UNKNOWN)}
    assert "contradict the joint positions" in left[f"{WRONG:02d}.png"]
    assert "too unsure" in left[f"{UNSURE:02d}.png"]
    assert "log says nothing" in left[f"{UNKNOWN:02d}.png"]
    assert summary["sources"] == {"model": COUNT - 3}
    document = json.loads((out / "annotations.json").read_text())
    labels, before, distances = [], [], []
    for image, annotation in zip(document["images"], document["annotations"], strict=True):
        k = int(image["footage"]["file"][:2])
        pixels = np.array(annotation["keypoints"]).reshape(-1, 3)[:, :2]
        spread = np.array(annotation["keypoint_covariances"])
        off = pixels - known.true[k]
        labels.append(np.linalg.norm(off, axis=1))
        before.append(np.linalg.norm(known.found[k] - known.true[k], axis=1))
        distances.append(np.einsum("ni,nij,nj->n", off, np.linalg.inv(spread), off) / 2)
        assert annotation["source"] == "model"
    assert np.median(labels) < np.median(before) / 2
    # The labels of one camera have their errors in common, so no more than the size can be asked for.
    assert 0.02 < float(np.mean(distances)) < 4.0
    read = reader.read(out)
    assert read.names == NAMES
    assert max(apart(np.array(item.robots[0].pose), POSE)[0] for item in read.items) < 150
    text = (out / "report.html").read_text()
    assert f"{WRONG:02d}.png" in text
    assert "Violet" in text


def test_calibrate_names_the_images_that_contradict(
    known: Known, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", str(known.file), "--model", str(model), "--json"]) == 0
    written = capsys.readouterr()
    assert f"contradict the joint positions: {WRONG:02d}.png." in written.err
    assert json.loads(written.out)["cameras"]


def test_offsets_of_joints_are_in_the_labels(
    known: Known, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    off = 0.05
    joints = {k: {n: v - off * (n == "elbow_joint") for n, v in p.items()} for k, p in known.document["joints"].items()}
    out = tmp_path / "data"
    words = ["--model", str(model), "--out", str(out), "--json", "--joints-deviation", "3deg"]
    assert main(["label", str(known.save(joints=joints)), *words, "--most-deviation", "30"]) == 0
    capsys.readouterr()
    document = json.loads((out / "annotations.json").read_text())
    for image, annotation in zip(document["images"], document["annotations"], strict=True):
        read = joints[image["footage"]["file"][:2].lstrip("0") or "0"]
        added = annotation["joints"]["elbow_joint"] - read["elbow_joint"]
        deviation = annotation["joint_deviations"]["elbow_joint"]
        assert abs(added - off) < 4 * deviation < 4 * np.radians(2.9)
        assert np.linalg.eigvalsh(np.array(annotation["covariance"])).min() > 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--no-markers"], "add --model MODEL"),
        (["--model", "MODEL", "--most-deviation", "0.001"], "No image of"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str], sentence: str, known: Known, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(model) if w == "MODEL" else w for w in words]
    assert main(["label", str(known.file), "--out", str(tmp_path / "data"), *given]) == 2
    lines = [t for t in capsys.readouterr().err.splitlines() if t.startswith("error: ")]
    assert len(lines) == 1
    assert sentence in lines[0]
    assert not (tmp_path / "data").exists()


def test_a_model_that_finds_nothing_of_this_robot_is_told(
    known: Known, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known.sure[:] = 0.1
    assert main(["label", str(known.file), "--model", str(model), "--out", str(tmp_path / "data")]) == 2
    assert "don't tell where the camera left is" in capsys.readouterr().err
