# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are written whole or not at all, follow no links, and a failure is one sentence."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from full_disk import room
from robot_keypoints.core import files
from robot_keypoints.core.errors import UserError


def sentence(problem: pytest.ExceptionInfo[UserError]) -> str:
    text = str(problem.value)
    assert "\n" not in text
    return text


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_text(path, "before")
    with room(1000), pytest.raises(files.WriteError) as problem:
        files.write_bytes(path, bytes(5000))
    assert "There is no room to write" in sentence(problem) and str(path) in sentence(problem)
    assert problem.value.full
    assert path.read_text(encoding="utf-8") == "before"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_writer_that_takes_a_name_is_checked_before_its_file_bears_it(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"before")

    def whole(file: Path) -> bool:
        return file.read_bytes().endswith(b"END")

    with pytest.raises(UserError, match="cut off"), files.Replacement(path, whole, ".mp4") as temporary:
        assert temporary.suffix == path.suffix
        temporary.write_bytes(b"half")
    assert path.read_bytes() == b"before"
    with files.Replacement(path, whole, ".mp4") as temporary:
        temporary.write_bytes(b"all of it, END")
    assert path.read_bytes() == b"all of it, END"
    assert os.listdir(tmp_path) == ["film.mp4"]


def test_a_writer_that_writes_nothing_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(files.WriteError), files.Replacement(tmp_path / "a") as temporary:
        temporary.unlink()
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_an_interruption_leaves_nothing(tmp_path: Path, stop: type[BaseException]) -> None:
    with pytest.raises(stop), files.Replacement(tmp_path / "a") as temporary:
        temporary.write_bytes(b"half")
        raise stop
    assert not os.listdir(tmp_path)


def test_temporary_names_can_not_be_foreseen_and_are_not_shared(tmp_path: Path) -> None:
    first, second = files.Replacement(tmp_path / "a"), files.Replacement(tmp_path / "a")
    assert first.path != second.path and str(os.getpid()) not in first.path.name
    first.discard()
    second.discard()


def test_a_link_under_the_temporary_name_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine\n", encoding="utf-8")
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "foreseen")
    (tmp_path / f"{files.PREFIX}foreseen{files.SUFFIX}").symlink_to(victim)
    with pytest.raises(files.WriteError):
        files.write_text(tmp_path / "a", "text")
    assert victim.read_text(encoding="utf-8") == "mine\n" and not (tmp_path / "a").exists()


def test_links_are_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine\n", encoding="utf-8")
    link = tmp_path / "settings.toml"
    link.symlink_to(victim)
    with pytest.raises(files.WriteError):
        files.append_json_line(link, {})
    files.write_text(link, "new")
    assert victim.read_text(encoding="utf-8") == "mine\n"
    assert not link.is_symlink() and link.read_text(encoding="utf-8") == "new"


def test_permissions_are_those_of_a_usual_file_and_stay(tmp_path: Path) -> None:
    path = tmp_path / "a"
    before = os.umask(0o027)
    try:
        files.write_text(path, "1")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)
    files.write_text(path, "2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "words"),
    [("missing/a.json", "there is no folder"), ("file/a.json", "there is no folder"), ("folder", "Is a directory"),
     ("x" * 256, "choose a shorter name"), ("pipe", "a device or a pipe")],
)  # fmt: skip
def test_each_failure_is_one_sentence(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UserError) as problem:
        files.write_text(tmp_path / name, "text")
    assert words in sentence(problem)
    assert sorted(os.listdir(tmp_path)) == before


def test_the_longest_name_is_no_obstacle(tmp_path: Path) -> None:
    files.write_text(tmp_path / ("x" * 255), "text")
    assert os.listdir(tmp_path) == ["x" * 255]


def test_a_line_is_added_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    files.append_json_line(path, {"step": 1})
    before = path.read_bytes()
    with room(len(before) + 10), pytest.raises(files.WriteError, match="no room"):
        files.append_json_line(path, {"step": 2, "text": "x" * 100})
    assert path.read_bytes() == before


def test_what_was_killed_is_swept_away(tmp_path: Path) -> None:
    files.Replacement(tmp_path / "a.mp4", ending=".mp4").path.write_bytes(b"half")
    (tmp_path / ".older.json.123.part").write_bytes(b"half")
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / ".link.part").symlink_to(outside)
    (tmp_path / "mine.part").write_bytes(b"whole")
    files.sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["mine.part", "outside"]
