# SPDX-License-Identifier: GPL-3.0-or-later
"""Every docstring begins with a summary, on its first line and ended as a sentence is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("core", "addon", "trainer", "tools", "examples", "benchmarks")


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Where each docstring of a file stands, and what it says; Blender shows its classes' without a period."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            name = getattr(node, "name", "module")
            text = ast.get_docstring(node, clean=False)
            if text is not None and not name.startswith("KEYPOINTS_"):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)} {name}", text


@pytest.mark.parametrize("part", PARTS)
def test_they_begin_with_a_summary(part: str) -> None:
    found = [entry for path in sorted((ROOT / part).rglob("*.py")) for entry in docstrings(path)]
    assert found
    assert not [where for where, text in found if not text.strip() or text[0].isspace()]
    summaries = [(where, text.split("\n\n")[0].rstrip()) for where, text in found]
    assert not [where for where, text in summaries if not text.rstrip(")`").endswith((".", ":", "!", "?", "…"))]
