# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: one sentence for a mistake, JSON alone where JSON is asked for."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import synthetic
from PIL import Image
from robot_keypoints.core.messages import job_progress
from robot_keypoints.core.messages.obstruction import Obstruction
from robot_keypoints.core.processes.run_status import ProcessStatus, Status
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.core.settings.toml_file import load, save
from robot_keypoints.core.settings.validation import check
from robot_keypoints.trainer.commands import demo, doctor, main as cli, run_display
from robot_keypoints.trainer.networks import factory, model_file
from robot_keypoints.trainer.networks.model_file import ModelInfo


def model(path: Path) -> Path:
    config = factory.NetworkConfig("light", 3, 1.0, width=8)
    info = ModelInfo(config, 64, 48, synthetic.NAMES, (("foot", "knee"), ("knee", "hand")))
    model_file.save_model(path, factory.build(config).state_dict(), info)
    return path


def test_predict_prints_json_and_draws_overlays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = model(tmp_path / "model.safetensors")
    for name, size in (("a.png", (100, 50)), ("b.jpg", (64, 48))):
        Image.new("RGB", size, (90, 90, 90)).save(tmp_path / name)
    images = [str(tmp_path / "a.png"), str(tmp_path / "b.jpg")]
    overlay = tmp_path / "overlay"
    assert cli.main(["predict", str(file), *images, "--json", "--overlay", str(overlay)]) == 0
    document = json.loads(capsys.readouterr().out)
    found = [(i["image"], i["width"], i["height"]) for i in document["images"]]
    assert found == [(images[0], 100, 50), (images[1], 64, 48)]
    for keypoint in document["images"][0]["keypoints"]:
        assert -1 <= keypoint["u"] <= 100 and 0 <= keypoint["confidence"] <= 1
        assert np.array(keypoint["covariance"]).shape == (2, 2)
    assert sorted(p.name for p in overlay.iterdir()) == ["a.png", "b.png"]
    with Image.open(overlay / "a.png") as picture:
        assert picture.size == (100, 50)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict", "{0}/nothing", "{0}/a.png"], "no model file"),
        (["predict", "{0}/model.safetensors", "{0}/settings.toml"], "can't be read as an image"),
        (["predict", "{0}/settings.toml", "{0}/a.png"], "is not a model of Robot Keypoints"),
        (["train", "{0}/nothing.toml"], "can't be read"),
        (["train"], "either SETTINGS.toml or --resume"),
        (["train", "--resume", "{0}/nothing"], "no run in"),
        (["train", "{0}/settings.toml", "--out", "{0}"], "There is a run in"),
        (["train", "{0}/settings.toml", "--workers", "0"], "--workers is 0"),
        (["demo", "--minutes", "0"], "--minutes is 0"),
        (["serve", "{0}/settings.toml"], "is not a model of Robot Keypoints"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    from robot_keypoints.trainer.inference import server

    monkeypatch.setattr(server, "end_with_parent", lambda _: None)  # it would read the tests' own stdin
    model(tmp_path / "model.safetensors")
    save(synthetic.settings(), tmp_path / "settings.toml")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    robot = tmp_path / "settings.toml"
    robot.write_text(robot.read_text(encoding="utf-8").replace('"armature"', '"builtin"'), encoding="utf-8")
    assert cli.main([a.format(tmp_path) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ") and words in line


def test_only_commands_that_exist_are_advertised(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in ("demo", "train", "render", "evaluate", "predict", "export", "serve", "models", "doctor"):
        assert name in text
    assert cli.main(["improve"]) == 2


def test_the_demo_covers_what_was_promised(ur10_urdf: Path, tmp_path: Path) -> None:
    settings, robot = demo.settings(9.0)
    assert Path(settings.robot.path) == ur10_urdf
    assert robot.joints == load_urdf(ur10_urdf).joints
    check(settings)
    save(settings, tmp_path / "settings.toml")
    assert load(tmp_path / "settings.toml") == settings
    ranges = {v.name: (v.low, v.high, v.circular) for v in settings.variables}
    joints = [r for name, r in ranges.items() if name.startswith("joint/")]
    assert joints == [(-math.pi, math.pi, True)] * 6
    assert ranges["camera/azimuth"] == (-math.pi, math.pi, True)
    assert ranges["camera/elevation"] == (0.0, math.radians(60), False)
    assert ranges["camera/distance"][:2] == (2.2, 3.5)
    for axis in "xy":
        assert ranges[f"camera/target_{axis}"][:2] == (-0.3, 0.3)
    low, high, _ = ranges["camera/target_z"]
    assert math.isclose(high - low, 0.6)
    assert (settings.workers.count, settings.workers.adaptive) == (2, 1) and settings.feedback.enabled
    assert settings.training.test_images >= 200 and settings.training.minutes == 9.0


def test_doctor_finds_a_working_python_and_a_missing_blender(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.report("/nowhere/blender", as_json=True, progress=True) == 1
    *steps, document = (job_progress.decode(line) for line in capsys.readouterr().out.splitlines())
    assert steps and all(s.stage == "check" and s.text.startswith("checking ") for s in steps)
    found = {c["name"]: c for c in document["checks"]}
    assert not document["ok"] and not found["blender"]["ok"] and found["blender"]["mend"]
    assert found["torch"]["ok"] and found["device"]["ok"] and document["torch"] == found["torch"]["detail"]


def test_doctor_says_how_to_mend_a_broken_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "half_done.py").write_text("raise OSError('wrong ELF class')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(doctor, "LIBRARIES", (("half_done", "half-done", "2.1"), ("numpy", "numpy", "99")))
    half, old = (c for c in doctor.examine("/nowhere") if c.name in ("half-done", "numpy"))
    assert not half.ok and "wrong ELF class" in half.detail and 'pip install "half-done>=2.1"' in half.mend
    assert not old.ok and "older than 99" in old.detail


def test_a_run_without_a_keypoint_inside_an_image_has_a_status_line() -> None:
    status = Status(message="training")
    status.progress = {"step": 3, "loss": 0.25, "error_percent": None, "median_error_percent": None}
    line = run_display.status_line(status)
    assert "loss 0.250" in line and "None" not in line and "error" not in line


def test_the_status_line_says_what_matters() -> None:
    status = Status(message="training")
    rates = {"trainer": 4.0, "worker 1": 21.3, "worker 2": 20.1}
    status.processes = {name: ProcessStatus(name, rate=rate) for name, rate in rates.items()}

    status.progress = {
        "step": 312, "fraction": 0.62, "seconds_left": 220.0, "steps_per_second": 4.14, "loss": 1.23456,
        "error_percent": 3.2, "median_error_percent": 1.4, "stall_fraction": 0.02, "fresh_fraction": 0.184,
        "dropped": 3,
    }  # fmt: skip
    line = run_display.status_line(status)
    for part in (
        "62 %",
        "3:40 left",
        "21.3 + 20.1",
        "step 312 (4.1/s)",
        "loss 1.235",
        "3.20 %",
        "1.40 %",
        "18 % new",
        "3 dropped",
    ):
        assert part in line


def test_what_hides_the_robot_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    status, display = Status(), run_display.Display()
    display.show(status)
    status.obstruction = Obstruction(16, 3, {"Crate": 9, "Post": 1}, ("Cube",))
    for _ in range(3):
        display.show(status)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(said) == 2 and said[0].startswith("warning: Cube, untouched since Blender's start-up, is left out")
    assert said[1].startswith("warning: Crate hides the robot in 9 of 16 draws: disable it in renders")
