# SPDX-License-Identifier: GPL-3.0-or-later
"""Hooks of the documents' site: see ``mkdocs.yml``.

- Documents that stand in the root of the repository (CHANGELOG.md and so on) become pages. Links between those and
  ``docs/`` are written as they stand in the repository, and are right in both places.
- A file or folder of the repository that a document names in ``code`` has to exist, so that no document tells of what
  has moved.
- The API pages come from a copy of the sources that has the package's name, and plain code instead of roles such as
  ``:class:`.Prior```.
"""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("CHANGELOG.md", "CONTRIBUTING.md", "REFERENCES.md", "SECURITY.md")
PARTS = ("core", "trainer")
"""What the API pages tell of; ``addon`` is for Blender alone."""

ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`[.~]*([^`]+)`")
"""reStructuredText's roles in docstrings, which Markdown doesn't have."""

TOGETHER = re.compile(r"^( +)(?!self\b|cls\b)(\w+(?:, \w+)+)(?=: )", re.MULTILINE)
"""Arguments and attributes that a docstring explains together, of which griffe takes the second for a type."""

LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#])")
NAMED = re.compile(r"`((?:\.github|addon|assets|benchmarks|core|docs|examples|tests|tools|trainer)/[\w./-]*)`")

log = logging.getLogger(f"mkdocs.hooks.{__name__}")


def on_startup(**_: Any) -> None:
    """Copy the sources of the API pages, before mkdocstrings looks where they are."""
    copy = ROOT / "build" / "docs" / "robot_keypoints"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    shutil.copy(ROOT / "__init__.py", copy)
    for part in PARTS:
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for path in copy.rglob("*.py"):
        text = ROLE.sub(r"``\1``", path.read_text(encoding="utf-8"))
        text = TOGETHER.sub(_apart, text)
        path.write_text(text, encoding="utf-8")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Check the README, which is no page."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    check(readme, "README.md")
    for target in LINK.findall(readme) + re.findall(r'src="([^"]+)"', readme):
        if "://" not in target and not (ROOT / target).exists():
            log.warning("README.md links to %s, which does not exist", target)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand in the root of the repository."""
    for name in DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, name.lower(), content=LINK.sub(_from_root, text)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links out of ``docs/`` to documents in the root lead to their pages."""
    check(markdown, page.file.src_uri)
    return LINK.sub(_from_docs, markdown)


def check(text: str, document: str) -> None:
    """Warn of every file or folder of the repository that ``text`` names and that is not there."""
    for named in NAMED.findall(text):
        if not (ROOT / named).exists():
            log.warning("%s names %s, which does not exist", document, named)


def _apart(together: re.Match[str]) -> str:
    """One line for each name; what is said of all stands at the last."""
    *others, last = together[2].split(", ")
    return "".join(f"{together[1]}{name}: see ``{last}``.\n" for name in others) + together[1] + last


def _from_root(link: re.Match[str]) -> str:
    target = link[1].removeprefix("docs/")
    return target.lower() if target in DOCUMENTS else target


def _from_docs(link: re.Match[str]) -> str:
    above = "../" * link[1].count("../")
    name = link[1].removeprefix(above)
    return above.removeprefix("../") + name.lower() if above and name in DOCUMENTS else link[1]
