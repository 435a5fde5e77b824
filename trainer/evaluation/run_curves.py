# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of a run over time: losses and errors, and how the priors moved."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from ...core.messages.events import Metrics
from ...core.scene.scene_model import SceneModel, Variable
from ..reports.figures import INK, MODEL, PEOPLE, frame
from .run_pictures import axis_labels

SHOWN = 12
"""Variables whose priors are drawn, those that moved most."""

COLUMNS = 3

VERSIONS = 240
"""Versions that are drawn at most, evenly chosen."""

STRONGEST = 2.0
"""Factor to a bin's first probability at which the colour is full."""


def curves(metrics: Sequence[Metrics]) -> Figure:
    """Losses and errors over the images that were trained on; both axes are logarithmic upwards."""
    figure = Figure(figsize=(11.0, 3.6), dpi=110, facecolor="white")
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(0.065, 0.15, 0.985, 0.9, 0.2)
    for axis, title, lines in (
        (left, "loss", (("train_loss", "training", PEOPLE), ("loss", "validation", MODEL))),
        (
            right, "localisation error, % of the image diagonal",
            (("mean_error_percent", "mean", PEOPLE), ("median_error_percent", "median", MODEL)),
        ),
    ):  # fmt: skip
        drawn = False
        for key, label, colour in lines:
            points = [(m.get("images", 0), m.get(key)) for m in metrics]
            known = [(x, float(y)) for x, y in points if isinstance(y, (int, float)) and y > 0]
            if known:
                axis.plot(*zip(*known, strict=True), color=colour, linewidth=1.8, label=label, marker="o", markersize=3)
                drawn = True
        if drawn:
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
            axis.legend(fontsize=8, frameon=False, labelcolor=INK)
        axis.set_xlim(left=0)
        axis.set_xlabel("images trained on", fontsize=9, color=INK)
        axis.set_title(title + " (logarithmic)", fontsize=9, color=INK, loc="left", pad=6)
        frame(axis, "both")
    return figure


def priors(steps: Sequence[int], models: Sequence[SceneModel]) -> Figure | None:
    """How often each bin is drawn, against how often at first, over the updates: one stack of bins per variable.

    Args:
        steps: of the versions, the first one first.
        models: likewise.

    Returns:
        None where nothing has adapted.
    """
    moved = most_moved(models)[:SHOWN]
    if not moved:
        return None
    columns = min(COLUMNS, len(moved))
    rows = math.ceil(len(moved) / columns)
    size = (11.0, 1.75 * rows + 0.75)
    figure = Figure(figsize=size, dpi=110, facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(0.075, 0.5 / size[1], 0.91, 1 - 0.4 / size[1], 0.32, 0.62)
    for axis in axes.flat[len(moved) :]:
        axis.set_axis_off()
    chosen = np.unique(np.linspace(0, len(models) - 1, min(len(models), VERSIONS)).round().astype(int))
    image = None
    for axis, variable in zip(axes.flat, moved, strict=False):
        ratios = log_ratios(models, variable)[chosen].T
        low, high = variable.prior.low, variable.prior.high
        image = axis.imshow(
            ratios, cmap="RdBu_r", vmin=-math.log2(STRONGEST), vmax=math.log2(STRONGEST), aspect="auto",
            origin="lower", interpolation="nearest", extent=(-0.5, len(models) - 0.5, low, high),
        )  # fmt: skip
        axis.set_title(variable.name.replace("_", " "), fontsize=8, loc="left", pad=3, color=INK)
        ticks = axis_labels(variable)
        axis.set_yticks([place for place, _ in ticks], [text for _, text in ticks], fontsize=6.5)
        axis.tick_params(axis="x", labelsize=6.5)
    for axis in axes[-1]:
        axis.set_xlabel(f"update (the last after step {steps[-1]:,})", fontsize=7.5, color=INK)
    assert image is not None
    bar = figure.colorbar(image, cax=figure.add_axes((0.93, 0.5 / size[1], 0.012, 1 - 0.9 / size[1])))
    bar.set_ticks([-1.0, 0.0, 1.0], labels=["½ ×", "as at first", "2 ×"], fontsize=7)
    return figure


def most_moved(models: Sequence[SceneModel]) -> list[Variable]:
    """The variables that adapt, as they were at first, the one whose last prior differs most from it first."""
    if len(models) < 2:
        return []
    adapting = [v for v in models[0].variables if v.adapt and not v.prior.constant]
    return sorted(adapting, key=lambda v: -float(np.abs(log_ratios(models[-1:], v, models[0])).max()))


def log_ratios(
    models: Sequence[SceneModel], variable: Variable, initial: SceneModel | None = None
) -> NDArray[np.float64]:
    """Binary logarithm of each bin's probability over that at first, ``(versions, bins)``."""
    first = (initial or models[0])[variable.name].prior.marginal
    return np.asarray(np.log2(np.stack([m[variable.name].prior.marginal for m in models]) / first))
