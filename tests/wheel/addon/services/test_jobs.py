# SPDX-License-Identifier: GPL-3.0-or-later
"""Contact sheet and check: child processes beside the window, never waited for."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy
import numpy as np
import pytest
import robot_keypoints
from refusals import refusal
from robot_keypoints.addon.prediction import model_server
from robot_keypoints.addon.properties import preferences, scene_check_report
from robot_keypoints.addon.services import contact_sheet, jobs, model_evaluation, scene_check, timer
from robot_keypoints.addon.services.jobs import State
from robot_keypoints.addon.ui import warnings
from robot_keypoints.addon.worker import scene_inspection
from robot_keypoints.core.processes.programs import LAUNCHER
from robot_keypoints.core.settings import toml_file

FAKE = """
import json, pathlib, sys, time
from PIL import Image
words = sys.argv[1:]
assert words[:3] == ["cli", "render", "--lifeline"] and {"--json", "--progress"} <= set(words), words
value = lambda name: words[words.index(name) + 1]
settings = pathlib.Path(words[3])
assert settings.is_file() and (settings.parent / "scene.blend").is_file()
(settings.parent.parent / "seen.txt").write_text(" ".join(words))
tell = lambda **step: print(json.dumps({"progress": step}), flush=True)
tell(stage="scene", text="building the scene", done=0, total=0)
print("rendering: 99 of 100 samples", flush=True)  # sentences are for people
for number in range(int(value("--count"))):
    done, total = number + 1, int(value("--count"))
    tell(stage="render", text=f"rendering: {done} of {total} samples", done=done, total=total)
    if "MODE" in ("slow",):
        sys.stdin.read()  # until the lifeline closes
        sys.exit(143)
if "MODE" == "refuse":
    print("error: There is no light: switch one on", file=sys.stderr)
    sys.exit(2)
if "MODE" == "die":
    raise RuntimeError("broken")
