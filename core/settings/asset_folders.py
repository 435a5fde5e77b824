# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that a scene picks from: HDRI worlds, and photographs for backgrounds by theme."""

from __future__ import annotations

import typing
from pathlib import Path

from ..errors import UserError
from ..scene import catalogue

if typing.TYPE_CHECKING:
    from .schema import Settings


PLACES = "<places>"
"""The theme that is always there and in no folder: views of the worlds that Blender brings."""


def worlds(settings: Settings) -> tuple[str, ...]:
    """The HDRI worlds in the order of the choices of ``light/world`` after ``plain``: names of those that Blender
    ships, then the user's files by name.

    Raises:
        UserError: if the user's folder can't be read or holds none.
    """
    if not settings.scene.worlds:
        return catalogue.SHIPPED_WORLDS
    found = _listing(settings.scene.worlds, "HDRI worlds")
    own = tuple(str(p) for p in found if p.suffix.lower() in (".exr", ".hdr") and p.is_file())
    if not own:
        raise UserError(f"There is no .exr or .hdr file in {settings.scene.worlds}: choose another folder of worlds")
    return (*catalogue.SHIPPED_WORLDS, *own)


def themes(settings: Settings) -> tuple[str, ...]:
    """The themes of the photographs: the folders in the folder of backgrounds, and ``"."`` for photographs in the
    folder itself.

    Raises:
        UserError: if the folder can't be read or holds none.
    """
    folder = settings.augmentation.backgrounds
    if not folder:
        return ()
    found = _listing(folder, "backgrounds")
    plain = any(p.is_file() and is_photograph(p) for p in found)
    result = (*((".",) if plain else ()), *(p.name for p in found if p.is_dir() and not p.name.startswith(".")))
    if not result:
        raise UserError(f"The folder of backgrounds {folder} holds no photographs: choose another")
    return result


def training_themes(settings: Settings) -> tuple[str, ...]:
    """The themes that images to train on may have behind them: those of :func:`themes`, and :data:`PLACES` after them
    (last, so that what was chosen before there were places means the same)."""
    apart = settings.augmentation.validation_themes
    return (*(t for t in themes(settings) if t not in apart), PLACES)


def is_photograph(path: Path) -> bool:
    """Whether a file's name says that it is a picture."""
    return path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def _listing(folder: str, what: str) -> list[Path]:
    try:
        return sorted(Path(folder).iterdir())
    except OSError as problem:
        raise UserError(
            f"The folder of {what} {folder} can't be read ({problem.strerror}): choose another"
        ) from problem
