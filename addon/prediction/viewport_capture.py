# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures for the model: what the active camera sees, drawn by the viewport, or an image file."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError

_kept: Any = None


@dataclass(frozen=True)
class Viewport:
    """A 3D viewport that can draw."""

    window: bpy.types.Window
    area: bpy.types.Area
    region: bpy.types.Region
    space: bpy.types.SpaceView3D


def find_viewport(context: bpy.types.Context) -> Viewport:
    """The viewport that looks through the camera, or else the first one.

    Raises:
        UserError: if no 3D viewport is open.
    """
    found = []
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                region = next((r for r in area.regions if r.type == "WINDOW"), None)
                if region is not None and window.scene == context.scene:
                    found.append(Viewport(window, area, region, area.spaces.active))
    if not found:
        raise UserError("No 3D viewport is open: open one to take the camera's picture")
    found.sort(key=lambda v: v.space.region_3d.view_perspective != "CAMERA")
    return found[0]


def size_of(scene: bpy.types.Scene, longest: int) -> tuple[int, int]:
    """Width and height with the render's proportions, the longer one ``longest`` pixels."""
    render = scene.render
    width = render.resolution_x * render.pixel_aspect_x
    height = render.resolution_y * render.pixel_aspect_y
    scale = longest / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def camera_view(scene: bpy.types.Scene, view: Viewport, longest: int) -> NDArray[np.uint8]:
    """What the scene's camera sees as the viewport shades it, without overlays: ``(H, W, 4)``, top row first.

    Raises:
        UserError: if the scene has no camera or the picture can't be drawn.
    """
    camera = scene.camera
    if camera is None:
        raise UserError("The scene has no camera: add one, or draw a sample, which makes one")
    width, height = size_of(scene, longest)
    depsgraph = view.window.view_layer.depsgraph or bpy.context.evaluated_depsgraph_get()
    projection = camera.calc_matrix_camera(depsgraph, x=width, y=height)
    overlays = view.space.overlay.show_overlays
    gizmos = view.space.show_gizmo
    offscreen = _offscreen(width, height)
    try:
        if overlays:
            view.space.overlay.show_overlays = False
        if gizmos:
            view.space.show_gizmo = False
        offscreen.draw_view3d(
            scene, view.window.view_layer, view.space, view.region, camera.matrix_world.normalized().inverted(),
            projection, do_color_management=True,
        )  # fmt: skip
        buffer = offscreen.texture_color.read()
    finally:
        if overlays:
            view.space.overlay.show_overlays = True
        if gizmos:
            view.space.show_gizmo = True
    buffer.dimensions = width * height * 4
    pixels = np.array(buffer, dtype=np.uint8).reshape(height, width, 4)[::-1].copy()
    pixels[..., 3] = 255
    return pixels


def _offscreen(width: int, height: int) -> Any:
    """A drawing surface of this size; the last one is kept, as live pictures all have the same size.

    With several windows it is not: each has a graphics context of its own, and what was made in another stays black.
    """
    import gpu

    global _kept
    several = len(bpy.context.window_manager.windows) > 1
    if several or _kept is None or (_kept.width, _kept.height) != (width, height):
        release()
        try:
            _kept = gpu.types.GPUOffScreen(width, height)
        except (RuntimeError, ValueError, SystemError) as problem:
            raise UserError(f"The camera's picture can't be drawn here ({problem}): open a window") from problem
    return _kept


def release() -> None:
    """Give the drawing surface back."""
    global _kept
    if _kept is not None:
        _kept.free()
        _kept = None


def signature(scene: bpy.types.Scene, longest: int) -> Hashable:
    """Changes whenever the camera's picture would for the camera's own sake."""
    camera = scene.camera
    if camera is None:
        return None
    pose = tuple(round(x, 6) for row in camera.matrix_world for x in row)
    data = camera.data
    return (camera.name, pose, data.lens, data.shift_x, data.shift_y, data.sensor_width, size_of(scene, longest))


def find_image(file: Path) -> bpy.types.Image | None:
    """The image block of a file, if it is loaded."""
    for image in bpy.data.images:
        if image.filepath and Path(bpy.path.abspath(image.filepath)) == file:
            return image
    return None


def put_behind_camera(scene: bpy.types.Scene, image: bpy.types.Image) -> None:
    """Set an image as the background of the scene's camera, in front of all and alone."""
    camera = scene.camera.data
    slots = [b for b in camera.background_images if b.image == image or b.image is None]
    slot = slots[0] if slots else camera.background_images.new()
    slot.image = image
    slot.frame_method = "FIT"
    slot.display_depth = "FRONT"  # or the scene's own robot would hide the photographed one
    slot.alpha = 1.0
    slot.show_background_image = True
    for other in camera.background_images:
        other.show_background_image = other == slot
    camera.show_background_images = True
