# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts one of the project's processes straight from this folder, whatever the folder is called.

    python launch.py cli …       the command line (``robot-keypoints``)
    python launch.py trainer …   the trainer of one run
    python launch.py serve …     a model that answers over ZeroMQ
    python launch.py scene …     builds a run's scene.blend       (a Python with the bpy wheel)
    python launch.py worker …    renders for one run              (a Python with the bpy wheel)
    python launch.py environment …  makes a Python environment for the trainer

So the trainer's Python needs the libraries but not this package, and always runs the extension's own version of it.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

ROLES = {
    "cli": "trainer.cli",
    "trainer": "trainer.process",
    "serve": "trainer.serve",
    "scene": "addon.background",
    "worker": "addon.background",
    "environment": "core.environment",
}


def main() -> int:
    """Import this folder as ``robot_keypoints`` and run the role named on the command line."""
    folder = Path(__file__).resolve().parent
    if len(sys.argv) < 2 or sys.argv[1] not in ROLES:
        print(f"usage: launch.py {{{','.join(ROLES)}}} …", file=sys.stderr)
        return 2
    sys.path = [p for p in sys.path if Path(p or ".").resolve() != folder]
    spec = importlib.util.spec_from_file_location(
        "robot_keypoints", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["robot_keypoints"] = package
    spec.loader.exec_module(package)
    role = sys.argv[1]
    arguments = sys.argv[1:] if ROLES[role] == "addon.background" else sys.argv[2:]
    return int(importlib.import_module(f"robot_keypoints.{ROLES[role]}").main(arguments))


if __name__ == "__main__":
    sys.exit(main())
