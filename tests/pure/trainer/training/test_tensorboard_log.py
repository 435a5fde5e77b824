# SPDX-License-Identifier: GPL-3.0-or-later
"""What TensorBoard is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import synthetic
import torch
from robot_keypoints.trainer.evaluation import keypoint_metrics
from robot_keypoints.trainer.evaluation.evaluate import EvaluationSet, evaluate
from robot_keypoints.trainer.networks import factory
from robot_keypoints.trainer.networks.device import Precision
from robot_keypoints.trainer.networks.model_file import ModelInfo
from robot_keypoints.trainer.training.engine import Step
from robot_keypoints.trainer.training.tensorboard_log import Journal, Pace
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def written(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"histograms": 0, "images": 0, "scalars": 0})
    events.Reload()
    return events


def test_tensorboard_has_losses_errors_pictures_priors_and_the_pace(tmp_path: Path) -> None:
    config = factory.NetworkConfig("light", 3, 1.0, width=8)
    info = ModelInfo(config, synthetic.WIDTH, synthetic.HEIGHT, synthetic.NAMES, (("foot", "knee"),))
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (3, 3, synthetic.HEIGHT, synthetic.WIDTH), np.uint8))
    data = EvaluationSet(images, rng.uniform(5, 40, (3, 3, 2)))
    result = evaluate(factory.build(config), data, Precision(torch.device("cpu"), False, 1.0), 8)
    assert result is not None
    found = keypoint_metrics.localisation(result.errors, synthetic.NAMES)
    journal = Journal(tmp_path)
    journal.losses(1, 0.01, Step(np.zeros(1), np.array([3.0, 2.0]), 0.5, {"pose": 0.7}))
    content = {"step": 2, "loss": 4.0, "train_loss": 3.5, **found.to_dict()}
    journal.validation(content, data, result, info, Pace({"0": 20.0}, 5.0, 40.0, 0.125))
    model = synthetic.settings().scene_model()
    journal.priors(2, model)
    journal.finish(None, model, model)
    events = written(tmp_path)
    values = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}
    assert abs(values["loss_of_pose"] - 0.7) < 1e-6
    assert values["loss_of_stage/1"] == 3.0 and values["loss_of_stage/2"] == 2.0 and values["gradient"] == 0.5
    assert values["loss/train"] == 3.5 and values["loss/validation"] == 4.0
    assert values["pace/images_per_second"] == 40.0 and values["pace/stall_fraction"] == 0.125
    assert values["samples_per_second/worker_0"] == 20.0
    for name in synthetic.NAMES:
        expected = found.per_keypoint[name]["mean"]
        assert abs(values[f"keypoint_error_percent/{name}"] - expected) < 1e-3 * expected
    assert events.Tags()["images"] == ["predictions"]
    assert set(events.Tags()["histograms"]) == {"priors/joint/lower", "priors/joint/upper"}
    bins = events.Histograms("priors/joint/upper")[0].histogram_value
    assert len(bins.bucket) == 8 and abs(sum(bins.bucket) - 1) < 1e-6


def test_what_came_after_the_checkpoint_is_hidden(tmp_path: Path) -> None:
    model = synthetic.settings().scene_model()
    first = Journal(tmp_path)
    for step in (1, 2, 3):
        first.losses(step, 0.01, Step(np.zeros(1), np.array([float(step)]), 0.0))
    first.finish(None, model, model)
    again = Journal(tmp_path, 1)
    again.losses(2, 0.01, Step(np.zeros(1), np.array([20.0]), 0.0))
    again.finish(None, model, model)
    assert [e.value for e in written(tmp_path).Scalars("loss_of_stage/1")] == [1.0, 20.0]
