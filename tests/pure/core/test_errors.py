# SPDX-License-Identifier: GPL-3.0-or-later
"""What a foreign file holds can't spoil the sentence that quotes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from robot_keypoints.core.errors import LONGEST, UserError, one_line
from robot_keypoints.core.messages.envelope import MessageError, parse
from robot_keypoints.core.robot.urdf_reader import load_urdf


@pytest.mark.parametrize("text", ["a plain sentence: mend it", "Ein Gelenk heißt »Schulter«", "日本 🤖", ""])
def test_a_sentence_stays_as_it_is(text: str) -> None:
    assert str(UserError(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two\nlines\r\n\tand more", "two lines and more"),
        ("clears \x1b[2J the screen", "clears \\x1b[2J the screen"),
        ("turned \u202e round", "turned \\u202e round"),
        ("caf\udce9.jpg", "caf\\udce9.jpg"),
        ("a zero\x00", "a zero\\x00"),
    ],
)
def test_it_is_one_line_that_no_terminal_obeys(text: str, expected: str) -> None:
    assert one_line(text) == expected
    assert str(UserError(text)) == str(MessageError(text)) == expected


@pytest.mark.parametrize("length", [LONGEST + 1, 8 * LONGEST, 100 * LONGEST, 5_000_000])
def test_what_is_too_long_keeps_where_it_was_and_what_to_do(length: int) -> None:
    text = str(UserError(f"here: {'a' * length} is no number: correct it"))
    assert len(text) <= LONGEST and text.startswith("here: aaa") and text.endswith("aaa is no number: correct it")
    assert " … " in text
    assert len(one_line("\x00" * length)) <= LONGEST


def test_names_of_a_robot_and_of_a_message(tmp_path: Path) -> None:
    path = tmp_path / "r.urdf"
    path.write_text(f'<robot name="r"><link name="a"/><joint name="b&#10;{"c" * 9000}" type="x"/></robot>')
    with pytest.raises(UserError) as refusal:
        load_urdf(path)
    assert len(str(refusal.value)) <= LONGEST and str(refusal.value).isprintable()
    with pytest.raises(MessageError) as answer:
        parse(b'{"schema": "' + b"a" * 9000 + b'"}')
    assert len(str(answer.value)) <= LONGEST
