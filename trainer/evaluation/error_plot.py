# SPDX-License-Identifier: GPL-3.0-or-later
"""One figure of a model's errors, after [Heindl2019, Fig. 5]: how they are distributed, and the PCK curve; where
several people annotated the same photographs, their spread beside it [Heindl2019, Fig. 6a]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from ...core import files
from ...core.errors import UserError
from ...core.robot import visibility as keypoint_visibility
from ..reports import figures
from ..reports.figures import FAINT, GREY, INK, MODEL, PEOPLE, frame
from . import keypoint_metrics
from .keypoint_metrics import Measurement

Floats = NDArray[np.float64]

FORMATS = (".png", ".svg", ".pdf")

TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
EVERY = "all keypoints"
SMALLEST = 0.01
"""Percent; what is less is drawn there."""


def check_path(path: Path) -> None:
    """Refuse, before anything is computed, a file that could not be written.

    Raises:
        UserError: saying why.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path} does not end with .png, .svg or .pdf: choose another name for the plot")
    if not path.absolute().parent.is_dir():
        raise UserError(f"There is no folder {path.absolute().parent} for the plot: make it first")


def draw_errors(path: Path, measured: Measurement, title: str, people: Floats | None = None) -> None:
    """Write the figure, whole or not at all; see :func:`figure_of`.

    Args:
        path: its name ends with ``.png``, ``.svg`` or ``.pdf``.
    """
    files.write_bytes(path, figures.encode(figure_of(measured, title, people), path.suffix[1:].lower()))


def figure_of(measured: Measurement, title: str, people: Floats | None = None) -> Figure:
    """The figure.

    Args:
        title: what was measured on what.
        people: distances of people's annotations to the mean of the others' ``(R, N, J)``, percent.
    """
    rows = len(measured.names) + 1
    height = 1.32 + max(2.6, rows * (0.46 if people is not None else 0.34))
    figure = Figure(figsize=(11.0, height), dpi=110, facecolor="white")
    # Room for the longest name on the left.
    left = min(0.26, 0.035 + 0.0068 * max(len(n) for n in (*measured.names, EVERY)))
    low, high = 0.56 / height, 1 - 0.82 / height
    spread = figure.add_axes((left, low, 0.585 - left, high - low))
    curve = figure.add_axes((0.655, low, 0.325, high - low))
    figure.text(0.012, 1 - 0.14 / height, title, fontsize=12, color=INK, va="top", fontweight="bold")
    total = keypoint_metrics.distribution(measured.percent)
    if total is not None:
        area = keypoint_metrics.pck_area(measured.percent)
        text = (
            f"mean {total['mean']:.2f} %, median {total['median']:.2f} % of the image diagonal over {total['count']:,} "
            f"keypoints;  area under the PCK curve up to {keypoint_metrics.PCK_LIMIT:g} %: {area:.3f}"
        )
        figure.text(0.012, 1 - 0.41 / height, text, fontsize=9.5, color=INK, va="top")
    _distributions(spread, measured, people)
    _curves(curve, measured, people)
    return figure


def _distributions(axis: Axes, measured: Measurement, people: Floats | None) -> None:
    """One row for each keypoint and one for all: who is in the middle, who far away."""
    names = [EVERY, *measured.names]
    columns: list[Any] = [slice(None), *(slice(j, j + 1) for j in range(len(measured.names)))]
    offset, half = (0.19, 0.13) if people is not None else (0.0, 0.22)
    everything: list[Floats] = []
    for row, column in enumerate(columns):
        errors = _known(measured.percent[:, column])
        _strip(axis, row - offset, errors, half, MODEL)
        everything.append(errors)
        if people is not None:
            theirs = _known(people[:, :, column])
            _strip(axis, row + offset, theirs, half, PEOPLE)
            everything.append(theirs)
    values = np.concatenate(everything) if everything else np.zeros(0)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.1, 10.0)
    axis.set_xscale("log")
    axis.set_xlim(max(SMALLEST, low * 0.8), max(high * 1.3, 2.0))
    axis.set_ylim(len(names) - 0.45, -0.55)
    axis.set_yticks(range(len(names)), names, fontsize=9, color=INK)
    axis.get_yticklabels()[0].set_fontweight("bold")
    axis.axhline(0.5, color=FAINT, linewidth=1.2)
    axis.xaxis.set_major_locator(FixedLocator(TICKS))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    note = "; people: to the mean of the others" if people is not None else ""
    axis.set_xlabel(f"localisation error, % of the image diagonal (logarithmic){note}", fontsize=9, color=INK)
    frame(axis, "x")
    handles = [
        Patch(color=MODEL, alpha=0.75, linewidth=0, label="middle half" if people is None else "model: middle half"),
        *([Patch(color=PEOPLE, alpha=0.75, linewidth=0, label="people")] if people is not None else []),
        Line2D([], [], color=GREY, linewidth=1.4, label="5th to 95th percentile"),
        Line2D([], [], color=INK, marker="|", markersize=9, markeredgewidth=2, linewidth=0, label="median"),
        Line2D([], [], color="white", marker="D", markersize=5, markeredgecolor=INK, linewidth=0, label="mean"),
    ]
    axis.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(-0.01, 0.995), ncols=5, fontsize=8, frameon=False,
        handlelength=1.3, columnspacing=1.3, borderpad=0.2, handletextpad=0.5,
    )  # fmt: skip


