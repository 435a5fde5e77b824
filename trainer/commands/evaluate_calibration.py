# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``evaluate --calibrate`` adds: a copy of a model whose covariances tell how far off it is on other images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from ...core.errors import UserError
from ..evaluation.reliability import Reliability
from ..inference.predictor import Predictor
from ..networks import model_file
from ..networks.covariance_calibration import Calibration

Floats = NDArray[np.float64]

LEAST = 32
"""Images, half of them to learn from."""


@dataclass(frozen=True)
class Calibrated:
    """What came of it.

    Attributes:
        learned: from every second image.
        before, after: on the other images.
    """

    learned: Calibration
    before: Reliability
    after: Reliability

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            **self.learned.to_dict(),
            "images_tested": len(self.after.errors),
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
        }


def check(out: Path, images: int) -> None:
    """Refuse, before anything is computed, what can't be done.

    Raises:
        UserError: saying why.
    """
    if out.suffix != ".safetensors":
        raise UserError(f"{out} does not end with .safetensors: choose another name for --calibrate")
    if out.exists():
        raise UserError(f"There is already a file {out}: choose another name for --calibrate")
    if not out.absolute().parent.is_dir():
        raise UserError(f"There is no folder {out.absolute().parent} for the model: make it first")
    if images < LEAST:
        raise UserError(
            f"--calibrate has {images} annotated images: it needs at least {LEAST}, half to learn from, half to check"
        )


def learn(predictor: Predictor, before: Floats, errors_of: Callable[[], Floats]) -> Calibrated:
    """Learn from every second image, and compare on the others.

    Args:
        predictor: as it was before, too, afterwards.
        before: its normalised squared errors ``(N, J)``.
        errors_of: gives them anew, of the calibration that the network has then.

    Raises:
        UserError: if the model finds nothing to learn from.
    """
    with predictor.network.uncalibrated() as start:
        errors = errors_of()
    if np.isnan(errors[::2]).all():
        raise UserError("The model finds none of the annotated keypoints, so it can't be calibrated: use its own robot")
    learned = start.learned(torch.from_numpy(errors[::2]))
    names = predictor.info.keypoints
    return Calibrated(
        learned, Reliability(names, before[1::2]), Reliability(names, errors[1::2] / np.array(learned.scales))
    )


def save(model: Path, out: Path, learned: Calibration) -> None:
    """A copy of the model with what it has learned; its weights are the file's, in the precision they have there."""
    _, info = model_file.load_model(model, torch.device("cpu"))
    weights = safetensors.torch.load_file(model)
    model_file.save_model(out, weights, replace(info, calibration=learned))
