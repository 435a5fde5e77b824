# SPDX-License-Identifier: GPL-3.0-or-later
"""One word, one meaning: names that were given up, as CONTRIBUTING.md says under "Vocabulary", do not come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    ROOT / "launch.py",
    *(p for part in ("core", "addon", "trainer") for p in sorted((ROOT / part).rglob("*.py"))),
]
TEXTS = [
    *SOURCES, ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")),
    *(p for part in ("benchmarks", "examples", "tools") for p in sorted((ROOT / part).rglob("*.py"))),
]  # fmt: skip

GIVEN_UP = {
    "admission", "admitted", "adopt", "adoption", "bell", "desk", "finisher", "finishing", "held", "hidden", "look",
    "looker", "looks", "postman", "rope", "told",
}  # fmt: skip
"""Words that no name in the code has as one of its own."""

KEPT = {
    "HIDDEN",  # of the status of a pose, whose name stands in messages
    "HIDDEN_CHANNELS",  # of a network's hidden layer
    "HeldOut", "held_out",  # images that nothing is trained on
    "KEYPOINTS_OT_look_through_camera",  # an operator, whose identifier keymaps have
    "held",  # a property of a variable in .blend files
}  # fmt: skip
"""Names with such a word that files, messages or the literature have."""


def words_of(name: str) -> set[str]:
    """The words that an identifier is made of, in lower case."""
    return {w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}


def defined(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The names that a file gives to something of its own, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr, node.lineno


def given_up(source: str) -> list[str]:
    """What a file calls by a word that was given up, as ``line: name``."""
    names = sorted(set(defined(ast.parse(source))), key=lambda f: f[1])
    return [f"{line}: {name}" for name, line in names if words_of(name) & GIVEN_UP and name not in KEPT]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_name_has_a_word_that_was_given_up(path: Path) -> None:
    assert given_up(path.read_text(encoding="utf-8")) == []


def test_such_a_name_would_be_found() -> None:
    source = "class Looker:\n  def f(self, told):\n    self.hidden_values = rope_end = 1\n    HIDDEN = lookup = 2\n"
    assert set(given_up(source)) == {"1: Looker", "2: told", "3: hidden_values", "3: rope_end"}


UNNAMED = re.compile(r"\b(the|this) (paper|patent)\b|\bpaper's\b|\(paper[,:)]|\bpatent's\b", re.IGNORECASE)


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_literature_is_cited_by_its_key(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [f"{n}: {line.strip()}" for n, line in enumerate(lines, 1) if UNNAMED.search(line)] == []


def test_every_key_that_is_cited_stands_among_the_references() -> None:
    keys = set(re.findall(r"^### (\S+)$", (ROOT / "REFERENCES.md").read_text(encoding="utf-8"), re.MULTILINE))
    cited = {
        (key, str(path.relative_to(ROOT)))
        for path in TEXTS
        for key in re.findall(r"\[([A-Z][a-z]+(?:19|20)\d\d[a-z]?|US\d{7,8})\]", path.read_text(encoding="utf-8"))
    }
    assert {(k, p) for k, p in cited if k not in keys} == set()
    assert {k for k, _ in cited} & keys, "none is cited"
