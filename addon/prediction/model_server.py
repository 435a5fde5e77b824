# SPDX-License-Identifier: GPL-3.0-or-later
"""The loaded model: its server, the requests to it, and the latest prediction. Polled by the timer."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import bpy

from ...core import files
from ...core.errors import UserError
from ...core.messages.model_client import ModelClient, Server
from ...core.messages.model_document import ModelDescription, knows_robot
from ...core.messages.prediction import Prediction, Refusal
from ...core.processes.child_process import Child
from ...core.processes.programs import LAUNCHER
from ...core.robot.urdf_writer import to_urdf
from ..properties import preferences
from ..robot import armature_as_robot, rig
from . import photo_source, viewport_capture

READY_DEADLINE = 120.0
LIVE_PAUSE = 0.05
LIVE_SHARE = 0.25
"""Live pictures are drawn by the window itself: they may take at most this share of its time."""


class State(Enum):
    """Where the model stands."""

    NONE = "none"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass
class Model:
    """A model as the panel shows it."""

    path: Path = Path()
    state: State = State.NONE
    reason: str = ""
    description: ModelDescription = field(default_factory=ModelDescription)
    bytes: int = 0

    @property
    def name(self) -> str:
        """The robot's name, or the file's, or that of its run."""
        if self.description.robot_name:
            return self.description.robot_name
        return self.path.stem if self.path.stem != "model" else self.path.parent.name


class Service:
    """One model server and its client."""

    def __init__(self) -> None:
        self.model = Model()
        self.prediction: Prediction | None = None
        self.shown_for: str = ""
        self.message = ""
        self._child: Child | None = None
        self._client: ModelClient | None = None
        self._address: tuple[str, int] | None = None
        self._ready = Path()
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._asked_for = ""
        self._view: Any = None
        self._overtaken = False
        self._changed = True
        self._next_request = 0.0

    @property
    def live(self) -> bool:
        """Whether to predict again whenever view or scene change: the window's switch says so."""
        return bool(bpy.context.window_manager.robot_keypoints.live)

    def is_hurried(self) -> bool:
        """Whether the timer should come often."""
        return self._client is not None and (self.live or self._client.busy)

    def load(self, path: Path, armature: bpy.types.Object | None = None) -> None:
        """Start a server for a model.

        Args:
            armature: tells the kinematics of a model that has learned a user's own armature, which don't come with it.

        Raises:
            UserError: if the file is missing or no Python is chosen.
        """
        if not path.is_file():
            raise UserError(f"There is no model at {path}: choose a model.safetensors")
        python = preferences.python()
        self.unload()
        self._scratch = tempfile.TemporaryDirectory(prefix="robot_keypoints_")
        folder = Path(self._scratch.name)
        self._ready = folder / "ready.json"
        command = [python, str(LAUNCHER), "serve", str(path), "--ready", str(self._ready)]
        if armature is not None and rig.robot_of(armature) is None and not knows_robot(path):
            urdf = folder / "armature.urdf"
            files.write_text(urdf, to_urdf(armature_as_robot.of(armature)))
            command += ["--robot", str(urdf)]
        self.model = Model(path, State.LOADING, bytes=path.stat().st_size)
        self._child = Child("model", command, folder / "model.log", {"PYTHONPATH": "", "PYTHONNOUSERSITE": "1"})

    def unload(self) -> None:
        """End the server and clear the overlay."""
        self._end()
        self.model = Model()
        self.clear()

    def clear(self) -> None:
        """Forget the prediction."""
        self.prediction = None
        self.message = ""
        self._view = None
        self._changed = True

    def shutdown(self) -> None:
        """End everything at once."""
        self._end()
        viewport_capture.release()
        self.__init__()  # type: ignore[misc]

    def connect(self) -> ModelClient:
        """A further connection to the model's server, for questions beside the overlay's; the caller closes it.

        Raises:
            UserError: if no model is loaded.
        """
        if self._client is None or self._address is None:
            raise UserError("No model is loaded yet: load one first")
        return ModelClient(*self._address)

    def show(self, answer: Prediction, source: str, path: str = "", frame: int = 1) -> None:
        """Show an answer about an image that came over another connection; ``source`` as in the overlay's settings."""
        self.prediction, self.shown_for, self.message = answer, source, ""
        self._view = (bpy.path.abspath(path), frame)
        self._overtaken = self._client is not None and self._client.busy

    def scene_changed(self) -> None:
        """Something in the scene moved: a live overlay must ask again."""
        self._changed = True

    def predict(self, context: bpy.types.Context) -> None:
        """Take the picture that the overlay's settings name and ask the model.

        Raises:
            UserError: if there is no model or no picture.
        """
        if self._client is None:
            raise UserError("No model is loaded yet: load one first")
        overlay = context.scene.robot_keypoints.overlay
        begin = time.monotonic()
        if overlay.source == "IMAGE":
            picture = photo_source.read(context.scene, overlay.image)
            still = not photo_source.moving(overlay.image)
            self._client.request(picture.encoding, picture.width, picture.height, picture.data, still=still)
            self._view = (bpy.path.abspath(overlay.image), picture.frame)
        else:
            view = viewport_capture.find_viewport(context)
            pixels = viewport_capture.camera_view(context.scene, view, overlay.resolution)
            self._client.request("rgba", pixels.shape[1], pixels.shape[0], pixels.tobytes())
            self._view = viewport_capture.signature(context.scene, overlay.resolution)
        self._asked_for = overlay.source
        self._changed = False
        now = time.monotonic()
        self._next_request = now + max(LIVE_PAUSE, (now - begin) * (1 / LIVE_SHARE - 1))
        self.message = ""

    def tick(self) -> tuple[bool, bool]:
        """Look after the server; whether the panel and whether the viewport must be drawn again."""
        if self._child is None:
            return False, False
        if self.model.state is State.LOADING:
            return self._watch_start(), False
        if self._client is None:
            return False, False
        if self._child.exit_code is not None:
            self._fail("The model's process ended: load the model again")
            return True, True
        answer = self._client.poll()
        panel = viewport = False
        if isinstance(answer, Refusal):
            self.message, panel = answer.reason, True
        elif answer is not None and not self._overtaken:
            self.prediction, self.shown_for = answer, self._asked_for
            panel = viewport = True
        if answer is not None:
            self._overtaken = False
        if self.live and not self._client.busy and time.monotonic() > self._next_request:
            panel = self._predict_live() or panel
        return panel, viewport

    def _predict_live(self) -> bool:
        """Ask again if the picture has changed; True if the panel has something new to say."""
        context = bpy.context
        overlay = context.scene.robot_keypoints.overlay
        if overlay.source == "CAMERA":
            view = viewport_capture.signature(context.scene, overlay.resolution)
            if not self._changed and view == self._view:
                return False
        before = self.message
        try:
            if overlay.source == "IMAGE" and self.shown_for == "IMAGE":
                # Whatever else changes in the scene, the picture stays the same.
                frame = photo_source.current(context.scene, overlay.image)
                if self._view == (bpy.path.abspath(overlay.image), frame):
                    return False
            self.predict(context)
        except UserError as problem:
            self.message = str(problem)
            self._next_request = time.monotonic() + 1.0
        return self.message != before

    def _watch_start(self) -> bool:
        assert self._child is not None
        try:
            server = Server.read(self._ready)
            if server is not None:
                self._client, self._address = ModelClient(server.host, server.port), (server.host, server.port)
                self.model.description = ModelDescription.of(server.model)
                self.model.state = State.READY
                self._changed = True
                return True
        except UserError as problem:
            self._fail(str(problem))
            return True
        if self._child.exit_code is not None:
            self._fail(_last_sentence(self._child))
        elif self._child.age > READY_DEADLINE:
            self._fail(f"The model was not ready within {READY_DEADLINE:.0f} s: look at the trainer's Python")
        else:
            return False
        return True

    def _fail(self, reason: str) -> None:
        self._end()
        self.model.state, self.model.reason = State.FAILED, reason
        self.clear()

    def _end(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._child is not None:
            self._child.kill()
            self._child = None
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None


def _last_sentence(child: Child) -> str:
    for line in reversed(child.last_words(20)):
        if line.startswith("error: "):
            return line.removeprefix("error: ")
    words = child.last_words(1)
    return f"The model could not be loaded: {words[0][:200]}" if words else "The model could not be loaded"


SERVICE = Service()
