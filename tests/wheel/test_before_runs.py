# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs, data sets and scenes of earlier versions go on in Blender (tests/data/before)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import bpy
import pytest
import robot_keypoints
from robot_keypoints.addon.properties import renamed as properties_renamed, scene_robots, to_settings
from robot_keypoints.core.processes.programs import LAUNCHER
from robot_keypoints.core.settings import renamed, toml_file

BEFORE = Path(__file__).parents[1] / "data" / "before"


def command(*words: object) -> str:
    """Standard error of the command line, once it has ended well."""
    line = [sys.executable, str(LAUNCHER), "cli", *map(str, words)]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_run_is_resumed(tmp_path: Path) -> None:
    """With a third epoch: ten more steps, rendered by a worker from the old scene."""
    run = tmp_path / "run"
    shutil.copytree(BEFORE / "run", run)
    settings = toml_file.load(run / "settings.toml")
    toml_file.save(replace(settings, training=replace(settings.training, epochs=3)), run / "settings.toml")
    scene = (run / "scene.blend").read_bytes()
    lines = {name: (run / name).read_bytes() for name in ("metrics.jsonl", "priors.jsonl")}
    command("train", "--resume", run, "--json")
    assert (run / "scene.blend").read_bytes() == scene
    for name, before in lines.items():
        after = (run / name).read_bytes()
        assert after.startswith(before) and json.loads(after.splitlines()[-1])["step"] == 30, name
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert summary["steps"] == 30 and summary["images_trained"] == 120 and not summary["stopped"]


@pytest.mark.parametrize("form", ["coco", "ndds"])
def test_a_data_set_goes_on(tmp_path: Path, form: str) -> None:
    """The folder is known as that of the same settings, its two samples stay, a third one comes."""
    run, out = tmp_path / "run", tmp_path / form
    shutil.copytree(BEFORE / "run", run)
    shutil.copytree(BEFORE / form, out)
    before = {p: p.read_bytes() for p in out.rglob("00000[01]*") if p.is_file()}
    assert "1 of them now" in command("render", run, "--count", 3, "--format", form, "--out", out)
    assert {p: p.read_bytes() for p in before} == before and list(out.rglob("000002*"))


@pytest.fixture
def registered() -> Iterator[None]:
    robot_keypoints.register()
    yield
    robot_keypoints.unregister()


def test_what_the_panel_has_saved_in_a_scene_is_read(registered: None) -> None:
    """Every setting has the value that the earlier panel started a training with."""
    bpy.ops.wm.open_mainfile(filepath=str(BEFORE / "panel" / "scene.blend"))
    scene = bpy.context.scene
    read, expected = to_settings.read(scene), toml_file.load(BEFORE / "panel" / "settings.toml")
    assert replace(read, robot=replace(read.robot, path=expected.robot.path)) == expected
    assert scene.robot_keypoints.keypoints[0].name == "waist" and scene_robots.problem(scene) == ""


def test_the_panel_reads_settings_that_have_got_another_name(
    registered: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scene as a version would have saved it in which two of them had other names."""
    bpy.ops.wm.open_mainfile(filepath=str(BEFORE / "panel" / "scene.blend"))
    props = bpy.context.scene.robot_keypoints
    for block, name, was in (
        (props.training, "patience", "endurance"),
        (props.variables["camera/roll"], "low", "least"),
    ):
        saved = properties_renamed._saved(block)
        saved[was] = saved[name]
        del saved[name]
    assert props.training.patience == 0
    file = tmp_path / "scene.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    other = {"training.endurance": "patience", "variables.least": "low", "views": "render"}
    monkeypatch.setattr(renamed, "RENAMED", {**renamed.RENAMED, **other})
    bpy.ops.wm.open_mainfile(filepath=str(file))
    read, expected = to_settings.read(bpy.context.scene), toml_file.load(BEFORE / "panel" / "settings.toml")
    assert expected.training.patience == 1
    assert (read.training, read.variables) == (expected.training, expected.variables)
