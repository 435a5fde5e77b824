# SPDX-License-Identifier: GPL-3.0-or-later
"""Quick Start: robot, priors, environment, training by one click; what stops it is one sentence, and it goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest
import robot_keypoints
from recorded_layout import draw
from refusals import refusal
from robot_keypoints.addon.prediction import model_server
from robot_keypoints.addon.properties import preferences, scene_robots, to_settings
from robot_keypoints.addon.services import quick_start, trainer_environment, training_run
from robot_keypoints.addon.services.jobs import State
from robot_keypoints.addon.services.quick_start import Goal, Mark
from robot_keypoints.addon.services.trainer_environment import Health
from robot_keypoints.addon.ui.panels.quick_start import KEYPOINTS_PT_quick_start as PANEL
from robot_keypoints.core import builtin_models
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.processes.environment_builder import python_in
from robot_keypoints.core.processes.run_status import Phase, Status

START_UP = {"Cube", "Light", "Camera"}


class Environment:
    """What the trainer's environment is asked, and what it says."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.checks, self.created = 0, []
        service = trainer_environment.SERVICE
        patch.setattr(service, "check", self._check)
        patch.setattr(service, "create", self._create)
        patch.setattr(trainer_environment, "default_folder", lambda: folder)

    def _check(self) -> None:
        self.checks += 1
        self.say(State.RUNNING, "checking …")

    def _create(self, folder: Path, base: str) -> None:
        self.created.append((folder, base))
        self.build(State.RUNNING, "making the environment, step 1 of 3", 0.25)

    def build(self, state: State, message: str = "", progress: float = 0.0, reason: str = "") -> None:
        job = trainer_environment.SERVICE.building
        job.state, job.message, job.progress, job.reason = state, message, progress, reason

    def say(self, state: State, line: str, *mend: str) -> None:
        trainer_environment.SERVICE.checkup.health = Health(state, line, mend, trainer_environment.SERVICE.chosen)


