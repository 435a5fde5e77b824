# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a camera's numbers are those of a picture: they are in pixels, so that each size of picture has its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...core.errors import UserError

Size = tuple[int, int]
"""Width and height, pixels."""

SHAPE = 0.01
"""Two pictures are of one shape if their widths' and heights' ratios differ by less."""

NEAR = 0.15
"""A principal point is no further from the middle, in widths and heights, unless a picture was cut out."""


def parse_size(text: str) -> Size:
    """``WxH``, as a calibration says.

    Raises:
        UserError: if it is not that.
    """
    found = re.fullmatch(r"([0-9]{1,6})[x×]([0-9]{1,6})", text.strip())
    size = (int(found[1]), int(found[2])) if found is not None else (0, 0)
    if min(size) < 1:
        raise UserError(f"--camera-size is {text}: write width and height in pixels, such as 1920x1080")
    return size


@dataclass(frozen=True)
class CameraSize:
    """What a camera's numbers were calibrated with.

    Attributes:
        of: size of the pictures that they are of; None takes them to be of every picture.
        doubted: sizes of pictures of which was said that the numbers look wrong.
    """

    of: Size | None = None
    doubted: set[Size] = field(default_factory=set)

    def scale(self, numbers: Sequence[float], name: str, picture: Size) -> tuple[float, float]:
        """See :func:`camera_scale`; numbers that look wrong are told of once for each size."""
        scale = camera_scale(numbers, self.of, name, picture)
        warning = doubt(numbers, name, picture) if self.of is None else None
        if warning is not None and picture not in self.doubted:
            self.doubted.add(picture)
            print(f"warning: {warning}", file=sys.stderr, flush=True)
        return scale


def camera_scale(numbers: Sequence[float], of: Size | None, name: str, picture: Size) -> tuple[float, float]:
    """What a camera's numbers have to be multiplied with, horizontally and vertically, for a picture.

    Args:
        numbers: fx, fy, cx, cy and more.
        of: size of the pictures that they are of; None takes them to be of this one.
        name: of the picture, in what an error says.

    Raises:
        UserError: if they can't be this picture's.
    """
    width, height = picture
    if of is not None:
        scale = width / of[0], height / of[1]
        if abs(scale[0] / scale[1] - 1) > SHAPE:
            raise UserError(
                f"{name} has {width} × {height} pixels, another shape than --camera-size {of[0]}x{of[1]}: it was cut, "
                "or is by another camera, so calibrate that"
            )
        return scale
    cx, cy = numbers[2:4]
    if not (-0.5 <= cx <= width - 0.5 and -0.5 <= cy <= height - 0.5):
        raise UserError(
            f"--camera has its principal point at ({cx:g}, {cy:g}), outside the {width} × {height} pixels of {name}: "
            "it is of pictures of another size, so add that as --camera-size WxH"
        )
    return 1.0, 1.0


def doubt(numbers: Sequence[float], name: str, picture: Size) -> str | None:
    """A warning where a camera's numbers look like those of pictures of another size."""
    (width, height), (cx, cy) = picture, numbers[2:4]
    if max(abs((cx + 0.5) / width - 0.5), abs((cy + 0.5) / height - 0.5)) <= NEAR:
        return None
    return (
        f"--camera has its principal point at ({cx:g}, {cy:g}), far from the middle of the {width} × {height} pixels "
        f"of {name}: if it is of pictures of another size, add that as --camera-size WxH"
    )
