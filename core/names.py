# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that are still free."""

from __future__ import annotations

import itertools
from collections.abc import Callable


def free_name(name: str, taken: Callable[[str], bool], *, separator: str = " ", ending: str = "") -> str:
    """``name``, or with the first number from 2 on that makes it one which is free.

    Args:
        taken: whether something has a name already.
        separator: stands before the number.
        ending: comes after the number, such as ``.png``.
    """
    numbered = (f"{name}{separator}{number}{ending}" for number in itertools.count(2))
    return next(n for n in itertools.chain([f"{name}{ending}"], numbered) if not taken(n))
