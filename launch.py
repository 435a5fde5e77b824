# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts one of the project's processes straight from this folder, whatever the folder is called.

    python launch.py cli …       the command line (``robot-keypoints``)
    python launch.py trainer …   the trainer of one run
    python launch.py serve …     a model that answers over ZeroMQ
    python launch.py scene …     builds a run's scene.blend       (a Python with the bpy wheel)
    python launch.py worker …    renders for one run              (a Python with the bpy wheel)
    python launch.py check …     looks at some draws of a scene   (a Python with the bpy wheel)
    python launch.py environment …  makes a Python environment for the trainer

``--threads N`` before the role keeps the libraries that it loads to so many threads, where the system can;
``--lifeline`` ends the command line, too, when stdin closes, as every other role does.

So the trainer's Python needs the libraries but not this package, and always runs the extension's own version of it.
"""

import importlib
import importlib.util
import os
import sys
import types
from pathlib import Path

ROLES = {
    "cli": "trainer.commands.main",
    "trainer": "trainer.training.process",
    "serve": "trainer.inference.server",
    "scene": "addon.worker.process",
    "worker": "addon.worker.process",
    "devices": "addon.worker.process",
    "check": "addon.worker.scene_inspection",
    "environment": "core.processes.environment_builder",
}


def main() -> int:
    """Import this folder as ``robot_keypoints`` and run the role named on the command line."""
    folder = Path(__file__).resolve().parent
    threads, words = 0, sys.argv[1:]
    if len(words) > 1 and words[0] == "--threads" and words[1].isdecimal():
        threads, words = int(words[1]), words[2:]
    watched = "--lifeline" in words
    if words[:1] == ["--lifeline"]:
        words = words[1:]
    if not words or words[0] not in ROLES:
        print(f"usage: launch.py [--threads N] [--lifeline] {{{','.join(ROLES)}}} …", file=sys.stderr)
        return 2
    role, *arguments = words
    sys.path = [p for p in sys.path if Path(p or ".").resolve() != folder]
    spec = importlib.util.spec_from_file_location(
        "robot_keypoints", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["robot_keypoints"] = package
    spec.loader.exec_module(package)
    if watched or role != "cli":
        importlib.import_module("robot_keypoints.core.processes.lifeline").guard()
    module = load(f"robot_keypoints.{ROLES[role]}", threads)
    code = int(module.main([role, *arguments] if ROLES[role] == "addon.worker.process" else arguments))
    if ROLES[role].startswith("addon."):
        sys.stdout.flush()
        sys.stderr.flush()
        # Blender as a library can wait for one of its own threads for ever when it is taken down.
        os._exit(code)
    return code


def load(name: str, threads: int) -> types.ModuleType:
    """Import a module on ``threads`` processors; 0 means all.

    Blender as a library has no ``--threads``: it starts one thread for each processor that it may use while it is
    loaded, and those without work keep asking for some, on the processors that other workers and the trainer need.
    """
    if not threads or not hasattr(os, "sched_setaffinity"):
        return importlib.import_module(name)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:threads])
    try:
        return importlib.import_module(name)
    finally:
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), allowed)


if __name__ == "__main__":
    sys.exit(main())
