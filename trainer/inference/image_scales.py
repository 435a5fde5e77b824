# SPDX-License-Identifier: GPL-3.0-or-later
"""How the command line tells in what sizes images are looked at."""

from __future__ import annotations

from ...core.errors import UserError


def parse(text: str | None) -> tuple[float, ...] | None:
    """Numbers with commas between, such as ``0.8,1,1.25``, or None as it is.

    Raises:
        UserError: if they are not, or no use.
    """
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError as problem:
        raise UserError(f"--scales is {text}: write numbers with commas between, such as 0.8,1,1.25") from problem
    if not all(0.1 <= v <= 8 for v in values) or len(values) > 16:
        raise UserError(f"--scales is {text}: at most 16 numbers from 0.1 to 8")
    return values
