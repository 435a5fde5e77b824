# SPDX-License-Identifier: GPL-3.0-or-later
"""The sheet of the hardest images of the last update, as panels draw it: each is read once."""

from __future__ import annotations

from pathlib import Path

import bpy

from ...core import run_folder
from ..base import plots
from . import contact_sheet

LARGEST = 4 << 20
"""Bytes of the file."""

MOST_PIXELS = 1 << 20


class Sheet:
    """The sheet of one run.

    Attributes:
        picture: ``(height, width, 4)`` float32, bottom row first; None where there is none.
        number: counts the sheets that were read.
    """

    def __init__(self) -> None:
        self.picture: plots.Image | None = None
        self.number = 0
        self._known: tuple[Path, int] | None = None

    def refresh(self, folder: Path, validations: int) -> None:
        """Read the sheet of a run in ``folder`` if there were more validations since the last time."""
        if not validations:
            self.forget()
        elif self._known != (folder, validations):
            self._known = (folder, validations)
            self.picture = read(folder / run_folder.HARDEST_PICTURE)
            self.number += 1

    def forget(self) -> None:
        """Show none any more."""
        self.picture, self._known = None, None


def read(path: Path) -> plots.Image | None:
    """The picture's pixels; None if there is none, or none of a sheet's size."""
    if not path.is_file() or path.stat().st_size > LARGEST:
        return None
    try:
        image = bpy.data.images.load(str(path), check_existing=False)
    except RuntimeError:  # Blender can't read it
        return None
    try:
        width, height = image.size
        return contact_sheet.pixels(image) if 0 < width * height <= MOST_PIXELS else None
    finally:
        bpy.data.images.remove(image)
