# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of a run as ``train`` starts it: what they leave out is filled in, what can't be learned from is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.robot.robot import Robot
from ...core.scene import catalogue
from ...core.settings import completion, validation
from ...core.settings.schema import Settings


def completed(settings: Settings, given: Mapping[str, Any]) -> tuple[Settings, Robot | None]:
    """The settings with nothing left out, and the kinematics of the first robot, None where they are not known.

    A run without renderings needs no robot: its keypoints may stand in the settings, or be those of the model that it
    starts from.

    Args:
        given: the settings as they stand in their file.

    Raises:
        UserError: if no run can start from them.
    """
    robot: Robot | None = None
    start = None
    if settings.training.start_from:
        from ..networks import starting_model
        from ..networks.config import NetworkConfig  # torch, which takes seconds to import, only where it is needed

        start = starting_model.load(settings.training.start_from)[1]
        settings, robot = starting_model.complete(settings, given, start)
    if not settings.renders and "robot" not in given:
        settings = _without_scene(settings, robot)
    elif settings.robot.kind != "armature":
        robot, *others = completion.load_robots(settings)
        settings = completion.complete(settings, robot, *others)
    validation.check(settings)
    if start is not None:
        config, names = NetworkConfig.of_run(settings), [k.name for k in settings.keypoints]
        starting_model.check(settings.training.start_from, start, config, names)
    if settings.training.displacement_weight or settings.data:
        from ..run_data import data_sets, joint_readings

        joint_readings.of_run(settings, data_sets.partitions(settings), robot)
    return settings, robot


def _without_scene(settings: Settings, robot: Robot | None) -> Settings:
    """Filled in, though nothing is rendered, for the effects on finished images and the robot's keypoints."""
    if robot is not None:
        return completion.complete(settings, robot)
    return completion.complete_scene(settings, (), catalogue.REACH_SHARE)
