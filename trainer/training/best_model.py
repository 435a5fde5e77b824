# SPDX-License-Identifier: GPL-3.0-or-later
"""The best model of a run: kept whenever a validation finds a better one, calibrated and tested at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core import run_folder
from ...core.settings.schema import Settings
from ..evaluation.evaluate import Evaluation, EvaluationSet, evaluate, learn_calibration
from ..evaluation.run_pictures import PICTURES
from ..images.views import Size
from ..networks import model_file, two_passes
from ..networks.device import Precision
from ..networks.factory import KeypointNetwork
from ..networks.model_file import ModelInfo
from .control_server import Switchboard
from .engine import LONGEST_COMPUTATION
from .held_out_sets import HeldOut
from .setup import versions
from .tensorboard_log import Results

STOP_SECONDS = 2.0
"""After a stop, saving and testing may take this long; the pictures then still fit into the session's patience."""

CALIBRATION_SHARE = 0.25
"""Of that time, for calibrating: a part of the validation images serves, too."""

KEPT = ("step", "images", "seconds", "loss")
"""Of a validation, what a model's file says besides the errors."""


@dataclass(frozen=True)
class TestEffort:
    """How the last test of a run is made.

    Attributes:
        precision: how the network computes.
        view: width and height of its input.
        batch: images at once.
        abandoned: whether to break off at once.
        begun: when the end of the run began, in the time of ``time.monotonic()``, if it was stopped and ends soon;
            None where it may take its time.
    """

    precision: Precision
    view: Size
    batch: int
    abandoned: Callable[[], bool]
    begun: float | None = None

    @classmethod
    def of(
        cls, settings: Settings, precision: Precision, test_seconds: float, switchboard: Switchboard
    ) -> TestEffort:  # fmt: skip
        """Of a run whose images take ``test_seconds`` each."""
        size = max(1, min(settings.training.batch_size, int(LONGEST_COMPUTATION / max(test_seconds, 1e-9))))
        begun = time.monotonic() if switchboard.stop.is_set() else None
        return cls(precision, settings.input_size, size, switchboard.abandoned.is_set, begun)

    @property
    def deadline(self) -> float | None:
        """Until when the test must be done, in the time of ``time.monotonic()``; None where it may take its time."""
        return None if self.begun is None else self.begun + STOP_SECONDS


@dataclass(frozen=True)
class Tested:
    """The best model and what it found on the test images, None where that was broken off."""

    network: KeypointNetwork
    info: ModelInfo
    result: Evaluation | None

    @property
    def step(self) -> int | None:
        """Of the run when the model was kept."""
        return self.info.training.get("step")


def save(folder: Path, network: KeypointNetwork, info: ModelInfo, measured: Mapping[str, Any]) -> None:
    """Keep a network as the model of the run in ``folder``, with what was measured of it."""
    known = {k: measured[k] for k in KEPT if k in measured}
    errors = {k: v for k, v in measured.items() if k.endswith("_error_percent")}
    training: dict[str, Any] = {**known, **errors, "measured_on": "validation", "versions": versions()}
    model_file.save_model(folder / run_folder.MODEL, network.state_dict(), replace(info, training=training))


def calibrate_and_test(folder: Path, held_out: HeldOut, effort: TestEffort) -> Tested | None:
    """Let the model of the run in ``folder`` learn from the validation images how far off it is, keep that in its file,
    and test it on images that nothing was chosen by; None where there is no model or no image.

    Raises:
        UserError: if the model's file can't be read.
    """
    path, validation, test = folder / run_folder.MODEL, held_out.validation, held_out.test
    if not path.exists() or validation is None or test is None:
        return None
    network, info = model_file.load_model(path, effort.precision.device)
    soon = None if effort.begun is None else time.monotonic() + STOP_SECONDS * CALIBRATION_SHARE
    learned = learn_calibration(
        network, validation, effort.precision, effort.batch, effort.abandoned, soon, effort.view
    )  # fmt: skip
    if learned is not None:
        info = replace(info, calibration=learned)
        model_file.save_model(path, network.state_dict(), info)
    result = evaluate(network, test, effort.precision, effort.batch, effort.abandoned, effort.deadline, effort.view)
    return Tested(network, info, result)


def results(tested: Tested | None, test: EvaluationSet | None, effort: TestEffort) -> Results | None:
    """What the reports show of the test images, with belief maps of the first ones; None of none."""
    if tested is None or test is None:
        return None
    beliefs = _belief_maps(tested.network, test.images[:PICTURES], effort)
    return Results(tested.info, tested.result, test.images, test.keypoints, beliefs, test.visibility)


def _belief_maps(network: KeypointNetwork, images: Tensor, effort: TestEffort) -> Tensor:
    """Belief maps of images ``(N, 3, H, W)`` uint8; with a deadline of as many as fit, at least one."""
    maps: list[Tensor] = []
    for image in torch.split(images, 1):
        if maps and effort.deadline is not None and time.monotonic() > effort.deadline:
            break
        shown = image.to(effort.precision.device).float() / 255.0
        _, (first, *_) = two_passes.find_keypoints(network, shown, effort.view, closer=False)
        maps.append(first.beliefs.maps.float().cpu())
    return torch.cat(maps)
