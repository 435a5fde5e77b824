# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the trainer's own Python environment, in a process of its own.

    python launch.py environment --folder FOLDER [--base PYTHON] [--index URL] [--requirements FILE]
    python launch.py environment --guard COMMAND …      runs a command that ends with its parent

Told ``--progress``, it says how far it is as :mod:`..messages.job_progress` has it; what it prints besides is the
tools' own talk.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import UserError
from ..messages.job_progress import ProgressWriter
from .lifeline import end_with_parent

PROJECT = Path(__file__).resolve().parent.parent.parent / "pyproject.toml"
OLDEST = (3, 11)


@dataclass(frozen=True)
class Step:
    """One command of the building, and what it does in words."""

    label: str
    command: tuple[str, ...]


def requirements(project: Path = PROJECT) -> tuple[str, ...]:
    """What the trainer needs, as pip writes it: the project's own dependencies and the optional list ``trainer``.

    Raises:
        UserError: if the list can't be read.
    """
    try:
        table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        return (*table["dependencies"], *table["optional-dependencies"]["trainer"])
    except (OSError, KeyError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise UserError(f"{project} does not tell what the trainer needs: install the extension again") from problem


def python_in(folder: Path) -> Path:
    """The interpreter of a virtual environment."""
    return folder / "Scripts" / "python.exe" if sys.platform == "win32" else folder / "bin" / "python"


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else than an environment.

    Raises:
        UserError: saying what to do.
    """
    if not folder.is_absolute():
        raise UserError(f"The folder {str(folder)!r} is not a full path: choose a folder")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: choose a folder for the environment")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
        raise UserError(f"{folder} already holds other files: choose a new or empty folder")


def steps(folder: Path, base: str, wanted: Sequence[str], index: str = "") -> tuple[Step, ...]:
    """The commands that make the environment; one that is there already is completed."""
    python = str(python_in(folder))
    pip = (python, "-m", "pip", "--no-input", "--disable-pip-version-check", "install")
    result = [Step("making the environment", (base, "-m", "venv", str(folder)))]
    if wanted:
        extra = ("--extra-index-url", index) if index else ()
        result.append(Step("updating pip", (*pip, "--upgrade", "pip")))
        result.append(Step("installing the libraries", (*pip, *extra, *wanted)))
    return tuple(result)


def main(arguments: Sequence[str]) -> int:
    """Build; 0 when done, 2 with one line ``error: …`` otherwise."""
    parser = argparse.ArgumentParser(prog="environment")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--base", default=sys.executable)
    parser.add_argument("--index", default="")
    parser.add_argument("--requirements", type=Path, help="a pip requirements file instead of the project's own list")
    parser.add_argument("--progress", action="store_true", help="say how far it is as lines of JSON")
    parser.add_argument("--guard", nargs=argparse.REMAINDER, help="run this command, and end it when stdin closes")
    options = parser.parse_args(list(arguments))
    end_with_parent(_end_group, grace=0.5)
    if options.guard:
        return _guard(options.guard)
    if options.folder is None:
        parser.error("--folder or --guard is needed")
    try:
        check_folder(options.folder)
        _check_base(options.base)
        if options.requirements is None:
            wanted = requirements()
        else:
            wanted = tuple(_lines(options.requirements.read_text(encoding="utf-8")))
        todo = steps(options.folder, options.base, wanted, options.index)
        progress = ProgressWriter(options.progress)
        for number, step in enumerate(todo, 1):
            text = f"{step.label}, step {number} of {len(todo)}"
            progress(step.label, text)
            bar = number == 3 and _knows_raw_progress(python_in(options.folder))
            _run(step, "raw" if bar else "off", partial(progress, step.label, text))
    except UserError as problem:
        _say(f"error: {problem}")
        return 2
    _say("done")
    return 0


def _guard(command: Sequence[str]) -> int:
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as problem:
        _say(f"error: {command[0]} can't be started ({problem.strerror}): choose another Python")
        return 2


def _check_base(base: str) -> None:
    code = "import sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run(
            [base, "-c", code], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )
        version = tuple(int(x) for x in answer.stdout.split())
    except (OSError, ValueError, subprocess.TimeoutExpired) as problem:
        raise UserError(f"{base} does not work as a Python: choose another") from problem
    if answer.returncode or version < OLDEST:
        found = ".".join(map(str, version)) or "unknown"
        raise UserError(f"{base} is Python {found}, but 3.11 or later is needed: choose another")


def _knows_raw_progress(python: Path) -> bool:
    """Whether this environment's pip can tell how far a download is in plain lines (24.1 and later)."""
    answer = subprocess.run(
        [python, "-m", "pip", "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    version = re.match(r"pip (\d+)\.(\d+)", answer.stdout)
    return version is not None and (int(version[1]), int(version[2])) >= (24, 1)


def _run(step: Step, bar: str, on_bytes: Callable[[int, int], None]) -> None:
    """Run one command.

    Args:
        bar: of pip, ``raw`` or ``off``.
        on_bytes: hears how many of how many bytes have been downloaded.

    Raises:
        UserError: if it fails.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PIP_PROGRESS_BAR": bar}
    try:
        process = subprocess.Popen(
            step.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, encoding="utf-8", errors="replace", env=environment,
        )  # fmt: skip
    except OSError as problem:
        raise UserError(f"{step.command[0]} can't be started ({problem.strerror}): choose another Python") from problem
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        loaded = re.fullmatch(r"Progress (\d+) of (\d+)\s*", line)  # pip's own form, made for programs
        if loaded is None:
            if line.startswith("ERROR: ") or not last.startswith("ERROR: "):
                last = line.strip() or last
            _say(line.rstrip())
        else:
            on_bytes(int(loaded[1]), int(loaded[2]))
    if process.wait():
        raise UserError(
            f"{step.label} failed ({last.removeprefix('ERROR: ')[:200]}): look at the log, mend that and try again"
        )


def _lines(text: str) -> Iterable[str]:
    return (line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


def _say(text: str) -> None:
    print(text, flush=True)


def _end_group() -> None:
    """End what this process has started too: pip and the processes pip started share our group."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(os.getpid())], capture_output=True, check=False)
    elif os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
