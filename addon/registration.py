# SPDX-License-Identifier: GPL-3.0-or-later
"""Adds everything to Blender, and takes everything away again."""

from __future__ import annotations

import atexit
from typing import Any

import bpy

from ..core.processes.lifeline import COMMAND
from .prediction import follow_video, model_server, pose_from_photo
from .properties import preferences, renamed, scene as scene_properties
from .services import (
    contact_sheet,
    footage_jobs,
    model_evaluation,
    quick_start,
    run_report,
    scene_check,
    timer,
    trainer_environment,
    training_run,
)
from .ui import overlay, plot_icons
from .ui.operators import (
    bones as bones_operators,
    draw_sample,
    environment as environment_operators,
    footage as footage_operators,
    model as model_operators,
    photo as photo_operators,
    presets as presets_operators,
    previews as previews_operators,
    quick_start as quick_start_operators,
    robot as robot_operators,
    scene_parts,
    scenery as scenery_operators,
    training as training_operators,
    variables as variables_operators,
)
from .ui.panels import (
    environment as environment_panel,
    footage as footage_panel,
    model as model_panel,
    priors as priors_panel,
    quick_start as quick_start_panel,
    robot as robot_panel,
    training as training_panel,
)
from .worker import scene_inspection

MODULES = (
    scene_properties,
    preferences,
    environment_operators,
    robot_operators,
    bones_operators,
    scene_parts,
    scenery_operators,
    draw_sample,
    presets_operators,
    variables_operators,
    previews_operators,
    training_operators,
    model_operators,
    photo_operators,
    footage_operators,
    quick_start_operators,
    quick_start_panel,
    environment_panel,
    robot_panel,
    priors_panel,
    training_panel,
    model_panel,
    footage_panel,
)
_command: Any = None


def _run_command(arguments: list[str]) -> int:
    """``blender --background --command robot_keypoints …``: a run's scene builder and workers, and the check."""
    from .worker import process as worker_process

    if arguments[:1] == ["check"]:
        return scene_inspection.main(arguments[1:])
    return worker_process.main(arguments)


def register() -> None:
    """Classes, properties, handlers, the timer, and the command for workers."""
    global _command
    for module in MODULES:
        for cls in module.CLASSES:
            bpy.utils.register_class(cls)
    scene_properties.register()
    renamed.register()
    bones_operators.register()
    plot_icons.register()
    _command = bpy.utils.register_cli_command(COMMAND, _run_command)
    bpy.types.UI_MT_button_context_menu.append(variables_operators.draw_context_menu)
    overlay.register()
    for service in (
        training_run.RUNNER, trainer_environment.SERVICE, contact_sheet.SERVICE, scene_check.SERVICE,
        model_evaluation.SERVICE, run_report.SERVICE,
    ):  # fmt: skip
        timer.watch(service.tick)
    for job in footage_jobs.JOBS:
        timer.watch(job.tick)
    for live in (model_server.SERVICE, follow_video.SERVICE, quick_start.SERVICE):
        timer.watch_live(live.tick, live.is_hurried)
    timer.ensure_timer()
    atexit.register(training_run.RUNNER.abandon)


def unregister() -> None:
    """Undo :func:`register`, backwards; the run, the environment's building and the model server end."""
    global _command
    timer.stop()
    atexit.unregister(training_run.RUNNER.abandon)
    training_run.RUNNER.forget()
    quick_start.SERVICE.forget()
    trainer_environment.SERVICE.shutdown()
    follow_video.SERVICE.stop()
    pose_from_photo.forget()
    model_server.SERVICE.shutdown()
    contact_sheet.SERVICE.forget()
    scene_check.SERVICE.forget()
    model_evaluation.SERVICE.forget()
    run_report.SERVICE.forget()
    for job in footage_jobs.JOBS:
        job.forget()
    bpy.types.UI_MT_button_context_menu.remove(variables_operators.draw_context_menu)
    overlay.unregister()
    if _command is not None:
        bpy.utils.unregister_cli_command(_command)
        _command = None
    plot_icons.unregister()
    bones_operators.unregister()
    renamed.unregister()
    scene_properties.unregister()
    for module in reversed(MODULES):
        for cls in reversed(module.CLASSES):
            bpy.utils.unregister_class(cls)
