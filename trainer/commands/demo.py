# SPDX-License-Identifier: GPL-3.0-or-later
"""The demonstration: a UR10 from its real URDF, every joint over its full circle, the camera all around."""

from __future__ import annotations

import importlib.util
import math
import os
from pathlib import Path

from ...core.errors import UserError
from ...core.robot.robot import Robot
from ...core.robot.urdf_reader import load_urdf
from ...core.settings.completion import complete
from ...core.settings.schema import (
    RenderSettings,
    RobotSettings,
    Settings,
    TrainingSettings,
    VariableSettings,
    WorkerSettings,
)

MINUTES = 9.5
EPOCH_PER_MINUTE = 340
"""Images: validations take a few hundredths of the time, however long the run."""

URDF = Path("share", "example-robot-data", "robots", "ur_description", "urdf", "ur10_robot.urdf")


def find_urdf() -> Path:
    """The UR10 of the package ``example-robot-data``.

    Raises:
        UserError: if the package is not installed.
    """
    spec = importlib.util.find_spec("cmeel")
    for root in spec.submodule_search_locations or () if spec else ():
        file = Path(root).parent / "cmeel.prefix" / URDF
        if file.is_file():
            return file
    raise UserError("The UR10's description is not installed: pip install example-robot-data")


def settings(minutes: float) -> tuple[Settings, Robot]:
    """The settings of a demonstration whose trainer may take ``minutes``, and the robot itself."""
    urdf = find_urdf()
    robot = load_urdf(urdf)
    variables = (
        VariableSettings("camera/azimuth", -math.pi, math.pi, 12, circular=True, unit="rad"),
        VariableSettings("camera/elevation", 0.0, math.radians(60), 6, unit="rad"),
        VariableSettings("camera/distance", 2.2, 3.5, 6, unit="m"),
        VariableSettings("camera/target_x", -0.3, 0.3, 6, adapt=False, unit="m"),
        VariableSettings("camera/target_y", -0.3, 0.3, 6, adapt=False, unit="m"),
        VariableSettings("camera/target_z", 0.15, 0.75, 6, adapt=False, unit="m"),
    )
    plain = Settings(
        robot=RobotSettings(kind="urdf", path=str(urdf)),
        variables=variables,
        render=RenderSettings(width=320, height=240, samples=2),
        workers=WorkerSettings(count=2, adaptive=1, threads=1),
        # Two processes of one thread each take turns with the workers better than one process of two threads.
        training=TrainingSettings(
            epoch_images=max(3200, round(EPOCH_PER_MINUTE * minutes)),
            epochs=0,
            minutes=minutes,
            batch_size=32,
            fresh_share=0.15,
            processes=min(2, os.cpu_count() or 1),
        ),
    )
    return complete(plain, robot), robot