class Runs:
    """The trainings that were started, by the settings of their scenes."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.started: list[Any] = []
        self.refuses = ""
        self.status: Status | None = None
        patch.setattr(training_run.RUNNER, "start", self._start)
        patch.setattr(training_run.Runner, "status", property(lambda _: self.status))

    def _start(self, scene: bpy.types.Scene) -> None:
        if self.refuses:
            raise UserError(self.refuses)
        self.started.append(to_settings.read(scene))
        self.status = Status(Phase.STARTING, message="the first images")


@pytest.fixture(autouse=True)
def registered(tmp_path: Path) -> Iterator[None]:
    bpy.ops.wm.read_factory_settings(use_empty=False)
    robot_keypoints.register()
    preferences._plain.runs, preferences._plain.python = str(tmp_path / "runs"), sys.executable
    yield
    robot_keypoints.unregister()
    preferences._plain = preferences.Plain()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    return Environment(monkeypatch, tmp_path / "environment")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(monkeypatch)


def group() -> Any:
    return bpy.context.scene.robot_keypoints


def marks() -> list[Mark]:
    return [s.mark for s in quick_start.SERVICE.steps()]


def tick(times: int = 2) -> None:
    for _ in range(times):
        quick_start.SERVICE.tick()


def test_from_the_start_up_file_to_a_training(environment: Environment, runs: Runs) -> None:
    quick = group().quick_start
    assert (quick.source, quick.purpose) == ("EXAMPLE", "photographs")
    assert bpy.ops.robot_keypoints.quick_start() == {"FINISHED"}
    assert set(bpy.context.scene.objects.keys()) >= START_UP, "nothing is taken out of the file"
    assert len(group().keypoints) >= 6 and group().scene.preset == "photographs"
    assert group().variables["light/world"].use, "the priors are those of the preset"
    assert marks() == [Mark.TO_DO, Mark.TO_DO] and not runs.started
    tick()
    assert environment.checks == 1 and marks() == [Mark.RUNNING, Mark.TO_DO]
    environment.say(State.OK, "torch 2.9, CPU")
    tick()
    (settings,) = runs.started
    assert settings.scene.preset == "photographs" and marks() == [Mark.DONE, Mark.RUNNING]
    assert "torch 2.9" in quick_start.SERVICE.steps()[0].text and "first images" in quick_start.SERVICE.steps()[1].text
    runs.status.progress = {"step": 1}
    tick(5)
    assert marks() == [Mark.DONE, Mark.DONE] and not quick_start.SERVICE.running and len(runs.started) == 1
    assert (quick.source, quick.purpose) == ("SCENE", "KEEP"), "the choices have been carried out"


def test_a_robot_that_stands_there_is_taken_as_it_is(environment: Environment, runs: Runs) -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    group().keypoints[0].name = "mine"
    group().variables["camera/distance"].low = 0.77
    before = to_settings.read(bpy.context.scene), {o.name for o in bpy.data.objects}
    environment.say(State.OK, "torch 2.9, CPU")
    assert bpy.ops.robot_keypoints.quick_start() == {"FINISHED"}
    tick()
    assert (runs.started[0], {o.name for o in bpy.data.objects}) == before


def test_the_users_armature_is_found_and_gets_the_preset_that_was_chosen(environment: Environment, runs: Runs) -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    armature = group().armature
    group().armature = None
    assert (group().quick_start.source, group().quick_start.purpose) == ("SCENE", "photographs")
    group().quick_start.purpose = "balanced"
    assert bpy.ops.robot_keypoints.quick_start() == {"FINISHED"}
    assert group().armature == armature and group().scene.preset == "balanced"
    assert group().quick_start.purpose == "KEEP", "the choice counts once"


def test_a_file(environment: Environment, runs: Runs, ur10_urdf: Path, tmp_path: Path) -> None:
    """A mistake leaves all as it was and stands in the panel; the next click goes on."""
    broken = tmp_path / "broken.urdf"
    broken.write_text("<robot", encoding="utf-8")
    before = {o.name for o in bpy.data.objects}
    sentence = refusal(bpy.ops.robot_keypoints.quick_start, filepath=str(broken))
    assert "broken.urdf" in sentence and quick_start.SERVICE.reason in sentence and quick_start.SERVICE.reason
    assert {o.name for o in bpy.data.objects} == before and group().armature is None
    assert group().quick_start.source == "URDF" and not quick_start.SERVICE.running
    group().quick_start.urdf = ""
    assert "No file of a robot is chosen" in refusal(bpy.ops.robot_keypoints.quick_start)
    group().quick_start.urdf = str(ur10_urdf)
    assert bpy.ops.robot_keypoints.quick_start() == {"FINISHED"}
    assert group().robot_file == str(ur10_urdf) and quick_start.SERVICE.reason == ""
    assert group().quick_start.source == "SCENE", "the choice counts once"


def test_undo_is_one_step() -> None:
    bpy.ops.ed.undo_push(message="before")
    before = {o.name for o in bpy.data.objects}
    assert bpy.ops.robot_keypoints.quick_start() == {"FINISHED"}
    quick_start.SERVICE.forget()
    assert {o.name for o in bpy.data.objects} > before
    bpy.ops.ed.undo_push(message="Quick Start")
    bpy.ops.ed.undo()
    assert {o.name for o in bpy.data.objects} == before and group().armature is None
    assert not bpy.data.objects["Cube"].hide_render and group().quick_start.source == "EXAMPLE"


def test_undone_while_it_waits(environment: Environment, runs: Runs) -> None:
    bpy.ops.robot_keypoints.quick_start()
    tick()
    group().armature = None
    environment.say(State.OK, "torch 2.9, CPU")
    runs.refuses = scene_robots.problem(bpy.context.scene)
    tick()
    assert not quick_start.SERVICE.running and "no robot" in quick_start.SERVICE.reason and marks()[1] is Mark.FAILED
    runs.refuses = ""
    assert bpy.ops.robot_keypoints.quick_start() == {"FINISHED"}
    environment.say(State.OK, "torch 2.9, CPU")
    tick()
    assert len(runs.started) == 1 and quick_start.SERVICE.reason == ""


def test_an_environment_is_installed_on_the_way(
    environment: Environment, runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    service = quick_start.SERVICE
    preferences._plain.python = ""
    bpy.ops.robot_keypoints.quick_start()
    tick()
    assert service.question == quick_start.MISSING and marks() == [Mark.FAILED, Mark.TO_DO] and service.running
    monkeypatch.setattr(trainer_environment, "may_go_online", lambda: False)
    assert "Allow Online Access" in refusal(bpy.ops.robot_keypoints.quick_start_install)
    monkeypatch.setattr(trainer_environment, "may_go_online", lambda: True)
    assert bpy.ops.robot_keypoints.quick_start_install() == {"FINISHED"}
    assert environment.created == [(tmp_path / "environment", sys.executable)]
    tick()
    step = service.steps()[0]
    assert (step.mark, step.share) == (Mark.RUNNING, 0.25) and "step 1 of 3" in step.text and not service.question
    environment.build(State.FAILED, reason="There is no room: free some and try again")
    tick()
    assert service.question.startswith("There is no room") and service.running, "it waits for what the user does"
    bpy.ops.robot_keypoints.quick_start_install()
    environment.build(State.OK)
    preferences._plain.python = sys.executable
    environment.say(State.OK, "torch 2.9, CPU")
    tick()
    assert len(runs.started) == 1, "it goes on by itself"


def test_an_environment_from_before_is_found(environment: Environment, runs: Runs, tmp_path: Path) -> None:
    preferences._plain.python = ""
    python = python_in(tmp_path / "environment")
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    bpy.ops.robot_keypoints.quick_start()
    tick()
    assert preferences._plain.python == str(python) and environment.checks == 1


def test_an_environment_that_does_not_work_is_a_question(environment: Environment, runs: Runs) -> None:
    bpy.ops.robot_keypoints.quick_start()
    tick()
    environment.say(State.FAILED, "torch: not installed", "pip install torch")
    tick()
    assert quick_start.SERVICE.question == "torch: not installed: pip install torch" and quick_start.SERVICE.running
    preferences._plain.python = "/nowhere/python"
    tick()
    assert "There is no Python at /nowhere/python" in quick_start.SERVICE.question
    preferences._plain.python = sys.executable
    tick()
    assert environment.checks == 1, "what failed is asked again only at the user's word"
    assert bpy.ops.robot_keypoints.quick_start() == {"FINISHED"}
    tick()
    assert environment.checks == 2 and not quick_start.SERVICE.question


def test_a_training_that_fails_says_why(environment: Environment, runs: Runs) -> None:
    environment.say(State.OK, "torch 2.9, CPU")
    bpy.ops.robot_keypoints.quick_start()
    tick()
    assert runs.status is not None
    runs.status.phase, runs.status.reason = Phase.FAILED, "Crate: none of 16 draws shows the robot\nand a log"
    tick()
    assert quick_start.SERVICE.reason == "Crate: none of 16 draws shows the robot" and not quick_start.SERVICE.running
    assert marks() == [Mark.DONE, Mark.FAILED]


def test_another_file_ends_the_waiting(environment: Environment) -> None:
    bpy.ops.robot_keypoints.quick_start()
    assert quick_start.SERVICE.running
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    assert not quick_start.SERVICE.running and quick_start.SERVICE.goal is Goal.NONE


@pytest.mark.parametrize("name", builtin_models.models())
def test_a_built_in_model_is_tried_on_its_picture(name: str) -> None:
    """The real server, from the start-up file to a prediction."""
    model = builtin_models.models()[name]
    assert bpy.ops.robot_keypoints.try_model(name=name) == {"FINISHED"}
    overlay = group().overlay
    assert (overlay.source, overlay.image) == ("IMAGE", str(model.picture))
    (slot,) = bpy.context.scene.camera.data.background_images
    assert slot.image.filepath == str(model.picture) and slot.alpha == 1.0
    assert set(bpy.context.scene.objects.keys()) == START_UP
    end = time.monotonic() + 120
    while quick_start.SERVICE.running:
        assert time.monotonic() < end, quick_start.SERVICE.steps()
        model_server.SERVICE.tick()
        quick_start.SERVICE.tick()
        assert not quick_start.SERVICE.question, quick_start.SERVICE.question
        time.sleep(0.02)
    assert quick_start.SERVICE.reason == "" and marks() == [Mark.DONE, Mark.DONE]
    shown = model_server.SERVICE.prediction
    assert shown is not None and tuple(k.name for k in shown.keypoints) == model.keypoints
    assert min(k.confidence for k in shown.keypoints) > 0.5
    assert (shown.width, shown.height) == (640, 480) and model_server.SERVICE.shown_for == "IMAGE"


def test_a_python_without_torch_is_found_out_by_trying(environment: Environment, tmp_path: Path) -> None:
    stub = tmp_path / "python"
    stub.write_text("#!/bin/sh\necho \"error: A library is missing (No module named 'torch')\" >&2\nexit 2\n")
    stub.chmod(0o755)
    preferences._plain.python = str(stub)
    bpy.ops.robot_keypoints.try_model(name="ur10")
    end = time.monotonic() + 60
    while not environment.checks:
        assert time.monotonic() < end and quick_start.SERVICE.running
        model_server.SERVICE.tick()
        quick_start.SERVICE.tick()
        time.sleep(0.02)
    environment.say(State.FAILED, "torch: not installed", "pip install torch")
    tick()
    assert quick_start.SERVICE.question.startswith("torch: not installed") and quick_start.SERVICE.running


def test_names_of_models_that_are_not_there() -> None:
    for operator in (bpy.ops.robot_keypoints.try_model, bpy.ops.robot_keypoints.load_builtin_model):
        assert "There is no built-in model 'ur5': choose panda, ur10 or ur3e" in refusal(operator, name="ur5")
    assert group().overlay.image == ""


def test_the_robot_comes_before_the_examples_picture(environment: Environment) -> None:
    bpy.ops.robot_keypoints.try_model(name="ur3e")
    quick_start.SERVICE.forget()
    bpy.ops.robot_keypoints.quick_start()
    assert group().overlay.source == "CAMERA" and not bpy.context.scene.camera.data.show_background_images


def test_the_panel_in_every_state(
    environment: Environment, runs: Runs, monkeypatch: pytest.MonkeyPatch, ur10_urdf: Path
) -> None:
    start, stop = "robot_keypoints.quick_start", "robot_keypoints.quick_start_stop"
    install, network = "robot_keypoints.quick_start_install", "robot_keypoints.show_network_preference"
    tries = ["robot_keypoints.try_model"] * len(builtin_models.models())
    assert [s for s in draw(PANEL) if "." in s] == [start, *tries]
    group().quick_start.source = "URDF"
    assert "urdf" in draw(PANEL)
    refusal(bpy.ops.robot_keypoints.quick_start)
    shown = draw(PANEL)
    assert "Robot" in shown and start in shown and "No file of a robot is chosen" in " ".join(shown)
    bpy.ops.robot_keypoints.quick_start(filepath=str(ur10_urdf))
    preferences._plain.python = ""
    tick()
    monkeypatch.setattr(trainer_environment, "may_go_online", lambda: False)
    shown = draw(PANEL)
    assert "Robot ur10, 6 joints" in shown and network in shown and install not in shown and stop in shown
    assert shown.index("Trainer's environment") < shown.index(network) < shown.index("Training")
    assert start not in shown and tries[0] not in shown
    monkeypatch.setattr(trainer_environment, "may_go_online", lambda: True)
    shown = draw(PANEL)
    assert install in shown and "robot_keypoints.check_environment" not in shown, "there is nothing to check yet"
    bpy.ops.robot_keypoints.quick_start_install()
    tick()
    assert "25 % of this download" in draw(PANEL)
    environment.build(State.OK)
    preferences._plain.python = sys.executable
    environment.say(State.FAILED, "torch: not installed", "pip install torch")
    tick()
    shown = draw(PANEL)
    assert "torch: not installed: pip install torch" in " ".join(shown)
    assert "robot_keypoints.check_environment" in shown, "what failed for a moment is asked again by a click"
    environment.say(State.OK, "torch 2.9, CPU")
    tick()
    assert "Training: the first images" in " ".join(draw(PANEL))
    assert runs.status is not None
    runs.status.phase, runs.status.reason = Phase.FAILED, "The scene is too dark"
    tick()
    shown = draw(PANEL)
    assert start in shown and "The scene is too dark" in shown
    quick_start.SERVICE.forget()
    assert "ur10" in draw(PANEL), "the robot that stands there is named"


def test_the_panel_is_not_there_while_it_would_be_empty(
    environment: Environment, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PANEL.poll(bpy.context)
    monkeypatch.setattr(training_run.Runner, "active", True)
    assert not PANEL.poll(bpy.context) and not draw(PANEL), "a training that was started under Training"
    monkeypatch.setattr(training_run.Runner, "active", False)
    bpy.ops.robot_keypoints.quick_start()
    environment.say(State.OK, "torch 2.9, CPU")
    tick()
    monkeypatch.setattr(training_run.Runner, "active", True)
    assert PANEL.poll(bpy.context) and "Training: the first images" in draw(PANEL), "its own training"
