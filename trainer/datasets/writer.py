# SPDX-License-Identifier: GPL-3.0-or-later
"""A data set's folder: what it was made from, which of its samples are whole, and how one is written.

Every file is written whole or not at all, and a sample's label after its pictures, so a label that is there says that
its sample is whole. That is all that going on after an interruption needs.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...core import files, run_folder
from ...core.errors import UserError
from ...core.input_files import read_json
from ...core.settings.schema import Settings
from .sample_label import Body

MANIFEST = "data_set.json"
MOST = 1_000_000
"""Samples in one data set: their numbers have six digits."""

PNG_LEVEL = 3
"""Compression of pictures: with their noise, more of it takes longer and saves nothing."""


@dataclass(frozen=True)
class Finished:
    """One sample, ready to be written.

    Attributes:
        image: ``(H, W, 3)`` RGB, or ``(H, W, 4)`` RGBA with straight alpha, uint8.
        label: see :func:`.sample_label.label`.
        mask: see :class:`.Sample`.
    """

    index: int
    image: NDArray[np.uint8]
    label: Mapping[str, Any]
    mask: NDArray[np.uint16] | None = None


class DataSet(ABC):
    """A data set of one format in its folder. Writing is safe from several threads at once."""

    format: str

    def __init__(
        self,
        folder: Path,
        bodies: Sequence[Body],
        masks: bool,
        description: str = "Rendered and labelled by Robot Keypoints",
    ) -> None:
        """Say where the data set is; nothing is written yet.

        Args:
            masks: whether samples have pictures of their links.
            description: of the whole data set, where its format has one.
        """
        self.folder = folder
        self.description = description
        self.bodies = tuple(bodies)
        self.masks = masks

    def __iter__(self) -> Iterator[int]:
        """Numbers of the samples that are whole, ascending."""
        folder, suffix = self.label_path(0).parent, self.label_path(0).suffix
        if folder.is_dir():
            found = (p.stem for p in folder.iterdir() if p.suffix == suffix and re.fullmatch(r"[0-9]{6}", p.stem))
            yield from sorted(i for i in map(int, found) if self.image_path(i).is_file())

    def write(self, sample: Finished) -> None:
        """Write one sample, its label last.

        Raises:
            WriteError: if the disk is full, or the folder can't be written.
        """
        write_png(self.image_path(sample.index), sample.image)
        if sample.mask is not None:
            self.write_mask(sample, sample.mask)
        text = json.dumps(self.document(sample), allow_nan=False, separators=(",", ":"))
        files.write_text(self.label_path(sample.index), text + "\n")

    def read(self, index: int) -> tuple[Image.Image, dict[str, Any]]:
        """A sample's picture and its label as it was given to :meth:`write`."""
        with Image.open(self.image_path(index)) as file:
            picture = file.convert("RGB")
        return picture, self.read_label(index)

    def read_label(self, index: int) -> dict[str, Any]:
        """A sample's label as it was given to :meth:`write`.

        Raises:
            UserError: if its file is damaged.
        """
        path = self.label_path(index)
        remedy = "remove it and give the same command again, which renders this sample once more"
        document = read_json(path, remedy)
        try:
            return self.label(document)
        except (LookupError, TypeError, ValueError) as problem:
            raise UserError(f"{path} is not this sample's label: {remedy}") from problem

    @abstractmethod
    def image_path(self, index: int) -> Path:
        """Where a sample's picture is."""

    @abstractmethod
    def label_path(self, index: int) -> Path:
        """Where a sample's label is."""

    @abstractmethod
    def write_mask(self, sample: Finished, mask: NDArray[np.uint16]) -> None:
        """Write the picture of the links."""

    @abstractmethod
    def document(self, sample: Finished) -> Any:
        """The content of a sample's label file."""

    @abstractmethod
    def label(self, document: Any) -> dict[str, Any]:
        """The label that is inside a label file's content.

        Raises:
            LookupError, TypeError, ValueError: if there is none.
        """

    @abstractmethod
    def begin(self) -> None:
        """Make the folders, before the first sample."""

    @abstractmethod
    def finish(self) -> None:
        """Write the files that tell of all samples together, once these are there."""


def write_png(path: Path, pixels: NDArray[Any]) -> None:
    """An 8-bit or 16-bit picture as PNG, whole or not at all."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=PNG_LEVEL)
    files.write_bytes(path, buffer.getvalue())


LATER_SETTINGS = {("render", "denoise"): "auto"}
"""Settings that came after data sets had been begun, and the value with which those can be gone on with."""


@dataclass(frozen=True)
class Manifest:
    """What decides what a data set looks like: with the same manifest, sample i is the same, whoever renders it."""

    format: str
    seed: int
    transparent: bool
    origin: str

    @classmethod
    def of(cls, form: str, seed: int, transparent: bool, settings: Settings, preset: str | None) -> Manifest:
        """The manifest of a data set that is made from ``settings`` as they were given."""
        content = asdict(settings)
        for part in ("workers", "training", "feedback", "stream", "data"):
            content.pop(part)
        content["augmentation"].pop("covers")  # which only images trained on have
        for (part, name), default in LATER_SETTINGS.items():
            if content[part][name] == default:
                content[part].pop(name)
        text = json.dumps([content, preset], sort_keys=True)
        return cls(form, seed, transparent, hashlib.sha256(text.encode()).hexdigest())

    def claim(self, folder: Path) -> None:
        """Make ``folder`` the place of this data set, unless it is that already.

        Raises:
            UserError: if the folder belongs to something else, or can't be written.
        """
        file = folder / MANIFEST
        try:
            if file.exists():
                old = json.loads(file.read_text(encoding="utf-8"))
                if old == asdict(self):
                    return
                if any(folder.glob("labels/*.json")) or any(folder.glob("[0-9]*.json")):
                    raise UserError(
                        f"The data set in {folder} was begun with {self._difference(old)}: "
                        "go on with the same command, or choose another folder"
                    )
                (folder / run_folder.SCENE).unlink(missing_ok=True)
            elif folder.is_dir() and any(not p.name.startswith(".") for p in folder.iterdir()):
                raise UserError(f"There are other files in {folder}: choose an empty folder for the data set")
            folder.mkdir(parents=True, exist_ok=True)
            files.write_json(file, asdict(self))
        except OSError as problem:
            raise UserError(f"The folder {folder} can't be written ({problem.strerror}): choose another") from problem
        except (ValueError, AttributeError) as problem:
            raise UserError(f"{file} is damaged: choose another folder for the data set") from problem

    def _difference(self, old: Mapping[str, Any]) -> str:
        if old.get("format") != self.format:
            return f"the format {old.get('format')}"
        if old.get("seed") != self.seed:
            return f"the seed {old.get('seed')}"
        if old.get("transparent") != self.transparent:
            return "a background" if self.transparent else "no background"
        return "other settings"
