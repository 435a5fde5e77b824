# SPDX-License-Identifier: GPL-3.0-or-later
"""What every message shares: a JSON header with ``schema`` and ``run``, read strictly."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import one_line

SCHEMA = 1
MAX_HEADER = 1 << 20
MAX_IMAGE = 256 << 20


class MessageError(ValueError):
    """A message that is malformed, of another schema, or not of this run; the text is one line, whatever it quotes."""

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason))


def encode_request(kind: str, **content: Any) -> bytes:
    """A request or an answer on a control socket."""
    return dump({"schema": SCHEMA, "type": kind, **content})


def parse(data: bytes | memoryview, kind: str | None = None) -> dict[str, Any]:
    """A JSON header of our schema, of type ``kind`` unless that is None.

    Raises:
        MessageError: if it is too long, not JSON, not an object, or of another schema or type.
    """
    if len(data) > MAX_HEADER:
        raise MessageError(f"the header has {len(data)} bytes")
    try:
        header = json.loads(bytes(data), parse_constant=_refuse)
    except (ValueError, RecursionError) as problem:
        raise MessageError("the header is not JSON") from problem
    if not isinstance(header, dict):
        raise MessageError("the header is not an object")
    if header.get("schema") != SCHEMA:
        raise MessageError(f"the message has schema {header.get('schema')!r}; this program speaks {SCHEMA}")
    if not isinstance(header.get("type"), str) or (kind is not None and header["type"] != kind):
        raise MessageError(f"the message is of type {header.get('type')!r}, not {kind!r}")
    return header


def dump(value: Mapping[str, Any]) -> bytes:
    """Encode a header as JSON.

    Raises:
        ValueError: if a number in it is not finite.
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def finite(value: Any) -> bool:
    """Whether a JSON value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def whole_number(header: Mapping[str, Any], name: str) -> int:
    """One of a header's numbers that count something.

    Raises:
        MessageError: if it is none.
    """
    value = header.get(name)
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise MessageError(f"{name} is {value!r}")
    return value


def array_in(
    header: Mapping[str, Any], name: str, shape: tuple[int, ...], missing: bool = False
) -> NDArray[np.float64]:
    entries: list[Any] = [header.get(name)]
    for size in shape:
        if not all(type(e) is list and len(e) == size for e in entries):
            raise MessageError(f"{name} is not of shape {shape}")
        entries = list(itertools.chain.from_iterable(entries))
    known = (float, int, type(None)) if missing else (float, int)
    if not set(map(type, entries)).issubset(known):
        raise MessageError(f"{name} holds {next(e for e in entries if type(e) not in known)!r}")
    try:
        values = np.array(entries, dtype=np.float64)
    except OverflowError as problem:
        raise MessageError(f"{name} holds a number that is too large") from problem
    # None has become NaN; JSON itself has neither NaN nor infinity, but 1e999 reads as one.
    if not np.isfinite(values).all() and (not missing or np.isinf(values).any()):
        raise MessageError(f"{name} holds something that is not finite")
    return values.reshape(shape)
