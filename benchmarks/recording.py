# SPDX-License-Identifier: GPL-3.0-or-later
"""Renderings of the UR10 under the demo's wide priors, or of any robot as a settings file says, kept as arrays, so that
networks and settings can be compared on the same images.

    python benchmarks/recording.py FOLDER [--count N] [--size 160x120x2] [--preset fast]
    python benchmarks/recording.py FOLDER --settings arm.toml [--count N]
    python benchmarks/recording.py FOLDER --pack FILE.zip [--quality 80]

The second form renders at the settings' own size. The third writes what a recording holds as one small file, its images
as WebP with alpha, to carry to a machine that has no Blender; ``Recording.load`` reads it as well.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from robot_keypoints.core import files
from robot_keypoints.core.messages.samples import Sample
from robot_keypoints.core.scene.scene_model import SceneDraw
from robot_keypoints.core.settings import completion, toml_file
from robot_keypoints.core.settings.schema import Settings
from robot_keypoints.trainer.datasets.recording import COUNT, ROBOT, Recording

RUN = "recording"


def as_sample(
    image: NDArray[np.uint8], keypoints: NDArray[np.float64], visibility: NDArray[np.int64], latents: SceneDraw,
    number: int,
) -> Sample:  # fmt: skip
    """A rendering as a worker would send it, but for depths and camera, which a recording does not keep."""
    return Sample(
        image=image, keypoints=keypoints, depths=np.ones(len(keypoints)), visibility=visibility, latents=latents,
        version=0, worker=0, sequence=number, camera_matrix=np.eye(3), base_in_camera=np.eye(4),
    )  # fmt: skip


def record(folder: Path, settings: Settings, count: int) -> None:
    """Render with two workers, from the initial priors."""
    import common  # which needs Blender's library

    folder.mkdir(parents=True)
    files.write_json(folder / ROBOT, completion.load_robot(settings.robot).to_dict())
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
            values[number] = [sample.latents.values[n] for n in names]
            if (number + 1) % 500 == 0 or number + 1 == count:
                (folder / COUNT).write_text(str(number + 1), encoding="utf-8")
                print(f"{number + 1} of {count}", file=sys.stderr, flush=True)


def described(file: Path) -> Settings:
    """The settings in a file, completed by the robot's own keypoints and priors."""
    settings = toml_file.load(file)
    return completion.complete(settings, *completion.load_robots(settings))


def ur10(size: str, preset: str) -> Settings:
    """The demo's settings at ``WIDTHxHEIGHTxSAMPLES``."""
    import common  # which needs Blender's library

    width, height, samples = (int(n) for n in size.split("x"))
    settings = common.ur10_settings(preset)
    return replace(settings, render=replace(settings.render, width=width, height=height, samples=samples))


def main() -> None:
    """Record into the folder that is named, or pack it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--size", default="160x120x2")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--settings", type=Path, help="the robot and its scene instead of the UR10's")
    parser.add_argument("--pack", type=Path, metavar="FILE", help="write the recording in FOLDER as one small file")
    parser.add_argument("--quality", type=int, default=80)
    options = parser.parse_args()
    if options.pack:
        Recording.load(options.folder).pack(options.pack, options.quality)
        return
    settings = described(options.settings) if options.settings else ur10(options.size, options.preset)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Blender prints several lines per frame
    record(options.folder, settings, options.count)
    os._exit(0)  # Blender as a library can wait for ever when it is taken down


if __name__ == "__main__":
    main()
