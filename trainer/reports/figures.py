# SPDX-License-Identifier: GPL-3.0-or-later
"""What all figures share: colours, how axes look, and how a figure becomes a file."""

from __future__ import annotations

import io

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .page import Picture

matplotlib.use("Agg")
# Names of keypoints, variables and folders are any text: "$" in them begins no formula.
matplotlib.rcParams["text.parse_math"] = False

INK = "#22262b"
GREY = "#8a9099"
FAINT = "#e4e6ea"
MODEL = "#2f7ed8"
PEOPLE = "#e08a1e"
FAULT = "#c8372d"


def frame(axis: Axes, grid: str) -> None:
    """How the axes of all figures look.

    Args:
        grid: direction of its lines: ``x`` or ``both``.
    """
    for side in ("top", "right", *(["left"] if grid == "x" else [])):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color(GREY)
    axis.tick_params(colors=INK, labelsize=9, length=0 if grid == "x" else 3, color=GREY)
    axis.tick_params(axis="x", length=3)
    axis.grid(axis=grid, color=FAINT, linewidth=0.8)  # type: ignore[arg-type]
    axis.set_axisbelow(True)


def encode(figure: Figure, form: str) -> bytes:
    """The figure as ``png``, ``svg`` or ``pdf``."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form)
    return buffer.getvalue()


def picture(figure: Figure, alt: str, caption: str = "") -> Picture:
    """The figure as part of a page, sharp at any size."""
    return Picture(encode(figure, "svg"), "image/svg+xml", alt, caption)
