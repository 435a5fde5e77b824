# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel's report and hardest images of a run: made beside the window, shown in the panel."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest
import robot_keypoints
from PIL import Image
from recorded_layout import draw
from robot_keypoints.addon.properties import preferences
from robot_keypoints.addon.services import hardest_images, run_report, timer, training_run
from robot_keypoints.addon.services.jobs import State
from robot_keypoints.addon.ui.panels import base
from robot_keypoints.addon.ui.panels.training import KEYPOINTS_PT_training
from robot_keypoints.core.processes.run_status import Phase, Status

FAKE = """
import json, pathlib, sys
words = sys.argv[1:]
assert words[:3] == ["--lifeline", "cli", "report"] and {"--json", "--progress"} <= set(words), words
run = pathlib.Path(words[3])
if not (run / "settings.toml").exists():
    print("error: There is no run in it", file=sys.stderr)
    sys.exit(2)
(run / "report.html").write_text("<p>")
print(json.dumps({"report": str(run / "report.html")}))
"""


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    robot_keypoints.register()
    preferences._plain.python = sys.executable
    script = tmp_path / "launch.py"
    script.write_text(FAKE, encoding="utf-8")
    monkeypatch.setattr(run_report, "LAUNCHER", script)
    monkeypatch.setattr(base, "unit", lambda context: 20.0)  # without a window nothing has a size
    yield
    training_run.RUNNER.session = None
    robot_keypoints.unregister()
    preferences._plain = preferences.Plain()


def ended(folder: Path) -> Any:
    """A run that is over, as the panel knows it."""
    status = Status(Phase.DONE)
    status.metrics = [{"step": 1, "images": 8, "loss": 2.0, "mean_error_percent": 3.0, "median_error_percent": 2.0}]
    status.version, status.explained = 3, {"joint/elbow_joint": 0.123, "light/strength": 0.0001}
    session = SimpleNamespace(
        folder=folder, status=status, settings=None, poll=lambda: status, abandon=lambda: None
    )  # fmt: skip
    training_run.RUNNER.session = session  # type: ignore[assignment]
    return session


def wait() -> None:
    end = time.monotonic() + 60
    while run_report.SERVICE.running:
        timer.tick()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_report_is_written_and_why_not_is_told(tmp_path: Path) -> None:
    assert not bpy.ops.robot_keypoints.report_run.poll()
    folder = tmp_path / "run"
    folder.mkdir()
    ended(folder)
    bpy.ops.robot_keypoints.report_run()
    wait()
    assert run_report.SERVICE.state is State.FAILED and "There is no run" in run_report.SERVICE.reason
    assert any("There is no run in it" in text for text in draw(KEYPOINTS_PT_training))
    (folder / "settings.toml").touch()
    bpy.ops.robot_keypoints.report_run()
    wait()
    assert run_report.SERVICE.state is State.OK and run_report.SERVICE.page == folder / "report.html"


def test_the_hardest_images_are_read_once_for_each_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    original = hardest_images.read
    monkeypatch.setattr(hardest_images, "read", lambda path: (reads.append(path), original(path))[1])
    Image.new("RGB", (48, 54), (255, 128, 0)).save(tmp_path / "hardest.jpg")
    session = ended(tmp_path)
    before = set(bpy.data.images)
    for _ in range(3):
        training_run.RUNNER.tick()
    picture = training_run.RUNNER.hardest.picture
    assert len(reads) == 1 and picture is not None and picture.shape == (54, 48, 4)
    assert picture[0, 0] == pytest.approx([1.0, 128 / 255, 0.0, 1.0], abs=0.02)
    assert set(bpy.data.images) == before, "the user's file is left as it was"
    session.status.metrics.append(session.status.metrics[0])
    training_run.RUNNER.tick()
    assert len(reads) == 2
    said = " ".join(draw(KEYPOINTS_PT_training))
    assert "Hardest Images" in said and "strength" not in said
    assert "elbow" in said.lower() and "12 %" in " ".join(said.split())


@pytest.mark.parametrize("content", [None, b"", b"not a picture", b"\xff\xd8\xff" * 100])
def test_a_sheet_that_is_none_is_not_shown(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "hardest.jpg").write_bytes(content)
    assert hardest_images.read(tmp_path / "hardest.jpg") is None


def test_a_large_picture_is_not_taken_for_a_sheet(tmp_path: Path) -> None:
    Image.new("L", (2000, 2000)).save(tmp_path / "hardest.jpg")
    assert hardest_images.read(tmp_path / "hardest.jpg") is None
