# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the files of a mesh: the one that a robot's description names, and those beside it that it names in turn.

A mesh file comes from a stranger. What it names is taken from the robot's package only: from the nearest folder above
it with a ``package.xml`` or ``model.config``, and where there is none from two folders above the mesh's own. An
absolute name, or one that leads out of the package, is looked for by its last part, beside the mesh and where Gazebo
keeps textures. Nothing is ever fetched.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from urllib.parse import unquote

from ..errors import UserError
from ..input_files import LFS

MEGABYTE = 1_000_000
MANIFESTS = ("package.xml", "model.config")
FOLDERS_UP = 2
"""How far above a mesh's folder a package without a manifest may begin."""


def read_bytes(path: Path, megabytes: int) -> bytes:
    """The whole of a regular file.

    Raises:
        UserError: if it is no regular file, can't be read, is too large, or is what Git LFS left in its place.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # before it is opened: opening a device or a pipe may do something
            raise UserError(f"The mesh {path} is no regular file: name another")
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:
            size = os.fstat(file.fileno()).st_size / MEGABYTE
            if size <= megabytes:
                data = file.read(megabytes * MEGABYTE + 1)
                size = len(data) / MEGABYTE
    except OSError as problem:
        raise UserError(f"The mesh {path} can't be read ({problem.strerror}): check the file") from problem
    if size > megabytes:
        raise UserError(
            f"The mesh {path} has {size:.0f} MB, and more than {megabytes} MB are not read: export it with fewer "
            "triangles"
        )
    if data.startswith(LFS):
        raise UserError(
            f"The mesh {path} is a Git LFS pointer and not the mesh itself: run 'git lfs pull' in the folder of its "
            "repository"
        )
    return data


def beside(name: str, mesh: Path) -> Path | None:
    """The file that ``mesh`` names by a path or URI relative to itself, if it lies in the same package."""
    for plain in dict.fromkeys((_plain(unquote(name)), _plain(name))):
        path = _inside(mesh.parent / plain, mesh)
        if path is not None:
            return path
    return None


def image(name: str, mesh: Path) -> Path | None:
    """The image that ``mesh`` names; where it is not where the file says, it is looked for by its last part beside the
    mesh and where Gazebo keeps textures."""
    folders = [mesh.parent, mesh.parent / "materials/textures", mesh.parent.parent / "materials/textures"]
    last = Path(_plain(unquote(name))).name
    return beside(name, mesh) or next((p for f in folders if last and (p := _inside(f / last, mesh))), None)


def package_root(mesh: Path) -> Path:
    """The folder in which everything must lie that a mesh file may name."""
    above = Path(os.path.abspath(mesh)).parents
    for folder in above:
        if any((folder / name).is_file() for name in MANIFESTS):
            return folder
    home = Path.home()
    own = [f for f in above[: FOLDERS_UP + 1] if f != home and f not in home.parents and f != Path(f.anchor)]
    return own[-1] if own else above[0]


def _plain(name: str) -> str:
    return re.sub(r"^file:(//)?", "", name).replace("\\", "/")


def _inside(path: Path, mesh: Path) -> Path | None:
    """A regular file of the mesh's package. Links count by where they stand: colcon's installed packages are made of
    links to their sources."""
    try:
        whole = Path(os.path.abspath(path))
        return whole if whole.is_relative_to(package_root(mesh)) and whole.is_file() else None
    except (OSError, ValueError):  # a name that is too long, or has a zero byte
        return None
