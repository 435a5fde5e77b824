# SPDX-License-Identifier: GPL-3.0-or-later
"""Seconds that "Load URDF" takes for a robot whose files are in the disk's cache: first and later times in one Blender.

The first time includes loading the libraries that read meshes.

    python benchmarks/import_robot.py [--urdf FILE] [--times N]         in this Python's bpy wheel
    python benchmarks/import_robot.py --blender COMMAND [--urdf FILE]   in a real Blender, into which the zip is put
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shlex
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
UR10 = (
    Path(sysconfig.get_path("purelib"))
    / "cmeel.prefix/share/example-robot-data/robots/ur_description/urdf/ur10_robot.urdf"
)
INSIDE = "KEYPOINTS_IMPORT"


def measure(urdf: str, times: int) -> dict[str, Any]:
    """Load the robot again and again into an empty file, with the extension registered."""
    import bpy

    seconds = []
    for _ in range(times):
        bpy.ops.wm.read_homefile(use_empty=True)
        begun = time.perf_counter()
        done = bpy.ops.robot_keypoints.load_urdf("EXEC_DEFAULT", filepath=urdf)
        seconds.append(time.perf_counter() - begun)
        assert done == {"FINISHED"}, done
    triangles = sum(len(o.data.polygons) for o in bpy.context.scene.objects if o.type == "MESH")
    return {"blender": bpy.app.version_string, "triangles": triangles, "first": seconds[0], "later": seconds[1:]}


def in_real_blender(command: list[str], urdf: str, times: int) -> dict[str, Any]:
    """The measurement in another Blender, with the extension installed from its zip."""
    import common

    home = common.scratch()
    subprocess.run([sys.executable, str(ROOT / "tools/build_extension.py"), "--platform", "linux-x64"], check=True)
    archive = max((ROOT / "dist").glob("*linux_x64.zip"), key=lambda p: p.stat().st_mtime)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") and k != "VIRTUAL_ENV"}
    environment["BLENDER_USER_RESOURCES"] = str(home)
    install = ["--command", "extension", "install-file", "-r", "user_default", "--enable", str(archive)]
    subprocess.run([*command, *install], env=environment, check=True, capture_output=True)
    result = home / "result.json"
    environment[INSIDE] = json.dumps([urdf, times, str(result)])
    script = ["--background", "--python-exit-code", "1", "--python", __file__]
    subprocess.run([*command, *script], env=environment, check=True, capture_output=True)
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--urdf", type=Path, default=UR10)
    parser.add_argument("--times", type=int, default=6)
    parser.add_argument("--blender", default="")
    options = parser.parse_args()
    # Whatever was not in the disk's cache is now.
    for path in options.urdf.resolve().parents[1].rglob("*"):
        if path.is_file():
            path.read_bytes()
    if options.blender:
        found = in_real_blender(shlex.split(options.blender), str(options.urdf), options.times)
    else:
        package = importlib.import_module("robot_keypoints")
        package.register()
        try:
            found = measure(str(options.urdf), options.times)
        finally:
            package.unregister()
    later = found["later"]
    print(
        f"Blender {found['blender']}: {options.urdf.name}, {found['triangles']:,} triangles: "
        f"first {found['first']:.2f} s, "
        f"later {statistics.median(later):.2f} s (median of {len(later)}; {min(later):.2f} … {max(later):.2f})"
    )


if __name__ == "__main__":
    if INSIDE in os.environ:
        file, number, target = json.loads(os.environ[INSIDE])
        Path(target).write_text(json.dumps(measure(file, number)), encoding="utf-8")
    else:
        main()
