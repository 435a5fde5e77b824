# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of the files in a run's folder. A data set's folder has some of these too."""

from __future__ import annotations

from pathlib import Path

SETTINGS = "settings.toml"
"""What the run is started with; a folder that holds it is that of a run."""

SCENE = "scene.blend"
"""What the workers render, in the folder of a run or a data set."""

ROBOT = "robot.json"
"""The kinematics of a run's robot; missing for an armature of the user's own."""

ROBOTS = "robots.json"
"""The kinematics of all robots of a data set, as far as they are known."""

OBSTRUCTION = "obstruction.json"
"""What stands between the camera and the robots in a scene of the user's own."""

MODEL = "model.safetensors"
"""The best model so far."""

METRICS = "metrics.jsonl"
"""A line for each validation."""

PRIORS = "priors.jsonl"
"""A line for each version of the priors."""

SUMMARY = "summary.json"
"""What came of the run; there once its trainer has ended of its own accord."""

TIMINGS = "timings.json"
"""How long the parts of simulation steps and training steps have taken so far."""

HARDEST_PICTURE = "hardest.jpg"
"""The validation images with the largest losses at the last validation."""

REPORT = "report.html"
"""The run as one page for people."""

PREDICTIONS_PICTURE = "predictions.png"
"""Test images with what the model sees in them."""

ERRORS_PICTURE = "errors.png"
"""The errors on the test images."""

PRIORS_PICTURE = "priors.png"
"""The priors at the beginning and at the end."""

PICTURES = (PREDICTIONS_PICTURE, ERRORS_PICTURE, PRIORS_PICTURE)

TENSORBOARD = "tensorboard"
"""The folder of TensorBoard's files."""

CHECKPOINTS = "checkpoints"
"""The folder of what a resumed run goes on from."""

LATEST = "latest.safetensors"
"""The checkpoint, in the folder of checkpoints."""

LOGS = "logs"
"""The folder of what the run's processes print."""


def log(folder: Path, process: str) -> Path:
    """The log of one of a run's processes, such as ``trainer`` or ``worker 1``."""
    return folder / LOGS / f"{process}.log"


def ready(folder: Path) -> Path:
    """What the trainer writes when its sockets are open: where they are, and for which run."""
    return folder / LOGS / "trainer.json"


def checkpoint(folder: Path) -> Path:
    """The file that a resumed run goes on from."""
    return folder / CHECKPOINTS / LATEST


def samples(folder: Path, name: str) -> Path:
    """The held-out images of a run; ``name`` is ``validation`` or ``test``."""
    return folder / CHECKPOINTS / f"{name}.npz"


def task(folder: Path, worker: int) -> Path:
    """Which draws a worker, counted from 0, is to render for a data set."""
    return folder / LOGS / f"worker {worker + 1}.json"
