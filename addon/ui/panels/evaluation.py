# SPDX-License-Identifier: GPL-3.0-or-later
"""Within the Model panel: how well the model does on a folder of annotated images."""

from __future__ import annotations

from pathlib import Path

import bpy

from ...base.formatting import plural
from ...services import model_evaluation
from ...services.model_evaluation import Figures
from . import base as panels


def draw(layout: bpy.types.UILayout, context: bpy.types.Context, model: Path) -> None:
    """How far the measuring is, or what came of it for this model."""
    service = model_evaluation.SERVICE
    panels.job(layout, context, service)
    figures = service.figures
    if figures is not None and figures.model == model:
        summary = f"{figures.data.name}, {plural(figures.images, 'image')}"
        if body := panels.section(layout, "evaluation", "Errors", summary, closed=False):
            _draw_figures(body, context, figures)


def _draw_figures(layout: bpy.types.UILayout, context: bpy.types.Context, figures: Figures) -> None:
    if figures.mean is None or figures.median is None or figures.quantile is None:
        panels.advice(layout, context, "No annotated keypoint lies inside an image")
        return
    rows = [
        ("median", f"{figures.median:.2f} %"),
        ("mean", f"{figures.mean:.2f} %"),
        ("95 % quantile", f"{figures.quantile:.1f} %"),
        *((f"within {limit} %", f"{100 * share:.0f} % of keypoints") for limit, share in figures.pck.items()),
    ]
    if figures.found is not None:
        rows.append(("found", f"{100 * figures.found:.0f} % of keypoints"))
    row = layout.row()
    row.active = False
    row.label(text="% of the image's diagonal")
    _table(layout, rows)
    if body := panels.section(layout, "evaluation_keypoints", "By Keypoint", "mean"):
        _table(body, [(name, f"{mean:.2f} %") for name, mean in figures.keypoints.items()])


def _table(layout: bpy.types.UILayout, rows: list[tuple[str, str]]) -> None:
    column = layout.column(align=True)
    column.scale_y = 0.9
    for name, value in rows:
        row = column.row()
        row.label(text=name)
        right = row.row()
        right.alignment = "RIGHT"
        right.label(text=value)