def _strip(axis: Axes, y: float, errors: Floats, half: float, colour: str) -> None:
    if not errors.size:
        axis.text(
            0.02, y, "none inside the images", fontsize=8, color=GREY, va="center", transform=axis.get_yaxis_transform()
        )
        return
    errors = np.maximum(errors, SMALLEST)
    low, first, median, third, high = np.percentile(errors, (5, 25, 50, 75, 95))
    beyond = errors[(errors < low) | (errors > high)]
    if len(beyond) > 400:
        beyond = np.sort(beyond)[np.linspace(0, len(beyond) - 1, 400).astype(int)]
    axis.plot(beyond, np.full(len(beyond), y), "o", color=colour, markersize=2.2, alpha=0.28, markeredgewidth=0)
    axis.plot([low, high], [y, y], color=colour, linewidth=1.4, alpha=0.9, solid_capstyle="butt")
    axis.barh(y, third - first, 2 * half, first, color=colour, alpha=0.75, linewidth=0, zorder=2)
    axis.plot([median, median], [y - half, y + half], color=INK, linewidth=2, solid_capstyle="butt", zorder=3)
    axis.plot(
        [errors.mean()], [y], "D", color="white", markersize=4.6, markeredgecolor=INK, markeredgewidth=0.9, zorder=4
    )


def _curves(axis: Axes, measured: Measurement, people: Floats | None) -> None:
    """How many keypoints are found within a distance."""
    limit = keypoint_metrics.PCK_LIMIT
    for j in range(len(measured.names)):
        _curve(axis, measured.percent[:, j], FAINT if len(measured.names) > 1 else MODEL, 1.0, "-")
    handles: list[Line2D] = []
    shown: list[tuple[str, Floats, str, float, Any]] = [("all keypoints", measured.percent, MODEL, 2.4, "-")]
    parts = [("visible", keypoint_visibility.VISIBLE, "-"), ("occluded", keypoint_visibility.OCCLUDED, (0, (4, 2)))]
    both = [(n, measured.of_visibility(v), s) for n, v, s in parts]
    if all(_known(e).size for _, e, _ in both):
        shown += [(n, e, INK, 1.2, s) for n, e, s in both]
    if people is not None:
        shown.append(("people", people, PEOPLE, 2.4, "-"))
    for label, errors, colour, width, style in shown:
        area = keypoint_metrics.pck_area(errors)
        if area is not None:
            _curve(axis, errors, colour, width, style)
            handles.append(Line2D([], [], color=colour, linewidth=width, linestyle=style, label=f"{label}  {area:.3f}"))
    if len(measured.names) > 1:
        handles.append(Line2D([], [], color="#c9ccd2", linewidth=1.2, label="each keypoint"))
    axis.set_xlim(0, limit)
    axis.set_ylim(0, 1.02)
    axis.set_yticks(np.linspace(0, 1, 6), [f"{p} %" for p in range(0, 101, 20)], fontsize=9)
    axis.set_xlabel("within this distance, % of the image diagonal", fontsize=9, color=INK)
    axis.set_title("keypoints found (PCK)", fontsize=9, color=INK, loc="left", pad=6)
    frame(axis, "both")
    legend = axis.legend(
        handles=handles, loc="lower right", fontsize=8, frameon=True, title=f"area to {limit:g} %", title_fontsize=8,
        facecolor="white", edgecolor="none", framealpha=0.9,
    )  # fmt: skip
    legend.get_title().set_color(GREY)


def _curve(axis: Axes, errors: Floats, colour: str, width: float, style: Any) -> None:
    if _known(errors).size:
        shade = "#c9ccd2" if colour == FAINT else colour
        axis.plot(
            *keypoint_metrics.pck_curve(errors), color=shade, linewidth=width, linestyle=style, solid_joinstyle="round"
        )


def _known(errors: Floats) -> Floats:
    return np.asarray(errors[~np.isnan(errors)])
