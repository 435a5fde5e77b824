# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of renderings that trainings draw from as workers would render: each as often as the present priors make it.

What all trainings of an experiment share is made once and kept in a folder: the pool, the test and validation images,
and pictures for backgrounds and shapes. Its ``pool.json`` is written last, so a folder that has one is whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...core import files
from ...core.errors import UserError
from ...core.input_files import read_json
from ...core.scene.prior import Prior
from ...core.scene.scene_model import SceneDraw, SceneModel, Variable, log_density_ratio
from ..evaluation.evaluate import EvaluationSet

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

DOCUMENT = "pool.json"
VERSION = 1

TESTS, MOST_TESTS = 1 / 6, 1000
"""Share of a recording that is only tested on, and renderings at most."""

VALIDATIONS, MOST_VALIDATIONS = 1 / 12, 512
"""Likewise those that the rule ``selection`` validates on."""

PICTURES = 256
"""Backgrounds of each theme."""

MARGIN = 1.3
"""Their size over that of the images."""

OVERLAYS = 32
"""Pictures of each number of drawn shapes."""


@dataclass(frozen=True)
class Pool:
    """What the trainings of an experiment share, mapped from disk.

    Attributes:
        initial: the priors that all renderings were drawn from.
        images: ``(N, H, W, 4)`` uint8, RGBA with straight alpha.
        keypoints: pixels ``(N, J, 2)``.
        effects: of the variables that the trainer applies, ``(N, E)`` as from :func:`.sensor_effects.table`.
        bins: of the latent values ``(N, V)``, in the order of ``initial``; -1 outside of a variable's range.
        validation: with its latent values.
        backgrounds: ``(themes, pictures, 3, h, w)`` uint8; the first theme is drawn by program.
        shapes: ``(numbers, pictures, 4, H, W)`` uint8, RGBA with straight alpha: one shape, two shapes, …
    """

    initial: SceneModel
    images: NDArray[np.uint8]
    keypoints: Floats
    effects: Floats
    bins: Integers
    tests: EvaluationSet
    validation: EvaluationSet
    latents: tuple[SceneDraw, ...]
    backgrounds: NDArray[np.uint8]
    shapes: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.images.shape[2], self.images.shape[1]

    def density_ratios(self, model: SceneModel) -> Floats:
        """How much more often than initially each rendering is drawn under ``model``, ``(N,)``; their mean is one.

        The density of the latent values under ``model`` over that under the initial priors.
        """
        variables = zip(model.variables, self.initial.variables, strict=True)
        adapted = replace(model, variables=tuple(now if before.adapt else before for now, before in variables))
        logs = log_density_ratio(adapted, self.initial, self.bins.astype(np.int64))
        ratios = np.exp(logs - logs.max())
        return np.asarray(ratios / ratios.mean())

    @staticmethod
    def draws(ratios: Floats) -> Callable[[Floats], Integers]:
        """What makes indices of renderings from numbers in [0, 1): drawn with replacement.

        Args:
            ratios: how much more often than initially each rendering is drawn, ``(N,)``.
        """
        ends = ratios.cumsum()
        ends /= ends[-1]

        def drawn(units: Floats) -> Integers:
            return np.minimum(np.searchsorted(ends, units, side="right"), len(ends) - 1).astype(np.int64)

        return drawn

    @classmethod
    def load(cls, folder: Path) -> Pool:
        """From a folder that :func:`.pool_making.make` has written.

        Raises:
            UserError: if it is damaged.
        """
        mend = f"remove {folder}, and it is made again"
        document = read_json(folder / DOCUMENT, mend)
        try:
            if document["version"] != VERSION:
                raise UserError(f"{folder} was written by another version: {mend}")
            model = SceneModel(tuple(_variable(v) for v in document["variables"]))

            def array(name: str) -> Any:
                return np.load(folder / f"{name}.npy", mmap_mode="r")

            def images(name: str) -> EvaluationSet:
                # Mapped for copying only, so that writing to it can't change the file.
                pictures = np.load(folder / f"{name}_images.npy", mmap_mode="c")
                return EvaluationSet(torch.from_numpy(pictures), np.array(array(f"{name}_keypoints")))

            names = [v.name for v in model.variables]
            rows = array("validation_values").tolist()
            latents = tuple(SceneDraw({}, dict(zip(names, row, strict=True))) for row in rows)
            keypoints, effects, bins = (np.array(array(name)) for name in ("keypoints", "effects", "bins"))
            return cls(
                model, array("images"), keypoints, effects, bins, images("test"), images("validation"), latents,
                array("backgrounds"), array("shapes"),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, OSError) as problem:
            raise UserError(f"The pool in {folder} is damaged ({problem}): {mend}") from problem


def share(source: Path, target: Path) -> None:
    """Have a pool's files in another folder as well, without their room where the file system can do that.

    Raises:
        WriteError: if they can't be written.
    """
    target.mkdir(exist_ok=True)
    for path in sorted(source.glob("*.npy")):
        with files.Replacement(target / path.name) as temporary:
            temporary.unlink()
            try:
                os.link(path, temporary)
            except OSError:  # another file system, or one without links
                shutil.copyfile(path, temporary)
    files.write_bytes(target / DOCUMENT, (source / DOCUMENT).read_bytes())


def effective_share(ratios: Floats) -> float:
    """Share of a pool that draws with these densities are worth: 1 where all are drawn alike."""
    return float(ratios.sum() ** 2 / (ratios**2).sum() / len(ratios))


def document_of(model: SceneModel) -> dict[str, Any]:
    """The contents of ``pool.json``."""
    variables = [
        {
            "name": v.name, "unit": v.unit, "adapt": v.adapt, "low": v.prior.low, "high": v.prior.high,
            "circular": v.prior.circular, "concentration": list(v.prior.concentration),
        }
        for v in model.variables
    ]  # fmt: skip
    return {"version": VERSION, "variables": variables}


def _variable(entry: dict[str, Any]) -> Variable:
    concentration = tuple(float(c) for c in entry["concentration"])
    prior = Prior(float(entry["low"]), float(entry["high"]), concentration, bool(entry["circular"]))
    return Variable(str(entry["name"]), prior, str(entry["unit"]), bool(entry["adapt"]))
