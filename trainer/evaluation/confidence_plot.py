# SPDX-License-Identifier: GPL-3.0-or-later
"""One figure of how far confidences can be trusted: errors over confidences, and the share of right keypoints."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from ..reports.figures import FAULT, INK, MODEL, frame
from . import confidence
from .error_plot import SMALLEST

Floats = NDArray[np.float64]

MOST = 4000
"""Points that are drawn of more."""


def figure_of(percent: Floats, confidences: Floats) -> Figure:
    """The figure.

    Args:
        percent: errors of any shape, percent of the diagonal; NaN where unknown.
        confidences: alike, 0 … 1.
    """
    figure = Figure(figsize=(11.0, 3.6), dpi=110, facecolor="white")
    points, shares = figure.subplots(1, 2)
    figure.subplots_adjust(0.065, 0.15, 0.985, 0.9, 0.2)
    measured = confidence.calibration(percent, confidences)
    known = ~np.isnan(percent)
    _points(points, percent[known], confidences[known], measured)
    _shares(shares, measured)
    return figure


def _points(axis: Axes, errors: Floats, given: Floats, measured: dict[str, Any]) -> None:
    far, threshold = measured["far_percent"], measured["threshold"]
    wrong = confidence.false_sure(errors, given)
    highest = max(float(errors.max(initial=0.0)) * 1.3, 4 * far)
    axis.add_patch(Rectangle((threshold, far), 1.02 - threshold, highest, color=FAULT, alpha=0.07, linewidth=0))
    shown = np.linspace(0, len(errors) - 1, min(len(errors), MOST)).astype(int)
    for chosen, colour in ((~wrong, MODEL), (wrong, FAULT)):
        mine = shown[chosen[shown]]
        axis.plot(
            given[mine], np.maximum(errors[mine], SMALLEST), "o", color=colour, markersize=4, alpha=0.45,
            markeredgewidth=0,
        )  # fmt: skip
    note = f"{measured['false_sure']:,} confident,\nbut more than {far:g} % off"
    axis.text(threshold - 0.015, highest * 0.8, note, fontsize=9, color=FAULT, va="top", ha="right")
    axis.set_yscale("log")
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(max(SMALLEST, float(errors.min(initial=0.1)) * 0.7), highest)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_xlabel("confidence", fontsize=9, color=INK)
    axis.set_title("error of each keypoint, % of the diagonal (logarithmic)", fontsize=9, color=INK, loc="left", pad=6)
    frame(axis, "both")


def _shares(axis: Axes, measured: dict[str, Any]) -> None:
    axis.plot([0, 1], [0, 1], color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
    for entry in measured["bins"]:
        low, width = entry["low"], entry["high"] - entry["low"]
        axis.bar(low + width / 2, entry["right"], width * 0.86, color=MODEL, alpha=0.75, linewidth=0)
        axis.plot([entry["confidence"]], [entry["right"]], "D", color="white", markeredgecolor=INK, markersize=5)
        axis.text(low + width / 2, entry["right"] + 0.035, f"{entry['count']:,}", fontsize=8, color=INK, ha="center")
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.16)
    axis.set_yticks(np.linspace(0, 1, 6), [f"{p} %" for p in range(0, 101, 20)])
    axis.set_xlabel("confidence (above each bar: how many keypoints)", fontsize=9, color=INK)
    title = f"share of keypoints at most {measured['far_percent']:g} % off"
    axis.set_title(title, fontsize=9, color=INK, loc="left", pad=6)
    frame(axis, "both")
    handles = [
        Line2D([], [], color=INK, linewidth=1.0, linestyle=(0, (4, 3)), label="as it should be"),
        Line2D(
            [], [], color="white", marker="D", markersize=5, markeredgecolor=INK, linewidth=0, label="mean of a bar"
        ),
    ]
    axis.legend(handles=handles, loc="upper left", fontsize=8, frameon=False, labelcolor=INK)
