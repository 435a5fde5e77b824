# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception whose text is meant for the user, and what keeps a foreign text from spoiling it."""

LONGEST = 800
"""Characters of a sentence: what a file holds may be as long as the file."""


class UserError(Exception):
    """Something the user can mend; the text is one sentence: what was wrong, where, what to do.

    It may quote names and values of any file: see :func:`one_line`.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(one_line(sentence))


def printable(text: str) -> str:
    """A text without anything that a terminal would obey: what can't be printed is written out (``\\x1b``, ``\\n``)."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """A text on one line, of at most :data:`LONGEST` characters and without any that a terminal would obey.

    Line breaks become spaces, other characters that can't be printed are written out (``\\x1b``); what is too long
    loses its middle, as it ends with what to do.
    """
    if len(text) <= LONGEST and text.isprintable():
        return text
    text = text[: 8 * LONGEST] + text[-LONGEST:] if len(text) > 9 * LONGEST else text
    text = " ".join(text.split())
    text = printable(text)
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[: half - 1]} … {text[-half + 2 :]}"
