# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that learn from displacements: they resume as if never broken off, and processes share their batches."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch
from moving_robots import UR10
from PIL import Image, ImageDraw
from robot_keypoints.core import run_folder
from robot_keypoints.core.camera.intrinsics import Intrinsics
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.processes.child_process import Child
from robot_keypoints.core.robot.keypoints import joint_keypoints
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.core.settings import toml_file
from robot_keypoints.core.settings.schema import DataSettings, Settings
from robot_keypoints.trainer.pose import batch_displacement
from robot_keypoints.trainer.run_data import data_sets, joint_readings
from robot_keypoints.trainer.training import distributed
from shared_batches import CPU, engine, finished, raw, weights
from trainings import streaming, train

ROBOT = load_urdf(UR10)
KEYPOINTS = tuple(joint_keypoints(ROBOT))
NAMES = [j.name for j in ROBOT.moving_joints]
CAMERA = Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5)
BASE = np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.4], [-1.0, 0.0, 0.0, 2.6], [0.0, 0.0, 0.0, 1.0]])
COLOURS = ("red", "lime", "blue", "yellow", "cyan", "magenta", "white")


def write(folder: Path, frames: int = 12) -> DataSettings:
    """Footage of a robot that is drawn as dots, and four more images with labels."""
    joints = np.array([0.3, -1.2, 1.4, -0.6, 0.5, 0.2]) + 0.6 * np.random.default_rng(1).uniform(-1, 1, (frames + 4, 6))
    text = f'robot = "{UR10}"\n[cameras.left]\nintrinsics = [60.0, 60.0, 31.5, 23.5]\n'
    images, labels = [], []
    (folder / "held").mkdir(parents=True)
    for k, row in enumerate(joints):
        positions = dict(zip(NAMES, row.tolist(), strict=True))
        links = ROBOT.link_frames(positions)
        points = np.array([BASE @ links[p.frame] @ (*p.offset, 1.0) for p in KEYPOINTS])
        pixels = CAMERA.project(points[:, :3])[0]
        image = Image.new("RGB", (64, 48))
        for (u, v), colour in zip(pixels.tolist(), COLOURS, strict=True):
            ImageDraw.Draw(image).ellipse((u - 2, v - 2, u + 2, v + 2), fill=colour)
        held = k >= frames
        image.save(folder / ("held" if held else "") / f"{k}.png")
        inline = ", ".join(f"{n} = {q}" for n, q in positions.items())
        if not held:
            text += f'[[frames]]\ncamera = "left"\nfile = "{k}.png"\njoints = {{ {inline} }}\n'
            continue
        images.append({"id": k, "file_name": f"{k}.png", "width": 64, "height": 48})
        flat = [n for u, v in pixels.tolist() for n in (u, v, 2)]
        labels.append({"id": k, "image_id": k, "category_id": 1, "keypoints": flat, "bbox": [0, 0, 64, 48], "area": 1})
    categories = [{"id": 1, "name": "robot", "keypoints": [p.name for p in KEYPOINTS], "skeleton": []}]
    document = {"images": images, "annotations": labels, "categories": categories}
    (folder / "held" / "annotations.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "footage.toml").write_text(text, encoding="utf-8")
    return DataSettings(str(folder), split="footage.toml", share=1.0, validation_split="held")


def run_of(folder: Path, data: DataSettings, **training: object) -> Settings:
    """The settings of a run in ``folder``, which holds what training needs."""
    made = synthetic.settings(width=8, precision="float32", displacement_weight=1.0, warm_up=1, **training)
    made = replace(made, keypoints=KEYPOINTS, skeleton=(), data=(data,), variables=())
    (folder / "logs").mkdir(parents=True)
    toml_file.save(made, folder / "settings.toml")
    (folder / run_folder.ROBOT).write_text(json.dumps(ROBOT.to_dict()), encoding="utf-8")
    return made


def test_a_run_by_displacement_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_displacement, "SURE", -1.0)  # a network that has learned nothing is sure of nothing
    settings = run_of(tmp_path / "run", write(tmp_path / "data"), epochs=20)
    threads = torch.get_num_threads()
    first = streaming(tmp_path / "run", settings, resume=False)
    try:
        first.collect()
        first.counters.collected = 0.0
        found = train(first, 3)
        first.save_checkpoint()
        start = {k: t.clone() for k, t in first.engine.tensors.items() if k.startswith("network.")}
        expected = train(first, 5)
        again = streaming(tmp_path / "run", settings, resume=True)
        try:
            assert train(again, 5) == expected
            mine, theirs = again.engine.tensors, first.engine.tensors
            assert mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)
        finally:
            again.close()
    finally:
        first.close()
        torch.set_num_threads(threads)
    losses = [*found[9::10], *expected[9::10]]  # after those of eight images and a length
    assert max(losses) > 0.1
    assert any(not torch.equal(theirs[k], start[k]) for k in start)  # there are no labels: by it alone


