# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the files that a robot's description names lie on this machine."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlparse
from urllib.request import url2pathname

from ..errors import UserError
from . import xml_files

ABOVE = 3
"""How many folders above a description a name without a package is looked for."""
DEPTH = 3
"""How many folders below one of ROS_PACKAGE_PATH a package is looked for."""


class FileFinder:
    """Turns the file names of one robot's description into paths.

    ``package://NAME/…`` and ``model://NAME/…`` are looked for, in this order, where the user says, in and below the
    folders of ROS_PACKAGE_PATH, in AMENT_PREFIX_PATH, and in the folders above the description.
    """

    def __init__(self, description: Path, packages: Mapping[str, str] | None = None) -> None:
        """``packages``: folders by the name of the package."""
        self.description = description
        self.packages = dict(packages or {})

    def __call__(self, name: str) -> Path | None:
        """The file behind ``package://``, ``model://``, ``file://``, an absolute name or one relative to the
        description or to a folder above it; None if there is none."""
        for candidate in dict.fromkeys((name, unquote(name))):
            with contextlib.suppress(OSError, ValueError):  # a name that no file can have
                path = self._found(candidate.strip())
                if path is not None:
                    return path
        return None

    def _found(self, name: str) -> Path | None:
        name = name.replace("\\", "/")
        name = re.sub(r"^\$\(find ([\w-]+)\)", r"package://\1", name)  # as xacro leaves it where it was not run
        match = re.match(r"(?:package|model):/+(.*)", name, re.IGNORECASE)
        if match:
            package, _, rest = match[1].partition("/")
            found = (folder / rest.lstrip("/") for folder in self.folders(package) if rest)
            return next((path for path in found if path.is_file()), None) or self._relative(match[1])
        plain = url2pathname(urlparse(name).path) if name[:5].lower() == "file:" else name
        return None if re.match(r"[/\\]{2}", plain) else self._relative(plain)  # on Windows another computer's

    def _relative(self, name: str) -> Path | None:
        """A file beside the description or in a folder above it; an absolute name stands as it is."""
        paths = (folder / name for folder in self._above[: 1 + ABOVE])
        return next((path for path in paths if path.is_file()), None)

    def package(self, name: str) -> Path | None:
        """The folder of a package, or None."""
        return next((folder for folder in self.folders(name) if folder.is_dir()), None)

    def folders(self, package: str) -> Iterator[Path]:
        """Where a package may lie, the likeliest first; not all of them exist."""
        if package in self.packages:
            yield Path(self.packages[package])
        for root in _paths("ROS_PACKAGE_PATH"):
            yield from (root / package, *([root] if _called(root, package) else []))
            for depth in range(1, DEPTH):
                yield from sorted(root.glob("*/" * depth + _literal(package)))
        for root in _paths("AMENT_PREFIX_PATH"):
            yield root / "share" / package
        for root in self._above:
            yield root / package
            if _called(root, package):
                yield root

    @cached_property
    def _above(self) -> tuple[Path, ...]:
        return tuple(self.description.resolve().parents)


def packages_in(folder: Path) -> dict[str, str]:
    """Packages by name: ``folder`` itself and the folders in it, by their own names and by those in package.xml.

    Raises:
        UserError: if it is not a folder that can be read.
    """
    try:
        folders = [folder, *sorted(entry for entry in folder.iterdir() if entry.is_dir())]
    except OSError as problem:
        raise UserError(
            f"The folder of packages {folder} can't be read ({problem.strerror}): choose another"
        ) from problem
    return {name: str(f) for f in folders for name in (f.name, _declared_name(f)) if name}


def _paths(variable: str) -> list[Path]:
    return [Path(p) for p in os.environ.get(variable, "").split(os.pathsep) if p]


def _literal(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)


def _called(folder: Path, package: str) -> bool:
    """Whether a folder is that package: by its own name, or by its package.xml, as a clone may be called anything."""
    return package in (folder.name, _declared_name(folder))


def _declared_name(folder: Path) -> str:
    manifest = folder / "package.xml"
    if not manifest.is_file():
        return ""
    try:
        return (xml_files.parse(xml_files.read_file(manifest), manifest.name).findtext("name") or "").strip()
    except UserError:
        return ""
