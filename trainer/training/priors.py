# SPDX-License-Identifier: GPL-3.0-or-later
"""The priors of a run's variables as they move: every version is published and written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core import files, run_folder
from ...core.messages.events import Posterior
from ...core.scene.scene_model import SceneModel
from ...core.settings.schema import FeedbackSettings
from .control_server import Switchboard
from .feedback import Update


class Priors:
    """The scene model of one run, in its latest version.

    Attributes:
        initial: before anything was learned; validation and test images are drawn from it.
        model: what adaptive workers draw from now.
    """

    def __init__(self, folder: Path, initial: SceneModel, switchboard: Switchboard) -> None:
        self.initial = initial
        self.model = initial
        self._folder = folder
        self._switchboard = switchboard

    def restore(self, concentrations: Mapping[str, Sequence[float]], version: int) -> None:
        """Go back to a version.

        Raises:
            LookupError, TypeError, ValueError: if it is not one of this scene.
        """
        self.model = self.initial.with_concentrations(concentrations, version)

    def publish(self) -> None:
        """Tell the adaptive workers."""
        self._switchboard.publish_posterior(Posterior(self.model.version, self.model.concentrations()))

    def move(self, update: Update, step: int, settings: FeedbackSettings) -> None:
        """Go on to the next version, publish it and add it to the run's record."""
        self.model = update.model
        self.publish()
        self.write(step, update.record(settings))

    def write(self, step: int, selection: Mapping[str, Any] | None = None) -> None:
        """Add the version to the run's record.

        Args:
            selection: what has moved the priors; None for the first version.
        """
        line: dict[str, Any] = {
            "step": step, "version": self.model.version,
            "concentrations": {k: list(v) for k, v in self.model.concentrations().items()},
        }  # fmt: skip
        if selection is not None:
            line["selection"] = selection
        files.append_json_line(self._folder / run_folder.PRIORS, line)
