# SPDX-License-Identifier: GPL-3.0-or-later
"""TensorBoard during a run, pictures at its end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from ...core import run_folder
from ...core.robot.visibility import inside
from ...core.scene.scene_model import SceneModel
from ...core.step_times import RunTimes
from ..evaluation import error_plot
from ..evaluation.evaluate import Evaluation, EvaluationSet
from ..evaluation.keypoint_metrics import Measurement
from ..evaluation.run_pictures import HISTOGRAMS, predictions_picture, priors_picture
from ..inference.image_overlay import draw_keypoints
from ..networks.model_file import ModelInfo
from .engine import Step

STRIP = 6
"""Validation images that are shown with their predictions."""


@dataclass(frozen=True)
class Results:
    """What the reports at the end are made of; the test is None where there was nothing to test, the visibility
    ``(N, J)`` where it is not known."""

    model: ModelInfo
    test: Evaluation | None
    images: Tensor
    keypoints: NDArray[np.float64]
    beliefs: Tensor | None
    visibility: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Pace:
    """How fast a run is: per second, samples of each worker, steps and images; the share of the time spent waiting for
    samples, and that of the renderings trained on that were new."""

    workers: Mapping[str, float]
    steps: float
    images: float
    stall_fraction: float
    fresh_fraction: float | None = None


class Journal:
    """TensorBoard during the run, pictures at its end."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        """Open TensorBoard's files.

        Args:
            step: that the run goes on from; what was written of later ones is left out.
        """
        self.folder = folder
        self._writer = SummaryWriter(str(folder / run_folder.TENSORBOARD), purge_step=step + 1 if step else None)

    def losses(self, step: int, rate: float, found: Step) -> None:
        """Curves of one training step."""
        for i, loss in enumerate(found.stages.tolist(), 1):
            self._writer.add_scalar(f"loss_of_stage/{i}", loss, step)
        for name, loss in found.extras.items():
            self._writer.add_scalar(f"loss_of_{name}", loss, step)
        self._writer.add_scalar("learning_rate", rate, step)
        self._writer.add_scalar("gradient", found.gradient, step)

    def validation(
        self, content: Mapping[str, Any], data: EvaluationSet, result: Evaluation, info: ModelInfo, pace: Pace
    ) -> None:
        """Curves and a few overlays of one validation."""
        step = int(content["step"])
        scalars = {
            "loss/train": content.get("train_loss"), "loss/validation": content["loss"],
            "error_percent/mean": content.get("mean_error_percent"),
            "error_percent/median": content.get("median_error_percent"),
            "pace/steps_per_second": pace.steps, "pace/images_per_second": pace.images,
            "pace/stall_fraction": pace.stall_fraction, "pace/fresh_fraction": pace.fresh_fraction,
            **{f"samples_per_second/worker_{k}": v for k, v in pace.workers.items()},
            **{f"keypoint_error_percent/{k}": v["mean"] for k, v in content.get("per_keypoint", {}).items()},
        }  # fmt: skip
        for name, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(name, value, step)
        strip = []
        for i in range(min(STRIP, len(result))):
            image = data.images[i].permute(1, 2, 0).numpy()
            confidences = result.confidences[i].tolist()
            strip.append(
                np.asarray(draw_keypoints(image, info, result.predicted[i].tolist(), confidences, names=False))
            )
        self._writer.add_image("predictions", np.concatenate(strip, 1), step, dataformats="HWC")
        self._writer.flush()

    def times(self, step: int, found: RunTimes) -> None:
        """Mean milliseconds of each part of a simulation step and of a training step so far."""
        for kind, parts in found.to_dict().items():
            for part, numbers in parts.items():
                self._writer.add_scalar(f"ms_of_{kind}/{part}", numbers["mean_ms"], step)

    def priors(self, step: int, model: SceneModel) -> None:
        """Histograms of the variables that adapt."""
        adapting = [v for v in model.variables if v.adapt and not v.prior.constant]
        for variable in adapting[:HISTOGRAMS]:
            edges, share = variable.prior.edges, variable.prior.marginal
            middle = (edges[:-1] + edges[1:]) / 2
            self._writer.add_histogram_raw(
                f"priors/{variable.name}", float(edges[0]), float(edges[-1]), 1, float(share @ middle),
                float(share @ middle**2), edges[1:].tolist(), share.tolist(), step,
            )  # fmt: skip

    def finish(self, results: Results | None, initial: SceneModel, final: SceneModel) -> None:
        """Write the pictures and close TensorBoard."""
        if results is not None and results.test is not None and results.beliefs is not None:
            count = min(len(results.beliefs), len(results.test))
            predictions_picture(
                self.folder / run_folder.PREDICTIONS_PICTURE, results.model, results.images[:count],
                results.keypoints[:count], results.test, results.beliefs[:count],
            )  # fmt: skip
        if results is not None and results.test is not None:
            errors_picture(self.folder / run_folder.ERRORS_PICTURE, self.folder.resolve().name, results)
        priors_picture(self.folder / run_folder.PRIORS_PICTURE, initial, final)
        self._writer.close()


def errors_picture(path: Path, name: str, results: Results) -> None:
    """The errors on the test images, as ``evaluate --plot`` draws them."""
    assert results.test is not None
    test, count = results.test, len(results.test)
    height, width = results.images.shape[-2:]
    if results.visibility is not None:
        visibility = results.visibility[:count]
    else:
        visibility = np.where(inside(results.keypoints[:count], width, height), 2, 0)
    pixels = test.errors * math.hypot(width, height) / 100.0
    measured = Measurement(results.model.keypoints, test.errors, pixels, visibility, test.confidences)
    error_plot.draw_errors(path, measured, f"{name} on {count:,} test images, never trained on")
