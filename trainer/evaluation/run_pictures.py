# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of a run: ``predictions.png`` and ``priors.png``."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from torch import Tensor

from ...core import files
from ...core.robot.visibility import SURE
from ...core.scene import catalogue
from ...core.scene.scene_model import SceneModel, Variable
from ..networks.model_file import ModelInfo
from ..reports import figures
from ..reports.figures import INK
from .evaluate import Evaluation

PICTURES = 12
COLUMNS = 3

HISTOGRAMS = 40
"""Variables that the picture of the priors shows, unless more than these adapt."""

TRUE = "#35d04f"
PREDICTED = "#ff3fb4"
BEFORE = "#b8bcc4"
AFTER = "#2f7ed8"

FAINT = 0.01
"""A belief map whose peak is lower is shown as dark as it is."""


def predictions_picture(
    path: Path, info: ModelInfo, images: Tensor, keypoints: NDArray[np.float64], found: Evaluation, beliefs: Tensor
) -> None:
    """A grid of images with true and predicted keypoints, each beside its belief maps.

    Args:
        images: RGB ``(N, 3, H, W)`` uint8.
        keypoints: the true ones ``(N, J, 2)``, pixels.
        found: the predictions for at least these images.
        beliefs: ``(N, J, h, w)``.
    """
    count, _, height, width = images.shape
    rows = math.ceil(count / COLUMNS)
    cell = 2.1
    top = 0.75
    size = (2 * COLUMNS * cell * width / height * 1.03, rows * (cell + 0.28) + top)
    figure = Figure(figsize=size, dpi=100, facecolor="white")
    axes = figure.subplots(rows, 2 * COLUMNS, squeeze=False)
    figure.subplots_adjust(0.008, 0.01, 0.992, 1 - (top + 0.15) / size[1], 0.03, 0.16)
    colours = keypoint_colours(len(info.keypoints))
    for axis in axes.flat:
        axis.set_axis_off()
    for i in range(count):
        left, right = axes[i // COLUMNS, 2 * (i % COLUMNS)], axes[i // COLUMNS, 2 * (i % COLUMNS) + 1]
        image = images[i].permute(1, 2, 0).numpy()
        inside = ~np.isnan(found.errors[i])
        _show(left, image, width, height)
        _chain(left, info, keypoints[i], inside, TRUE, "o", 3.6, 2.2)
        _chain(left, info, found.predicted[i], found.confidences[i] >= SURE, PREDICTED, "o", 2.2, 1.1)
        error = f"{np.nanmean(found.errors[i]):.1f} %" if inside.any() else "no keypoint inside"
        left.set_title(error, fontsize=9, loc="left", pad=2, color=INK)
        _show(right, belief_picture(image, beliefs[i], colours), width, height)
        right.set_title("belief maps", fontsize=8, loc="left", pad=2, color="#777777")
    chain = [
        Line2D([], [], color=TRUE, marker="o", markersize=5, linewidth=2.2, label="true"),
        Line2D([], [], color=PREDICTED, marker="o", markersize=4, linewidth=1.4, label="predicted"),
    ]
    points = [
        Line2D([], [], color=tuple(c), marker="s", markersize=6, linewidth=0, label=name)
        for name, c in zip(info.keypoints, colours, strict=True)
    ]
    figure.text(
        0.01, 1 - 0.13 / size[1], "Test images, never trained on; above each its mean error in percent of the diagonal",
        fontsize=10, color=INK, va="top",
    )  # fmt: skip
    figure.legend(
        handles=[*chain, *points[:14]], loc="upper left", bbox_to_anchor=(0.004, 1 - 0.34 / size[1]),
        ncols=16, fontsize=8, frameon=False, handlelength=1.6, columnspacing=1.2,
    )  # fmt: skip
    _write(path, figure)


def belief_picture(image: NDArray[np.uint8], beliefs: Tensor, colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """The image in dim grey under belief maps ``(J, h, w)``, each in its keypoint's colour; RGB 0 … 1 ``(H, W, 3)``."""
    height, width = image.shape[:2]
    # Brightness up to each map's own peak, but a map that says nothing shall not shine.
    peaks = beliefs.flatten(1).amax(1).clamp_min(FAINT).view(-1, 1, 1)
    fine = torch.nn.functional.interpolate((beliefs / peaks)[None], size=(height, width), mode="bilinear")[0].numpy()
    grey = (image @ np.array([0.299, 0.587, 0.114]) / 255.0 * 0.35)[..., None]
    # Where maps overlap their colours mix instead of adding up to white.
    glow = np.einsum("jhw,jc->hwc", fine**2, colours) / np.maximum((fine**2).sum(0), 1e-9)[..., None]
    cover = fine.max(0)[..., None] ** 0.6  # so that the faint flanks are seen beside the peaks
    return np.asarray(np.clip(grey * (1 - cover) + glow * cover, 0, 1))


def keypoint_colours(count: int) -> NDArray[np.float64]:
    """Colours ``(count, 3)`` that differ in hue, and in lightness where there are many."""
    hues = [colorsys.hsv_to_rgb(i / max(count, 1) * 0.92, 0.85, 1.0 if i % 2 == 0 else 0.8) for i in range(count)]
    return np.array(hues)


def priors_picture(path: Path, initial: SceneModel, final: SceneModel) -> None:
    """The bins of the variables before and after: every one that adapts, then others as far as there is room."""
    varying = [v for v in initial.variables if not v.prior.constant]
    varying.sort(key=lambda v: not v.adapt)
    shown = varying[: max(sum(v.adapt for v in varying), HISTOGRAMS)]
    columns = 5
    rows = max(1, math.ceil(len(shown) / columns))
    size = (columns * 2.5, rows * 1.5 + 0.6)
    figure = Figure(figsize=size, dpi=90, facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(0.02, 0.35 / size[1], 0.98, 1 - 0.85 / size[1], 0.12, 0.95)
    for axis in axes.flat[len(shown) :]:
        axis.set_axis_off()
    for axis, variable in zip(axes.flat, shown, strict=False):
        before, after = variable.prior, final[variable.name].prior
        factor = 180 / math.pi if variable.unit == "rad" else 1.0
        edges = before.edges * factor
        axis.stairs(before.marginal * before.bins, edges, fill=True, color=BEFORE)
        if variable.adapt:
            axis.stairs(after.marginal * after.bins, edges, color=AFTER, linewidth=1.6)
        axis.set_title(
            variable.name.replace("_", " "), fontsize=8, loc="left", pad=3, color=INK if variable.adapt else "#888888"
        )
        axis.set_xlim(edges[0], edges[-1])
        axis.set_ylim(0, max(2.0, 1.08 * float(after.marginal.max() * after.bins)))
        ticks = axis_labels(variable)
        axis.set_xticks([place * factor for place, _ in ticks])
        labels = axis.set_xticklabels([text for _, text in ticks], fontsize=6.5)
        labels[0].set_horizontalalignment("left")
        labels[-1].set_horizontalalignment("right")
        axis.set_yticks([])
        for side in ("top", "left", "right"):
            axis.spines[side].set_visible(False)
    left_out = f"; {len(varying) - len(shown)} more that do not adapt" if len(varying) > len(shown) else ""
    figure.text(
        0.02,
        1 - 0.13 / size[1],
        f"Priors after {final.version} update{'s' * (final.version != 1)}{left_out}",
        fontsize=10,
        color=INK,
        va="top",
    )
    handles = [
        Line2D([], [], color=BEFORE, linewidth=6, label="before"),
        Line2D([], [], color=AFTER, linewidth=1.6, label="after (adapting variables)"),
    ]
    place = (0.98, 1 - 0.05 / size[1])
    figure.legend(handles=handles, loc="upper right", bbox_to_anchor=place, ncols=2, fontsize=8, frameon=False)
    _write(path, figure)


def axis_labels(variable: Variable) -> list[tuple[float, str]]:
    """Places on a variable's axis, in its own unit, and what to write there: its ends and middle, or two choices."""
    low, high = variable.prior.low, variable.prior.high
    entry = catalogue.find(variable.name)
    if entry is not None and entry.choices:
        ends = range(math.floor(low), math.ceil(high))
        names = [entry.choices[i] if i < len(entry.choices) else str(i) for i in (ends[0], ends[-1])]
        return [(ends[0], names[0]), (ends[-1] + 1, names[1] if len(ends) > 1 else "")]
    factor, unit = (180 / math.pi, "°") if variable.unit == "rad" else (1.0, variable.unit)
    space = "" if unit in ("", "°") else " "
    places = (low, (low + high) / 2, high)
    return [(x, f"{x * factor:.4g}{space}{unit}".replace("-", "−")) for x in places]


def _show(axis: Axes, image: NDArray[Any], width: int, height: int) -> None:
    axis.imshow(image, interpolation="nearest")
    axis.set_xlim(-0.5, width - 0.5)
    axis.set_ylim(height - 0.5, -0.5)


def _chain(
    axis: Axes, info: ModelInfo, points: NDArray[np.float64], known: NDArray[np.bool_], colour: str, marker: str,
    size: float, line: float,
) -> None:  # fmt: skip
    index = {name: i for i, name in enumerate(info.keypoints)}
    links: Sequence[Any] = [
        (points[index[a]], points[index[b]]) for a, b in info.skeleton if known[index[a]] and known[index[b]]
    ]
    axis.add_collection(LineCollection(links, colors=colour, linewidths=line, alpha=0.9))
    axis.plot(
        points[known, 0], points[known, 1], marker, color=colour, markersize=size, markeredgecolor="black",
        markeredgewidth=0.4,
    )  # fmt: skip


def _write(path: Path, figure: Figure) -> None:
    files.write_bytes(path, figures.encode(figure, "png"))
