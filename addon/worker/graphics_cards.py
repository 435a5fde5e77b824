# SPDX-License-Identifier: GPL-3.0-or-later
"""The graphics cards that Cycles can render on."""

from __future__ import annotations

import bpy

KINDS = ("OPTIX", "CUDA", "HIP", "METAL", "ONEAPI")


def enable() -> tuple[str, ...]:
    """Switch on the graphics cards of the first kind that Cycles finds here; their names, none where there are none."""
    preferences = bpy.context.preferences.addons["cycles"].preferences
    for kind in KINDS:
        try:
            preferences.compute_device_type = kind
        except TypeError:
            continue  # this build of Blender does not know the kind
        preferences.refresh_devices()
        for device in preferences.devices:
            device.use = device.type == kind
        found = tuple(f"{d.name} ({kind})" for d in preferences.devices if d.type == kind)
        if found:
            return found
    return ()


def others() -> tuple[str, ...]:
    """What Cycles knows besides, such as the processor; after :func:`enable`."""
    preferences = bpy.context.preferences.addons["cycles"].preferences
    return tuple(dict.fromkeys(d.name for d in preferences.devices if d.type == "CPU"))


def missing() -> str:
    """What to say where there is none."""
    return (
        'render.device is "gpu", but Cycles finds no graphics card here '
        f"(only {', '.join(others()) or 'the processor'}): pictures are rendered on the processor"
    )