Image.new("RGB", (64, 48), (255, 128, 0)).save(value("--sheet"))
print(json.dumps({"obstruction": {"draws": 16, "unseen": 2, "objects": {"crate": 9}, "left_out": []}}))
"""


@pytest.fixture(autouse=True)
def robot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    robot_keypoints.register()
    preferences._plain.python = sys.executable
    bpy.ops.robot_keypoints.builtin_robot()
    yield
    robot_keypoints.unregister()
    preferences._plain = preferences.Plain()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def make(mode: str) -> None:
        script = tmp_path / "launch.py"
        script.write_text(FAKE.replace("MODE", mode), encoding="utf-8")
        monkeypatch.setattr(contact_sheet, "LAUNCHER", script)

    return make


def wait(job: jobs.Job, until: Callable[[], bool] | None = None, seconds: float = 60.0) -> None:
    """As the timer does."""
    end = time.monotonic() + seconds
    while not (until() if until is not None else not job.running):
        timer.tick()
        assert time.monotonic() < end, f"{job.name} takes too long: {job.message}"
        time.sleep(0.02)


def test_the_sheet_is_made_beside_the_window(fake: Callable[[str], None]) -> None:
    fake("fine")
    before = bpy.data.filepath, {o.name for o in bpy.data.objects}
    assert bpy.ops.robot_keypoints.contact_sheet() == {"FINISHED"}
    assert contact_sheet.SERVICE.running, "the operator does not wait"
    assert not bpy.ops.robot_keypoints.contact_sheet.poll()
    seen: list[float] = []
    wait(
        contact_sheet.SERVICE,
        lambda: bool(seen.append(contact_sheet.SERVICE.progress)) or not contact_sheet.SERVICE.running,
    )
    assert contact_sheet.SERVICE.state is State.OK, contact_sheet.SERVICE.reason
    assert seen == sorted(seen) and 0.99 not in seen
    assert contact_sheet.SERVICE.picture is not None and contact_sheet.SERVICE.picture.shape == (48, 64, 4)
    assert contact_sheet.SERVICE.picture[0, 0] == pytest.approx([1.0, 128 / 255, 0.0, 1.0], abs=0.003)
    image = bpy.data.images[contact_sheet.IMAGE]
    assert scene_check_report.obstruction().often == {"crate": 9}
    assert image.packed_file is not None and tuple(image.size) == (64, 48)
    assert (bpy.data.filepath, {o.name for o in bpy.data.objects}) == before
    settings = toml_file.load(contact_sheet.SERVICE.folder / "settings.toml")
    assert Path(settings.robot.path) == contact_sheet.SERVICE.folder / "scene.blend"
    folder = contact_sheet.SERVICE.folder
    bpy.ops.robot_keypoints.forget_sheet()
    assert not folder.exists() and contact_sheet.SERVICE.picture is None


def test_a_sheet_can_be_cancelled(fake: Callable[[str], None]) -> None:
    fake("slow")
    bpy.ops.robot_keypoints.contact_sheet()
    wait(contact_sheet.SERVICE, lambda: contact_sheet.SERVICE.progress > 0)
    child = contact_sheet.SERVICE._child
    assert child is not None and "1 of 16" in contact_sheet.SERVICE.message
    bpy.ops.robot_keypoints.cancel_job(job="contact sheet")
    wait(contact_sheet.SERVICE)
    assert contact_sheet.SERVICE.state is State.CANCELLED and child.exit_code is not None
    assert contact_sheet.SERVICE.picture is None
    assert bpy.ops.robot_keypoints.contact_sheet.poll()


@pytest.mark.parametrize(("mode", "words"), [("refuse", "There is no light: switch one on"), ("die", "broken")])
def test_what_went_wrong_is_said(fake: Callable[[str], None], mode: str, words: str) -> None:
    fake(mode)
    bpy.ops.robot_keypoints.contact_sheet()
    wait(contact_sheet.SERVICE)
    assert contact_sheet.SERVICE.state is State.FAILED and words in contact_sheet.SERVICE.reason
    assert "\n" not in contact_sheet.SERVICE.reason and "Traceback" not in contact_sheet.SERVICE.reason


def test_a_sheet_needs_an_environment() -> None:
    preferences._plain.python = ""
    assert "Environment panel" in refusal(bpy.ops.robot_keypoints.contact_sheet)
    assert not contact_sheet.SERVICE.running


def test_another_file_has_no_sheet(fake: Callable[[str], None]) -> None:
    fake("slow")
    bpy.ops.robot_keypoints.contact_sheet()
    scene_check_report.keep(scene_check_report.Report(64, 64, 64))
    child = contact_sheet.SERVICE._child
    bpy.ops.wm.read_homefile(use_empty=True)
    assert child is not None and child.exit_code is not None
    assert not contact_sheet.SERVICE.running and scene_check_report.latest().draws == 0


def test_taking_the_extension_away_ends_a_sheet(fake: Callable[[str], None]) -> None:
    fake("slow")
    bpy.ops.robot_keypoints.contact_sheet()
    child, folder = contact_sheet.SERVICE._child, contact_sheet.SERVICE.folder
    robot_keypoints.unregister()
    try:
        assert child is not None and child.exit_code is not None
        assert not folder.exists() and not contact_sheet.SERVICE.running
    finally:
        robot_keypoints.register()


def test_the_check_looks_at_draws_without_touching_the_scene() -> None:
    """In a Blender of its own: one keypoint is always out of sight, one behind the camera's back."""
    scene = bpy.context.scene
    props = scene.robot_keypoints
    far = bpy.data.objects.new("far", None)
    scene.collection.objects.link(far)
    far.location = (0, 0, 50)
    bpy.ops.mesh.primitive_cube_add(size=0.1, location=(0.6, 0.6, 0.3))
    bpy.context.object.name = "box"
    for name in ("far", "box"):
        bpy.context.view_layer.objects.active = scene.objects[name]
        bpy.ops.robot_keypoints.keypoint_add()
    props.scene.framing = 0.9  # the one far away never is in the picture
    pose = [b.matrix_basis.copy() for b in props.armature.pose.bones]
    assert bpy.ops.robot_keypoints.check_scene() == {"FINISHED"}
    wait(scene_check.SERVICE, seconds=120.0)
    assert scene_check.SERVICE.state is State.OK, scene_check.SERVICE.reason
    report = scene_check_report.latest()
    assert report.draws == scene_inspection.DRAWS and report.accepted == 0 < report.tried
    assert "met the rules" in warnings.rules(props)
    assert report.inside["far"] == 0 and "Never inside" in warnings.keypoint("far")
    others = [n for n in report.seen if n not in ("far", "box")]
    assert all(report.seen[n] > 0 for n in others) and report.seen["box"] > 0, report
    assert report.camera_inside == 0.0
    assert [b.matrix_basis for b in props.armature.pose.bones] == pose and "Keypoints Camera" not in bpy.data.objects


