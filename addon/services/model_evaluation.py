# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the loaded model on a folder of annotated images, in the background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from ...core.processes.programs import LAUNCHER
from ..properties import preferences
from .jobs import Job, clean_environment

DEADLINE = 3600.0


@dataclass(frozen=True)
class Figures:
    """What was measured; errors in percent of the image's diagonal, None where no keypoint lay inside an image.

    Attributes:
        model, data: what was measured on what.
        quantile: below it are 95 % of the errors.
        pck: share of the keypoints found within so many percent.
        found: share of the keypoints inside the images that the model claims, None as above.
        keypoints: mean error by keypoint.
    """

    model: Path
    data: Path
    images: int
    mean: float | None
    median: float | None
    quantile: float | None
    pck: dict[str, float]
    found: float | None
    keypoints: dict[str, float]

    @classmethod
    def of(cls, model: Path, data: Path, document: Mapping[str, Any]) -> Figures:
        """Read what ``robot-keypoints evaluate --json`` prints.

        Raises:
            KeyError, TypeError: if it is something else.
        """
        percent = document["percent"] or {}
        keypoints = {
            str(name): float(entry["percent"]["mean"])
            for name, entry in document["per_keypoint"].items()
            if entry["percent"] is not None
        }
        return cls(
            model, data, int(document["images"]), percent.get("mean"), percent.get("median"),
            percent.get("quantiles", {}).get("95"), dict(document["pck"] or {}), document["detection"]["found"],
            keypoints,
        )  # fmt: skip


class Assessment(Job):
    """Has a model measured and keeps the figures."""

    def __init__(self) -> None:
        super().__init__("evaluation", DEADLINE)
        self.figures: Figures | None = None
        self._what: tuple[Path, Path] | None = None

    def begin(self, model: Path, data: Path) -> None:
        """Start measuring.

        Args:
            data: a folder of images annotated as COCO keypoints or NDDS, or a COCO file.

        Raises:
            UserError: naming what is missing.
        """
        if not data.exists():
            raise UserError(f"There is no folder {data}: choose one with annotated images")
        python = preferences.python()
        self.prepare_empty()
        self._what = model, data
        command = [python, str(LAUNCHER), "--lifeline", "cli", "evaluate", str(model), "--data", str(data), "--json"]
        command += ["--progress"]
        self.start(command, clean_environment())
        self.message = f"measuring on {data.name} …"

    def finished(self, folder: Path) -> None:
        """Read the figures."""
        assert self._what is not None
        self.figures = Figures.of(*self._what, self.document())

    def forget(self) -> None:
        """End it and show no figures any more."""
        super().forget()
        self.figures = None


SERVICE = Assessment()
