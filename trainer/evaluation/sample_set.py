# SPDX-License-Identifier: GPL-3.0-or-later
"""A fixed set of labelled renderings, for validation or testing, in memory and as a file without pickles."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core import files
from ...core.errors import UserError
from ...core.input_files import open_regular
from ...core.messages.samples import Sample
from ...core.scene.scene_model import SceneDraw

LARGEST = 8 << 30
"""Bytes of a set's arrays."""


@dataclass(frozen=True)
class SampleSet:
    """N samples; arrays as in :class:`.Sample`, with N in front."""

    images: NDArray[np.uint8]
    keypoints: NDArray[np.float64]
    visibility: NDArray[np.int64]
    camera_matrices: NDArray[np.float64]
    bases_in_camera: NDArray[np.float64]
    latents: tuple[SceneDraw, ...]

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> SampleSet:
        """Copies of at least one sample."""
        return cls(
            np.stack([s.image for s in samples]),
            np.stack([s.keypoints for s in samples]),
            np.stack([s.visibility for s in samples]),
            np.stack([s.camera_matrix for s in samples]),
            np.stack([s.base_in_camera for s in samples]),
            tuple(s.latents for s in samples),
        )

    def save(self, path: Path) -> None:
        """Write the set as ``.npz``, whole or not at all."""
        names = list(self.latents[0].bins)
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            images=self.images,
            keypoints=self.keypoints,
            visibility=self.visibility,
            camera_matrices=self.camera_matrices,
            bases_in_camera=self.bases_in_camera,
            names=np.frombuffer(json.dumps(names).encode(), np.uint8),
            bins=np.array([[h.bins[n] for n in names] for h in self.latents], np.int64),
            values=np.array([[h.values[n] for n in names] for h in self.latents], np.float64),
        )
        files.write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path, largest: int = LARGEST) -> SampleSet:
        """Inverse of :meth:`save`.

        Args:
            largest: bytes that the arrays may have, unpacked.

        Raises:
            UserError: if the file can't be read, or is not one that :meth:`save` wrote.
        """
        try:
            with open_regular(path) as stream, np.load(stream, allow_pickle=False) as data:
                if sum(entry.file_size for entry in data.zip.infolist()) > largest:
                    raise ValueError("there are too many samples")
                names = json.loads(data["names"].tobytes())
                latents = tuple(
                    SceneDraw(dict(zip(names, b, strict=True)), dict(zip(names, v, strict=True)))
                    for b, v in zip(data["bins"].tolist(), data["values"].tolist(), strict=True)
                )
                result = cls(
                    data["images"], data["keypoints"], data["visibility"],
                    data["camera_matrices"], data["bases_in_camera"], latents,
                )  # fmt: skip
            result._check()
        except Exception as problem:  # zip, zlib and numpy raise many kinds
            raise UserError(f"{path} can't be read as a set of samples: start a new run") from problem
        return result

    def _check(self) -> None:
        """Refuse arrays that don't belong together.

        Raises:
            ValueError: if they don't.
        """
        n, (_, j, *_) = len(self.images), self.keypoints.shape
        expected = {
            "images": (np.uint8, (n, *self.images.shape[1:3], 4)), "keypoints": (np.float64, (n, j, 2)),
            "visibility": (np.int64, (n, j)), "camera_matrices": (np.float64, (n, 3, 3)),
            "bases_in_camera": (np.float64, (n, 4, 4)),
        }  # fmt: skip
        for name, (kind, shape) in expected.items():
            array = getattr(self, name)
            if array.dtype != kind or array.shape != shape:
                raise ValueError(f"{name} are {array.dtype}, {array.shape}")
        if not n or len(self.latents) != n or not np.isin(self.visibility, (-1, 0, 1, 2)).all():
            raise ValueError("the samples don't belong together")
        if not all(math.isfinite(v) for h in self.latents for v in h.values.values()):
            raise ValueError("a latent value is no number")
        if not all(type(b) is int and b >= 0 for h in self.latents for b in h.bins.values()):
            raise ValueError("a bin has no number")
