# SPDX-License-Identifier: GPL-3.0-or-later
"""One process at a time writes to a run's folder, and a crash leaves nothing locked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.processes.folder_lock import NAME, FolderLock

HOLDER = """
import sys
from pathlib import Path
from robot_keypoints.core.processes.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_one_is_refused_until_the_first_is_gone_whatever_ended_it(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(UserError) as problem:
            FolderLock(tmp_path, 0.1)
        assert "Another process is writing to" in str(problem.value) and "\n" not in str(problem.value)
        process.kill()
        process.wait()
        FolderLock(tmp_path, 0.1).release()
    assert (tmp_path / NAME).exists()


def test_released_it_can_be_taken_again(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(UserError):
        FolderLock(tmp_path, 0.0)
    lock.release()
    lock.release()
    FolderLock(tmp_path, 0.0).release()


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are not inherited there")
def test_who_inherits_it_holds_it_too(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=[lock.descriptor]
    )
    lock.release()
    with pytest.raises(UserError):
        FolderLock(tmp_path, 0.0)
    child.communicate()
    FolderLock(tmp_path, 0.0).release()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to(tmp_path / "victim")
    with pytest.raises(UserError):
        FolderLock(tmp_path, 0.0)
    assert os.listdir(tmp_path) == [NAME]
