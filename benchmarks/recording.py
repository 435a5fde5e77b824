# SPDX-License-Identifier: GPL-3.0-or-later
"""Renderings of the UR10 under the demo's wide priors, kept as arrays, so that networks and settings can be compared on
the same images.

    python benchmarks/recording.py FOLDER [--count N] [--size 160x120x2] [--preset fast]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import common
import numpy as np
from numpy.typing import NDArray
from robot_keypoints.core import settings as settings_module
from robot_keypoints.core.messages import Sample
from robot_keypoints.core.randomization import Hidden
from robot_keypoints.core.settings import Settings

RUN = "recording"


@dataclass(frozen=True)
class Recording:
    """N renderings ``(N, H, W, 4)`` uint8, mapped from disk, and their labels.

    Attributes:
        keypoints: ``(N, J, 2)`` pixels.
        visibility: ``(N, J)``.
        values: hidden values ``(N, V)``, in the order of ``settings.variables``.
    """

    settings: Settings
    images: NDArray[np.uint8]
    keypoints: NDArray[np.float64]
    visibility: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def load(cls, folder: Path) -> Recording:
        """From a folder that :func:`record` has written."""
        count = json.loads((folder / "count.json").read_text(encoding="utf-8"))
        parts: list[Any] = [
            np.load(folder / f"{n}.npy", mmap_mode="r") for n in ("images", "keypoints", "visibility", "values")
        ]
        return cls(settings_module.load(folder / "settings.toml"), *(p[:count] for p in parts))

    def hidden(self, indices: Sequence[int]) -> tuple[Hidden, ...]:
        """The hidden values of some of them."""
        model = self.settings.scene_model()
        names = [v.name for v in self.settings.variables]
        result = []
        for i in indices:
            values = dict(zip(names, self.values[i].tolist(), strict=True))
            bins = {n: int(model[n].prior.bin_of([v])[0]) for n, v in values.items()}
            result.append(Hidden(bins, values))
        return tuple(result)


def as_sample(
    image: NDArray[np.uint8], keypoints: NDArray[np.float64], visibility: NDArray[np.int64], hidden: Hidden, number: int
) -> Sample:
    """A rendering as a worker would send it, but for depths and camera, which a recording does not keep."""
    return Sample(
        image=image, keypoints=keypoints, depths=np.ones(len(keypoints)), visibility=visibility, hidden=hidden,
        version=0, worker=0, sequence=number, camera_matrix=np.eye(3), base_in_camera=np.eye(4),
    )  # fmt: skip


def record(folder: Path, settings: Settings, count: int) -> None:
    """Render with two workers, from the initial priors."""
    folder.mkdir(parents=True)
    settings = replace(settings, workers=replace(settings.workers, count=2, adaptive=0))
    render, joints = settings.render, len(settings.keypoints)
    names = [v.name for v in settings.variables]

    def array(name: str, shape: tuple[int, ...], dtype: type) -> Any:
        return np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shape)  # type: ignore[no-untyped-call]

    images = array("images", (count, render.height, render.width, 4), np.uint8)
    keypoints = array("keypoints", (count, joints, 2), np.float64)
    visibility = array("visibility", (count, joints), np.int64)
    values = array("values", (count, len(names)), np.float64)
    with common.two_workers(folder, settings, RUN) as (receiver, _):
        for number in range(count):
            sample = receiver.receive(120.0)
            if sample is None:
                sys.exit(f"no sample came for two minutes: see {folder / 'logs'}")
            images[number] = sample.image
            keypoints[number] = sample.keypoints
            visibility[number] = sample.visibility
            values[number] = [sample.hidden.values[n] for n in names]
            if (number + 1) % 1000 == 0 or number + 1 == count:
                (folder / "count.json").write_text(str(number + 1), encoding="utf-8")
                print(f"{number + 1} of {count}", file=sys.stderr, flush=True)


def main() -> None:
    """Record into the folder that is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--size", default="160x120x2")
    parser.add_argument("--preset", default="fast")
    options = parser.parse_args()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Blender prints several lines per frame
    width, height, samples = (int(n) for n in options.size.split("x"))
    settings = common.ur10_settings(options.preset)
    settings = replace(settings, render=replace(settings.render, width=width, height=height, samples=samples))
    record(options.folder, settings, options.count)
    os._exit(0)  # Blender as a library can wait for ever when it is taken down


if __name__ == "__main__":
    main()
