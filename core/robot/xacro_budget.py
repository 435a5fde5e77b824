# SPDX-License-Identifier: GPL-3.0-or-later
"""How much work the expansion of one xacro file may be."""

from __future__ import annotations

from typing import Any

STEPS = 2_000_000
"""Steps of one expansion: some ten seconds at most. The PR2, a large robot, takes 0.3 million."""
LARGEST = 100_000
"""Characters and items that one value may hold, its parts counted as often as they occur."""
BITS = 1024
"""Of a whole number; a float reaches as far."""
MOST_KEYS = 1_000
"""Of a dictionary or set: keys can be chosen so that each is compared with all others."""


FIXED = {float, bool, type(None)}
"""Types whose values have one size."""


class XacroError(Exception):
    """What a xacro file may not do, as a clause of the sentence that tells it."""


class Budget:
    """Counts steps; one step is about the work of one operation in an expression."""

    def __init__(self, steps: int = STEPS) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take away ``steps``.

        Raises:
            XacroError: if there are not so many left.
        """
        self.left -= steps
        if self.left < 0:
            raise XacroError("it takes more work than any robot's file should")

    def bounded(self, value: Any, per_step: int = 16) -> Any:
        """``value``, of which all parts were counted, ``per_step`` characters or items in each step.

        Raises:
            XacroError: if it is too large, or of a kind that no robot's file needs.
        """
        if type(value) in FIXED:
            return value
        size, waiting = 0, [value]
        while waiting:
            part = waiting.pop()
            size += 1
            if isinstance(part, str | bytes):
                size += len(part)
            elif isinstance(part, dict):
                check_keys(len(part))
                waiting += [*part.keys(), *part.values()]
            elif isinstance(part, list | tuple | set | frozenset):
                if isinstance(part, set | frozenset):
                    check_keys(len(part))
                waiting += part
            elif isinstance(part, complex):
                raise XacroError("a result is a complex number")
            elif isinstance(part, int) and part.bit_length() > BITS:
                raise XacroError("a number is too large")
            if size + len(waiting) > LARGEST:
                raise XacroError(f"a value is larger than {LARGEST:,} characters or items")
        self.spend(size // per_step)
        return value


def check_keys(count: int) -> None:
    """Refuse a dictionary or set with too many keys, before it is made.

    Raises:
        XacroError: if it has more than ``MOST_KEYS``.
    """
    if count > MOST_KEYS:
        raise XacroError(f"a dictionary or set has more than {MOST_KEYS:,} keys")


def check_length(length: int) -> None:
    """Refuse a text or list that would be too long, before it is made.

    Raises:
        XacroError: if it has more than ``LARGEST`` characters or items.
    """
    if length > LARGEST:
        raise XacroError(f"a value is larger than {LARGEST:,} characters or items")
