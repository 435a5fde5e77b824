# SPDX-License-Identifier: GPL-3.0-or-later
"""Quick Start after the click: waits for the trainer's environment, then starts a training or shows a built-in model.

What the scene needs, its robot and its picture, the operators have put there; here everything is polled by the timer.
Each step is told by what there is, so that a stop, an undo or a repair by hand leaves nothing to be taken back: going
on begins with the first step that is not done.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum
from typing import Any

import bpy

from ...core import builtin_models
from ...core.builtin_models import BuiltinModel
from ...core.errors import UserError
from ...core.processes.environment_builder import python_in
from ...core.processes.run_status import Phase
from ..prediction import model_server
from ..properties import preferences
from . import trainer_environment, training_run
from .jobs import State

MISSING = "The trainer's libraries are not installed yet: have them downloaded once, 2 to 7 GB, some minutes"


class Mark(Enum):
    """Where a step stands."""

    TO_DO = "to do"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Goal(Enum):
    """What was asked for."""

    NONE = "none"
    TRAIN = "train"
    TRY = "try"


@dataclass(frozen=True)
class Step:
    """One line of the panel.

    Attributes:
        share: of it that is done, 0 … 1; None where nobody knows.
    """

    text: str
    mark: Mark
    share: float | None = None


class Service:
    """At most one quick start at a time.

    Attributes:
        goal: what was asked for last.
        running: whether there is anything left to wait for.
        reason: why it stopped, in one sentence; empty if it did not.
        question: what is wrong with the environment, in one sentence, while it waits for one that works.
        model: the built-in model that is tried.
    """

    def __init__(self) -> None:
        self.goal = Goal.NONE
        self.running = False
        self.reason = ""
        self.question = ""
        self.model: BuiltinModel | None = None
        self._scene = ""
        self._environment = Mark.TO_DO
        self._begun = False
        self._doubtful = False  # whether only the doctor can tell if the environment works

    def train(self, scene: bpy.types.Scene) -> None:
        """Start a training of this scene as soon as the environment allows."""
        self._begin(Goal.TRAIN, scene, None)

    def try_model(self, scene: bpy.types.Scene, name: str) -> None:
        """Load a built-in model and ask it about the picture that this scene shows, as soon as the environment allows.

        Raises:
            UserError: if there is no such model.
        """
        self._begin(Goal.TRY, scene, builtin_models.get(name))

    def install(self) -> None:
        """Make the environment in its usual folder; the rest follows by itself.

        Raises:
            UserError: if that can't be.
        """
        if not trainer_environment.may_go_online():
            raise UserError(trainer_environment.OFFLINE)
        trainer_environment.SERVICE.create(trainer_environment.default_folder(), sys.executable)
        self.question = ""

    def refuse(self, reason: str) -> None:
        """Tell why there is nothing to start yet."""
        self.forget()
        self.goal, self.reason = Goal.TRAIN, reason

    def stop(self, reason: str = "") -> None:
        """Wait for nothing any more. What was begun, an installation or a training, goes on."""
        self.running, self.reason, self.question = False, reason, ""

    def forget(self) -> None:
        """Stop, and show nothing of it any more."""
        self.__init__()  # type: ignore[misc]

    def steps(self) -> list[Step]:
        """The steps after those of the scene, in words."""
        last = self._training_step() if self.goal is Goal.TRAIN else self._model_step()
        return [self._environment_step(), last]

    def tick(self) -> tuple[bool, bool]:
        """Do what can be done next; whether the panel, and whether the viewport, must be drawn again."""
        if not self.running:
            return False, False
        before = self._shown()
        try:
            if self._environment_works():
                (self._train if self.goal is Goal.TRAIN else self._try)()
        except UserError as problem:
            self.stop(str(problem))
        return before != self._shown(), False

    def is_hurried(self) -> bool:
        """Whether the timer should come often."""
        return self.running and self.goal is Goal.TRY and not self.question

    def _begin(self, goal: Goal, scene: bpy.types.Scene, model: BuiltinModel | None) -> None:
        self.forget()
        self.goal, self.running, self.model, self._scene = goal, True, model, scene.name
        trainer_environment.SERVICE.forget_failure()

    def _shown(self) -> Any:
        return (self.running, self.reason, self.question, tuple(self.steps()))

    # -------------------------------------------------------------------------------------------- the environment

    def _environment_works(self) -> bool:
        """Whether the next step can begin; else :attr:`question` is what the user must know, if anything."""
        service = trainer_environment.SERVICE
        self.question, self._environment = "", Mark.RUNNING
        if service.building.state is State.RUNNING:
            return False
        if not preferences.get().python:
            made = python_in(trainer_environment.default_folder())
            if not made.is_file():
                stopped = service.building.state in (State.FAILED, State.CANCELLED)
                return self._ask(service.building.reason if stopped else MISSING)
            preferences.set_python(str(made))  # by an earlier installation of the extension
        try:
            preferences.python()
        except UserError as problem:
            return self._ask(str(problem))
        state = service.health.state if service.known else State.NONE
        if state is State.FAILED:
            return self._ask(": ".join([service.health.line, *service.health.mend[:1]]))
        # A model that loads shows that the environment works, and sooner than the doctor does.
        if state is State.OK or (self.goal is Goal.TRY and not self._doubtful):
            self._environment = Mark.DONE
            return True
        if state is State.NONE:
            service.check()
        return False

    def _ask(self, question: str) -> bool:
        self.question, self._environment = question or "Ending …", Mark.FAILED
        return False

    def _environment_step(self) -> Step:
        service = trainer_environment.SERVICE
        if not self.running and self._environment is Mark.RUNNING:
            return Step("Trainer's environment", Mark.FAILED if self.reason else Mark.TO_DO)
        if self._environment is Mark.RUNNING and service.building.state is State.RUNNING:
            return Step(f"Installing: {service.building.message}", Mark.RUNNING, service.building.progress)
        if self._environment is Mark.RUNNING:
            return Step("Checking the trainer's environment, some seconds", Mark.RUNNING)
        if self._environment is Mark.DONE and service.known and service.health.state is State.OK:
            return Step(f"Trainer's environment: {service.health.line}", Mark.DONE)
        return Step("Trainer's environment", self._environment)

    # ----------------------------------------------------------------------------------------------- the training

    def _train(self) -> None:
        runner = training_run.RUNNER
        if not self._begun:
            runner.start(self._its_scene())
            self._begun = True
            return
        status = runner.status
        if status is None or status.phase.over:
            failed = status is not None and status.phase is Phase.FAILED
            self.stop(status.reason.splitlines()[0] if failed and status is not None and status.reason else "")
        elif status.progress.get("step", 0) > 0:
            self.stop()

    def _training_step(self) -> Step:
        status = training_run.RUNNER.status
        if not self._begun or status is None:
            return Step("Training", Mark.FAILED if self._environment is Mark.DONE and self.reason else Mark.TO_DO)
        if status.phase is Phase.FAILED:
            return Step("Training", Mark.FAILED)
        if status.progress.get("step", 0) > 0:
            return Step("Training has begun", Mark.DONE)
        return Step(f"Training: {status.message or status.phase.value}", Mark.RUNNING)

    def _its_scene(self) -> bpy.types.Scene:
        """The scene that Quick Start was pressed in.

        Raises:
            UserError: if it is gone.
        """
        scene = bpy.data.scenes.get(self._scene)
        if scene is None:
            raise UserError(f"The scene {self._scene} is gone: press the button again in the scene of your robot")
        return scene

    # -------------------------------------------------------------------------------------------------- the model

    def _try(self) -> None:
        service, model = model_server.SERVICE, self.model
        assert model is not None
        loaded = service.model.path == model.file
        if not self._begun:
            if not loaded or service.model.state is not model_server.State.READY:
                service.load(model.file)
            service.clear()
            self._begun = True
        elif not loaded:
            self.stop("Another model was loaded meanwhile: press the button again")
        elif service.model.state is model_server.State.FAILED:
            if self._doubtful:
                raise UserError(service.model.reason)
            self._doubtful, self._begun = True, False  # the doctor tells best what is missing
        elif service.model.state is model_server.State.READY:
            self._advance()

    def _advance(self) -> None:
        service = model_server.SERVICE
        if service.message:
            raise UserError(service.message)
        if service.prediction is not None:
            self.stop()
        elif not service.is_hurried():
            service.predict(bpy.context)

    def _model_step(self) -> Step:
        service, label = model_server.SERVICE, self.model.label if self.model is not None else ""
        if self._environment is Mark.DONE and self.reason:
            return Step(f"Model of the {label}", Mark.FAILED)
        if not self._begun:
            return Step(f"Model of the {label}", Mark.TO_DO)
        if not self.running:
            count = len(service.prediction.keypoints) if service.prediction is not None else 0
            return Step(f"{label}: {count} keypoints shown", Mark.DONE)
        loading = service.model.state is model_server.State.LOADING
        return Step(f"Loading the model of the {label} …" if loading else "Looking at the picture …", Mark.RUNNING)


SERVICE = Service()