def test_the_check_s_command_refuses_in_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, str(LAUNCHER), "check", "--run", str(tmp_path)]
    # Its stdin stays open: that it closes is how a parent's end is noticed.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.wait(120) == 2
        assert child.stderr is not None
        said = child.stderr.read()
    assert said.startswith("error: ") and "settings.toml" in said and "Traceback" not in said


def test_a_report_survives_the_way_through_the_file(tmp_path: Path) -> None:
    report = scene_check_report.Report(4, 9, 4, {"a": 3}, {"a": 2}, 0.5)
    (tmp_path / scene_inspection.REPORT).write_text(json.dumps(report.__dict__))
    scene_check.SERVICE.finished(tmp_path)
    assert scene_check_report.latest() == report
    assert np.isfinite(report.camera_inside)


# ----------------------------------------------------------------------------------------- what a child may say

TALKING = """
import json, sys
{body}
sys.stdin.read()  # until the lifeline closes
"""


@pytest.fixture
def talking(tmp_path: Path) -> Iterator[Callable[[str], jobs.Job]]:
    """A job whose process says something and then waits."""
    job = jobs.Job("talk", 60.0)

    def start(body: str) -> jobs.Job:
        job.prepare_empty()
        job.start([sys.executable, "-c", TALKING.format(body=body)])
        return job

    yield start
    job.forget()


def until_said(job: jobs.Job, text: str) -> None:
    end = time.monotonic() + 60.0
    while job.message != text:
        job.tick()
        assert time.monotonic() < end and job.state is State.RUNNING, (job.message, job.reason)
        time.sleep(0.02)


STEP = 'print(json.dumps({{"progress": {{"stage": "s", "text": "{}", "done": {}, "total": {}}}}}), flush=True)\n'


def test_progress_is_what_is_shown_and_text_is_kept_beside_it(talking: Callable[[str], jobs.Job]) -> None:
    job = talking(STEP.format("half way", 1, 2) + "print('pip says hello', flush=True)\n" + STEP.format("there", 9, 4))
    until_said(job, "there")
    assert job.progress == 1.0 and job.lines == ("pip says hello",)


@pytest.mark.parametrize(
    "broken",
    [
        '{"progress": {"stage": "s", "text": "t", "done": -1, "total": 2}}',
        '{"progress": {"stage": "s", "text": "t", "done": true, "total": 2}}',
        '{"progress": {"stage": "s", "text": 3, "done": 1, "total": 2}}',
        '{"progress": [1, 2]}',
        '{"progress": {"stage": "s"',
        "{" * 100_000,
    ],
)
def test_a_malformed_line_is_text(talking: Callable[[str], jobs.Job], broken: str) -> None:
    job = talking(f"print({broken!r}, flush=True)\n" + STEP.format("went on", 1, 4))
    until_said(job, "went on")
    (line,) = job.lines
    assert line.startswith("{") and len(line) <= 800 and job.progress == 0.25


def test_a_flood_does_not_hold_up_the_window(talking: Callable[[str], jobs.Job]) -> None:
    """Forty megabytes, most of them one line: what comes after it is heard, and little of it is kept."""
    flood = "sys.stdout.write('x' * 30_000_000)\nsys.stdout.write('\\n{}\\n' * 2_500_000)\n"
    job = talking(flood + "sys.stdout.write('\\n')\n" + STEP.format("after the flood", 3, 4))
    until_said(job, "after the flood")
    assert job.progress == 0.75 and all(len(line) <= 800 for line in job.lines)


# ------------------------------------------------------------------------------------------------------ evaluation

