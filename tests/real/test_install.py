# SPDX-License-Identifier: GPL-3.0-or-later
"""The zip as Blender's own tools see it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from blenders import RealBlender

INSIDE = Path(__file__).resolve().parent / "inside"
COMPLAINTS = re.compile(r"policy violation|traceback|exception|error|warning", re.IGNORECASE)


def assert_quiet(output: str) -> None:
    lines = [line for line in output.splitlines() if COMPLAINTS.search(line)]
    assert not lines, "Blender complains: " + "\n".join(lines)


def test_the_zip_is_valid(blender: RealBlender, archive: Path, home: Path) -> None:
    assert "Success" in blender.run(home, "--command", "extension", "validate", str(archive))


def test_it_installs_and_leaves_nothing_behind(blender: RealBlender, archive: Path, home: Path, tmp_path: Path) -> None:
    assert_quiet(blender.install(home, archive))
    listed = blender.run(home, "--command", "extension", "list")
    assert "robot_keypoints" in listed
    result = tmp_path / "result.json"
    output = blender.run(
        home, "--background", "--python-exit-code", "1", "--python", str(INSIDE / "leave_nothing.py"), "--", str(result)
    )
    assert_quiet(output)
    found = json.loads(result.read_text(encoding="utf-8"))
    assert found["operators"], "the extension registers no operator"
    kinds = {"types", "operators", "properties", "handlers", "timers"}
    assert found["first"].keys() == kinds, "the inventory sees too little to notice a leftover"
    assert found["left"] == {}, "disabling leaves something behind"
    assert found["again"] == found["operators"], "enabling again brings something else than before"
    assert found["violations"] == [], "Blender reports a policy violation"
    assert found["paths"] == [], "the extension's folder is on sys.path"


def test_every_library_comes_from_the_extensions_own_wheels(
    blender: RealBlender, archive: Path, home: Path, tmp_path: Path, ur10_urdf: Path
) -> None:
    """The real UR10 with its Collada meshes is read inside Blender, by libraries that the zip brought."""
    blender.install(home, archive)
    result = tmp_path / "result.json"
    blender.run(
        home, "--background", "--python-exit-code", "1", "--python", str(INSIDE / "load_ur10.py"), "--",
        str(result), str(ur10_urdf),
    )  # fmt: skip
    found = json.loads(result.read_text(encoding="utf-8"))
    assert found["triangles"] > 50_000 and found["bones"] >= 6
    for module, place in found["libraries"].items():
        assert str(home) in place, f"{module} comes from {place}"


def test_the_background_command_is_registered(blender: RealBlender, archive: Path, home: Path, tmp_path: Path) -> None:
    """A worker's or scene builder's mistake is one sentence and exit code 2."""
    blender.install(home, archive)
    # The lifeline stays open meanwhile: closing it ends the process.
    reading, writing = os.pipe()
    done = subprocess.run(
        [*blender.command, "--background", "--command", "robot_keypoints", "scene", "--run", str(tmp_path / "none")],
        env=blender.environment(home), stdin=reading, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    os.close(reading)
    os.close(writing)
    output = done.stdout + done.stderr
    assert done.returncode == 2, output
    assert "error: " in output and "settings.toml" in output and "Traceback" not in output
