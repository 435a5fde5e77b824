# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers with a fault each, for the tests of the fuzzing itself."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from robot_keypoints.core.errors import UserError
from subjects import Seed

FINE = b"0123456789abcdef"


class Reader:
    """Reads the valid file and refuses others with a sentence, but for one fault."""

    def __init__(self, scratch: Path) -> None:
        del scratch

    def seeds(self) -> Sequence[Seed]:
        return [Seed("a.bin", {"a.bin": FINE})]

    def attempt(self, entry: Path) -> None:
        if entry.read_bytes() != FINE:
            self.fail()
            raise UserError("This is not the file: choose another")

    def fail(self) -> None:
        """What is wrong with this reader."""


class Right(Reader):
    pass


class Raises(Reader):
    def fail(self) -> None:
        {}["nothing"]


class Spins(Reader):
    def fail(self) -> None:
        while True:
            pass


class Waits(Reader):
    def fail(self) -> None:
        time.sleep(3600)


class Grows(Reader):
    def fail(self) -> None:
        try:
            bytearray(1 << 34)
        except MemoryError as problem:
            raise UserError("This can't be read: choose another") from problem


class Crashes(Reader):
    def fail(self) -> None:
        os.abort()


class Rambles(Reader):
    def fail(self) -> None:
        raise ChattyError("one line\nand another")


class ChattyError(UserError):
    def __str__(self) -> str:
        return "one line\nand another"


class Useless(Reader):
    """Can't even read the valid file."""

    def attempt(self, entry: Path) -> None:
        raise RuntimeError("it is broken")
