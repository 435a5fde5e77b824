# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras of a recording as cameras of the scene, with the recording behind them.

They are cameras of their own: those of the user stay as they are. Blender's cameras have no distortion, so it is the
images that are shown without theirs, by Blender's own motion tracking.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ...core.camera.intrinsics import Intrinsics
from ...core.errors import UserError
from ..prediction import photo_lens

COLLECTION = "Footage"
OWN = "robot_keypoints_footage"
"""Custom property of cameras that were made here: the camera's name in the recording."""


def camera_of(scene: bpy.types.Scene, name: str) -> bpy.types.Object | None:
    """The scene's camera of that name in the recording, where there is one."""
    return next((o for o in scene.objects if o.type == "CAMERA" and o.get(OWN) == name), None)


def put(scene: bpy.types.Scene, name: str, intrinsics: Intrinsics) -> bpy.types.Object:
    """A camera with this lens, in a collection of its own; the one that was made here before, where there is one.

    It becomes the scene's camera, and the scene's pictures get its size.

    Raises:
        UserError: if that one can't be changed.
    """
    camera = camera_of(scene, name)
    if camera is None:
        title = f"{COLLECTION} {name}"
        camera = bpy.data.objects.new(title, bpy.data.cameras.new(title))
        camera[OWN] = name
        _collection(scene).objects.link(camera)
    else:
        photo_lens.editable(camera)
        camera.animation_data_clear()
        camera.parent = None
    scene.camera = camera
    photo_lens.give(scene, camera, intrinsics, None)
    return camera


def _collection(scene: bpy.types.Scene) -> bpy.types.Collection:
    found = next((c for c in scene.collection.children if c.name.split(".")[0] == COLLECTION and OWN in c), None)
    if found is None:
        found = bpy.data.collections.new(COLLECTION)
        found[OWN] = COLLECTION
        scene.collection.children.link(found)
    return found


def show_behind(camera: bpy.types.Object, file: Path, intrinsics: Intrinsics) -> bpy.types.MovieClip:
    """Show a movie or a numbered sequence, from its first file, in a camera's view, its distortion taken away.

    Raises:
        UserError: if it can't be opened.
    """
    try:
        clip = bpy.data.movieclips.load(str(file), check_existing=False)
    except RuntimeError as problem:
        raise UserError(f"{file} can't be opened as a movie or an image: choose another") from problem
    if tuple(clip.size) != (intrinsics.width, intrinsics.height):
        size = " × ".join(map(str, clip.size))
        bpy.data.movieclips.remove(clip)
        raise UserError(
            f"{file} is shown with {size} pixels, and its camera has {intrinsics.width} × {intrinsics.height}: "
            "convert it to the size of the camera"
        )
    clip.name = camera.name
    bent = any(intrinsics.distortion)
    if bent:
        _give_lens(clip, intrinsics)
    slots = camera.data.background_images
    slot: Any = next((s for s in slots if s.source == "MOVIE_CLIP"), None) or slots.new()
    old = slot.clip
    slot.source, slot.clip = "MOVIE_CLIP", clip
    slot.alpha, slot.display_depth = 0.6, "FRONT"
    slot.clip_user.use_render_undistorted = bent
    slot.clip_user.proxy_render_size = "FULL"
    slot.frame_method = "FIT" if intrinsics.fx == intrinsics.fy else "STRETCH"
    slot.show_background_image = camera.data.show_background_images = True
    if old is not None and old != clip and not old.users:
        bpy.data.movieclips.remove(old)
    return clip


def _give_lens(clip: bpy.types.MovieClip, k: Intrinsics) -> None:
    """The distortion in the terms of Blender's motion tracking, whose y axis goes up from the image's lower edge."""
    clip.use_proxy = True  # else Blender shows the images as they are
    lens = clip.tracking.camera
    k1, k2, p1, p2, k3 = k.distortion
    lens.distortion_model = "BROWN"
    lens.brown_k1, lens.brown_k2, lens.brown_k3, lens.brown_k4 = k1, k2, k3, 0.0
    lens.brown_p1, lens.brown_p2 = -p1, p2
    lens.units = "PIXELS"
    lens.pixel_aspect = k.fy / k.fx
    lens.focal_length_pixels = k.fx
    lens.principal_point_pixels = (k.cx + 0.5, k.height - 0.5 - k.cy)


def use_camera_view(context: bpy.types.Context) -> None:
    """Have the viewport that the user works in look through the scene's camera."""
    area = context.area
    if area is not None and area.type == "VIEW_3D":
        area.spaces.active.region_3d.view_perspective = "CAMERA"


def rigid(matrix: Any) -> Any:
    """A rigid motion ``(4, 4)`` whose rotation is one to the last digit."""
    u, _, v = np.linalg.svd(np.asarray(matrix, dtype=np.float64)[:3, :3])
    result = np.array(matrix, dtype=np.float64)
    result[:3, :3] = u @ v
    return result
