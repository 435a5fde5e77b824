# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the scene into memory: RGBA, transparent where nothing stands."""

from __future__ import annotations

import sys

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.errors import one_line
from ...core.settings.schema import RenderSettings
from ..base import blender_versions
from ..base.scratch_folder import Scratch
from ..stage.camera import Camera
from ..stage.world import World
from . import graphics_cards
from .render_region import Box, Region

TARGA_HEADER = 18


class Renderer:
    """Renders one scene again and again at fixed settings. Close it to remove its scratch folder."""

    def __init__(
        self, scene: bpy.types.Scene, settings: RenderSettings, threads: int, camera: Camera | None = None,
        world: World | None = None, *, denoise: bool = False,
    ) -> None:  # fmt: skip
        """Make the scene's settings what ours say.

        Args:
            camera: whose lens the pictures are taken with; without one they are what Blender's camera sees.
            world: laid behind the pictures where it is to be seen; without one that is left to Blender.
            denoise: whether Cycles' pictures are denoised, by a Blender that can.
        """
        self.scene = scene
        self._camera, self._world = camera, world
        self._scratch = Scratch()
        self._file = self._scratch.path / "frame.tga"
        _configure(scene, settings, threads, denoise=denoise)
        self._noisy = settings.engine == "cycles"
        if camera is not None:
            camera.render_at(settings.width, settings.height)
        if world is not None:
            world.lay_behind()
        scene.render.filepath = str(self._file)
        self._region = Region(scene)

    def render(self, seed: int = 0) -> NDArray[np.uint8]:
        """The camera's view, ``(H, W, 4)`` uint8, straight alpha, display sRGB, top row first; lens included.

        Args:
            seed: of the noise that few samples leave.
        """
        if self._noisy:
            self.scene.cycles.seed = seed
        picture = self._pinhole()
        if self._camera is None:
            return picture
        if self._world is not None:
            picture = self._world.behind(picture, self._camera.pinhole, self._camera.pose()[:3, :3])
        return self._camera.develop(picture)

    def _pinhole(self) -> NDArray[np.uint8]:
        """What Blender itself renders.

        Only the part that holds anything is rendered. A render result can't be read directly; an uncompressed file in
        memory is the fastest way around, within the noise of the render call itself at small sizes.
        """
        full_width, full_height = self.scene.render.resolution_x, self.scene.render.resolution_y
        left, bottom, right, top = self.aim()
        if left == right:
            return np.zeros((full_height, full_width, 4), np.uint8)
        bpy.ops.render.render(write_still=True, scene=self.scene.name)
        width, height = right - left, top - bottom
        pixels = np.fromfile(self._file, np.uint8)[TARGA_HEADER : TARGA_HEADER + 4 * width * height]
        part = pixels.reshape(height, width, 4)[::-1, :, (2, 1, 0, 3)]
        if (width, height) == (full_width, full_height):
            return np.ascontiguousarray(part)
        image = np.zeros((full_height, full_width, 4), np.uint8)
        image[full_height - top : full_height - bottom, left:right] = part
        return image

    def aim(self) -> Box:
        """Let the next frame be of the part that holds anything; which part that is."""
        left, bottom, right, top = box = self._region.visible()
        render = self.scene.render
        # Blender cuts fractions of the size down to whole pixels, in single precision.
        width, height = render.resolution_x, render.resolution_y
        render.border_min_x, render.border_max_x = (left + 0.01) / width, (right + 0.01) / width
        render.border_min_y, render.border_max_y = (bottom + 0.01) / height, (top + 0.01) / height
        return box

    def close(self) -> None:
        """Remove the scratch folder."""
        self._scratch.close()


def _configure(scene: bpy.types.Scene, settings: RenderSettings, threads: int, *, denoise: bool) -> None:
    render = scene.render
    render.engine = blender_versions.engine_id(settings.engine)
    render.resolution_x, render.resolution_y = settings.width, settings.height
    render.resolution_percentage = 100
    render.pixel_aspect_x = render.pixel_aspect_y = 1.0
    render.film_transparent = True
    render.use_persistent_data = True
    render.use_compositing = False
    render.use_sequencer = False
    render.use_border = render.use_crop_to_border = True
    render.use_motion_blur = False
    render.use_stamp = False
    render.use_file_extension = False
    render.use_multiview = False
    render.dither_intensity = 0.0
    render.threads_mode = "FIXED"
    render.threads = threads
    render.image_settings.file_format = "TARGA_RAW"
    render.image_settings.color_mode = "RGBA"
    scene.display_settings.display_device = "sRGB"
    scene.view_settings.view_transform = "Standard"
    scene.view_settings.look = "None"
    scene.view_settings.gamma = 1.0
    if settings.engine == "cycles":
        _configure_cycles(scene, settings, denoise=denoise)
    elif settings.engine == "eevee":
        scene.eevee.taa_render_samples = settings.samples
    else:
        scene.display.render_aa = "5" if settings.samples < 8 else "8"
        scene.display.shading.light = "STUDIO"
        scene.display.shading.color_type = "MATERIAL"


def _configure_cycles(scene: bpy.types.Scene, settings: RenderSettings, *, denoise: bool) -> None:
    cycles = scene.cycles
    on_card = settings.device == "gpu" and bool(graphics_cards.enable())
    if settings.device == "gpu" and not on_card:
        print(f"warning: {one_line(graphics_cards.missing())}", file=sys.stderr, flush=True)
    cycles.device = "GPU" if on_card else "CPU"
    cycles.samples = settings.samples
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = denoise and blender_versions.can_denoise()
    if cycles.use_denoising:
        # Four samples denoised so are as clean as thirty, for the time of two more.
        cycles.denoiser = "OPENIMAGEDENOISE"
        cycles.denoising_quality = "FAST"
        cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
        cycles.denoising_prefilter = "NONE"
        cycles.denoising_use_gpu = False
    elif denoise:
        print("warning: this Blender comes without Open Image Denoise: images keep the noise of few samples",
              file=sys.stderr, flush=True)  # fmt: skip
    cycles.use_auto_tile = False
    # Two bounces light what the sun does not reach; more cost time that another image uses better.
    cycles.max_bounces = 2
    cycles.diffuse_bounces = cycles.glossy_bounces = 1
    cycles.caustics_reflective = cycles.caustics_refractive = False
    # Between lamps and an HDRI world the tree chooses badly: twice the noise, and no time saved where lamps are few.
    cycles.use_light_tree = False
