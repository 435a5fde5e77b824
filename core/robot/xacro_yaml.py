# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the YAML that xacro files load: plain data, with xacro's units."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import yaml

from .xacro_budget import Budget, XacroError
from .xacro_functions import Record

LARGEST = 250_000
"""Bytes of a YAML file; reading more takes seconds."""
MOST_ALIASES = 200
"""Each may stand for as much as the file holds."""
UNITS = {
    "!radians": 1.0, "!degrees": math.pi / 180.0, "!meters": 1.0, "!millimeters": 0.001, "!foot": 0.3048,
    "!inches": 0.0254,
}  # fmt: skip


def parse(data: bytes, name: str, evaluate: Callable[[str], Any], budget: Budget) -> Any:
    """What a YAML file holds, its dictionaries as records.

    Args:
        evaluate: the value of an expression, as in ``!degrees 90/2``.

    Raises:
        XacroError: if it is no YAML, too large, or holds more than plain data.
    """
    budget.spend(len(data) // 4)
    loader = _Loader(data, budget, evaluate)
    try:
        found = loader.get_single_data()
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as problem:
        what = getattr(problem, "problem", None) or type(problem).__name__
        mark = getattr(problem, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark is not None else ""
        raise XacroError(f"{name} is no YAML that can be read ({what}{line})") from problem
    finally:
        loader.dispose()
    return _plain(budget.bounded(found))


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader with xacro's units, and without the growth of aliases."""

    def __init__(self, data: bytes, budget: Budget, evaluate: Callable[[str], Any]) -> None:
        super().__init__(data)
        self._budget, self._evaluate, self._aliases = budget, evaluate, 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            self._aliases += 1
            if self._aliases > MOST_ALIASES:
                raise XacroError(f"a YAML file has more than {MOST_ALIASES} aliases")
        return super().compose_node(parent, index)

    def flatten_mapping(self, node: Any) -> None:
        super().flatten_mapping(node)
        self._budget.spend(len(node.value))

    def unit(self, node: Any) -> float:
        try:
            value = float(self._evaluate(self.construct_scalar(node)))
        except (ArithmeticError, LookupError, TypeError, ValueError) as problem:
            raise XacroError(f"{node.tag} {str(node.value)[:40]!r} is no number") from problem
        return value * UNITS[node.tag]


for _tag in UNITS:
    _Loader.add_constructor(_tag, _Loader.unit)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return Record((_plain(key), _plain(part)) for key, part in value.items())
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if isinstance(value, str | int | float | set | None) else str(value)
