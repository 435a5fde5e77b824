# SPDX-License-Identifier: GPL-3.0-or-later
"""Annotations of images, and tables of joints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import fake_blender
import numpy as np
import subjects_models
import synthetic
from robot_keypoints.trainer.datasets import sample_label
from robot_keypoints.trainer.datasets.coco_writer import CocoDataSet
from robot_keypoints.trainer.datasets.ndds_writer import NddsDataSet
from robot_keypoints.trainer.datasets.writer import DataSet, Finished
from robot_keypoints.trainer.inference.camera_calibration import RestingCamera
from robot_keypoints.trainer.inference.pose_arguments import joint_positions
from robot_keypoints.trainer.pose.robot_points import PlacedRobot
from subjects import Seed, command, contents

COUNT = 2


def write(kind: type[DataSet], folder: Path) -> dict[str, bytes]:
    """A small data set as ``render`` writes it."""
    settings = synthetic.settings()
    scene, bodies = settings.scene_model(), sample_label.bodies(settings, ["stick"])
    folder.mkdir()
    data = kind(folder, bodies, False)
    data.begin()
    for i in range(COUNT):
        sample = fake_blender.detailed(synthetic.sample(scene, np.random.default_rng([4, i]), 0, i), settings)
        data.write(Finished(i, sample.image[..., :3], sample_label.label(sample, i, bodies), None))
    data.finish()
    return contents(folder)


class Labels:
    """``evaluate`` on annotations from somewhere: COCO of ours and of others, NDDS, and several people's."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._model = subjects_models.write_model(scratch / "model.safetensors", subjects_models.stick_info())
        subjects_models.load_once(self._model)

    def seeds(self) -> Sequence[Seed]:
        coco, ndds = write(CocoDataSet, self._scratch / "coco"), write(NddsDataSet, self._scratch / "ndds")
        images = {n: d for n, d in coco.items() if n.startswith("images/")}
        document = json.loads(coco["annotations.json"])
        document["info"] = {"description": "a tool"}
        for entry in document["annotations"]:
            del entry["T_cam_base"], entry["joints"]
        foreign = json.dumps(document).encode()
        numbered = tuple(n for n in ndds if n.endswith(".json") and n[0].isdigit())
        return [
            Seed("", coco, ("annotations.json",)),
            Seed("", {"annotations.json": foreign, **images}, ("annotations.json",)),
            Seed("", ndds, numbered),
            Seed("raters", {"raters/a.json": foreign, "raters/b.json": foreign, **images}, ("raters/a.json",)),
        ]

    def attempt(self, entry: Path) -> None:
        if entry.name == "raters":
            command("evaluate", self._model, "--data", entry.parent, "--raters", entry, "--json")
        else:
            command("evaluate", self._model, "--data", entry, "--json")


class Joints:
    """``predict --joints FILE`` and ``--joints-by-image FILE``."""

    def __init__(self, scratch: Path) -> None:
        del scratch
        self._info = subjects_models.robot_info()
        self._robot = PlacedRobot.of(self._info).robot

    def seeds(self) -> Sequence[Seed]:
        joints = {j.name: 0.25 for j in self._robot.moving_joints}
        return [
            Seed("joints.json", {"joints.json": json.dumps(joints).encode()}),
            Seed("by_image.json", {"by_image.json": json.dumps({"a.png": joints, "b.png": joints}).encode()}),
        ]

    def attempt(self, entry: Path) -> None:
        if entry.name == "joints.json":
            joint_positions(str(entry), self._robot)
        else:
            RestingCamera.of(self._info, "60,60,31.5,23.5", entry)
