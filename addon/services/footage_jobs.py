# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done with a recording in the background: labelling, calibration, and corrections of single labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy

from ...core.errors import UserError
from ...core.input_files import read_json, read_toml
from ...core.names import free_name
from ...core.processes.programs import LAUNCHER
from ..footage import footage_in_scene
from ..properties import preferences
from .jobs import Job, State, clean_environment


def robot_file(recording: Path) -> Path | None:
    """The robot that a recording's file names; None where it names no file.

    Raises:
        UserError: if the file can't be read.
    """
    mend = "choose a FOOTAGE.toml, or JSON of the same shape"
    document = read_json(recording, mend) if recording.suffix.lower() == ".json" else read_toml(recording, mend)
    name = document.get("robot") if isinstance(document, dict) else None
    path = recording.parent / name if isinstance(name, str) and name else None
    return path if path is not None and path.is_file() else None


def data_folder(recording: Path) -> Path:
    """A folder beside a recording's file that isn't there yet."""
    name = free_name(f"{recording.stem}_labels", lambda n: (recording.parent / n).exists(), separator="-")
    return recording.parent / name


def command(action: str, recording: Path, robot: str) -> list[str]:
    """The beginning of what is done with a recording.

    Args:
        robot: the URDF of the scene's robot, for a recording that names none; empty where there is none.

    Raises:
        UserError: if there is no recording, or no Python for the trainer.
    """
    if not recording.is_file():
        raise UserError(f"There is no file {recording}: choose a FOOTAGE.toml")
    found = [preferences.python(), str(LAUNCHER), "--lifeline", "cli", action, str(recording), "--json", "--progress"]
    if robot_file(recording) is None and robot:
        found += ["--robot", robot]
    return found


class Labelling(Job):
    """Labels a recording, and gives the labels to the scene."""

    def __init__(self) -> None:
        super().__init__("labelling")
        self._data = ""
        self._scene = ""

    def begin(self, scene: bpy.types.Scene, recording: Path, robot: str, method: str) -> None:
        """Start.

        Args:
            robot: see :func:`command`.
            method: for images in which no marker can be relied on.

        Raises:
            UserError: naming what is missing.
        """
        arguments = command("label", recording, robot)
        out = data_folder(recording)
        self.prepare_empty()
        self.start([*arguments, "--out", str(out), "--method", method], clean_environment())
        self._data, self._scene, self.message = str(out), scene.name, f"reading {recording.name} …"

    def finished(self, folder: Path) -> None:
        """Tell the scene where its labels are."""
        bpy.data.scenes[self._scene].robot_keypoints.footage.data = self._data


class Calibrating(Job):
    """Calibrates the cameras of a recording, and puts them into the scene.

    Attributes:
        calibration: what ``calibrate`` has found.
    """

    def __init__(self) -> None:
        super().__init__("calibration")
        self.calibration: Mapping[str, Any] | None = None
        self._scene = ""

    def begin(self, scene: bpy.types.Scene, recording: Path, robot: str) -> None:
        """Start.

        Args:
            robot: see :func:`command`.

        Raises:
            UserError: naming what is missing.
        """
        arguments = command("calibrate", recording, robot)
        self.prepare_empty()
        self.calibration, self._scene = None, scene.name
        self.start(arguments, clean_environment())
        self.message = f"reading {recording.name} …"

    def finished(self, folder: Path) -> None:
        """Put the cameras into the scene, which one Undo takes back."""
        document = self.document()
        scene = bpy.data.scenes.get(self._scene)
        if scene is None:
            raise LookupError("its scene is gone")
        try:
            footage_in_scene.place_cameras(scene, document)
        except UserError as problem:
            raise ValueError(str(problem)) from problem
        self.calibration = document
        if not bpy.app.background:
            bpy.ops.ed.undo_push(message="Calibrate Camera")

    def forget(self) -> None:
        """End it and show nothing of it any more."""
        super().forget()
        self.calibration = None


class Correcting(Job):
    """Writes the label of one frame as the rig stands."""

    def __init__(self) -> None:
        super().__init__("label")

    def begin(self, data: Path, correction: Mapping[str, Any]) -> None:
        """Start.

        Raises:
            UserError: if the last one is still being written, or there is no Python for the trainer.
        """
        if self.running:
            raise UserError("The last label is still being written: wait a moment")
        python = preferences.python()
        self.prepare_empty()
        file = self.folder / "correction.json"
        file.write_text(json.dumps(correction), encoding="utf-8")
        self.start([python, str(LAUNCHER), "--lifeline", "cli", "correct", str(data), str(file)], clean_environment())
        self.message = "writing the label …"


LABELLING, CALIBRATING, CORRECTING = Labelling(), Calibrating(), Correcting()
JOBS: tuple[Job, ...] = (LABELLING, CALIBRATING, CORRECTING)


def busy() -> bool:
    """Whether a recording is being labelled or calibrated."""
    return any(job.state is State.RUNNING for job in (LABELLING, CALIBRATING))
