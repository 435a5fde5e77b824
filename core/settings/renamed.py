# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that have got another name: files with the old one are still read."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from typing import Any

from ..errors import UserError, one_line

RENAMED: Mapping[str, str] = {"training.hidden_weight": "occluded_weight", "training.first_look": "coarse_scale"}
"""The last word of the name that a setting has now, by its whole name before: ``training.old`` → ``new``.

Names are as in the file, without the numbers of entries: ``variables.old``. An entry stays for as long as someone may
have a file with the old name.
"""


def with_new_names(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The plain values of a settings file under the names of today; each old name is told once, on standard error.

    Args:
        data: as read.
        where: the file, for what is told.

    Raises:
        UserError: if a setting stands there under both names.
    """
    return _renamed(data, "", where)


def _renamed(table: Mapping[str, Any], prefix: str, where: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in table.items():
        old = f"{prefix}{name}"
        new = RENAMED.get(old)
        if new is not None:
            if new in table:
                raise UserError(f"{where} has {prefix}{new} and, by its former name, {old}: take {old} out")
            _tell(where, old, f"{prefix}{new}")
        result[new or name] = _inside(value, f"{prefix}{new or name}.", where)
    return result


def _inside(value: Any, prefix: str, where: str) -> Any:
    """No deeper than the table of names goes, as a file may be nested more deeply than a stack."""
    if not any(old.startswith(prefix) for old in RENAMED):
        return value
    if isinstance(value, list):
        return [_renamed(entry, prefix, where) if isinstance(entry, Mapping) else entry for entry in value]
    return _renamed(value, prefix, where) if isinstance(value, Mapping) else value


@functools.cache
def _tell(where: str, old: str, new: str) -> None:
    print(f"warning: {one_line(where)}: {old} is now called {new}; both names are read", file=sys.stderr, flush=True)
