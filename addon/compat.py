# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between Blender 4.2 and 5.2, in one place."""

from __future__ import annotations

import bpy


def engine_id(engine: str) -> str:
    """Blender's identifier of ``cycles``, ``eevee`` or ``workbench`` (EEVEE was renamed in 4.2 and back in 5.0)."""
    if engine == "eevee":
        known = bpy.types.RenderSettings.bl_rna.properties["engine"].enum_items.keys()
        return "BLENDER_EEVEE_NEXT" if "BLENDER_EEVEE_NEXT" in known else "BLENDER_EEVEE"
    return {"cycles": "CYCLES", "workbench": "BLENDER_WORKBENCH"}[engine]
