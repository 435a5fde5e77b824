# SPDX-License-Identifier: GPL-3.0-or-later
"""One figure of how far covariances can be trusted: shares of the keypoints within their ellipses, and how far off each
keypoint is of what its covariances say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ...core import files
from ..reports import figures
from ..reports.figures import FAINT, INK, MODEL, PEOPLE, frame
from . import reliability
from .error_plot import EVERY
from .reliability import Reliability

COLOURS = (MODEL, PEOPLE)
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
PALE = "#c9ccd2"
SHOWN = (50, 90, 99)
"""Percent, of the ellipses in the line of text."""


def draw_reliability(path: Path, title: str, series: Sequence[tuple[str, Reliability]]) -> None:
    """Write the figure, whole or not at all; see :func:`figure_of`.

    Args:
        path: its name ends with ``.png``, ``.svg`` or ``.pdf``.
    """
    files.write_bytes(path, figures.encode(figure_of(title, series), path.suffix[1:].lower()))


def figure_of(title: str, series: Sequence[tuple[str, Reliability]]) -> Figure:
    """The figure.

    Args:
        title: what was measured on what.
        series: names and errors of the same keypoints, the most important ones first; two at most.
    """
    names = series[0][1].names
    height = 1.4 + max(3.0, 0.34 * (len(names) + 1))
    figure = Figure(figsize=(11.0, height), dpi=110, facecolor="white")
    left = min(0.26, 0.035 + 0.0068 * max(len(n) for n in (*names, EVERY)))
    low, high = 0.56 / height, 1 - 0.9 / height
    curves = figure.add_axes((0.065, low, 0.36, high - low))
    widths = figure.add_axes((0.44 + left, low, 0.54 - left, high - low))
    figure.text(0.012, 1 - 0.14 / height, title, fontsize=12, color=INK, va="top", fontweight="bold")
    figure.text(0.012, 1 - 0.41 / height, _words(series), fontsize=9.5, color=INK, va="top")
    _curves(curves, series)
    _widths(widths, series)
    return figure


def _words(series: Sequence[tuple[str, Reliability]]) -> str:
    parts = []
    for label, measured in series:
        found = reliability.summary(measured.errors)
        if found["errors"] is not None:
            share = found["within"]
            shares = ", ".join(f"{100 * share[str(p)]:.0f} %" for p in SHOWN)
            parts.append(f"{label}: {shares}")
    should = ", ".join(f"{p} %" for p in SHOWN)
    return f"keypoints within the ellipses of {should}:  " + ";  ".join(parts) if parts else "no keypoint was found"


def _curves(axis: Axes, series: Sequence[tuple[str, Reliability]]) -> None:
    """What lies within ellipses over what should."""
    first = series[0][1]
    for column in first.errors.T if len(first.names) > 1 else ():
        if not np.isnan(column).all():
            axis.plot(*reliability.curve(column), color=PALE, linewidth=1.0)
    axis.plot([0, 1], [0, 1], color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
    handles: list[Line2D] = []
    for (label, measured), colour in reversed(list(zip(series, COLOURS, strict=False))):
        found = reliability.summary(measured.errors)
        if found["distance"] is None:
            continue
        axis.plot(*reliability.curve(measured.errors), color=colour, linewidth=2.4, solid_joinstyle="round")
        text = f"{label}: off by at most {100 * found['distance']:.0f} points"
        handles.insert(0, Line2D([], [], color=colour, linewidth=2.4, label=text))
    handles.append(Line2D([], [], color=INK, linewidth=1.0, linestyle=(0, (4, 3)), label="as it should be"))
    if len(first.names) > 1:
        handles.append(Line2D([], [], color=PALE, linewidth=1.2, label=f"each keypoint, {series[0][0]}"))
    ticks = np.linspace(0, 1, 6)
    labels = [f"{100 * t:.0f} %" for t in ticks]
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.005)
    axis.set_xticks(ticks, labels, fontsize=9)
    axis.set_yticks(ticks, labels, fontsize=9)
    axis.set_xlabel("ellipse that should hold so many keypoints", fontsize=9, color=INK)
    axis.set_title("keypoints within their ellipses", fontsize=9, color=INK, loc="left", pad=6)
    frame(axis, "both")
    axis.legend(handles=handles, loc="lower right", fontsize=8, frameon=True, facecolor="white", edgecolor="none")


def _widths(axis: Axes, series: Sequence[tuple[str, Reliability]]) -> None:
    """How many times as far off as its covariances say a middling keypoint is."""
    names = [EVERY, *series[0][1].names]
    values: list[float] = []
    offsets = np.linspace(-0.13, 0.13, len(series)) if len(series) > 1 else [0.0]
    for (_, measured), colour, offset in zip(series, COLOURS, offsets, strict=False):
        columns = [measured.errors, *measured.errors.T]
        for row, errors in enumerate(columns):
            width = reliability.summary(errors)["width"]
            if width is None or width <= 0:
                continue
            values.append(width)
            axis.plot([1, width], [row + offset] * 2, color=colour, linewidth=2.2, alpha=0.5, solid_capstyle="butt")
            axis.plot([width], [row + offset], "o", color=colour, markersize=6)
    reach = max([1.5, *(max(v, 1 / v) for v in values)]) * 1.3
    axis.axvline(1, color=INK, linewidth=1.0, linestyle=(0, (4, 3)), zorder=0)
    axis.axhline(0.5, color=FAINT, linewidth=1.2)
    axis.set_xscale("log")
    axis.set_xlim(1 / reach, reach)
    axis.set_ylim(len(names) - 0.45, -0.55)
    axis.set_yticks(range(len(names)), names, fontsize=9, color=INK)
    axis.get_yticklabels()[0].set_fontweight("bold")
    shown = [t for t in TICKS if 1 / reach <= t <= reach]
    axis.xaxis.set_major_locator(FixedLocator(shown))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
    axis.set_xlabel("← nearer than the ellipses say      farther →", fontsize=9, color=INK)
    title = "how far off a middling keypoint is, over what its ellipse says"
    axis.set_title(title, fontsize=9, color=INK, loc="left", pad=6)
    frame(axis, "x")
