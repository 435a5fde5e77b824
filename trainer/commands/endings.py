# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals that ask a long command to end in order: Ctrl-C, SIGTERM, and a terminal that hangs up."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

HANGUP = getattr(signal, "SIGHUP", None)


@contextmanager
def noted() -> Iterator[list[int]]:
    """The signals that come meanwhile; they interrupt nothing by themselves.

    A hang-up counts once, though the shell and the system may both tell of it, and what is said to the terminal goes
    nowhere from then on. Where it is ignored, as under ``nohup``, it stays so.
    """
    received: list[int] = []
    terminals = [descriptor for descriptor in (1, 2) if _is_terminal(descriptor)]

    def note(number: int, _: FrameType | None) -> None:
        if number != HANGUP:
            received.append(number)
            return
        if number not in received:
            received.append(number)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in terminals:
            os.dup2(nowhere, descriptor)
        os.close(nowhere)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if HANGUP is not None and signal.getsignal(HANGUP) is not signal.SIG_IGN:
        numbers.append(HANGUP)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_terminal(descriptor: int) -> bool:
    with suppress(OSError):
        return os.isatty(descriptor)
    return False
