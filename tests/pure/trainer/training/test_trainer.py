# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole training within the test's process: the seed settles all of it."""

from __future__ import annotations

import json
from pathlib import Path

import synthetic
import torch
from robot_keypoints.trainer.training.checkpoint import Checkpoint
from torch import Tensor
from trainings import lines, run_whole


def trained(folder: Path, seed: int) -> tuple[dict[str, Tensor], list[dict[str, object]]]:
    """Weights, average and optimiser, and the metrics, of two epochs from the first sample to the last report."""
    settings = synthetic.settings(
        width=8, precision="float32", epochs=2, epoch_images=32, dropout=0.2, averaging=0.9, seed=seed
    )
    run_whole(folder, settings, ahead=True)
    metrics = [json.loads(line) for line in lines(folder / "metrics.jsonl")]
    for entry in metrics:
        del entry["seconds"]
    return Checkpoint.load(folder / "checkpoints" / "latest.safetensors").tensors, metrics


def test_the_same_seed_gives_the_same_training(tmp_path: Path) -> None:
    one, metrics = trained(tmp_path / "one", 3)
    two, again = trained(tmp_path / "two", 3)
    other, _ = trained(tmp_path / "other", 4)
    assert metrics == again and len(metrics) == 2
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one if k.startswith("network."))
