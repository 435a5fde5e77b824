# SPDX-License-Identifier: GPL-3.0-or-later
"""What people and other programs write is read as they wrote it, within bounds, or refused in one sentence."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

import pytest
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.input_files import open_regular, read_json, read_json_table, read_toml

ENCODED = {
    "plain": lambda t: t.encode("utf-8"),
    "utf8": lambda t: codecs.BOM_UTF8 + t.encode("utf-8"),
    "utf16": lambda t: t.encode("utf-16"),
    "utf16be": lambda t: codecs.BOM_UTF16_BE + t.encode("utf-16-be"),
    "utf32": lambda t: t.encode("utf-32"),
    "crlf": lambda t: codecs.BOM_UTF8 + t.replace("\n", "\r\n").encode("utf-8"),
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_editors_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "x"
    file.write_bytes(ENCODED[encoding]('{"größe": 1,\n "b": [2]}\n'))
    assert read_json(file, "mend") == {"größe": 1, "b": [2]}
    assert type(read_json_table(file, "mend")["größe"]) is float
    file.write_bytes(ENCODED[encoding]('name = "größe"\n[a]\nb = 2\n'))
    assert read_toml(file, "mend") == {"name": "größe", "a": {"b": 2}}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "not valid JSON"),
        (b"", "not valid JSON"),
        (b'{"a": "\xe4"}', "not JSON in UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": 1, "a": 2}', "has a twice"),
        (b" " * 2000, "more than 0 MiB"),
        (b'{"a": ' + b"1" * 900, "not valid JSON"),
    ],
)
def test_what_is_no_json_is_one_sentence(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(UserError, match=words) as caught:
        read_json_table(tmp_path / "x", "mend it", largest=1000 if data.startswith(b" ") else 1 << 20)
    assert str(caught.value).endswith("mend it") and str(tmp_path / "x") in str(caught.value)


@pytest.mark.parametrize("data", [b"a = ", b"a = '\xe4'", b"a = " + b"[" * 100_000, b"a = 1\n" + b"#" * 2000])
def test_what_is_no_toml_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(UserError, match=r"valid TOML|too deeply for TOML|more than 0 MiB"):
        read_toml(tmp_path / "x", "mend it", largest=1000 if b"#" in data else 1 << 20)


def test_a_name_that_no_file_can_have_is_like_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="a character that no file's name has"):
        open_regular(tmp_path / "a\0b")
    with pytest.raises(UserError, match="can't be read"):
        read_json(tmp_path / "a\0b", "mend it")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match=r"it is not a regular file|it is a folder"):
            open_regular(path)
        with pytest.raises(UserError, match=r"\(it is .*\): mend it"):
            read_json(path, "mend it")
    with pytest.raises(UserError, match="no file's name"):
        read_json(tmp_path / "a\0b", "mend it")


def test_no_memory_is_taken_for_what_a_file_only_claims_to_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(100)))
    with open_regular(path) as stream:
        assert stream.read(60) == bytes(range(60))
        assert stream.read(1 << 46) == bytes(range(60, 100))
        assert stream.read(1 << 46) == stream.read() == b""
        stream.seek(1)
        assert stream.read(2) == b"\1\2" and stream.read(None) == bytes(range(3, 100))
