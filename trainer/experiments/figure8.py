# SPDX-License-Identifier: GPL-3.0-or-later
"""The figure of [Heindl2019, Fig. 8]: the error over a training with feedback and without, and their difference."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from ..reports.figures import GREY, INK, MODEL, PEOPLE, frame
from .statistics import Comparison

WITH, WITHOUT = MODEL, PEOPLE


def figure_of(found: Comparison, title: str) -> Figure:
    """Mean and one standard deviation of both, and below the paired difference with its 95 % interval."""
    figure = Figure(figsize=(8.6, 6.2), dpi=130, facecolor="white")
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1.0))
    for curves, colour, name in ((found.without, WITHOUT, "without feedback"), (found.with_, WITH, "with feedback")):
        mean, spread = curves.mean(0), curves.std(0, ddof=1)
        top.fill_between(found.samples, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
        top.plot(found.samples, mean, color=colour, linewidth=1.8, label=f"{name}: mean and 1 σ")
    top.set_yscale("log")
    top.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    top.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:g}"[0] in "1235" else "")
    top.tick_params(axis="y", which="minor", labelsize=8, colors=INK)
    top.set_ylabel("localisation error,\n% of the image diagonal", fontsize=9, color=INK)
    end = found.reached[0]
    top.axhline(end.level, color=GREY, linewidth=0.8, linestyle=":")
    top.legend(frameon=False, fontsize=9, loc="upper right")
    difference = np.array([(d.value, d.low, d.high) for d in found.difference]).T
    below.fill_between(found.samples, difference[1], difference[2], color=INK, alpha=0.15, linewidth=0)
    below.plot(found.samples, difference[0], color=INK, linewidth=1.4, label="paired difference and its 95 % interval")
    below.axhline(0.0, color=GREY, linewidth=0.8)
    below.set_ylabel("with − without", fontsize=9, color=INK)
    below.set_xlabel("images trained on", fontsize=9, color=INK)
    below.legend(frameon=False, fontsize=9, loc="upper right")
    for axis in (top, below):
        frame(axis, "both")
    figure.text(0.012, 0.985, title, fontsize=11.5, color=INK, va="top", fontweight="bold")
    figure.text(0.012, 0.948, _sentence(found), fontsize=9.5, color=INK, va="top")
    figure.subplots_adjust(left=0.1, right=0.985, top=0.9, bottom=0.08, hspace=0.08)
    return figure


def _sentence(found: Comparison) -> str:
    end = found.reached[0]
    ratio = end.ratio
    return (
        f"{found.pairs} pairs; to the error that both reach, {end.level:.2f} %, feedback needs {ratio.value:.2f} of "
        f"the images (95 % interval {ratio.low:.2f} to {ratio.high:.2f})"
    )