MEASURING = """
import json, sys
words = sys.argv[1:]
assert words[:3] == ["--lifeline", "cli", "evaluate"] and words[4] == "--data", words
assert words[6:] == ["--json", "--progress"], words
if "MODE" == "slow":
    sys.stdin.read()  # until the lifeline closes
    sys.exit(3)
if "MODE" == "refuse":
    print("error: There are no annotated images in that folder: choose another", file=sys.stderr)
    sys.exit(2)
percent = {"mean": 1.5, "median": 0.75, "quantiles": {"95": 4.0}}
entry = {"percent": percent, "pck": {"1": 0.6, "5": 0.9}, "detection": {"found": 0.8}}
nothing = {"percent": None, "pck": None, "detection": {"found": None}}
whole = nothing if "MODE" == "outside" else entry
document = {"images": 12, **whole, "per_keypoint": {"elbow": whole, "base": nothing}}
print(json.dumps({"progress": {"stage": "measure", "text": "12 of 12 images", "done": 12, "total": 12}}), flush=True)
print(json.dumps({"images": 12} if "MODE" == "other" else document) if "MODE" != "silent" else "")
"""


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    def make(mode: str) -> Path:
        script = tmp_path / "launch.py"
        script.write_text(MEASURING.replace("MODE", mode), encoding="utf-8")
        monkeypatch.setattr(model_evaluation, "LAUNCHER", script)
        model = model_server.Model(path=tmp_path / "model.safetensors", state=model_server.State.READY)
        monkeypatch.setattr(model_server.SERVICE, "model", model)
        (tmp_path / "photos").mkdir()
        return tmp_path / "photos"

    return make


def test_a_model_is_measured_beside_the_window(measured: Callable[[str], Path]) -> None:
    data = measured("fine")
    assert bpy.ops.robot_keypoints.evaluate_model(directory=str(data)) == {"FINISHED"}
    assert model_evaluation.SERVICE.running and not bpy.ops.robot_keypoints.evaluate_model.poll()
    wait(model_evaluation.SERVICE)
    assert model_evaluation.SERVICE.state is State.OK, model_evaluation.SERVICE.reason
    figures = model_evaluation.SERVICE.figures
    assert figures is not None and figures.model.name == "model.safetensors" and figures.data == data
    assert (figures.images, figures.mean, figures.median, figures.quantile) == (12, 1.5, 0.75, 4.0)
    assert figures.pck == {"1": 0.6, "5": 0.9} and figures.found == 0.8 and figures.keypoints == {"elbow": 1.5}


def test_a_measuring_that_finds_nothing_to_measure(measured: Callable[[str], Path]) -> None:
    bpy.ops.robot_keypoints.evaluate_model(directory=str(measured("outside")))
    wait(model_evaluation.SERVICE)
    figures = model_evaluation.SERVICE.figures
    assert figures is not None and figures.mean is None and figures.pck == {} and figures.keypoints == {}


@pytest.mark.parametrize(
    ("mode", "words"),
    [("refuse", "There are no annotated images"), ("silent", "no figures"), ("other", "can't be read")],
)
def test_why_a_model_was_not_measured(measured: Callable[[str], Path], mode: str, words: str) -> None:
    bpy.ops.robot_keypoints.evaluate_model(directory=str(measured(mode)))
    wait(model_evaluation.SERVICE)
    assert model_evaluation.SERVICE.state is State.FAILED and words in model_evaluation.SERVICE.reason
    assert model_evaluation.SERVICE.figures is None


def test_a_measuring_is_cancelled_and_needs_a_folder(measured: Callable[[str], Path]) -> None:
    data = measured("slow")
    assert "choose one" in refusal(bpy.ops.robot_keypoints.evaluate_model, directory=str(data / "absent"))
    bpy.ops.robot_keypoints.evaluate_model(directory=str(data))
    bpy.ops.robot_keypoints.cancel_job(job="evaluation")
    wait(model_evaluation.SERVICE)
    assert model_evaluation.SERVICE.state is State.CANCELLED


def test_only_a_loaded_model_is_measured() -> None:
    assert not bpy.ops.robot_keypoints.evaluate_model.poll()
