# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings, a run or a .blend start no program that the user has not named."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.processes import own_programs
from robot_keypoints.core.settings.schema import WorkerSettings
from robot_keypoints.core.settings.toml_file import save
from robot_keypoints.trainer.commands import main as cli


@pytest.fixture(autouse=True)
def nothing_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(sys, "platform", "linux")


@pytest.fixture
def trap(tmp_path: Path) -> tuple[str, Path]:
    """A command that leaves a trace, and the trace."""
    trace = tmp_path / "trace"
    code = f"open({str(trace)!r}, 'w').close(); raise SystemExit(2)"
    return shlex.join([sys.executable, "-c", code]), trace


def strangers(folder: Path, command: str) -> Path:
    """The folder of somebody else's run."""
    folder.mkdir()
    save(replace(synthetic.settings(), workers=WorkerSettings(1, 0, 1, command)), folder / "settings.toml")
    return folder


@pytest.mark.parametrize(
    "words", [["train", "{0}/settings.toml", "--out", "{1}"], ["train", "--resume", "{0}"],
              ["render", "{0}", "--sheet", "{1}/a.png"], ["render", "{0}", "--count", "1", "--format", "coco", "--out",
                                                          "{1}"]],
)  # fmt: skip
def test_a_strangers_settings_start_nothing(
    tmp_path: Path, trap: tuple[str, Path], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command, trace = trap
    folder, out = strangers(tmp_path / "run", command), tmp_path / "out"
    out.mkdir()
    line = [w.format(folder, out) for w in words]
    assert cli.main(line) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("error: The settings ask to start") and "--blender" in sentence
    assert not trace.exists() and not list(out.iterdir())
    # The user names it: it is started, here and from now on.
    assert cli.main([*line, "--blender", command])
    assert trace.exists()
    trace.unlink()
    capsys.readouterr()
    own_programs.check(command, "")


def test_what_was_named_once_may_be_named_by_settings(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        own_programs.check("/opt/blender -x", "say so")
    own_programs.check("", "say so")
    own_programs.check("/opt/blender -x", "say so", {"/opt/blender -x"})
    own_programs.remember("/opt/blender -x")
    own_programs.check("/opt/blender -x", "say so")
    with pytest.raises(UserError, match="if you trust it, say so"):
        own_programs.check("/opt/blender -x --python evil.py", "say so")


@pytest.mark.parametrize("text", ["", "{", "3", '{"a": 1}', "[1, null]", "[" * 100_000, "\udcff"])
def test_a_damaged_memory_is_an_empty_one(tmp_path: Path, text: str) -> None:
    path = own_programs.place()
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError):
        own_programs.check("blender", "say so")
    own_programs.remember("blender")
    own_programs.check("blender", "say so")


def test_the_memory_is_bounded(tmp_path: Path) -> None:
    for number in range(own_programs.MOST + 5):
        own_programs.remember(f"blender-{number}")
    known = json.loads(own_programs.place().read_text(encoding="utf-8"))
    assert len(known) == own_programs.MOST and known[-1] == f"blender-{own_programs.MOST + 4}"


def test_where_nothing_can_be_kept_it_holds_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config").write_text("a file", encoding="utf-8")
    own_programs.remember("blender")
    assert capsys.readouterr().err.startswith("warning: ")
