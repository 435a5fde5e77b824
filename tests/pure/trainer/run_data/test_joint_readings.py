# SPDX-License-Identifier: GPL-3.0-or-later
"""Displacements between images of a batch: which are compared, what they cost, and what can't be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from moving_robots import UR10
from PIL import Image
from robot_keypoints.core.camera.intrinsics import Intrinsics
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.robot.keypoints import joint_keypoints
from robot_keypoints.core.robot.robot import Robot
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.core.settings.schema import DataSettings, Settings, TrainingSettings
from robot_keypoints.trainer.datasets.annotations import Annotation, Item
from robot_keypoints.trainer.footage.unlabelled import read_unlabelled
from robot_keypoints.trainer.maps import codec
from robot_keypoints.trainer.pose.batch_displacement import BatchDisplacement, groups
from robot_keypoints.trainer.run_data import data_sets, joint_readings
from robot_keypoints.trainer.run_data.data_sets import Partition

ROBOT = load_urdf(UR10)
KEYPOINTS = tuple(joint_keypoints(ROBOT))
NAMES = [j.name for j in ROBOT.moving_joints]
CAMERA = Intrinsics(160, 120, 150.0, 150.0, 79.5, 59.5)
BASE = np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.4], [-1.0, 0.0, 0.0, 2.6], [0.0, 0.0, 0.0, 1.0]])
TRUE = np.array([0.3, -1.2, 1.4, -0.6, 0.5, 0.2]) + 0.4 * np.random.default_rng(1).uniform(-1, 1, (4, 6))
SIGMA = 2.0


def item(joints: Sequence[float], camera: str = "left") -> Item:
    numbers = (CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy, *CAMERA.distortion)
    body = Annotation({}, joints=dict(zip(NAMES, joints, strict=True)))
    return Item("x", Path("x.png"), 160, 120, (body,), numbers, camera)


def logits() -> torch.Tensor:
    """Perfect maps of the true joints."""
    places = []
    for joints in TRUE:
        links = ROBOT.link_frames(dict(zip(NAMES, joints.tolist(), strict=True)))
        points = [BASE @ links[k.frame] @ (*k.offset, 1.0) for k in KEYPOINTS]
        places.append(CAMERA.project(np.array(points)[:, :3])[0])
    maps = codec.encode(torch.from_numpy(np.array(places)), 160, 120, 1, SIGMA)
    return maps.clamp_min(1e-12).log()


def losses(read: np.ndarray, maps: torch.Tensor, cameras: str = "aaaa") -> torch.Tensor:
    loss = BatchDisplacement(1, SIGMA, is_distribution=True)
    rows = joint_readings.readings([item(j, c) for j, c in zip(read, cameras, strict=True)], ROBOT, KEYPOINTS).rows
    return loss(maps, torch.ones(maps.shape[:2]), torch.from_numpy(rows), None)


def test_images_of_a_camera_are_compared_with_one_another() -> None:
    found = groups(torch.tensor([1.0, 2.0, float("nan"), 1.0, 2.0, 1.0, 3.0]))
    assert [g.tolist() for g in found] == [[0, 3, 5], [1, 4]]


def test_an_offset_of_the_first_joint_costs_nothing_and_wrong_displacements_do() -> None:
    maps = logits()
    assert losses(TRUE, maps).max() < 1e-2
    assert losses(TRUE + np.array([0.3, 0, 0, 0, 0, 0]), maps).max() < 1e-2
    turned = TRUE.copy()
    turned[2, 0] += 0.3
    found = losses(turned, maps)
    assert found[2] > 0.3 and found[[0, 1, 3]].max() < found[2]


def test_two_images_are_compared_and_cameras_apart() -> None:
    maps, turned = logits(), TRUE.copy()
    turned[0, 0] += 0.3
    apart = losses(turned, maps, "aabb")
    assert apart[:2].min() > 0.3 and apart[2:].max() < 1e-2  # of two nobody can tell which is wrong
    assert not losses(turned, maps, "abcd").any()


def test_the_gradient_reaches_the_maps_and_only_those_that_are_compared() -> None:
    turned = TRUE.copy()
    turned[1, 0] += 0.1
    maps = logits().requires_grad_()
    rows = joint_readings.readings([item(j, c) for j, c in zip(turned, "aabc", strict=True)], ROBOT, KEYPOINTS).rows
    loss = BatchDisplacement(1, SIGMA, is_distribution=True)
    loss(maps, torch.ones(maps.shape[:2]), torch.from_numpy(rows), None).sum().backward()
    assert maps.grad is not None and maps.grad.isfinite().all()
    assert maps.grad[:2].flatten(1).any(1).all() and not maps.grad[2:].any()


def run(*items: Item, weight: float = 1.0, batch: int = 4, robot: Robot | None = ROBOT) -> list[object]:
    data = (DataSettings("x", share=1.0),)
    training = TrainingSettings(displacement_weight=weight, batch_size=batch)
    settings = Settings(keypoints=KEYPOINTS, training=training, data=data)
    return list(joint_readings.of_run(settings, [Partition(data[0], items, (), (False, False))], robot))


def test_what_can_not_be_compared_is_refused() -> None:
    good = [item(j) for j in TRUE]
    assert run(*good, weight=0.0) == [] and len(run(*good)) == 1
    unread = [replace(i, robots=()) for i in good]
    few = replace(good[0], robots=(Annotation({}, joints={"elbow_joint": 1.0}),))
    for items, changes, words in (
        (good, {"robot": None}, "needs the robot's kinematics"),
        (good[:1], {}, "no two images are of one camera"),
        (unread, {}, "no image of the data sets tells of joint positions"),
        ([replace(i, camera=None) for i in good], {}, "tells of its camera's intrinsics"),
        ([few, few], {}, "are not told"),
        (good, {"batch": 1}, "has only one of each data set"),
    ):
        with pytest.raises(UserError, match=words) as refusal:
            run(*items, **changes)  # type: ignore[arg-type]
        assert "\n" not in str(refusal.value)


def test_footage_is_data_without_labels(tmp_path: Path) -> None:
    text = f'robot = "{UR10}"\n[cameras.left]\nintrinsics = [150.0, 150.0, 79.5, 59.5]\n'
    for k, joints in enumerate(TRUE):
        Image.new("RGB", (160, 120)).save(tmp_path / f"{k}.png")
        inline = ", ".join(f"{n} = {q}" for n, q in zip(NAMES, joints.tolist(), strict=True))
        text += f'[[frames]]\ncamera = "left"\nfile = "{k}.png"\njoints = {{ {inline} }}\n'
    path = tmp_path / "footage.toml"
    path.write_text(text, encoding="utf-8")
    items = read_unlabelled(path).items
    assert joint_readings.readings(items, ROBOT, KEYPOINTS).comparable == 4
    settings = Settings(keypoints=KEYPOINTS, data=(DataSettings(str(path), share=1.0),))
    with pytest.raises(UserError, match=r"footage without labels, of which only training.displacement_weight"):
        data_sets.partitions(settings)
    asked = replace(settings, training=TrainingSettings(displacement_weight=1.0))
    with pytest.raises(UserError, match="No image with labels is held out"):
        data_sets.partitions(asked)
