# SPDX-License-Identifier: GPL-3.0-or-later
"""The functions that xacro documents for expressions, each with bounded results: plain data in, plain data out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from .xacro_budget import Budget, XacroError, check_keys, check_length

PER_CALL = 5
"""Steps that a call counts for besides its arguments and its value."""
MOST_DIGITS = 400
"""Digits that are rounded to, before or after the point."""
MOST_FACTORS = 170
"""Numbers up to which factorials and the like are taken."""


class Namespace(dict[str, Any]):
    """Functions and constants that are written after a name and a dot: ``math.sin``."""


class Record(dict[Any, Any]):
    """A dictionary whose values are also written after a dot: what xacro makes of YAML."""


class Function:
    """What an expression may call.

    Attributes:
        kind: the type that it converts to, for ``isinstance``; None for others.
    """

    def __init__(self, name: str, call: Callable[..., Any], budget: Budget, kind: type | None = None) -> None:
        self.name, self.kind = name, kind
        self._call, self._budget = call, budget

    def __call__(self, *given: Any, **named: Any) -> Any:
        """The function's value, bounded like its arguments."""
        self._budget.spend(PER_CALL)
        for value in (*given, *named.values()):
            self._budget.bounded(value)
        return self._budget.bounded(self._call(*given, **named))

    def __repr__(self) -> str:
        return f"<function {self.name}>"


PLAIN = {bool, int, float, str, type(None), list, tuple, dict, Record, set, frozenset, Function}
"""The types of values; nothing else is computed with."""


def items(value: Any) -> list[Any]:
    """What a value holds, as a list.

    Raises:
        XacroError: if it holds nothing, or too much.
    """
    if not isinstance(value, str | list | tuple | dict | set | frozenset):
        raise XacroError(f"{str(value)[:40]!r} holds no items")
    check_length(len(value))
    return list(value)


# ------------------------------------------------------------------------------------------------------------ methods


def method(value: Any, name: str, budget: Budget) -> Function | None:
    """A method of a value, as a function of the other arguments; None where it has none of that name."""
    call = METHODS.get(type(value), {}).get(name)
    if call is None:
        return None

    def bound(*given: Any, **named: Any) -> Any:
        budget.bounded(value)  # as a method takes as long
        return call(value, *given, **named)

    return Function(name, bound, budget)


def _join(text: str, parts: Any) -> str:
    parts = items(parts)
    check_length(len(text) * len(parts) + sum(len(p) for p in parts))
    return text.join(parts)


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    times = text.count(old) if count < 0 else min(count, text.count(old))
    check_length(len(text) + times * len(new))
    return text.replace(old, new, count)


def _wide(method: Callable[..., str]) -> Callable[..., str]:
    def padded(text: str, width: int, *fill: str) -> str:
        check_length(width)
        return method(text, width, *fill)

    return padded


