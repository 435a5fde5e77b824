# SPDX-License-Identifier: GPL-3.0-or-later
"""A setting that has got another name is read under its old one, which is told once."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

import pytest
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.settings import renamed, schema as settings_module
from robot_keypoints.core.settings.schema import Settings
from robot_keypoints.core.settings.toml_file import load, save

OLD = """
[training]
endurance = 3
width = 8

[views]
width = 64

[[variables]]
name = "camera/roll"
least = -0.5
high = 0.5
"""
RENAMED = {"training.endurance": "patience", "views": "render", "variables.least": "low"}


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(renamed, "RENAMED", RENAMED)
    path = tmp_path / "settings.toml"
    path.write_text(OLD, encoding="utf-8")
    return path


def test_the_old_name_is_read_and_told_once(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        settings = load(old)
        assert (settings.training.patience, settings.training.width, settings.render.width) == (3, 8, 64)
        assert settings.variables[0].low == -0.5
    told = capsys.readouterr().err.splitlines()
    assert told == [
        f"warning: {old}: training.endurance is now called training.patience; both names are read",
        f"warning: {old}: views is now called render; both names are read",
        f"warning: {old}: variables.least is now called variables.low; both names are read",
    ]
    save(settings, old)
    assert load(old) == settings and "endurance" not in old.read_text(encoding="utf-8")
    assert not capsys.readouterr().err


def test_both_names_are_refused(old: Path) -> None:
    old.write_text("[training]\npatience = 1\nendurance = 3\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"take training\.endurance out"):
        load(old)


def test_a_name_elsewhere_is_not_meant(old: Path) -> None:
    old.write_text("[feedback]\nendurance = 3\n", encoding="utf-8")
    with pytest.raises(UserError, match="there is no setting 'endurance'"):
        load(old)


def test_a_file_may_be_nested_more_deeply_than_a_stack(old: Path) -> None:
    """The reader of TOML takes a dotted name of any length."""
    old.write_text("training.patience" + ".x" * 5000 + " = 1\n", encoding="utf-8")
    with pytest.raises(UserError, match="nested too deeply"):
        load(old)


def test_the_table_leads_from_names_that_are_gone_to_settings_that_are_there() -> None:
    names = set(_names(Settings, ""))
    for was, last in renamed.RENAMED.items():
        assert was not in names and f"{was.rpartition('.')[0]}.{last}".removeprefix(".") in names, was


def _names(part: type, prefix: str) -> list[str]:
    """Whole names of all settings in a data class."""
    found = []
    for name, hint in typing.get_type_hints(part, vars(settings_module)).items():
        found.append(prefix + name)
        for inner in (hint, *typing.get_args(hint)):
            if dataclasses.is_dataclass(inner):
                found += _names(typing.cast(type, inner), f"{prefix}{name}.")
    return found
