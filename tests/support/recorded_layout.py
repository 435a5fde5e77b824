# SPDX-License-Identifier: GPL-3.0-or-later
"""A panel's layout that draws nothing, so that panels can be tried without a window: it keeps what they show.

What Blender would complain of while drawing, an unknown icon, property or operator, is refused.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import bpy


class RecordedLayout:
    """Attributes:
    shown: texts, names of properties, and identifiers of operators, in their order.
    """

    def __init__(self, shown: list[str] | None = None) -> None:
        self.shown: list[str] = [] if shown is None else shown

    def row(self, **_: Any) -> RecordedLayout:
        return RecordedLayout(self.shown)

    column = box = split = row

    def panel(self, name: str, default_closed: bool = False) -> tuple[RecordedLayout, RecordedLayout | None]:
        return RecordedLayout(self.shown), None if default_closed else RecordedLayout(self.shown)

    def template_icon(self, icon: int, scale: float) -> None:
        assert icon >= 0 and scale > 0  # without a window no icon has a number

    def separator(self) -> None:
        self.shown.append("")

    def label(self, text: str = "", icon: str = "NONE", icon_value: int = 0) -> None:
        _check_icon(icon)
        self.shown.append(text)

    def prop(self, data: Any, name: str, icon: str = "NONE", **_: Any) -> None:
        _check_icon(icon)
        getattr(data, name)
        self.shown.append(name)

    def progress(self, factor: float, text: str) -> None:
        assert 0.0 <= factor <= 1.0
        self.shown.append(text)

    def operator(self, name: str, text: str = "", icon: str = "NONE", **_: Any) -> SimpleNamespace:
        _check_icon(icon)
        area, _, short = name.partition(".")
        getattr(getattr(bpy.ops, area), short).get_rna_type()
        self.shown.append(name)
        return SimpleNamespace()


def _check_icon(icon: str) -> None:
    assert icon in bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items, icon


def draw(panel: Any) -> list[str]:
    """What a panel shows now."""
    layout = RecordedLayout()
    panel.draw(SimpleNamespace(layout=layout), bpy.context)
    return layout.shown