def _copied(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda value: list(method(value))


OF_TEXTS: dict[str, Callable[..., Any]] = {
    **{name: getattr(str, name) for name in (
        "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdecimal", "isdigit",
        "isidentifier", "islower", "isnumeric", "isspace", "istitle", "isupper", "lower", "lstrip", "partition",
        "removeprefix", "removesuffix", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "split", "splitlines",
        "startswith", "strip", "swapcase", "title", "upper",
    )},
    "join": _join, "replace": _replace, **{name: _wide(getattr(str, name)) for name in (
        "center", "ljust", "rjust", "zfill",
    )},
}  # fmt: skip
OF_DICTIONARIES: dict[str, Callable[..., Any]] = {
    "copy": dict.copy, "get": dict.get, "items": _copied(dict.items), "keys": _copied(dict.keys),
    "values": _copied(dict.values),
}  # fmt: skip
OF_SETS = ("difference", "intersection", "isdisjoint", "issubset", "issuperset", "symmetric_difference", "union")
METHODS: dict[type, dict[str, Callable[..., Any]]] = {
    str: OF_TEXTS,
    list: {"count": list.count, "index": list.index},
    tuple: {"count": tuple.count, "index": tuple.index},
    float: {"is_integer": float.is_integer},
    dict: OF_DICTIONARIES,
    Record: {**OF_DICTIONARIES, "copy": Record},
    set: {name: getattr(set, name) for name in OF_SETS},
    frozenset: {name: getattr(frozenset, name) for name in OF_SETS},
}


# ---------------------------------------------------------------------------------------------------------- functions


def constants_and_functions(budget: Budget) -> dict[str, Any]:
    """Everything in Python's ``math``."""
    bounded: dict[str, Callable[..., Any]] = {
        "comb": _factors(math.comb), "factorial": _factors(math.factorial), "perm": _factors(math.perm),
        "fsum": lambda values: math.fsum(items(values)), "lcm": _lcm,
        "prod": lambda values, start=1: _folded(lambda a, b: a * b, items(values), start, budget),
    }  # fmt: skip
    return {
        name: Function(name, bounded.get(name, value), budget) if callable(value) else value
        for name, value in vars(math).items()
        if not name.startswith("_")
    }


def types(budget: Budget) -> dict[str, Function]:
    """Functions that convert to a type and are named after it."""
    calls: dict[type, Callable[..., Any]] = {
        bool: bool, dict: _dict, float: float, frozenset: _set(frozenset), int: int, list: _sequence(list),
        set: _set(set), str: str, tuple: _sequence(tuple),
    }  # fmt: skip
    return {kind.__name__: Function(kind.__name__, call, budget, kind) for kind, call in calls.items()}


def functions(budget: Budget) -> dict[str, Function]:
    """Python's own functions that xacro offers. What is lazy in Python is a list here."""
    calls: dict[str, Callable[..., Any]] = {
        "abs": abs, "all": lambda values: all(items(values)), "any": lambda values: any(items(values)),
        "divmod": divmod, "enumerate": lambda values, start=0: list(enumerate(items(values), start)),
        "filter": lambda function, values: [v for v in items(values) if (v if function is None else function(v))],
        "isinstance": _isinstance, "len": len, "map": _map, "max": _extreme(max), "min": _extreme(min), "ord": ord,
        "range": _range, "repr": repr, "reversed": lambda values: items(values)[::-1], "round": _round,
        "sorted": lambda values, key=None, reverse=False: sorted(items(values), key=key, reverse=reverse),
        "sum": lambda values, start=0: _folded(lambda a, b: a + b, items(values), start, budget),
        "zip": lambda *several: list(zip(*map(items, several), strict=False)),
    }  # fmt: skip
    return {name: Function(name, call, budget) for name, call in calls.items()}


def global_symbols(
    budget: Budget,
    load_yaml: Callable[[str], Any],
    abs_filename: Callable[[str], str],
    argument: Callable[[str], str],
) -> dict[str, Any]:
    """What expressions find besides a file's own properties, by the names that xacro gives it."""
    python = {**types(budget), **functions(budget)}
    mathematics = constants_and_functions(budget)
    own = {
        name: Function(name, call, budget)
        for name, call in {
            "abs_filename": abs_filename, "arg": argument, "dotify": dotted, "error": _silent, "fatal": _fatal,
            "load_yaml": load_yaml, "message": _silent, "print_location": _silent, "tokenize": _tokenize,
            "warning": _silent,
        }.items()
    }  # fmt: skip
    direct = ("bool", "dict", "float", "int", "len", "list", "map", "max", "min", "range", "round", "sorted", "str")
    return {
        **mathematics, **{name: python[name] for name in direct},
        **{name: own[name] for name in ("abs_filename", "dotify", "load_yaml")},
        "math": Namespace(mathematics), "python": Namespace(python), "xacro": Namespace(own),
    }  # fmt: skip


def dotted(value: Any) -> Any:
    """The value with every dictionary in it a :class:`Record`."""
    if isinstance(value, dict):
        return Record((key, dotted(part)) for key, part in value.items())
    return [dotted(part) for part in value] if isinstance(value, list) else value


def _factors(function: Callable[..., int]) -> Callable[..., int]:
    def bounded(*numbers: int) -> int:
        if any(n > MOST_FACTORS for n in numbers):
            raise XacroError(f"{function.__name__} of more than {MOST_FACTORS} is too large")
        return function(*numbers)

    return bounded


def _lcm(*numbers: int) -> int:
    if len(numbers) > MOST_FACTORS:
        raise XacroError(f"lcm of more than {MOST_FACTORS} numbers is too large")
    return math.lcm(*numbers)


def _folded(step: Callable[[Any, Any], Any], values: Iterable[Any], start: Any, budget: Budget) -> Any:
    for value in values:
        if not (isinstance(start, int | float) and isinstance(value, int | float)):
            raise XacroError("only numbers are added up or multiplied")
        start = budget.bounded(step(start, value))
    return start


def _sequence(kind: Callable[[list[Any]], Any]) -> Callable[..., Any]:
    return lambda values=(): kind(items(values))


def _set(kind: Callable[[list[Any]], Any]) -> Callable[..., Any]:
    def made(values: Any = ()) -> Any:
        parts = items(values)
        check_keys(len(parts))
        return kind(parts)

    return made


def _dict(pairs: Any = (), **named: Any) -> dict[Any, Any]:
    parts = list(pairs.items()) if isinstance(pairs, dict) else [tuple(items(pair)) for pair in items(pairs)]
    check_keys(len(parts) + len(named))
    return dict(parts, **named)


def _isinstance(value: Any, kinds: Any) -> bool:
    named = kinds if isinstance(kinds, tuple) else (kinds,)
    if not all(isinstance(k, Function) and k.kind is not None for k in named):
        raise XacroError("isinstance asks for a type, such as list or str")
    return isinstance(value, tuple(k.kind for k in named))


def _map(function: Callable[..., Any], *several: Any) -> list[Any]:
    return [function(*parts) for parts in zip(*map(items, several), strict=False)]


def _extreme(function: Callable[..., Any]) -> Callable[..., Any]:
    def found(*values: Any, **options: Any) -> Any:
        return function(items(values[0]) if len(values) == 1 else values, **options)

    return found


def _range(*ends: int) -> list[int]:
    numbers = range(*ends)
    check_length(len(numbers))
    return list(numbers)


def _round(number: Any, digits: int | None = None) -> Any:
    if isinstance(digits, int) and abs(digits) > MOST_DIGITS:
        raise XacroError(f"a number is rounded to at most {MOST_DIGITS} digits")
    return round(number, digits)


def _silent(*words: Any, **options: Any) -> str:
    return ""


def _fatal(*words: Any) -> None:
    raise XacroError(" ".join(map(str, words)) or "the file says that something is wrong")


def _tokenize(text: str, sep: str = ",; ", skip_empty: bool = True) -> list[str]:
    parts = re.split("[" + re.escape(sep) + "]", text)
    return [p for p in parts if p] if skip_empty else parts
