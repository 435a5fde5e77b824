# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads XML that a stranger wrote: regular files of bounded size, without entities, of bounded depth and number."""

from __future__ import annotations

import codecs
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from ..errors import UserError
from ..input_files import LFS, open_regular

LARGEST = 16_000_000
"""Bytes of the largest description that is read; the largest of ``example-robot-data`` has 0.2 million."""
MOST_ELEMENTS = 200_000
DEEPEST = 200
"""Elements inside one another."""


def read_file(path: Path, largest: int = LARGEST) -> bytes:
    """The bytes of a regular file.

    Raises:
        UserError: if it is no regular file (a pipe or a device may never end), has more than ``largest`` bytes, is a
            Git LFS pointer, or can't be read.
    """
    try:
        with open_regular(path) as stream:
            data = stream.read(largest + 1)
    except OSError as problem:
        raise UserError(f"{path.name} can't be read ({problem.strerror}): check the file") from problem
    if len(data) > largest:
        raise UserError(f"{path.name} has more than {largest / 1e6:g} MB, which no robot needs: choose another file")
    if data.startswith(LFS):
        raise UserError(f"{path.name} is a Git LFS pointer and not the file itself: run git lfs pull in its folder")
    return data


def parse(data: bytes, file: str) -> Element:
    """The root element, with text but without comments and literal (CDATA) sections; prefixes that xacro left behind
    do no harm, nor do empty lines before the XML and Latin letters that no encoding was declared for.

    Raises:
        UserError: if it is broken, too large, or declares entities (which could grow without bound or name other
            files).
    """
    builder = TreeBuilder()
    data = data.removeprefix(codecs.BOM_UTF8).lstrip() if data[:3] == codecs.BOM_UTF8 or data[:1].isspace() else data
    parser = expat.ParserCreate(_encoding(data))
    parser.buffer_text = True
    count = depth = 0
    literal = False

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal count, depth
        count, depth = count + 1, depth + 1
        if count > MOST_ELEMENTS:
            raise UserError(f"{file} has more than {MOST_ELEMENTS:,} elements, which no robot needs: check the file")
        if depth > DEEPEST:
            raise UserError(f"{file} has more than {DEEPEST} elements inside one another: check the file")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def text(data: str) -> None:
        if not literal:
            builder.data(data)

    def section(begins: bool) -> None:
        nonlocal literal
        literal = begins

    def refuse(*_: object) -> None:
        raise UserError(f"{file} declares XML entities, which no URDF needs: save the file without its DOCTYPE")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text
    parser.StartCdataSectionHandler = lambda: section(True)
    parser.EndCdataSectionHandler = lambda: section(False)
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, AssertionError, ValueError, LookupError) as problem:
        raise UserError(f"{file} could not be read as a URDF ({problem}): check the file") from problem


def _encoding(data: bytes) -> str | None:
    """The encoding of a document that names none and is in none of XML's own; None where XML tells it."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"encoding" in data[:200]:
        return None
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "iso-8859-1"
    return None
