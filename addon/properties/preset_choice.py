# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes the priors of everything but the joints from a preset."""

from __future__ import annotations

from typing import Any

from ...core.scene import presets
from . import scene_check_report, user_presets, variable_list


def choose(props: Any, name: str) -> None:
    """Take them from the preset of this name, which comes along or is the user's own.

    Raises:
        UserError: if the user's own preset can't be read.
    """
    if name in presets.PRESETS:
        props.scene.preset, props.preset_name = name, ""
    else:
        user_presets.load(name)
        props.preset_name = name
    variable_list.reset(props, [v for v in props.variables if not v.name.startswith("joint/")])
    scene_check_report.outdate()
