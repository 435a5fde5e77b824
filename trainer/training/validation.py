# SPDX-License-Identifier: GPL-3.0-or-later
"""What a validation found, and by which number the best model is chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...core.messages.events import Metrics
from ...core.scene.scene_model import SceneModel
from ...core.settings.schema import Settings
from ..evaluation.evaluate import Evaluation, evaluate
from ..evaluation.keypoint_metrics import Localisation, localisation
from . import feedback
from .engine import Engine
from .feedback import Hard
from .held_out_sets import HeldOut
from .run_state import RunState


@dataclass(frozen=True)
class Validation:
    """One validation.

    Attributes:
        result: of every validation image.
        errors: over all of them.
        hardest: what those with the largest losses have in common.
    """

    result: Evaluation
    errors: Localisation
    hardest: tuple[Hard, ...]

    @property
    def loss(self) -> float:
        """The mean over images."""
        return float(self.result.losses.mean())

    @property
    def score(self) -> float:
        """The mean error in percent; the loss where no keypoint is inside. The lower the better."""
        return self.errors.mean if self.errors.mean is not None else self.loss

    def metrics(self, state: RunState, seconds: float) -> Metrics:
        """A line of the run's metrics, as an event has it, after so many ``seconds`` of the run."""
        content: Metrics = {
            "step": state.counters.step, "images": state.counters.images, "seconds": seconds, "loss": self.loss,
        }  # fmt: skip
        content.update(self.errors.to_dict())
        content["hardest"] = [h.to_dict() for h in self.hardest]
        if state.train_loss is not None:
            content["train_loss"] = state.train_loss
        return content


def validate(
    engine: Engine, held_out: HeldOut, initial: SceneModel, settings: Settings, interrupted: Callable[[], bool]
) -> Validation | None:
    """Measure the network that would be kept; None as soon as ``interrupted()``.

    Args:
        held_out: with its validation images there.
        initial: the priors that these were drawn from.
    """
    assert held_out.validation is not None
    result = evaluate(
        engine.average, held_out.validation, engine.precision, settings.training.batch_size, interrupted,
        view=settings.input_size,
    )  # fmt: skip
    if result is None:
        return None
    names, latents = [k.name for k in settings.keypoints], held_out.latents
    hardest = feedback.hardest(initial, latents, result.losses, settings.feedback.share) if latents else []
    return Validation(result, localisation(result.errors, names), tuple(hardest))
