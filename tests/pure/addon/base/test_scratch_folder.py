# SPDX-License-Identifier: GPL-3.0-or-later
"""Passing files do not pile up, even where processes are killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from robot_keypoints.addon.base.scratch_folder import Scratch


def test_a_closed_folder_is_gone(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    (scratch.path / "frame.tga").write_bytes(b"pixels")
    scratch.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_what_a_killed_process_left_is_swept_away_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from robot_keypoints.addon.base.scratch_folder import Scratch\n"
        "scratch = Scratch(Path(sys.argv[1])); (scratch.path / 'frame.tga').write_bytes(b'pixels')\n"
        "print(scratch.path, flush=True); sys.stdin.read()\n"
    )
    line = [sys.executable, "-c", code, str(tmp_path)]
    others = [subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    places = [Path(other.stdout.readline().strip()) for other in others if other.stdout is not None]
    stranger = tmp_path / "robot_keypoints_frame_stranger"
    stranger.mkdir()
    others[0].kill()
    others[0].wait()
    own = Scratch(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([places[1], stranger, own.path])
    assert (places[1] / "frame.tga").exists()
    own.close()
    others[1].kill()
    others[1].wait()
