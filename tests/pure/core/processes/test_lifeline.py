# SPDX-License-Identifier: GPL-3.0-or-later
"""A process whose parent dies while it still loads its libraries ends, too."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from robot_keypoints.core.processes.programs import LAUNCHER

PATIENCE = 30.0

PARENT = """
import sys, time
from pathlib import Path
from robot_keypoints.core.processes.child_process import Child

folder = Path(sys.argv[1])
print(Child("child", sys.argv[2:], folder / "log", {"PYTHONPATH": str(folder)}).pid, flush=True)
time.sleep(300)
"""

LIBRARY = """
import ctypes, pathlib, sys, time
pathlib.Path(r"{started}").touch()
# As the loader of shared libraries does, this keeps all threads of Python waiting.
ctypes.PyDLL(None).sleep(200) if sys.platform != "win32" else time.sleep(200)
"""
"""Takes longer to load than anybody waits."""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for the process in /proc")
@pytest.mark.parametrize(
    ("words", "library"),
    [
        (["trainer"], "numpy"), (["serve"], "numpy"), (["scene"], "bpy"), (["worker"], "bpy"), (["check"], "bpy"),
        (["--lifeline", "cli"], "numpy"), (["cli", "render", "--lifeline"], "numpy"),
        (["--threads", "1", "worker"], "bpy"),
    ],
)  # fmt: skip
def test_a_parent_that_dies_while_libraries_are_loaded(tmp_path: Path, words: list[str], library: str) -> None:
    started = tmp_path / "started"
    (tmp_path / f"{library}.py").write_text(LIBRARY.format(started=started), encoding="utf-8")
    command = [sys.executable, "-c", PARENT, str(tmp_path), sys.executable, str(LAUNCHER), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        try:
            end = time.monotonic() + PATIENCE
            while not started.exists():
                assert time.monotonic() < end and alive(pid), (tmp_path / "log").read_text(encoding="utf-8")
                time.sleep(0.02)
            assert alive(pid)
        finally:
            parent.kill()
    end = time.monotonic() + PATIENCE
    while alive(pid):
        assert time.monotonic() < end, "it outlives its parent"
        time.sleep(0.02)
