# SPDX-License-Identifier: GPL-3.0-or-later
"""A run followed from a terminal: starts the session, shows how it goes, ends it in order."""

from __future__ import annotations

import json
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...core import run_folder
from ...core.errors import UserError
from ...core.input_files import read_json
from ...core.processes.programs import Programs
from ...core.processes.run_status import Phase, Status
from ...core.processes.session import Session
from ...core.robot.robot import Robot
from ...core.settings.schema import Settings
from .endings import noted

POLL_SECONDS = 0.2
PLAIN_SECONDS = 10.0
"""Seconds between two lines where stderr is not a terminal."""


def follow(
    folder: Path, settings: Settings, *, robot: Robot | None = None, resume: bool = False, rewrite: bool = False,
    as_json: bool = False,
) -> int:  # fmt: skip
    """Train until the end, Ctrl-C, SIGTERM or the terminal's end; a second Ctrl-C does not wait for the reports.

    Args:
        robot, resume, rewrite: see :class:`.Session`.

    Returns:
        the exit code.

    Raises:
        UserError: if the run can't be started.
    """
    programs = Programs.with_python(sys.executable, settings.workers.blender)
    session = Session(folder, settings, programs, robot=robot, resume=resume, rewrite=rewrite)
    display = Display()
    obeyed = 0
    with noted() as received:
        try:
            display.say(f"run folder: {folder}")
            session.start()
            while not session.poll().phase.over:
                if len(received) > obeyed:
                    obeyed = len(received)
                    if obeyed > 1:
                        session.abandon()
                        break
                    display.say("stopping; the best model and the reports are being written (again to stop at once)")
                    session.stop()
                display.show(session.status)
                time.sleep(POLL_SECONDS)
            display.show(session.status, last=True)
        finally:
            session.abandon()
    code = _outcome(session.status)
    _conclude(folder, session.status, code)
    if as_json and (folder / run_folder.SUMMARY).exists():
        print(json.dumps({"run": str(folder), "phase": session.status.phase.value, **_summary(folder)}))
    return 128 + received[0] if received else code


