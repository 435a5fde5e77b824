# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports: what comes from files and names stays text, and a page needs nothing but itself."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path

import pytest
from robot_keypoints.core.errors import UserError
from robot_keypoints.trainer.reports import page
from robot_keypoints.trainer.reports.page import Gallery, Number, Numbers, Page, Picture, Section, Table, Text

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;{{ 7 * 7 }}"
TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "p", "nav", "a", "section", "dl", "dt",
    "dd", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "img",
}  # fmt: skip
DATA = b"no picture, but bytes"


class Reader(HTMLParser):
    """Elements and text of a page."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def everything(text: str) -> Page:
    """A page with the text wherever there is one."""
    picture = Picture(DATA, "image/png", text, text)
    return Page(text, (text,), [
        Section(text, [Text(text), Numbers([Number(text, text, text)]), picture, Gallery([picture, picture])]),
        Section(text, [Table((text, text), [(text, text)], text, text_columns=(1,), total=True)]),
    ])  # fmt: skip


def test_whatever_a_name_is_it_stays_text() -> None:
    document = page.render(everything(HOSTILE))
    found = Reader(document)
    assert {tag for tag, _ in found.tags} <= TAGS
    assert not [a for _, attributes in found.tags for a in attributes if a.startswith("on")]
    # Each of the places: title twice, subtitle, two links, two headings, one text, three of a number, three captions,
    # the table's two heads, two cells and caption.
    assert "".join(found.text).count(HOSTILE) == 19
    assert [a["alt"] for tag, a in found.tags if tag == "img"] == [HOSTILE] * 3


def test_a_page_loads_nothing() -> None:
    found = Reader(page.render(everything("x")))
    sources = [a["src"] for tag, a in found.tags if tag == "img"]
    assert sources == [f"data:image/png;base64,{base64.b64encode(DATA).decode()}"] * 3
    assert all((a["href"] or "").startswith("#section-") for tag, a in found.tags if tag == "a")
    policies = [a["content"] for _, a in found.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    style = page.render(everything("x")).split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style


def test_what_can_not_be_printed_is_written_out(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    page.write(path, everything("a\x00b\x1b[2J \u202egnp.exe \udcff"))
    text = path.read_text(encoding="utf-8")
    assert r"a\x00b\x1b[2J \u202egnp.exe \udcff" in text
    assert not {"\x00", "\x1b", "\u202e"} & set(text)


@pytest.mark.parametrize(
    ("name", "words"),
    [("report.txt", "does not end with .html"), ("folder.html", "is a folder"), ("no/r.html", "There is no folder")],
)
def test_a_file_that_could_not_be_written_is_refused_at_once(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UserError, match=f"{words}.*(choose another name for --html|make it first)"):
        page.check_path(tmp_path / name, "--html")
    page.check_path(tmp_path / "new.HTML", "--html")
