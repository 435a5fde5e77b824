# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of the open .blend on disk, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import bpy

from ...core import blend_file
from ...core.errors import UserError
from ...core.files import Replacement


def save_copy(path: Path) -> None:
    """Write a copy of the open .blend; the user's own file, its name and its unsaved changes stay as they are.

    Raises:
        UserError: if it can't be written; what was there before is as it was.
    """
    with Replacement(path, blend_file.is_whole, ".blend") as temporary:
        temporary.unlink()  # Blender would keep what it replaces, as a version
        try:
            bpy.ops.wm.save_as_mainfile(
                filepath=str(temporary.absolute()), copy=True, compress=True, check_existing=False
            )
        except RuntimeError as problem:
            text = " ".join(str(problem).removeprefix("Error: ").split())
            raise UserError(
                f"The scene {path} can't be written ({text}): free some space or choose another"
            ) from problem
