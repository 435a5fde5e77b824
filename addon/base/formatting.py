# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers and sentences as people read them in a narrow panel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import blf
import bpy

FONT = 0
FONT_POINTS = 11.0


def quantity(value: float, unit: str) -> str:
    """A value with its unit: radians become degrees. Small numbers keep digits that say something."""
    if unit == "rad":
        degrees = math.degrees(value)
        whole = abs(degrees) >= 10 or abs(degrees - round(degrees)) < 0.05
        return f"{degrees:.0f}°" if whole else f"{degrees:.1f}°"
    if unit == "m":
        if abs(value) < 0.0995:
            return f"{1000 * value:.3g} mm" if value else "0 m"
        return f"{value:.2f} m"
    if unit:
        whole = abs(value) >= 10 or abs(value - round(value)) < 0.05
        return f"{value:.0f} {unit}" if whole else f"{value:.1f} {unit}"
    if value == 0 or abs(value) >= 0.095:
        return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
    return f"{value:.3f}" if abs(value) >= 0.0095 else f"{value:.2g}"


def chosen(names: Sequence[str], low: float, high: float) -> str:
    """A range of choices by name, the last one included: ``1 … 3``, or a single one."""
    first, last = (min(max(round(x), 0), len(names) - 1) for x in (low, high - 1))
    return names[first] if first >= last else f"{names[first]} … {names[last]}"


def span(low: float, high: float, unit: str) -> str:
    """A range with its unit."""
    return f"{quantity(low, unit)} … {quantity(high, unit)}"


def short_span(low: float, high: float, unit: str) -> str:
    """A range with its unit, such as ``±180°`` where it is as wide on both sides of zero."""
    symmetric = high > 0 and math.isclose(low, -high, rel_tol=1e-4)
    return f"±{quantity(high, unit)}" if symmetric else span(low, high, unit)


def count(number: float) -> str:
    """A whole number with thin gaps between thousands."""
    return f"{round(number):,}".replace(",", "\u2009")


def duration(seconds: float) -> str:
    """``3:40``, or ``1:02:05`` from an hour on."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, seconds_left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds_left:02}" if hours else f"{minutes}:{seconds_left:02}"


def size(count_of_bytes: int) -> str:
    """A file size."""
    megabytes = count_of_bytes / 1e6
    return f"{megabytes:.1f} MB" if megabytes >= 0.1 else f"{count_of_bytes / 1e3:.0f} kB"


def plural(number: int, one: str, many: str = "") -> str:
    """``1 worker``, ``2 workers``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def shown_name(name: str) -> str:
    """A variable's name as lists show it: ``joint/shoulder_pan_joint`` becomes ``shoulder pan``, ``light/2/size``
    becomes ``size 2``, and ``material/arm/hue`` and ``joint/left/elbow`` become ``hue, arm`` and ``elbow, left``.
    """
    group, _, short = name.partition("/")
    if not short:
        return name.replace("_", " ")
    if group == "custom":
        return short
    owner, _, short = short.rpartition("/")
    if short.endswith("_joint") and len(short) > len("_joint"):
        short = short.removesuffix("_joint")
    short = short.replace("_", " ")
    if group == "light" and owner:
        return f"{short} {owner}"
    return f"{short}, {owner}" if owner else short


@lru_cache(512)
def wrap(text: str, width: float, scale: float) -> tuple[str, ...]:
    """Break a text into lines of at most ``width`` pixels at the interface scale ``scale``."""
    blf.size(FONT, FONT_POINTS * scale)
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            for piece in _pieces(word, width):
                longer = f"{line} {piece}" if line else piece
                if line and blf.dimensions(FONT, longer)[0] > width:
                    lines.append(line)
                    line = piece
                else:
                    line = longer
        lines.append(line)
    return tuple(line for line in lines if line)


def _pieces(word: str, width: float) -> list[str]:
    """A word cut where it alone is wider than the line, such as a path."""
    pieces = []
    while blf.dimensions(FONT, word)[0] > width and len(word) > 8:
        cut = len(word)
        while cut > 8 and blf.dimensions(FONT, word[:cut])[0] > width:
            cut -= max(1, cut // 12)
        pieces.append(word[:cut])
        word = word[cut:]
    return [*pieces, word]


def paragraph(
    layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: str = "NONE", icon_value: int = 0,
    narrower: float = 0.0,
) -> None:  # fmt: skip
    """Labels that hold a long text at the width of the region that is being drawn, less ``narrower`` pixels."""
    scale = context.preferences.system.ui_scale
    width = (context.region.width if context.region else 300) - (78 if icon != "NONE" or icon_value else 56) * scale
    width -= narrower
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(wrap(text, max(width, 80.0), scale)):
        if number == 0 and icon_value:
            column.label(text=line, icon_value=icon_value)
        elif icon_value or icon != "NONE":
            column.label(text=line, icon=icon if number == 0 else "BLANK1")
        else:
            column.label(text=line)
