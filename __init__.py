# SPDX-License-Identifier: GPL-3.0-or-later
"""Robot Keypoints: learn a robot's keypoints from its own renderings.

The same tree is a Blender extension (``bl_ext.<repository>.robot_keypoints``) and a Python package
(``robot_keypoints``), so nothing here imports bpy until Blender calls :func:`register`.
"""

import sys

__version__ = "0.1.0"


def register() -> None:
    """Add the panels, operators and settings to Blender."""
    from .core.processes import lifeline

    if lifeline.COMMAND in sys.argv and sys.argv[sys.argv.index(lifeline.COMMAND) - 1] == "--command":
        lifeline.guard()  # before all else, which takes seconds to load
    from .addon import registration

    registration.register()


def unregister() -> None:
    """Take everything that :func:`register` added away again."""
    from .addon import registration

    registration.unregister()
