# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the Training panel's settings that say how the network learns, and how feedback moves the priors."""

from typing import Any

import bpy

from ...base.formatting import count
from . import base as panels

OWN_FEATURES = ("vgg", "mobilenet", "resnet", "efficientnet")
"""Networks that stand on torchvision's features."""


def draw(layout: bpy.types.UILayout, context: bpy.types.Context, props: Any) -> None:
    """Two parts that fold; what few people change folds once more."""
    t = props.training
    if body := panels.section(layout, "learning", "Learning", f"rate {t.learning_rate:g}"):
        column = panels.settings_column(body)
        for name in ("validation_images", "test_images", "seed"):
            column.prop(t, name)
        _draw_data(body, props)
        _draw_network(body, t)
        _draw_steps(body, t)
        _draw_replay(body, props)
        _draw_computing(body, t)
    f = props.feedback
    summary = f"by {f.select if f.rule == 'selection' else f.rule}" if f.enabled else "off"
    if body := panels.section(layout, "feedback", "Feedback", summary):
        _draw_feedback(body, context, props)


def _draw_data(layout: bpy.types.UILayout, props: Any) -> None:
    """The data sets that are learned from beside renderings."""
    summary = f"{round(100 * min(1.0, sum(d.share for d in props.data)))} % of a batch" if props.data else "none"
    body = panels.section(layout, "learning_data", "Data Sets", summary)
    if body is None:
        return
    for index, data in enumerate(props.data):
        box = body.box()
        row = box.row()
        row.prop(data, "path", text="")
        row.operator("robot_keypoints.data_remove", text="", icon="X").index = index
        column = panels.settings_column(box)
        for name in ("split", "validation_split", "held_out", "share", "weight"):
            column.prop(data, name)
        column.prop(data, "most_deviation", text="Deviation")
    body.operator("robot_keypoints.data_add", icon="ADD")


def _draw_network(layout: bpy.types.UILayout, t: Any) -> None:
    body = panels.section(layout, "learning_network", "Network", _shown(t, "network"))
    if body is None:
        return
    column = panels.settings_column(body)
    column.prop(t, "start_from", placeholder="nothing learned")
    if t.network == "vgg":
        column.prop(t, "stages")
    column.prop(t, "width")
    column.prop(t, "stride")
    if t.network in OWN_FEATURES:
        column.prop(t, "pretrained")
        row = column.row()
        row.active = t.pretrained
        row.prop(t, "weights", placeholder="downloaded once")
    column.prop(t, "loss")
    column.prop(t, "decoder")
    for name in ("width_weight", "range_weight"):
        column.prop(t, name)
    column.prop(t, "displacement_weight", text="Displacement")  # with "weight" it is wider than its column
    column.prop(t, "pose_weight")
    if t.pose_weight > 0.0:
        column.prop(t, "pose_from")
    for name in ("coarse_scale", "target_sigma"):
        column.prop(t, name)
    column.prop(t, "occluded_weight", text="Occluded")
    column.prop(t, "dropout")


def _draw_steps(layout: bpy.types.UILayout, t: Any) -> None:
    body = panels.section(layout, "learning_steps", "Steps", f"{count(t.epoch_images)} images an epoch")
    if body is None:
        return
    column = panels.settings_column(body)
    for name in (
        "epoch_images", "learning_rate", "schedule", "warm_up", "averaging", "largest_gradient", "patience",
    ):  # fmt: skip
        column.prop(t, name)


def _draw_replay(layout: bpy.types.UILayout, props: Any) -> None:
    t = props.training
    summary = f"up to {t.reuse}×" if t.fresh_share < 1.0 and t.reuse > 1 else "off"
    body = panels.section(layout, "learning_replay", "Reuse of Images", summary)
    if body is None:
        return
    column = panels.settings_column(body)
    for name in ("fresh_share", "reuse", "hard_share", "store_mb"):
        column.prop(t, name)
    column.prop(props.augmentation, "geometry")
    column.prop(props.augmentation, "covers")


def _draw_computing(layout: bpy.types.UILayout, t: Any) -> None:
    body = panels.section(layout, "learning_computing", "Computing", _shown(t, "precision"))
    if body is None:
        return
    column = panels.settings_column(body)
    for name in ("precision", "compile", "processes"):
        column.prop(t, name)


def _draw_feedback(layout: bpy.types.UILayout, context: bpy.types.Context, props: Any) -> None:
    f, t = props.feedback, props.training
    column = panels.settings_column(layout)
    column.prop(f, "enabled", text="Adapt the priors")
    rest = column.column()
    rest.active = f.enabled
    rest.prop(f, "rule")
    if f.rule == "selection":
        _draw_selection(rest, f, t)
    else:
        rest.prop(f, "combinations")
    for name in ("strength" if f.rule == "selection" else "exponent", "forgetting", "floor"):
        rest.prop(f, name)
    if f.enabled and f.rule == "selection" and f.select == "uncertainty" and t.dropout == 0.0:
        panels.warning(layout, context, "Uncertainty needs a network with dropout: set Dropout to 0.1 or so")


def _draw_selection(column: bpy.types.UILayout, f: Any, t: Any) -> None:
    """What forms the selected set S."""
    column.prop(f, "select")
    if f.select != "loss":
        column.prop(f, "passes")
    if f.select == "uncertainty":
        column.prop(t, "dropout")
    column.prop(f, "threshold")
    share = column.row()
    share.active = f.threshold == 0.0
    share.prop(f, "share")


def _shown(props: Any, name: str) -> str:
    """The present choice of a setting, as its menu calls it."""
    items = props.bl_rna.properties[name].enum_items
    return str(items[getattr(props, name)].name)
