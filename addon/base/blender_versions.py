# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between Blender 4.2 and 5.2, in one place."""

from __future__ import annotations

import importlib

import bpy


def engine_id(engine: str) -> str:
    """Blender's identifier of ``cycles``, ``eevee`` or ``workbench`` (EEVEE was renamed in 4.2 and back in 5.0)."""
    if engine == "eevee":
        known = bpy.types.RenderSettings.bl_rna.properties["engine"].enum_items.keys()
        return "BLENDER_EEVEE_NEXT" if "BLENDER_EEVEE_NEXT" in known else "BLENDER_EEVEE"
    return {"cycles": "CYCLES", "workbench": "BLENDER_WORKBENCH"}[engine]


def can_denoise() -> bool:
    """Whether Cycles was built with Open Image Denoise, as Blender's own builds are and some distributions' are not."""
    return bool(importlib.import_module("_cycles").with_openimagedenoise)


def has_nodes(material: bpy.types.Material) -> bool:
    """Whether a material is drawn by its nodes, as all are since 5.0 (which complains about being asked)."""
    return material.node_tree is not None and (bpy.app.version >= (5, 0) or material.use_nodes)


WORKBENCH_OFFSETS = {"5": (-0.002, -0.145), "8": (-0.127, -0.118)}
"""How far Workbench's antialiasing moves the picture right and down, in pixels, by number of samples: the middle of its
samples is not the middle of the pixel. Measured, alike in 4.3, 4.5 and 5.2."""


def picture_offset(scene: bpy.types.Scene) -> tuple[float, float]:
    """How far the scene's engine moves pictures right and down of where they belong, in pixels."""
    if scene.render.engine != "BLENDER_WORKBENCH":
        return (0.0, 0.0)
    return WORKBENCH_OFFSETS.get(scene.display.render_aa, (0.0, 0.0))
