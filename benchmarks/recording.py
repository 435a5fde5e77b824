# SPDX-License-Identifier: GPL-3.0-or-later
"""Renderings of the UR10 under the demo's wide priors, or of any robot as a settings file says, kept as arrays, so that
networks and settings can be compared on the same images.

    python benchmarks/recording.py FOLDER [--count N] [--size 160x120x2] [--preset fast] [--joints-only]
    python benchmarks/recording.py FOLDER --settings arm.toml [--count N]
    python benchmarks/recording.py FOLDER --pack FILE.zip [--quality 80]

With ``--joints-only`` the joints alone vary, before one camera. The second form renders at the settings' own size. The
third writes what a recording holds as one small file, its images as WebP with alpha, to carry to a machine that has no
Blender; ``Recording.load`` reads it as well.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from robot_keypoints.core.messages.samples import Sample
from robot_keypoints.core.processes.programs import Programs
from robot_keypoints.core.scene.scene_model import SceneDraw
from robot_keypoints.core.settings import completion, toml_file
from robot_keypoints.core.settings.schema import Settings, VariableSettings
from robot_keypoints.trainer.datasets import recording_maker
from robot_keypoints.trainer.datasets.recording import Recording

FIXED = {
    "camera/azimuth": 0.7, "camera/elevation": 0.45, "camera/distance": 3.0, "camera/target_z": 0.45,
    "camera/focal_length": 35.0, "light/azimuth": 1.22, "light/elevation": 0.87, "light/strength": 2.0,
    "light/temperature": 6500.0, "light/ambient": 0.5, "material/brightness": 0.5, "material/roughness": 0.5,
    "background/theme": 0.5, "objects/drawn": 0.0, "sensor/contrast": 1.0, "sensor/saturation": 1.0,
}  # fmt: skip
"""What does not vary with ``--joints-only``; all other variables but joints are 0."""


def as_sample(
    image: NDArray[np.uint8], keypoints: NDArray[np.float64], visibility: NDArray[np.int64], latents: SceneDraw,
    number: int,
) -> Sample:  # fmt: skip
    """A rendering as a worker would send it, but for depths and camera, which a recording does not keep."""
    return Sample(
        image=image, keypoints=keypoints, depths=np.ones(len(keypoints)), visibility=visibility, latents=latents,
        version=0, worker=0, sequence=number, camera_matrix=np.eye(3), base_in_camera=np.eye(4),
    )  # fmt: skip


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


def joints_only(settings: Settings) -> Settings:
    """The same with one camera, light and material."""
    fixed = (v if v.name.startswith("joint/") else _fixed(v, FIXED.get(v.name, 0.0)) for v in settings.variables)
    return replace(settings, variables=tuple(fixed))


def _fixed(variable: VariableSettings, value: float) -> VariableSettings:
    return variable if variable.low == variable.high else replace(
        variable, low=value, high=value, bins=1, circular=False, adapt=False
    )  # fmt: skip


def main() -> None:
    """Record into the folder that is named, or pack it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--size", default="160x120x2")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--joints-only", action="store_true", help="only the joints vary")
    parser.add_argument("--settings", type=Path, help="the robot and its scene instead of the UR10's")
    parser.add_argument("--pack", type=Path, metavar="FILE", help="write the recording in FOLDER as one small file")
    parser.add_argument("--quality", type=int, default=80)
    options = parser.parse_args()
    if options.pack:
        Recording.load(options.folder).pack(options.pack, options.quality)
        return
    settings = described(options.settings) if options.settings else ur10(options.size, options.preset)
    if options.joints_only:
        settings = joints_only(settings)
    settings = replace(settings, workers=replace(settings.workers, count=2, adaptive=0))
    programs = Programs.with_python(sys.executable)
    recording_maker.record(options.folder, settings, programs, options.count, lambda: False, print)


if __name__ == "__main__":
    main()
