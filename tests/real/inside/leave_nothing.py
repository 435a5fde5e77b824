# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: disable and enable the extension, and note what stays."""

import importlib
import json
import sys

import addon_utils
import bpy

MODULE = "bl_ext.user_default.robot_keypoints"


def inventory() -> dict[str, list[str]]:
    """Everything of ours that Blender knows of."""
    types = [n for n in dir(bpy.types) if n.startswith("KEYPOINTS_")]
    operators = list(dir(bpy.ops.robot_keypoints))
    properties = [
        f"{kind}.{p.identifier}"
        for kind in ("Scene", "Object", "WindowManager", "Armature", "PoseBone")
        for p in getattr(bpy.types, kind).bl_rna.properties
        if "keypoint" in p.identifier
    ]
    handlers = [
        f"{name}: {f.__module__}"
        for name in dir(bpy.app.handlers)
        if isinstance(getattr(bpy.app.handlers, name), list)
        for f in getattr(bpy.app.handlers, name)
        if "robot_keypoints" in getattr(f, "__module__", "")
    ]
    timers = []
    for name, module in list(sys.modules.items()):
        if name.startswith(MODULE):
            timers += [
                f"{name}.{k}"
                for k, v in vars(module).items()
                if callable(v) and getattr(v, "__module__", "") == name and _registered(v)
            ]
    found = {"types": types, "operators": operators, "properties": properties, "handlers": handlers, "timers": timers}
    return {k: sorted(v) for k, v in found.items() if v}


def _registered(function: object) -> bool:
    try:
        return bool(bpy.app.timers.is_registered(function))
    except (TypeError, ValueError):
        return False


def main() -> None:
    """Two rounds of disable and enable; the second must be as the first."""
    first = inventory()
    left = again = None
    for _ in range(2):
        addon_utils.disable(MODULE, default_set=True)
        left = inventory()
        assert addon_utils.enable(MODULE, default_set=True) is not None, "it can't be enabled again"
        again = inventory()
    folder = importlib.import_module(MODULE).__path__[0]
    addon_utils._extensions_warnings_get._is_first = True  # look again
    violations = [str(v) for v in addon_utils._extensions_warnings_get().values() if v]
    result = {
        "operators": first.get("operators", []),
        "first": first,
        "left": left,
        "again": again.get("operators", []) if again == first else again,
        "violations": violations,
        "paths": [p for p in sys.path if p and p.rstrip("/") in (folder, folder.rpartition("/")[0])],
    }
    with open(sys.argv[sys.argv.index("--") + 1], "w", encoding="utf-8") as stream:
        json.dump(result, stream)


main()