class Display:
    """One line that is rewritten on a terminal; elsewhere a plain line now and then.

    Where nobody can read it any more, nothing is said: what is being done is worth more than its display.
    """

    def __init__(self, pace: float = PLAIN_SECONDS) -> None:
        """Find out whether there is a terminal to draw on.

        Args:
            pace: seconds between two plain lines.
        """
        self._pace = pace
        self._terminal = sys.stderr.isatty()
        self._next = 0.0
        self._notices = self._warnings = 0
        self._message = ""

    def say(self, text: str) -> None:
        """A line that stays."""
        with suppress(OSError):
            self._clear()
            print(text, file=sys.stderr, flush=True)

    def show(self, status: Status, *, last: bool = False) -> None:
        """Where the run stands."""
        warnings = [*status.warnings, *status.obstruction.sentences()]
        for warning in warnings[self._warnings :]:
            self.say(f"warning: {warning}")
        self._warnings = len(warnings)
        for notice in status.notices[self._notices :]:
            self.say(f"note: {notice}")
        self._notices = len(status.notices)
        if self._terminal:
            width = shutil.get_terminal_size().columns
            with suppress(OSError):
                self._clear()
                print(status_line(status)[: width - 1], end="\n" if last else "", file=sys.stderr, flush=True)
            return
        now = time.monotonic()
        # A new message is shown at once, but counting ones ("12 of 256") only at the usual pace.
        kind = "".join(c for c in status.message if not c.isdigit())
        if last or now >= self._next or kind != self._message:
            self._next, self._message = now + self._pace, kind
            with suppress(OSError):
                print(status_line(status), file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if self._terminal:
            print("\r\x1b[2K", end="", file=sys.stderr)


def status_line(status: Status) -> str:
    """One line on where a run stands, for example ``training  62 %  3:40 left  41 steps/s  worker 1 38/s …``."""
    p = status.progress
    parts = [status.message or status.phase.value]
    if p.get("step"):
        parts.append(f"{100 * p.get('fraction', 0.0):.0f} %")
    if "seconds_left" in p and not status.phase.over:
        left = round(p["seconds_left"])
        parts.append(f"{left // 60}:{left % 60:02d} left")
    rates = [f"{q.rate:.1f}" for name, q in status.processes.items() if name.startswith("worker")]
    if rates:
        parts.append(f"samples/s {' + '.join(rates)}")
    if p.get("step"):
        parts.append(f"step {p['step']} ({p.get('steps_per_second', 0.0):.1f}/s)")
    if "loss" in p:
        parts.append(f"loss {p['loss']:.3f}")
    if p.get("error_percent") is not None and p.get("median_error_percent") is not None:
        parts.append(f"error {p['error_percent']:.2f} % (median {p['median_error_percent']:.2f} %)")
    if "fresh_fraction" in p:
        parts.append(f"{100 * p['fresh_fraction']:.0f} % new")
    if p.get("stall_fraction", 0.0) >= 0.005:
        parts.append(f"waiting {100 * p['stall_fraction']:.0f} %")
    if p.get("dropped"):
        parts.append(f"{p['dropped']} dropped")
    return " · ".join(parts)


def _outcome(status: Status) -> int:
    """0, or for a run that failed 2 where a process reported a user's mistake and 1 otherwise."""
    if status.phase is not Phase.FAILED:
        return 0
    return 2 if _mistake(status) else 1


def _mistake(status: Status) -> str | None:
    """The one sentence of a user's mistake in a failed process's last words."""
    lines = [line.strip() for line in status.reason.splitlines()]
    return next((line for line in reversed(lines) if line.startswith("error: ")), None)


def _summary(folder: Path) -> dict[str, Any]:
    """What the trainer says of the run at its end.

    Raises:
        UserError: if it is the damaged summary of an earlier sitting.
    """
    path, remedy = folder / run_folder.SUMMARY, "remove it, the next sitting writes another"
    found = read_json(path, remedy)
    numbers = ("test_images", "images_rendered", "images_trained", "steps", "seconds", "stall_fraction")
    errors = ("mean_error_percent", "median_error_percent")
    whole = isinstance(found, dict) and all(isinstance(found.get(n), int | float) for n in numbers)
    if not whole or not all(e in found and isinstance(found[e], int | float | None) for e in errors):
        raise UserError(f"{path} is not the summary of a run: {remedy}")
    return dict(found)


def _conclude(folder: Path, status: Status, code: int) -> None:
    if status.phase is Phase.FAILED:
        print(_mistake(status) or f"error: {status.reason}", file=sys.stderr)
    if (folder / run_folder.SUMMARY).exists() and status.phase is not Phase.FAILED:
        s = _summary(folder)
        if s["mean_error_percent"] is not None:
            print(
                f"error on {s['test_images']} test images: median {s['median_error_percent']:.2f} %, "
                f"mean {s['mean_error_percent']:.2f} % of the diagonal",
                file=sys.stderr,
            )
        fresh = s.get("fresh_fraction")
        uses = f", each rendering {1 / fresh:.1f} times" if isinstance(fresh, float) and 0 < fresh <= 1 else ""
        print(
            f"{s['images_rendered']} images rendered, {s['images_trained']} trained on in {s['steps']} steps "
            f"and {s['seconds']:.0f} s{uses}, {100 * s['stall_fraction']:.1f} % of the training spent waiting",
            file=sys.stderr,
        )
    model = folder / run_folder.MODEL
    print(f"best model: {model}" if model.exists() else "no model was trained yet", file=sys.stderr)
    for name in (*run_folder.PICTURES, run_folder.SUMMARY):
        if (folder / name).exists() and status.phase is not Phase.FAILED:
            print(f"            {folder / name}", file=sys.stderr)
    if status.phase is not Phase.DONE and run_folder.checkpoint(folder).exists():
        print(f"go on with: robot-keypoints train --resume {folder}", file=sys.stderr)
