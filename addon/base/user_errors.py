# SPDX-License-Identifier: GPL-3.0-or-later
"""A user's mistake becomes one sentence, never a traceback."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import bpy

from ...core.errors import UserError

Execute = Callable[[Any, bpy.types.Context], set[str]]


def sentences(execute: Execute) -> Execute:
    """Decorates an operator's ``execute``: a :class:`UserError` is reported and the operator cancelled."""

    @functools.wraps(execute)
    def guarded(self: Any, context: bpy.types.Context) -> set[str]:
        try:
            return execute(self, context)
        except UserError as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}

    return guarded
