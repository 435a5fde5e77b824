# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages there are: the checkout's own folder as ``robot_keypoints``, and all below its three parts.

Everything else about the distributions stands in ``pyproject.toml``, which can't find packages under another name.
"""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

PACKAGE = "robot_keypoints"
PARTS = ("core", "addon", "trainer")


class BuildAnew(build_py):
    """Forgets what an earlier build has left in ``build/lib``: modules that were moved since would be packed again."""

    def run(self) -> None:
        """Copy the modules and the data."""
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib, PACKAGE), ignore_errors=True)
        super().run()


found = find_packages(include=[*PARTS, *(f"{part}.*" for part in PARTS)])
setup(
    script_name="setup.py",  # or this file would count as a module of the folder that it lies in
    packages=[PACKAGE, *(f"{PACKAGE}.{name}" for name in found)],
    cmdclass={"build_py": BuildAnew},
)
