# SPDX-License-Identifier: GPL-3.0-or-later
"""What is fuzzed: each subject makes small files, and reads what has become of them.

Reading ends well, or with one sentence to the user. All else is a fault.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from robot_keypoints.core.errors import UserError


@dataclass(frozen=True)
class Seed:
    """An input to begin with.

    Attributes:
        entry: the file, or with an empty name the folder, that is read.
        files: contents by name; names may have folders.
        damaged: those of them that are damaged, one at a time; empty means any.
        valid: whether it must be read without complaint as it is.
    """

    entry: str
    files: Mapping[str, bytes]
    damaged: tuple[str, ...] = ()
    valid: bool = True


class Subject(Protocol):
    """A kind of input. Made with a folder in which it may keep what it needs."""

    def __init__(self, scratch: Path) -> None: ...

    def seeds(self) -> Sequence[Seed]:
        """What to begin with; at least one is valid."""

    def attempt(self, entry: Path) -> None:
        """Read one input, as the program does.

        Raises:
            UserError, MessageError: if it is refused.
        """


SUBJECTS = {
    "messages": "subjects_messages:Messages",
    "requests": "subjects_messages:Requests",
    "settings": "subjects_robots:SettingsFiles",
    "urdf": "subjects_robots:Urdf",
    "xacro": "subjects_robots:Xacro",
    "meshes": "subjects_robots:Meshes",
    "models": "subjects_models:Models",
    "runs": "subjects_models:Runs",
    "reports": "subjects_models:Reports",
    "labels": "subjects_labels:Labels",
    "joints": "subjects_labels:Joints",
    "footage": "subjects_footage:FootageFiles",
    "images": "subjects_pictures:Images",
    "films": "subjects_pictures:Films",
}
"""Where each is defined; imported one by one, as some need torch and others must do without."""


def load(name: str, scratch: Path) -> Subject:
    """One subject, by its name or as MODULE:CLASS."""
    module, _, kind = SUBJECTS.get(name, name).partition(":")
    made: Subject = getattr(importlib.import_module(module), kind)(scratch)
    return made


def contents(folder: Path) -> dict[str, bytes]:
    """The files below a folder, by their names relative to it."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def command(*words: str | Path) -> None:
    """Run the command line in this process.

    Raises:
        UserError: with what it said, if it ended with 2.
        AssertionError: if it ended in another way, or said more than one line, or what no input may make it say.
    """
    from robot_keypoints.trainer.commands import main as cli

    out, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
        code = cli.main([str(w) for w in words])
    errors = [line for line in told.getvalue().splitlines() if line.startswith("error: ")]
    assert code in (0, 2), f"exit code {code}:\n{told.getvalue()[-4000:]}"
    assert "Traceback" not in told.getvalue(), told.getvalue()[-4000:]
    if code == 2:
        assert len(errors) == 1, f"{len(errors)} lines tell the error:\n{told.getvalue()[-4000:]}"
        assert "not enough memory" not in errors[0] and "library is missing" not in errors[0], errors[0]
        raise UserError(errors[0].removeprefix("error: "))
