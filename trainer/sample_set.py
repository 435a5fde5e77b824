# SPDX-License-Identifier: GPL-3.0-or-later
"""A fixed set of labelled renderings, for validation or testing, in memory and as a file without pickles."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core import files
from ..core.errors import UserError
from ..core.messages import Sample
from ..core.randomization import Hidden


@dataclass(frozen=True)
class SampleSet:
    """N samples; arrays as in :class:`..core.messages.Sample`, with N in front."""

    images: NDArray[np.uint8]
    keypoints: NDArray[np.float64]
    visibility: NDArray[np.int64]
    camera_matrices: NDArray[np.float64]
    bases_in_camera: NDArray[np.float64]
    hidden: tuple[Hidden, ...]

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
            tuple(s.hidden for s in samples),
        )

    def save(self, path: Path) -> None:
        """As ``.npz``, whole or not at all."""
        names = list(self.hidden[0].bins)
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            images=self.images,
            keypoints=self.keypoints,
            visibility=self.visibility,
            camera_matrices=self.camera_matrices,
            bases_in_camera=self.bases_in_camera,
            names=np.frombuffer(json.dumps(names).encode(), np.uint8),
            bins=np.array([[h.bins[n] for n in names] for h in self.hidden], np.int64),
            values=np.array([[h.values[n] for n in names] for h in self.hidden], np.float64),
        )
        files.write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> SampleSet:
        """Inverse of :meth:`save`.

        Raises:
            UserError: if the file can't be read.
        """
        try:
            with np.load(path, allow_pickle=False) as data:
                names = json.loads(data["names"].tobytes())
                hidden = tuple(
                    Hidden(dict(zip(names, b, strict=True)), dict(zip(names, v, strict=True)))
                    for b, v in zip(data["bins"].tolist(), data["values"].tolist(), strict=True)
                )
                result = cls(
                    data["images"], data["keypoints"], data["visibility"],
                    data["camera_matrices"], data["bases_in_camera"], hidden,
                )  # fmt: skip
        except Exception as problem:  # zip, zlib and numpy raise many kinds
            raise UserError(f"{path} can't be read as a set of samples: start a new run") from problem
        if len(result.hidden) != len(result.images):
            raise UserError(f"{path} can't be read as a set of samples: start a new run")
        return result
