# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a job is, as one line of JSON on its stdout: what every child of the panel writes and the panel reads.

    {"progress": {"stage": "render", "text": "rendering: 3 of 16 samples", "done": 3, "total": 16}}

Other lines may stand between: the talk of tools, and at the end the job's result as one JSON object. Nothing but the
standard library is needed, as the doctor must run where everything else is missing.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias, TypeGuard

from ..errors import one_line

KEY = "progress"

LONGEST_LINE = 1 << 20
"""Bytes of a line; of a longer one the beginning is taken as text."""

LONGEST_STAGE, LONGEST_TEXT = 40, 160
"""Characters."""

PACE = 0.1
"""Seconds between two lines about one stage, unless it is done."""


@dataclass(frozen=True)
class JobProgress:
    """One step of a job.

    Attributes:
        stage: what is being done, in a word that programs can go by.
        text: the same for people, on one line.
        done, total: how much of the stage is done, in any unit; ``total`` is 0 where that is not known.
    """

    stage: str
    text: str
    done: int = 0
    total: int = 0

    @property
    def fraction(self) -> float:
        """The share of the stage that is done, 0 … 1; 0 where it is not known."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    def encode(self) -> str:
        """The line, without its end; ASCII only."""
        return json.dumps({KEY: asdict(self)}, separators=(",", ":"))


JobLine: TypeAlias = JobProgress | dict[str, Any] | str
"""What one line of a job's output is: progress, another JSON object (its result), or text."""


def decode(line: str) -> JobLine:
    """Read one line; whatever is not as it should be is text, made fit to be shown. Never raises."""
    line = line.strip()
    if not line.startswith("{"):
        return one_line(line)
    try:
        document = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return one_line(line)
    if set(document) != {KEY}:
        return dict(document)
    content = document[KEY]
    if not isinstance(content, dict):
        return one_line(line)
    stage, text, done, total = (content.get(name) for name in ("stage", "text", "done", "total"))
    if not (isinstance(stage, str) and isinstance(text, str) and _is_count(done) and _is_count(total)):
        return one_line(line)
    return JobProgress(one_line(stage)[:LONGEST_STAGE], one_line(text)[:LONGEST_TEXT], done, total)


class JobReader:
    """Reads a job's output as it comes, in pieces of any size, within bounded memory."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def read(self, data: bytes) -> list[JobLine]:
        """The lines that have become whole, in order; empty ones are left out."""
        *ended, begun = data.split(b"\n")
        found = []
        for piece in ended:
            self._keep(piece)
            found += self.finish()
        self._keep(begun)
        return found

    def finish(self) -> list[JobLine]:
        """The last line, where the output ends without the end of one."""
        line, self._begun = self._begun, bytearray()
        text = line.decode("utf-8", "replace")
        if not text.strip():
            return []
        return [decode(text) if len(line) <= LONGEST_LINE else one_line(text)]

    def _keep(self, piece: bytes) -> None:
        self._begun += piece[: LONGEST_LINE + 1 - len(self._begun)]


class ProgressWriter:
    """Tells how far a job is: programs on stdout, or else people on stderr.

    Where nobody can read it any more, nothing is said: what is being done is worth more.
    """

    def __init__(self, as_json: bool = False) -> None:
        """Args:
        as_json: whether a program reads it.
        """
        self._as_json = as_json
        self._stage = ""
        self._next = 0.0

    def __call__(self, stage: str, text: str, done: int = 0, total: int = 0) -> None:
        """Take one step; see :class:`JobProgress`.

        People see each of them on a terminal, and elsewhere the beginning of those stages that count nothing.
        """
        begins, self._stage = stage != self._stage, stage
        now = time.monotonic()
        if not begins and done != total and now < self._next:
            return
        self._next = now + PACE
        with suppress(OSError):
            if self._as_json:
                print(JobProgress(stage, text, done, total).encode(), flush=True)
            elif sys.stderr.isatty():
                print(f"\r\x1b[2K{text}", end="\n" if done == total else "", file=sys.stderr, flush=True)
            elif begins and not total:
                print(text, file=sys.stderr, flush=True)


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 1 << 53


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
