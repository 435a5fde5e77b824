# SPDX-License-Identifier: GPL-3.0-or-later
"""Adds everything to Blender, and takes everything away again."""

from __future__ import annotations

from typing import Any

import bpy

from ..core.processes.lifeline import COMMAND
from . import (
    assessment,
    environment,
    following,
    inspection,
    operators_bones,
    operators_environment,
    operators_model,
    operators_pose,
    operators_presets,
    operators_priors,
    operators_robot,
    operators_scene,
    operators_scenery,
    operators_sheet,
    operators_training,
    operators_variables,
    overlay,
    panels_environment,
    panels_model,
    panels_priors,
    panels_robot,
    panels_training,
    photo_pose,
    prediction,
    preferences,
    previews,
    properties,
    renamed_properties,
    runner,
    sheet,
)

MODULES = (
    properties,
    preferences,
    operators_environment,
    operators_robot,
    operators_bones,
    operators_scene,
    operators_scenery,
    operators_priors,
    operators_presets,
    operators_variables,
    operators_sheet,
    operators_training,
    operators_model,
    operators_pose,
    panels_environment,
    panels_robot,
    panels_priors,
    panels_training,
    panels_model,
)
_command: Any = None


def _run_command(arguments: list[str]) -> int:
    """``blender --background --command robot_keypoints …``: a run's scene builder and workers, and the check."""
    from . import background

    if arguments[:1] == ["check"]:
        return inspection.main(arguments[1:])
    return background.main(arguments)


def register() -> None:
    """Classes, properties, handlers, the timer, and the command for workers."""
    global _command
    for module in MODULES:
        for cls in module.CLASSES:
            bpy.utils.register_class(cls)
    properties.register()
    renamed_properties.register()
    operators_bones.register()
    previews.register()
    _command = bpy.utils.register_cli_command(COMMAND, _run_command)
    bpy.types.UI_MT_button_context_menu.append(operators_variables.draw_context_menu)
    overlay.register()
    runner.register()


def unregister() -> None:
    """Undo :func:`register`, backwards; the run, the environment's building and the model server end."""
    global _command
    runner.unregister()
    environment.SERVICE.shutdown()
    following.SERVICE.stop()
    photo_pose.forget()
    prediction.SERVICE.shutdown()
    sheet.SERVICE.forget()
    inspection.SERVICE.forget()
    assessment.SERVICE.forget()
    bpy.types.UI_MT_button_context_menu.remove(operators_variables.draw_context_menu)
    overlay.unregister()
    if _command is not None:
        bpy.utils.unregister_cli_command(_command)
        _command = None
    previews.unregister()
    operators_bones.unregister()
    renamed_properties.unregister()
    properties.unregister()
    for module in reversed(MODULES):
        for cls in reversed(module.CLASSES):
            bpy.utils.unregister_class(cls)
