# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures for panels: arrays kept as Blender previews, drawn anew only when what they show has changed."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import bpy.utils.previews
import numpy as np

from ..base import plots

_collection: Any = None
_shown: dict[str, Hashable] = {}
_sizes: dict[str, tuple[int, int]] = {}


def register() -> None:
    """Make the collection that holds all previews."""
    global _collection
    _collection = bpy.utils.previews.new()


def unregister() -> None:
    """Give all previews back."""
    global _collection
    if _collection is not None:
        bpy.utils.previews.remove(_collection)
        _collection = None
    _shown.clear()
    _sizes.clear()


def picture(slot: str, content: Hashable, draw: Callable[[], plots.Image]) -> int:
    """The icon of ``slot``; ``draw`` is called only when ``content`` differs from what the slot shows."""
    if _collection is None:
        return 0
    preview = _collection.get(slot)
    if preview is None:
        preview = _collection.new(slot)
    if _shown.get(slot) != content:
        image = draw()
        height, width, _ = image.shape
        if _sizes.get(slot) != (width, height):
            preview.image_size = (width, height)
            _sizes[slot] = (width, height)
        preview.image_pixels_float.foreach_set(np.ascontiguousarray(image, np.float32).ravel())
        _shown[slot] = content
    return int(preview.icon_id)


def dot(colour: plots.Colour) -> int:
    """The icon of a small round mark."""
    if _collection is None:
        return 0
    slot = "dot " + " ".join(f"{c:.2f}" for c in colour)
    preview = _collection.get(slot)
    if preview is None:
        preview = _collection.new(slot)
        image = plots.dot(colour)
        height, width, _ = image.shape
        preview.icon_size = (width, height)
        preview.icon_pixels_float.foreach_set(image.ravel())
    return int(preview.icon_id)
