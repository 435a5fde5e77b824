# SPDX-License-Identifier: GPL-3.0-or-later
"""The wheel and the source distribution, installed where there is no checkout, do all that is done from one."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import distributions
import pytest
from PIL import Image, ImageDraw
from robot_keypoints.core import builtin_models

DEMO_FILES = ("settings.toml", "robot.json", "scene.blend", "model.safetensors", "summary.json", "predictions.png")


class Installed:
    """An environment that holds the package, and a folder elsewhere to work in."""

    def __init__(self, programs: Path, work: Path) -> None:
        self.programs, self.work = programs, work

    def run(self, program: str, *words: object) -> str:
        """Standard output of one of its programs."""
        line = [str(self.programs / program), *map(str, words)]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        done = subprocess.run(
            line, cwd=self.work, env=clean, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    @property
    def package(self) -> Path:
        """Where the package lies."""
        return Path(self.run("python", "-c", "import robot_keypoints; print(robot_keypoints.__file__)").strip()).parent


each = pytest.mark.parametrize("installed", ["wheel", "sdist"], indirect=True)


@pytest.fixture(scope="module")
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Each distribution in an environment of its own."""
    place = tmp_path_factory.mktemp(request.param)
    source = distributions.copy(place / "checkout")
    if request.param == "sdist":
        source = distributions.unpack(distributions.build("sdist", source, place / "built"), place / "unpacked")
    wheel = distributions.build("wheel", source, place / "wheel")
    (place / "work").mkdir()
    return Installed(distributions.install(wheel, place / "environment"), place / "work")


@each
def test_the_doctor_finds_everything(installed: Installed) -> None:
    assert installed.programs.parent in installed.package.parents, "another copy is run"
    told = json.loads(installed.run("robot-keypoints", "doctor", "--json"))
    assert told["ok"], told
    assert Path(told["python"]).parent == installed.programs


@each
@pytest.mark.parametrize("name", builtin_models.models())
def test_a_model_that_comes_along_finds_its_robot_in_its_picture(installed: Installed, name: str) -> None:
    listed = {m["name"]: m for m in json.loads(installed.run("robot-keypoints", "models", "--json"))["models"]}
    assert set(listed) == set(builtin_models.models())
    picture = Path(listed[name]["picture"])
    assert installed.package in picture.parents
    told = json.loads(installed.run("robot-keypoints", "predict", "--model", name, picture, "--json"))
    (found,) = told["images"]
    assert [k["name"] for k in found["keypoints"]] == listed[name]["keypoints"]
    assert min(k["confidence"] for k in found["keypoints"]) > 0.5


@each
def test_the_model_that_comes_along_predicts(installed: Installed) -> None:
    picture = Image.new("RGB", (320, 240), (90, 110, 130))
    draw = ImageDraw.Draw(picture)
    draw.line([(160, 220), (150, 140), (210, 80), (260, 90)], fill=(220, 220, 225), width=18, joint="curve")
    picture.save(installed.work / "arm.png")
    model = installed.package / "assets" / "models" / "ur10.safetensors"
    told: dict[str, Any] = json.loads(installed.run("robot-keypoints", "predict", model, "arm.png", "--json"))
    (found,) = told["images"]
    assert (found["width"], found["height"]) == (320, 240)
    assert len(found["keypoints"]) == 7 and all(0 <= k["confidence"] <= 1 for k in found["keypoints"])


@pytest.mark.parametrize("installed", ["wheel"], indirect=True)
def test_the_demo_trains(installed: Installed) -> None:
    """As short as it goes: the scene, the workers and the trainer are processes that start from the installed files."""
    summary = json.loads(installed.run("robot-keypoints", "demo", "--minutes", 0.25, "--out", "demo", "--json"))
    assert summary["phase"] == "done" and summary["steps"] > 0
    for name in DEMO_FILES:
        assert (installed.work / "demo" / name).stat().st_size > 0, name