SHARE = """
import os, sys
sys.path.insert(0, os.environ["SUPPORT"])
import numpy as np
import shared_batches as test
from robot_keypoints.trainer.pose import batch_displacement
from robot_keypoints.trainer.run_data import data_sets, joint_readings
from robot_keypoints.trainer.training import distributed
from shared_batches import CPU, engine, finished, raw, weights
batch_displacement.SURE = -1.0
process_group = test.distributed.join(test.CPU)
engine = test.engine(process_group, displacement=0.5)
while True:
    message, share = process_group.hear()
    if share is None:
        break
    engine.step(test.finished(share), message["rate"], message["total"], lambda: False, message["pose"])
np.save(sys.argv[1], test.weights(engine))
os._exit(0)
"""


def test_two_processes_find_what_one_finds_in_the_same_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_displacement, "SURE", -1.0)
    threads = torch.get_num_threads()
    meeting = tmp_path / "store"
    shared = {
        "WORLD_SIZE": "2", distributed.STORE: str(meeting), "OMP_NUM_THREADS": "1",
        "SUPPORT": str(Path(__file__).parents[3] / "support"),
    }  # fmt: skip
    for name, value in shared.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-c", SHARE, str(tmp_path / "theirs.npy")]
    other = Child("other", command, tmp_path / "other.log", {**shared, "RANK": "1"})
    try:
        process_group = distributed.ProcessGroup(distributed.meet(meeting, 2), 0, 2, CPU)
        two, one = engine(process_group, displacement=0.5), engine(None, seconds=0.25, displacement=0.5)
        for step in range(2):
            mine, theirs = (whole := raw(8, step, read=True)).split(2)
            process_group.tell({"rate": 1e-3, "total": 8, "pose": 0.5}, [theirs])
            together = two.step(finished(mine), 1e-3, 8, lambda: False, 0.5)
            alone = one.step(finished(whole), 1e-3, 8, lambda: False, 0.5)  # in parts of four
            assert together is not None and alone is not None
            assert together.extras["displacement"] == pytest.approx(alone.extras["displacement"], rel=1e-2)
            assert together.gradient == pytest.approx(alone.gradient, rel=1e-2)
            assert alone.extras["displacement"] > 0.1
        process_group.tell({"end": True})
        distributed.dist.destroy_process_group()
        assert other.wait(30) and other.exit_code == 0, other.last_words(20)
    finally:
        other.kill()
        torch.set_num_threads(threads)
    assert np.array_equal(np.load(tmp_path / "theirs.npy"), weights(two))
    assert np.isfinite(weights(two)).all()


def test_processes_that_get_one_image_each_are_refused_in_a_sentence(tmp_path: Path) -> None:
    settings = run_of(tmp_path / "run", write(tmp_path / "data"), batch_size=2, processes=2)
    partitions = data_sets.partitions(settings)
    found = joint_readings.of_run(settings, partitions, ROBOT)
    joint_readings.check_shares(settings, found, 1)
    with pytest.raises(UserError, match="none has two images to compare") as refusal:
        joint_readings.check_shares(settings, found, 2)
    assert "\n" not in str(refusal.value)


def test_footage_without_joints_is_refused_in_a_sentence(tmp_path: Path) -> None:
    settings = run_of(tmp_path / "run", write(tmp_path / "data"))
    path = tmp_path / "data" / "footage.toml"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith("joints")), encoding="utf-8")
    with pytest.raises(UserError, match="has joint positions of no image") as refusal:
        streaming(tmp_path / "run", settings, resume=False)
    assert "\n" not in str(refusal.value)


def test_one_frame_is_refused_in_a_sentence(tmp_path: Path) -> None:
    settings = run_of(tmp_path / "run", write(tmp_path / "data", frames=1))
    with pytest.raises(UserError, match="no two images are of one camera that rests") as refusal:
        streaming(tmp_path / "run", settings, resume=False)
    assert "\n" not in str(refusal.value)
