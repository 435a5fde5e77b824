# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's progress as lines of JSON: what is written is read, and nothing that a child prints breaks the reader."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys

import pytest
from robot_keypoints.core.messages import job_progress
from robot_keypoints.core.messages.job_progress import JobProgress, JobReader, ProgressWriter, decode


def test_what_is_written_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    tell = ProgressWriter(as_json=True)
    tell("scene", "building the scene")
    tell("render", "rendering: 3 of 16 “samples”\n", 3, 16)
    captured = capsys.readouterr()
    assert captured.err == "" and captured.out.isascii()
    first, second = (decode(line) for line in captured.out.splitlines())
    assert first == JobProgress("scene", "building the scene") and first.fraction == 0.0
    assert second == JobProgress("render", "rendering: 3 of 16 “samples”", 3, 16) and second.fraction == 3 / 16


def test_people_read_sentences(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tell = ProgressWriter()
    tell("pip", "Step 2 of 3: updating pip")
    tell("pip", "Step 2 of 3: updating pip", 10, 20)
    tell("measure", "1 of 2 images", 1, 2)
    assert capsys.readouterr() == ("", "Step 2 of 3: updating pip\n"), "counts are for terminals"
    monkeypatch.setattr(job_progress, "PACE", 0.0)
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    tell("measure", "2 of 2 images", 2, 2)
    assert terminal.getvalue() == "\r\x1b[2K2 of 2 images\n"


def test_steps_that_come_too_fast_are_left_out_but_not_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    tell = ProgressWriter(as_json=True)
    for number in range(1000):
        tell("render", f"{number + 1}", number + 1, 1000)
    told = [json.loads(line)["progress"]["done"] for line in capsys.readouterr().out.splitlines()]
    assert told[0] == 1 and told[-1] == 1000 and len(told) < 500


def test_nobody_reading_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    ProgressWriter(as_json=True)("render", "on", 1, 2)


GOOD = '{"progress": {"stage": "s", "text": "t", "done": 1, "total": 4}}'


@pytest.mark.parametrize(
    "line",
    [
        '{"progress": {"stage": "s", "text": "t", "done": 1}}',
        '{"progress": {"stage": "s", "text": "t", "done": 1.5, "total": 4}}',
        '{"progress": {"stage": "s", "text": "t", "done": true, "total": 4}}',
        '{"progress": {"stage": "s", "text": "t", "done": -1, "total": 4}}',
        '{"progress": {"stage": "s", "text": "t", "done": 1, "total": 1e999}}',
        '{"progress": {"stage": "s", "text": "t", "done": 1, "total": ' + "9" * 5000 + "}}",
        '{"progress": {"stage": ["s"], "text": "t", "done": 1, "total": 4}}',
        '{"progress": {"stage": "s", "text": null, "done": 1, "total": 4}}',
        '{"progress": NaN}',
        '{"progress": 3}',
        '{"a": NaN}',
        GOOD[:-1],
        GOOD + "x",
        '{"a": ' * 50_000,
        "{",
    ],
)
def test_a_malformed_line_is_text(line: str) -> None:
    found = decode(line)
    assert isinstance(found, str) and found.startswith("{") and len(found) <= 800


def test_other_json_is_the_result() -> None:
    assert decode('{"images": 3, "progress": {}}') == {"images": 3, "progress": {}}
    assert decode("{}") == {}
    assert decode("[1]") == "[1]" and decode("3") == "3"


def test_a_later_version_may_say_more() -> None:
    assert decode(GOOD.replace('"done"', '"unit": "MB", "done"')) == JobProgress("s", "t", 1, 4)


def test_what_is_shown_is_one_short_printable_line() -> None:
    line = json.dumps({"progress": {"stage": "s" * 99, "text": "\x1b[2J\ud800a\nb" + "c" * 999, "done": 0, "total": 0}})
    found = decode(line)
    assert isinstance(found, JobProgress) and len(found.stage) == 40 and len(found.text) == 160
    assert found.text.isprintable() and found.text.startswith("\\x1b[2J\\ud800a b")
    assert decode("\x1b[31mred\x07") == "\\x1b[31mred\\x07"


def test_the_pieces_do_not_matter() -> None:
    text = f"hello\n{GOOD}\r\n\n  \nzoë\n{{}}\n{GOOD}"
    data, rng = text.encode(), random.Random(0)
    expected = ["hello", JobProgress("s", "t", 1, 4), "zoë", {}, JobProgress("s", "t", 1, 4)]
    for _ in range(200):
        reader, found, place = JobReader(), [], 0
        while place < len(data):
            step = rng.randint(1, 9)
            found += reader.read(data[place : place + step])
            place += step
        assert found + reader.finish() == expected
    assert reader.finish() == []


def test_bytes_of_another_encoding_are_text() -> None:
    (found,) = JobReader().read(b"caf\xe9 \xff\xfe\n")
    assert found == "caf� ��"


def test_a_line_without_end_is_bounded() -> None:
    reader = JobReader()
    for _ in range(64):
        assert reader.read(b"{" + b"x" * (1 << 20)) == []
        assert len(reader._begun) <= job_progress.LONGEST_LINE + 1
    cut, after = reader.read(b"}\n" + GOOD.encode() + b"\n")
    assert isinstance(cut, str) and len(cut) <= 800 and after == JobProgress("s", "t", 1, 4)


def test_a_result_as_long_as_a_line_may_be_is_read_and_a_longer_one_is_text() -> None:
    def result(length: int) -> bytes:
        return b'{"a": "' + b"x" * (length - 9) + b'"}\n'

    (whole,) = JobReader().read(result(job_progress.LONGEST_LINE))
    (cut,) = JobReader().read(result(job_progress.LONGEST_LINE + 1))
    assert isinstance(whole, dict) and isinstance(cut, str)


def test_nothing_but_the_standard_library_is_needed() -> None:
    """The doctor says how far it is where every library is missing."""
    code = (
        "import sys, robot_keypoints.core.messages.job_progress\n"
        "print([m for m in ('numpy', 'zmq', 'bpy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
