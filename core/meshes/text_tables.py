# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines and numbers of large texts, without a Python object for each."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .mesh import Indices

CHUNK = 1 << 23
"""Bytes that are looked at together; what a chunk takes meanwhile is several times that."""

NEWLINE = 10
BLANK = 32
"""The last of the octets that separate words."""

Octets = NDArray[np.uint8]


def chunks(data: bytes) -> Iterator[bytes]:
    """A text cut after some of its lines."""
    begin = 0
    while begin < len(data):
        end = data.find(b"\n", begin + CHUNK)
        end = len(data) if end < 0 else end + 1
        yield data[begin:end]
        begin = end


def word_starts(octets: Octets) -> Indices:
    """Where the words of a text begin."""
    word = octets > BLANK
    word[1:] &= octets[:-1] <= BLANK
    return np.flatnonzero(word)


def numbers(text: bytes, kind: Any = np.float64) -> NDArray[Any]:
    """All numbers of a text with nothing but numbers and white space.

    Raises:
        ValueError: if something else is there.
    """
    if not text or text.isspace():
        return np.empty(0, dtype=kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # which older numpys give instead of a ValueError
        try:
            found: NDArray[Any] = np.fromstring(text, dtype=kind, sep=" ")
        except (DeprecationWarning, ValueError):
            raise ValueError("something that is no number stands among its numbers") from None
    return found


class Lines:
    """The lines of a text that begin with certain words.

    Attributes:
        words: how many words each line has that is not blank.
    """

    def __init__(self, text: bytes) -> None:
        self._octets = np.frombuffer(text + b"\n", dtype=np.uint8)
        breaks = np.flatnonzero(self._octets == NEWLINE)
        starts = word_starts(self._octets)
        line = np.searchsorted(breaks, starts)
        first = np.flatnonzero(np.diff(line, prepend=-1))
        self._head = starts[first]
        self._end = breaks[line[first]]
        self.words = np.diff(first, append=len(starts))

    def beginning_with(self, word: bytes) -> Indices:
        """Numbers of the lines whose first word that is."""
        fits = self._head + len(word) < len(self._octets)
        for place, letter in enumerate(word):
            fits[fits] = self._octets[self._head[fits] + place] == letter
        fits[fits] = self._octets[self._head[fits] + len(word)] <= BLANK
        return np.flatnonzero(fits)

    def rest(self, line: int, word: bytes) -> str:
        """What follows the first word of a line."""
        text = self._octets[self._head[line] + len(word) : self._end[line]].tobytes()
        return text.decode("utf-8", "replace").strip()

    def texts(self, lines: Indices, word: bytes) -> bytes:
        """What follows the first word of these lines, together."""
        if not len(lines):
            return b""
        change = np.zeros(len(self._octets) + 1, dtype=np.int8)
        change[self._head[lines] + len(word)] = 1
        change[self._end[lines] + 1] = -1
        chosen = np.cumsum(change[:-1], dtype=np.int8).astype(bool)
        return bytes(self._octets[chosen])
