# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for Blender in tests of data sets: builds no scene and draws stick figures, over the real channel.

Started like Blender: ``python fake_blender.py --background --command robot_keypoints scene|worker …``. The variable
``FAKE_BLENDER`` makes it misbehave: ``slow`` waits between samples, ``dies`` ends after every third one, ``broken``
never sends any, ``mistake`` reports a user's.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import synthetic
from robot_keypoints.core import files, run_folder
from robot_keypoints.core.messages.run_sockets import Endpoints, Link
from robot_keypoints.core.messages.samples import Instance, Sample
from robot_keypoints.core.processes.lifeline import end_with_parent
from robot_keypoints.core.settings import schema as settings_module, toml_file

if TYPE_CHECKING:
    import pytest

COMMAND = shlex.join([sys.executable, str(Path(__file__).resolve())])
"""Starts it in place of Blender; :func:`make_importable` came before."""


def make_importable(patch: pytest.MonkeyPatch) -> None:
    """Have child processes find the package and the tests' own modules."""
    patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).resolve().parent), *sys.path]))


def main() -> int:
    parser = argparse.ArgumentParser()
    jobs = parser.add_subparsers(dest="job", required=True)
    scene = jobs.add_parser("scene")
    worker = jobs.add_parser("worker")
    for job in (scene, worker):
        job.add_argument("--run", type=Path)
    scene.add_argument("--complete", action="store_true")
    for name in ("--identity", "--host", "--endpoints"):
        worker.add_argument(name)
    worker.add_argument("--index", type=int)
    worker.add_argument("--draws", type=Path)
    options = parser.parse_args(sys.argv[sys.argv.index("robot_keypoints") + 1 :])
    stopped = threading.Event()
    end_with_parent(stopped.set)
    settings = toml_file.load(options.run / "settings.toml")
    if options.job == "scene":
        print("warning: this robot is made of sticks", file=sys.stderr)
        files.write_json(options.run / run_folder.ROBOTS, [{"name": "stick"} for _ in settings.robots])
        files.write_bytes(options.run / "scene.blend", b"BLENDER-v405ENDB")
        return 0
    behaviour = os.environ.get("FAKE_BLENDER", "")
    if behaviour in ("broken", "mistake"):
        print("error: There is no stick: find one" if behaviour == "mistake" else "snap", file=sys.stderr)
        return 2 if behaviour == "mistake" else 1
    task = json.loads(options.draws.read_text(encoding="utf-8"))
    link = Link(Endpoints(options.host, *map(int, options.endpoints.split(","))), options.identity)
    for count, number in enumerate(task["draws"]):
        if behaviour == "dies" and count == 3:
            time.sleep(0.3)  # what was sent arrives before
            os._exit(1)
        if behaviour == "slow":
            stopped.wait(0.6)
        rng = np.random.default_rng([task["seed"], number])
        plain = synthetic.sample(settings.scene_model(), rng, options.index, number)
        link.send(detailed(plain, settings), stopped.is_set)
    stopped.wait()
    link.close()
    return 0


def detailed(sample: Sample, settings: settings_module.Settings) -> Sample:
    """With instances, and a mask where the settings want one.

    The camera looks straight at the plane z = 2 from its origin; the elbow's keypoint counts as occluded.
    """
    height, width, _ = sample.image.shape
    camera = np.array([[90.0, 0, (width - 1) / 2], [0, 90.0, (height - 1) / 2], [0, 0, 1.0]])
    rays = np.column_stack([sample.keypoints, np.ones(len(sample.keypoints))]) @ np.linalg.inv(camera).T
    frames = {}
    for keypoint, ray in zip(settings.keypoints, rays, strict=True):
        frames[keypoint.frame] = np.eye(4)
        frames[keypoint.frame][:3, 3] = 2.0 * ray
    seen = np.argwhere(sample.image[..., 3] > 127)
    box = None
    if len(seen):
        (top, left), (bottom, right) = seen.min(0), seen.max(0)
        box = (left - 0.5, top - 0.5, right + 0.5, bottom + 0.5)
    joints = {k.removeprefix("joint/"): v for k, v in sample.latents.values.items() if k.startswith("joint/")}
    base = frames[settings.keypoints[0].frame]
    instance = Instance("", base, joints, frames, box)
    mask = None
    if settings.render.masks:
        mask = np.where(sample.image[..., 3] > 127, np.where(sample.image[..., 0] > 235, 3, 1), 0).astype(np.uint16)
    visibility = np.where((sample.visibility == 2) & (np.arange(len(rays)) == 1), 1, sample.visibility)
    return replace(
        sample, camera_matrix=camera, base_in_camera=base, depths=np.full(len(rays), 2.0), visibility=visibility,
        instances=(instance,), mask=mask,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
