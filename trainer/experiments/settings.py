# SPDX-License-Identifier: GPL-3.0-or-later
"""What an experiment compares, kept in its folder so that a later call goes on with the same."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...core import files
from ...core.errors import UserError
from ...core.input_files import read_json
from ...core.settings.schema import FeedbackSettings, TrainingSettings
from ..networks.config import MOST_WIDTH

DOCUMENT = "experiment.json"

RULES = ("evidence", "selection", "renderings")
"""Those of a run, and one that only an experiment can have: see :class:`.RenderingUpdates`."""
COMBINATIONS = ("none", "pairs")

OF_FEEDBACK = ("pairs", "rule", "combinations", "exponent", "strength")
"""Settings that a training without feedback does not depend on."""

AVERAGING = 0.98
"""Of the weights: trainings are short, and what is measured at a point should not be that of long before."""


@dataclass(frozen=True)
class FeedbackExperiment:
    """Trainings in pairs, one with feedback and one without, otherwise alike.

    Attributes:
        pairs: how many; pair i has the seed ``seed + i``.
        images: that each training learns from.
        every: images between two measurements on the test images, and between two updates of the priors.
        batch: images of each step.
        share: of the images that come from the simulator that follows the posteriors, where there is feedback.
        shrink: the recording's images are used so many times smaller.
        rule: see :data:`RULES`.
        combinations, exponent, strength: see :class:`.FeedbackSettings`.
        learning_rate: the same throughout, so that each point of a curve is the end of a training so long.
        width: of the network; 0 is its own.
    """

    pairs: int = 30
    images: int = 16000
    every: int = 1000
    batch: int = 32
    share: float = 0.5
    shrink: int = 1
    rule: str = "evidence"
    combinations: str = "none"
    exponent: float = 3.0
    strength: float = 1.0
    learning_rate: float = 2e-3
    network: str = "light"
    width: int = 0
    seed: int = 1

    def check(self) -> None:
        """Refuse what can't be done.

        Raises:
            UserError: in one sentence.
        """
        limits: dict[str, tuple[float, float]] = {
            "pairs": (2, 10_000), "images": (1, 10**9), "every": (1, 10**9), "batch": (2, 4096), "share": (0.01, 1.0),
            "shrink": (1, 16), "exponent": (1e-3, 1e3), "strength": (1e-3, 1e3), "learning_rate": (1e-8, 1.0),
            "seed": (0, 2**31), "width": (0, MOST_WIDTH),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise UserError(f"{option(name)} is {value:g}: it must be between {low:g} and {high:g}")
        if self.rule not in RULES:
            raise UserError(f"--rule is {self.rule!r}: it must be one of {', '.join(RULES)}")
        if self.combinations not in COMBINATIONS:
            raise UserError(f"--combinations is {self.combinations!r}: it must be {' or '.join(COMBINATIONS)}")
        if self.every < self.batch:
            raise UserError(f"--every is {self.every}: it must be --batch, {self.batch}, at least")
        if self.images < 2 * self.every:
            raise UserError(f"--images is {self.images}: it must be twice --every, {2 * self.every}, at least")

    @property
    def steps(self) -> int:
        """Steps between two measurements."""
        return max(1, round(self.every / self.batch))

    @property
    def measurements(self) -> int:
        """Of each training."""
        return max(2, round(self.images / (self.steps * self.batch)))

    @property
    def following(self) -> int:
        """Images of each batch that come from the simulator that adapts where there is feedback."""
        return max(1, round(self.share * self.batch))

    def training(self) -> TrainingSettings:
        """The settings of each training."""
        return TrainingSettings(
            network=self.network, width=self.width, batch_size=self.batch, learning_rate=self.learning_rate,
            schedule="constant", averaging=AVERAGING, pose_weight=0.0, pretrained=False,
        )  # fmt: skip

    def feedback(self) -> FeedbackSettings:
        """How the priors move, by a rule that runs have."""
        if self.rule == "renderings":
            return FeedbackSettings(exponent=self.exponent)
        return FeedbackSettings(
            rule=self.rule, combinations=self.combinations, exponent=self.exponent, strength=self.strength
        )  # fmt: skip

    @property
    def described(self) -> str:
        """The rule and how strongly it moves the priors, in words."""
        how = f"strength {self.strength:g}" if self.rule == "selection" else f"exponent {self.exponent:g}"
        return f"{self.rule}, {how}"

    def same_without_feedback(self, other: FeedbackExperiment) -> bool:
        """Whether trainings without feedback are the same in both."""
        mine, others = asdict(self), asdict(other)
        return all(mine[name] == others[name] for name in mine if name not in OF_FEEDBACK)

    def save(self, folder: Path) -> None:
        """Keep them in the experiment's folder."""
        files.write_json(folder / DOCUMENT, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> FeedbackExperiment:
        """What an earlier call has kept.

        Raises:
            UserError: if it can't be read.
        """
        mend = "start again in another folder"
        document: Any = read_json(folder / DOCUMENT, mend)
        try:
            found = cls(**document)
            found.check()
        except TypeError as problem:
            raise UserError(f"{folder / DOCUMENT} was written by another version ({problem}): {mend}") from problem
        return found


def option(name: str) -> str:
    """What the command line calls a setting."""
    return "--" + {"share": "adaptive-share"}.get(name, name).replace("_", "-")
