# SPDX-License-Identifier: GPL-3.0-or-later
"""Renderings kept as arrays, so that trainings can be compared on the same images without Blender.

A recording is a folder with an array for the images and each kind of label, or one packed file.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...core import run_folder
from ...core.errors import UserError
from ...core.input_files import read_json
from ...core.scene.scene_model import SceneDraw
from ...core.settings import toml_file
from ...core.settings.schema import Settings

SETTINGS, COUNT, ROBOT = run_folder.SETTINGS, "count.json", run_folder.ROBOT
LABELS = ("keypoints", "visibility", "values")


@dataclass(frozen=True)
class Recording:
    """N renderings ``(N, H, W, 4)`` uint8, mapped from disk where they lie in a folder, and their labels.

    Attributes:
        keypoints: ``(N, J, 2)`` pixels.
        visibility: ``(N, J)``.
        values: latent values ``(N, V)``, in the order of ``settings.variables``.
        robot: ``Robot.to_dict()``, or None in older recordings.
    """

    settings: Settings
    images: NDArray[np.uint8]
    keypoints: NDArray[np.float64]
    visibility: NDArray[np.int64]
    values: NDArray[np.float64]
    robot: dict[str, Any] | None = None

    @classmethod
    def load(cls, path: Path) -> Recording:
        """From a folder, or a file that :meth:`pack` has written.

        Raises:
            UserError: if there is no recording.
        """
        if path.is_file():
            return cls._unpack(path)
        mend = "give a recording's folder, or a packed one's file"
        count = read_json(path / COUNT, mend)
        try:
            images, keypoints, visibility, values = (
                np.load(path / f"{n}.npy", mmap_mode="r")[:count] for n in ("images", *LABELS)
            )  # fmt: skip
        except (OSError, TypeError, ValueError) as problem:
            raise UserError(f"The recording {path} is damaged ({problem}): {mend}") from problem
        robot = path / ROBOT
        known = read_json(robot, "remove it") if robot.exists() else None
        return cls(toml_file.load(path / SETTINGS), images, keypoints, visibility, values, known)

    @classmethod
    def _unpack(cls, file: Path) -> Recording:
        try:
            with zipfile.ZipFile(file) as archive:
                count, robot = (json.loads(archive.read(n)) for n in (COUNT, ROBOT))
                keypoints, visibility, values = (np.load(io.BytesIO(archive.read(f"{n}.npy"))) for n in LABELS)
                coded = [archive.read(_image_name(i)) for i in range(count)]
                with tempfile.TemporaryDirectory() as folder:
                    settings = toml_file.load(Path(archive.extract(SETTINGS, folder)))
            first = _decoded(coded[0])
            images = np.empty((count, *first.shape), np.uint8)

            def decode(index: int) -> None:
                images[index] = _decoded(coded[index])

            with ThreadPoolExecutor() as pool:
                list(pool.map(decode, range(count)))
        except (KeyError, IndexError, OSError, ValueError, zipfile.BadZipFile) as problem:
            raise UserError(f"{file} is no packed recording ({problem}): give another file") from problem
        return cls(settings, images, keypoints, visibility, values, robot)

    def pack(self, file: Path, quality: int) -> None:
        """Write one file that :meth:`load` reads; colours lose a little, labels and the alpha nothing."""

        def coded(image: NDArray[np.uint8]) -> bytes:
            stream = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(image)).save(stream, "WEBP", quality=quality, alpha_quality=100)
            return stream.getvalue()

        with zipfile.ZipFile(file, "w") as archive, ThreadPoolExecutor() as pool:
            with tempfile.TemporaryDirectory() as folder:
                toml_file.save(self.settings, Path(folder, SETTINGS))
                archive.write(Path(folder, SETTINGS), SETTINGS)
            archive.writestr(COUNT, json.dumps(len(self.images)))
            archive.writestr(ROBOT, json.dumps(self.robot))
            for name in LABELS:
                stream = io.BytesIO()
                np.save(stream, getattr(self, name))
                archive.writestr(f"{name}.npy", stream.getvalue(), zipfile.ZIP_DEFLATED)
            for i, data in enumerate(pool.map(coded, self.images)):
                archive.writestr(_image_name(i), data)

    def latents(self, indices: Sequence[int]) -> tuple[SceneDraw, ...]:
        """The latent values of some of them."""
        model = self.settings.scene_model()
        names = [v.name for v in self.settings.variables]
        result = []
        for i in indices:
            values = dict(zip(names, self.values[i].tolist(), strict=True))
            bins = {n: int(model[n].prior.bin_of([v])[0]) for n, v in values.items()}
            result.append(SceneDraw(bins, values))
        return tuple(result)


def _decoded(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def _image_name(index: int) -> str:
    return f"images/{index:06d}.webp"
