# SPDX-License-Identifier: GPL-3.0-or-later
"""A sheet of finished pictures with their labels drawn on them, to look at before training."""

from __future__ import annotations

import colorsys
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ...core import files
from ...core.errors import UserError
from .sample_label import Body

USUAL = 16
"""Pictures on a sheet, unless told otherwise."""

MOST = 100
ENDINGS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}

CELL = 320
"""Width of one picture on the sheet, pixels."""

GAP, MARGIN = 8, 16
FINE = 4
"""Labels are drawn this many times as large and then reduced, which smooths them."""

PAPER, INK, FAINT = (28, 28, 30), (225, 225, 228), (140, 140, 146)
BONE, BOX = (255, 255, 255), (255, 214, 10)
LEGEND_LINES = 3

Colour = tuple[int, int, int]


def check_path(path: Path) -> None:
    """Refuse a file that no sheet can be written to.

    Raises:
        UserError: in one sentence.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f"The contact sheet {path} must be a picture: let its name end in {', '.join(ENDINGS)}")
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(f"The contact sheet can't be written to {path}: give a file in a folder that exists")


def save(path: Path, pictures: Sequence[tuple[Image.Image, Mapping[str, Any]]], bodies: Sequence[Body]) -> None:
    """Draw the sheet and write it, whole or not at all.

    Args:
        pictures: finished pictures with their labels, see :func:`.sample_label.label`.

    Raises:
        UserError: if the file can't be written.
    """
    buffer = io.BytesIO()
    draw_sheet(pictures, bodies).save(buffer, ENDINGS[path.suffix.lower()])
    files.write_bytes(path, buffer.getvalue())


def draw_sheet(pictures: Sequence[tuple[Image.Image, Mapping[str, Any]]], bodies: Sequence[Body]) -> Image.Image:
    """The sheet: pictures in rows, a legend of the keypoints below."""
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    colours = palette(bodies)
    cells = [cell(picture, label, bodies, colours) for picture, label in pictures]
    width, height = cells[0].size
    across = 2 * MARGIN + columns * width + (columns - 1) * GAP
    legend = _legend(colours, across - 2 * MARGIN)
    down = 2 * MARGIN + rows * height + (rows - 1) * GAP + GAP + legend.height
    sheet = Image.new("RGB", (across, down), PAPER)
    for number, picture in enumerate(cells):
        row, column = divmod(number, columns)
        sheet.paste(picture, (MARGIN + column * (width + GAP), MARGIN + row * (height + GAP)))
    sheet.paste(legend, (MARGIN, down - MARGIN - legend.height))
    return sheet


def palette(bodies: Sequence[Body]) -> dict[str, Colour]:
    """A colour for each name of a keypoint, far from those of its neighbours in the list."""
    names = list(dict.fromkeys(name for body in bodies for name in body.keypoints))
    result = {}
    for number, name in enumerate(names):
        red, green, blue = colorsys.hsv_to_rgb(number / len(names), 0.8 if number % 2 else 0.95, 1.0)
        result[name] = (round(255 * red), round(255 * green), round(255 * blue))
    return result


def cell(
    picture: Image.Image, label: Mapping[str, Any], bodies: Sequence[Body], colours: Mapping[str, Colour]
) -> Image.Image:
    """One picture at the sheet's size with boxes, skeletons and keypoints, these hollow where something hides them."""
    scale = CELL / picture.width
    size = (CELL, max(1, round(picture.height * scale)))
    # The layer of labels has an edge that hides what reaches over the picture's.
    layer = Image.new("RGBA", (size[0] * FINE, size[1] * FINE), (0, 0, 0, 0))
    canvas = ImageDraw.Draw(layer)

    def place(uv: Sequence[float]) -> tuple[float, float]:
        return ((uv[0] + 0.5) * scale * FINE, (uv[1] + 0.5) * scale * FINE)

    for instance, body in zip(label["instances"], bodies, strict=True):
        if instance["box"] is not None:
            left, top, right, bottom = instance["box"]
            corners = [*place((left, top)), *(c - 1 for c in place((right, bottom)))]
            canvas.rectangle(corners, outline=(*BOX, 150), width=FINE)
        points = [None if k["uv"] is None or not k["visibility"] else place(k["uv"]) for k in instance["keypoints"]]
        for casing in (True, False):
            for a, b in body.skeleton:
                start, end = points[a], points[b]
                if start is not None and end is not None:
                    colour, width = ((0, 0, 0, 100), 3 * FINE) if casing else ((*BONE, 210), round(1.25 * FINE))
                    canvas.line([*start, *end], fill=colour, width=width)
        for keypoint, point in zip(instance["keypoints"], points, strict=True):
            if point is not None:
                _dot(canvas, point, colours[keypoint["name"]], keypoint["visibility"] == 2)
    smooth = layer.resize(size, Image.Resampling.BOX)
    enlarged = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    return Image.alpha_composite(enlarged.convert("RGBA"), smooth).convert("RGB")


def _dot(canvas: ImageDraw.ImageDraw, centre: tuple[float, float], colour: Colour, visible: bool) -> None:
    x, y = centre
    for radius, width, shade in ((4.2, 1.2, (0, 0, 0)), (3.4, 1.5, colour)):
        box = [x - radius * FINE, y - radius * FINE, x + radius * FINE, y + radius * FINE]
        fill = (*colour, 255) if visible else None
        canvas.ellipse(box, fill=fill, outline=(*shade, 255), width=round(width * FINE))


def _legend(colours: Mapping[str, Colour], width: int) -> Image.Image:
    """Names of the keypoints beside their colours, in a few lines at most, and what hollow ones mean."""
    font = ImageFont.load_default(13)
    line, tick, space = 21, 16, 18
    note = "filled: visible, hollow: occluded"
    placed: list[tuple[float, int, str]] = []
    x, y = 0.0, 0
    for name in colours:
        more = f"and {len(colours) - len(placed)} more"
        if x and x + tick + font.getlength(name) > width:
            x, y = 0.0, y + 1
        last = y == LEGEND_LINES - 1
        if last and x + tick + font.getlength(name) + space + font.getlength(more) > width:
            placed.append((x - tick, y, more))
            break
        placed.append((x, y, name))
        x += tick + font.getlength(name) + space
    result = Image.new("RGB", (width, line * (y + 2)), PAPER)
    layer = Image.new("RGBA", (result.width * FINE, result.height * FINE), (0, 0, 0, 0))
    canvas, text = ImageDraw.Draw(layer), ImageDraw.Draw(result)
    for x, y, name in placed:
        if name in colours:
            _dot(canvas, ((x + 5) * FINE, (y + 0.5) * line * FINE), colours[name], True)
        text.text((x + tick, (y + 0.5) * line), name, font=font, fill=INK if name in colours else FAINT, anchor="lm")
    text.text((0, result.height - line / 2), note, font=font, fill=FAINT, anchor="lm")
    result.paste(smooth := layer.resize(result.size, Image.Resampling.BOX), mask=smooth.getchannel("A"))
    return result
