# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of models that come along: what lies in ``assets/models/``.

A model there is three files of one name: ``NAME.safetensors``, ``NAME.md``, a page for people, and ``NAME.toml``, which
this module reads. To add a model, put those three there, and a picture that it can be tried on.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .errors import UserError

FOLDER = Path(__file__).resolve().parent.parent / "assets" / "models"


@dataclass(frozen=True)
class Errors:
    """How far a model's keypoints lay from where they are, in percent of the image's diagonal.

    Attributes:
        images: on which images, in words.
    """

    images: str
    mean: float
    median: float

    def __str__(self) -> str:
        return f"median {self.median:.2f} %, mean {self.mean:.2f} % on {self.images}"


@dataclass(frozen=True)
class BuiltinModel:
    """One model that comes along.

    Attributes:
        name: what the command line and the panel call it, such as ``ur3e``.
        label: how people write the robot's name, such as ``UR3e``.
        robot: the robot's name within the model.
        source: which description of the robot was rendered, with its licence.
        keypoints: their names, in the model's order.
        file: the model.
        page: how it was made and how good it is, as Markdown.
        picture: a rendering to try it on.
        sha256: of the file, in hexadecimal.
        errors: the most telling first.
    """

    name: str
    label: str
    robot: str
    source: str
    keypoints: tuple[str, ...]
    file: Path
    page: Path
    picture: Path
    sha256: str
    errors: tuple[Errors, ...]


@cache
def models(folder: Path = FOLDER) -> Mapping[str, BuiltinModel]:
    """The models in a folder by name, in the order of their names; one whose weights are missing is left out."""
    found = (_read(card) for card in sorted(folder.glob("*.toml")))
    return {model.name: model for model in found if model.file.is_file()}


def _read(card: Path) -> BuiltinModel:
    entry = tomllib.loads(card.read_text(encoding="utf-8"))
    errors = tuple(Errors(str(e["images"]), float(e["mean"]), float(e["median"])) for e in entry["errors"])
    return BuiltinModel(
        card.stem, str(entry["label"]), str(entry["robot"]), str(entry["source"]), tuple(map(str, entry["keypoints"])),
        card.with_suffix(".safetensors"), card.with_suffix(".md"), card.with_name(str(entry["picture"])),
        str(entry["sha256"]), errors,
    )  # fmt: skip


def resolve(word: str | os.PathLike[str]) -> Path:
    """The file that a word of the command line means: a file of that name, else the built-in model of that name.

    A word that is neither is taken for a file, which whoever opens it will miss.
    """
    path = Path(word)
    known = models().get(os.fspath(word).lower())
    return path if known is None or path.is_file() else known.file


def get(name: str) -> BuiltinModel:
    """The built-in model of this name.

    Raises:
        UserError: naming those that there are.
    """
    known = models().get(name)
    if known is None:
        raise UserError(f"There is no built-in model {name!r}: choose {names()}")
    return known


def names() -> str:
    """The built-in models' names in a row, for a sentence: ``panda, ur10 or ur3e``."""
    known = list(models())
    return " or ".join([", ".join(known[:-1]), known[-1]] if len(known) > 1 else known)
