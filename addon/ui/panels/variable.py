# SPDX-License-Identifier: GPL-3.0-or-later
"""One variable in the Priors panel: its range, its prior, and its histogram, live while a training runs."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import blf
import bpy

from ....core.scene import catalogue
from ...base import plots
from ...base.formatting import FONT, FONT_POINTS, paragraph, plural, quantity, shown_name
from ...properties import choice_names
from ...properties.list_items import UNITS
from ...services import training_run
from .. import plot_icons, warnings
from . import base as panels

MOST_CHOICES = 14
"""More choices than these are summed up."""


def twin(name: str, item: Any, props: Any) -> str:
    """The property that shows ``low``, ``high`` or ``value`` of a variable in its unit, or as a choice."""
    if choice_names.names(props, item.name):
        return f"{name}_choice"
    return f"{name}_{UNITS[item.unit]}" if item.unit in UNITS else name


def posterior_of(item: Any) -> tuple[float, ...] | None:
    """The latest posterior of a variable, if the run has one that fits it."""
    status = training_run.RUNNER.status
    if status is None or not (item.use and item.adapt):
        return None
    theta = status.concentrations.get(item.name)
    return theta if theta is not None and len(theta) == item.bins else None


def spark(context: bpy.types.Context, item: Any, names: float) -> str:
    """The variable's histogram as text, as many characters as the row has room for beside an icon.

    Args:
        names: share of the row that the name takes.
    """
    theta: Sequence[float] = posterior_of(item) or (1.0,) * item.bins
    unit = panels.unit(context)
    room = (1 - names) * ((context.region.width if context.region else 300) - 5.0 * unit) - 1.5 * unit
    return plots.spark(theta, max(4, min(16, int(room / blocks_width(context)))))


def blocks_width(context: bpy.types.Context) -> float:
    """Width of one block character in the panel's font, pixels."""
    return _blocks_width(context.preferences.system.ui_scale)


@cache
def _blocks_width(scale: float) -> float:
    blf.size(FONT, FONT_POINTS * scale)
    return float(blf.dimensions(FONT, plots.SPARKS[-1] * 16)[0]) / 16


def draw(layout: bpy.types.UILayout, context: bpy.types.Context, props: Any, item: Any) -> None:
    """Everything about one variable."""
    box = layout.box()
    _draw_title(box, context, item)
    names = choice_names.names(props, item.name)
    column = panels.settings_column(box)
    if item.path:
        column.prop(item, "path")
    if not item.use:
        column.prop(item, twin("value", item, props), text="Fixed at")
        return
    row = column.row(align=True)
    row.prop(item, twin("low", item, props), text="Range")
    row.prop(item, twin("high", item, props), text="")
    panels.warning(box, context, warnings.variable(props, item), narrower=0.8 * panels.unit(context))
    column = panels.settings_column(box)
    if not names:
        column.prop(item, "bins")
    column.prop(item, "concentration")
    row = column.row(heading="Feedback")
    row.prop(item, "adapt")
    if not names and item.unit in ("rad", ""):
        row = column.row(heading="Ends meet")
        row.prop(item, "circular")
    if names:
        _draw_choices(box, item, names)
    else:
        _draw_histogram(box, context, item)


def _draw_title(box: bpy.types.UILayout, context: bpy.types.Context, item: Any) -> None:
    entry = catalogue.find(item.name)
    row = box.row()
    left = row.column()
    left.active = False
    room = (2.0 if item.changed else 0.8) * panels.unit(context)
    paragraph(left, context, entry.description if entry is not None else shown_name(item.name), narrower=room)
    if item.changed:
        row.operator("robot_keypoints.variables_reset", text="", icon="LOOP_BACK", emboss=False).which = "ONE"


def _draw_choices(box: bpy.types.UILayout, item: Any, names: tuple[str, ...]) -> None:
    """A histogram with names: one bar for each choice that is drawn."""
    posterior = posterior_of(item)
    theta = posterior or (item.concentration,) * item.bins
    total, first = sum(theta), round(item.low)
    column = box.column(align=True)
    for k, weight in enumerate(theta[:MOST_CHOICES]):
        name = names[first + k] if first + k < len(names) else str(first + k)
        column.progress(factor=weight / total, text=f"{name}: {100 * weight / total:.0f} %")
    rest = theta[MOST_CHOICES:]
    if rest:
        column.progress(factor=sum(rest) / total, text=f"{len(rest)} others: {100 * sum(rest) / total:.0f} %")
    if posterior is not None:
        _draw_version(box)
        _draw_explained(box, item)


def _draw_version(layout: bpy.types.UILayout) -> None:
    """How often the posterior has moved."""
    if training_run.RUNNER.status is not None:
        row = layout.row()
        row.active = False
        row.label(text=f"after {plural(training_run.RUNNER.status.version, 'update')}")


def _draw_explained(box: bpy.types.UILayout, item: Any) -> None:
    """How much of what is hard goes by this variable; the line is too long to stand beside a picture."""
    status = training_run.RUNNER.status
    explained = status.explained.get(item.name) if status is not None else None
    if explained is not None:
        row = box.row()
        row.active = False
        row.label(text=f"{100 * explained:.1f} % of losses explained" if explained > 0 else "no evidence yet")


def _draw_histogram(box: bpy.types.UILayout, context: bpy.types.Context, item: Any) -> None:
    scale, side = panels.picture_side(context)
    prior = (item.concentration,) * item.bins
    posterior = posterior_of(item)
    content = (prior, posterior, side)
    row = box.split(factor=panels.PICTURE)
    left = row.column(align=True)
    icon = plot_icons.picture("histogram", content, lambda: plots.histogram(prior, posterior, side, side))
    left.template_icon(icon, scale=scale)
    ends = left.row()
    ends.label(text=quantity(item.low, item.unit))
    right_end = ends.row()
    right_end.alignment = "RIGHT"
    right_end.label(text=quantity(item.high, item.unit))
    words = row.column(align=True)
    words.scale_y = 0.9
    words.label(text=plural(item.bins, "bin"))
    words.label(text=f"of {quantity((item.high - item.low) / item.bins, item.unit)}")
    words.separator()
    words.label(text="prior", icon_value=plot_icons.dot(plots.PRIOR_LINE))
    if posterior is None:
        return
    words.label(text="more often", icon_value=plot_icons.dot(plots.MORE))
    words.label(text="less often", icon_value=plot_icons.dot(plots.LESS))
    words.separator()
    top = max(range(len(posterior)), key=lambda k: posterior[k])
    width = (item.high - item.low) / item.bins
    words.label(text="most often:")
    words.label(
        text=f"{quantity(item.low + top * width, item.unit)} … {quantity(item.low + (top + 1) * width, item.unit)}"
    )
    words.label(text=f"{posterior[top] / sum(posterior) * item.bins:.1f} × uniform")
    _draw_version(words)
    _draw_explained(box, item)
