# SPDX-License-Identifier: GPL-3.0-or-later
"""Robot Keypoints: learn a robot's keypoints from its own renderings.

The same tree is a Blender extension (``bl_ext.<repository>.robot_keypoints``) and a Python package
(``robot_keypoints``), so nothing here imports bpy until Blender calls :func:`register`.
"""

__version__ = "0.1.0"


def register() -> None:
    """Add the panels, operators and settings to Blender."""
    from .addon import registration

    registration.register()


def unregister() -> None:
    """Take everything that :func:`register` added away again."""
    from .addon import registration

    registration.unregister()
