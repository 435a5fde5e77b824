# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as one HTML file, which loads nothing, runs nothing, and prints.

A :class:`Page` holds sections of blocks: :class:`Text`, :class:`Numbers`, :class:`Table`, :class:`Picture` and
:class:`Gallery`. All text in them is plain text of any origin. The template in ``assets/reports`` escapes it, and
:func:`.one_line` writes out what can't be printed, so nothing in a name of a file or of a keypoint becomes markup.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import jinja2
from markupsafe import Markup

from ...core import files
from ...core.errors import UserError, one_line

TEMPLATES = Path(__file__).resolve().parents[2] / "assets" / "reports"

SUFFIX = ".html"


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar = "text"
    text: str


@dataclass(frozen=True)
class Number:
    """One of the numbers that are read first, as it is written, with its unit."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Numbers:
    """Numbers side by side."""

    kind: ClassVar = "numbers"
    entries: Sequence[Number]


@dataclass(frozen=True)
class Table:
    """Rows under column heads; the first cell of each row is its name.

    Attributes:
        rows: each as long as ``columns``.
        text_columns: places, from 0, of columns of text beside the first; the others are numbers, set to the right.
        total: whether the last row sums the others up.
    """

    kind: ClassVar = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    text_columns: Sequence[int] = ()
    total: bool = False


@dataclass(frozen=True)
class Picture:
    """An encoded image that becomes part of the page.

    Attributes:
        data: of the file.
        media: ``image/png``, ``image/jpeg`` or ``image/svg+xml``.
        alt: what is read out in its place.
    """

    kind: ClassVar = "picture"
    data: bytes
    media: str
    alt: str
    caption: str = ""

    @property
    def uri(self) -> Markup:
        """The whole image as an address."""
        # Markup, as an address is longer than any text may be; base64 holds nothing that needs escaping.
        return Markup(f"data:{self.media};base64,{base64.b64encode(self.data).decode('ascii')}")


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side."""

    kind: ClassVar = "gallery"
    pictures: Sequence[Picture]


Block = Text | Numbers | Table | Picture | Gallery


@dataclass(frozen=True)
class Section:
    """Blocks under a heading."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A whole report.

    Attributes:
        subtitle: lines under the title.
    """

    title: str
    subtitle: Sequence[str]
    sections: Sequence[Section]


def check_path(path: Path, option: str) -> None:
    """Refuse, before anything is computed, a file that could not be written.

    Args:
        option: what the user named the file with, such as ``--html``.

    Raises:
        UserError: saying why.
    """
    if path.suffix.lower() != SUFFIX:
        raise UserError(f"{path} does not end with {SUFFIX}: choose another name for {option}")
    if path.is_dir():
        raise UserError(f"{path} is a folder: choose another name for {option}")
    if not path.absolute().parent.is_dir():
        raise UserError(f"There is no folder {path.absolute().parent} for the report: make it first")


def render(page: Page) -> str:
    """The page as HTML."""
    return _template().render(page=page)


def write(path: Path, page: Page) -> None:
    """Write the page, whole or not at all.

    Raises:
        UserError: if there is no room, or no right to.
    """
    files.write_bytes(path, render(page).encode("utf-8"))


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, finalize=_plain,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html")


def _plain(value: Any) -> Any:
    """What may be printed of a text; jinja2 escapes it afterwards."""
    return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value
