# SPDX-License-Identifier: GPL-3.0-or-later
"""Child processes that hold a pipe from us on stdin, and end when it closes: see :mod:`.lifeline`."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import WriteError, last_lines, open_log

WARNING = "warning: "
"""Before a sentence in a child's log that the user should see."""

LONGEST = 1 << 20
"""Bytes of a log among which such sentences are looked for."""


class Child:
    """One child process with a log file."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:  # fmt: skip
        """Start it.

        Args:
            descriptors: of open files that it inherits, where the system can have that.

        Raises:
            UserError: if the program can't be started at all, or its log not be written.
        """
        self.name = name
        self.log = log
        self.started = time.monotonic()
        options: dict[str, Any] = {}
        if sys.platform == "win32":
            options["creationflags"] = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        else:
            # A process group of its own: Ctrl-C in the terminal reaches the parent alone, which then ends us in order.
            # Not a session: Linux shares the processor evenly between sessions, and the workers' lower priority
            # would mean nothing.
            options["process_group"] = 0
            options["pass_fds"] = tuple(descriptors)
        with _opened(log) as stream:
            self._begun = stream.seek(0, os.SEEK_END)  # what lies before is of an earlier sitting
            try:
                self._process = subprocess.Popen(
                    list(command), stdin=subprocess.PIPE, stdout=stream, stderr=subprocess.STDOUT,
                    env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}, **options,
                )  # fmt: skip
            except OSError as problem:
                raise UserError(
                    f"{command[0]} can't be started ({problem.strerror}): check that this program exists and may be run"
                ) from problem

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started

    def let_go(self) -> None:
        """Close its lifeline: it ends by itself."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()

    def kill(self) -> None:
        """End it at once."""
        self.let_go()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def wait(self, seconds: float) -> bool:
        """Whether it ended within ``seconds``."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def warnings(self) -> list[str]:
        """What it has warned of so far, in sentences."""
        try:
            with open(self.log, "rb") as stream:
                stream.seek(self._begun)
                text = stream.read(LONGEST).decode("utf-8", "replace")
        except OSError:
            return []
        return [line.removeprefix(WARNING) for line in text.splitlines() if line.startswith(WARNING)]

    def last_words(self, count: int = 6) -> list[str]:
        """The last lines of its log."""
        return last_lines(self.log, count)


def _opened(log: Path) -> io.FileIO:
    """The log, with its folder.

    Raises:
        WriteError: if it can't be written.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return open_log(log)
    except OSError as problem:
        raise WriteError(log, problem) from problem
