# SPDX-License-Identifier: GPL-3.0-or-later
"""The priors of a run's variables as they move: every version is published and written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core import files, run_folder
from ...core.messages.events import Posterior
from ...core.scene.pair import Pair
from ...core.scene.scene_model import SceneModel
from ...core.settings.schema import FeedbackSettings
from .control_server import Switchboard
from .draws import FirstUses
from .evidence import Evidence, importance

KNOWN_VERSIONS = 64
"""Versions back that samples may be drawn from; those of older ones are no evidence."""


class Priors:
    """The scene model of one run, in its latest version.

    Attributes:
        initial: before anything was learned; validation and test images are drawn from it.
        model: what adaptive workers draw from now.
        evidence: losses of images before they were trained on; what moves the priors where the settings say so.
    """

    def __init__(self, folder: Path, initial: SceneModel, settings: FeedbackSettings, switchboard: Switchboard) -> None:
        self.initial = initial
        self.model = initial
        self.evidence = Evidence(initial, settings)
        self._settings = settings
        self._versions = {initial.version: initial}
        self._folder = folder
        self._switchboard = switchboard

    def restore(self, concentrations: Mapping[str, Sequence[float]], version: int, pairs: tuple[Pair, ...]) -> None:
        """Go back to a version.

        Raises:
            LookupError, TypeError, ValueError: if it is not one of this scene.
        """
        self._go_on(self.initial.with_concentrations(concentrations, version, pairs))

    def publish(self) -> None:
        """Tell the adaptive workers."""
        model = self.model
        self._switchboard.publish_posterior(
            Posterior(model.version, model.concentrations(), self.evidence.explained(), model.pairs)
        )

    def note_losses(self, first: FirstUses, losses: NDArray[np.float64]) -> None:
        """Take the losses of images before they were first trained on as evidence, if that is what moves the priors.

        Args:
            losses: of the whole batch ``(B,)``.
        """
        if not self._settings.enabled or self._settings.rule != "evidence":
            return
        for version in np.unique(first.versions).tolist():
            drawn = self._versions.get(version)
            if drawn is not None:
                of = first.versions == version
                weights = importance(self.initial, drawn, first.bins[of])
                self.evidence.add(first.bins[of], losses[first.places[of]], weights)

    def follow_evidence(self, step: int) -> None:
        """Go on to the version that the losses since the last one suggest."""
        self.move(self.evidence.posterior(self.model), step, "evidence", self.evidence.record())

    def move(self, model: SceneModel, step: int, rule: str, cause: Mapping[str, Any]) -> None:
        """Go on to the next version, publish it and add it to the run's record.

        Args:
            rule: as in the settings.
            cause: what has moved the priors.
        """
        self._go_on(model)
        self.publish()
        self.write(step, rule, cause)

    def write(self, step: int, rule: str = "", cause: Mapping[str, Any] | None = None) -> None:
        """Add the version to the run's record.

        Args:
            rule, cause: as in :meth:`move`; none for the first version.
        """
        line: dict[str, Any] = {
            "step": step, "version": self.model.version,
            "concentrations": {k: list(v) for k, v in self.model.concentrations().items()},
        }  # fmt: skip
        if self.model.pairs:
            line["pairs"] = [pair.to_dict() for pair in self.model.pairs]
        if cause is not None:
            line["rule"] = rule
            line[rule] = cause
        files.append_json_line(self._folder / run_folder.PRIORS, line)

    def _go_on(self, model: SceneModel) -> None:
        self.model = model
        self._versions[model.version] = model
        for version in [v for v in self._versions if 0 < v <= model.version - KNOWN_VERSIONS]:
            del self._versions[version]
