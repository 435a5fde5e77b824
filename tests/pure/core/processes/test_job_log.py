# SPDX-License-Identifier: GPL-3.0-or-later
"""A child's log is read while it grows: everything of a usual one, the end of a flood, in pieces."""

from __future__ import annotations

from pathlib import Path

from robot_keypoints.core.messages.job_progress import JobProgress
from robot_keypoints.core.processes import job_log
from robot_keypoints.core.processes.job_log import JobLog

STEP = b'{"progress":{"stage":"s","text":"t","done":1,"total":4}}\n'


def test_a_growing_log_is_read_once(tmp_path: Path) -> None:
    log = JobLog(tmp_path / "log.txt")
    assert log.news() == [] and log.at_end
    log.path.write_bytes(b"one\n" + STEP[:20])
    assert log.news() == ["one"] and log.news() == []
    with log.path.open("ab") as stream:
        stream.write(STEP[20:] + b"last words")
    assert log.news() == [JobProgress("s", "t", 1, 4)]
    assert log.finish() == ["last words"] and log.finish() == []


def test_it_is_read_in_pieces(tmp_path: Path) -> None:
    log = JobLog(tmp_path / "log.txt")
    log.path.write_bytes(b"0123456789abcde\n" * (1 << 16))
    first = log.news()
    assert not log.at_end and len(first) == job_log.PIECE // 16
    count = len(first)
    while not log.at_end:
        count += len(log.news())
    assert count == 1 << 16


def test_of_a_flood_the_end_is_read(tmp_path: Path) -> None:
    log = JobLog(tmp_path / "log.txt")
    log.path.write_bytes(b"early\n" + b"abcdefghijklmn\n" * (1 << 20) + STEP)
    found = log.news()
    while not log.at_end:
        found += log.news()
    assert found[-1] == JobProgress("s", "t", 1, 4) and "early" not in found
    assert set(found[:-1]) == {"abcdefghijklmn"} and 15 * len(found) < job_log.BACKLOG + 100


def test_a_long_result_is_read_over_several_pieces(tmp_path: Path) -> None:
    log = JobLog(tmp_path / "log.txt")
    log.path.write_bytes(b'{"figures": "' + b"7" * (3 * job_log.PIECE) + b'"}\n')
    found = log.news()
    while not log.at_end:
        found += log.news()
    (result,) = found
    assert isinstance(result, dict) and len(result["figures"]) == 3 * job_log.PIECE
