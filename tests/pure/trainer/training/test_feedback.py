# SPDX-License-Identifier: GPL-3.0-or-later
"""Feedback finds what is hard, and only that."""

from __future__ import annotations

import json

import numpy as np
import synthetic
from robot_keypoints.core.settings.schema import FeedbackSettings
from robot_keypoints.trainer.evaluation import keypoint_metrics
from robot_keypoints.trainer.training import feedback

MODEL = synthetic.settings().scene_model()


def planted(count: int = 256) -> tuple[list[object], np.ndarray]:
    """Losses that are high where ``joint/lower`` is in bins 7 and 0, across the seam of the circle."""
    rng = np.random.default_rng(2)
    latents = [MODEL.sample(rng) for _ in range(count)]
    hard = np.array([h.bins["joint/lower"] in (7, 0) for h in latents])
    return latents, hard * 5.0 + rng.random(count)


def test_the_selected_set_is_the_hardest_share() -> None:
    losses = np.array([0.1, 5.0, 0.3, 4.0, 0.2, 0.0, 0.4, 0.5])
    assert sorted(feedback.select(losses, 0.25).tolist()) == [1, 3]
    assert feedback.select(losses, 0.01).tolist() == [1]
    # The mean is 1.3125.
    assert feedback.select(losses, 0.9, 3.0).tolist() == [1, 3]
    assert feedback.select(losses, 0.9, 3.5).tolist() == [1]
    assert feedback.select(losses, 0.9, 100.0).tolist() == [1]


def test_planted_hard_bins_gain_and_the_others_lose() -> None:
    latents, losses = planted()
    model = MODEL
    for _ in range(4):
        model = feedback.update(model, MODEL, latents, losses, FeedbackSettings()).model  # type: ignore[arg-type]
    marginal = model["joint/lower"].prior.marginal
    assert model.version == 4
    assert min(marginal[7], marginal[0]) > 3 * max(marginal[1:7])
    assert marginal.min() >= 0.2 / 8 - 1e-9  # the floor
    assert np.ptp(model["joint/upper"].prior.marginal) < 0.2
    assert model["camera/target_x"].prior == MODEL["camera/target_x"].prior


def test_strength_is_the_weight_of_each_sample_and_what_selected_is_recorded() -> None:
    latents, losses = planted()
    settings = FeedbackSettings(forgetting=0.0, floor=0.0, strength=2.5, threshold=2.0)
    update = feedback.update(MODEL, MODEL, latents, losses, settings)  # type: ignore[arg-type]
    hard = [i for i, h in enumerate(latents) if h.bins["joint/lower"] in (7, 0)]  # type: ignore[attr-defined]
    assert sorted(update.chosen) == hard
    before, after = (np.array(m["joint/lower"].prior.concentration) for m in (MODEL, update.model))
    counts = np.array(update.counts["joint/lower"])
    assert np.allclose(after - before, 2.5 * counts) and counts.sum() == len(hard) and not counts[1:7].any()
    record = json.loads(json.dumps(update.record(settings)))
    assert record["select"] == "loss" and record["selected"] == len(hard) and record["of"] == 256
    assert record["indices"] == hard and record["lowest"] > 2 * record["mean"] > 0
    assert set(record["counts"]) == {v.name for v in MODEL.variables if v.adapt and not v.prior.constant}


def test_the_hardest_range_is_named_across_the_seam() -> None:
    latents, losses = planted()
    found = feedback.hardest(MODEL, latents, losses, 0.25)  # type: ignore[arg-type]
    assert found[0].variable == "joint/lower"
    assert np.isclose(found[0].low, np.pi * 0.75) and np.isclose(found[0].high, -np.pi * 0.75)
    assert found[0].share > 0.8


def test_chance_is_not_called_hard() -> None:
    rng = np.random.default_rng(4)
    latents = [MODEL.sample(rng) for _ in range(256)]
    shares = [h.share for h in feedback.hardest(MODEL, latents, np.zeros(256), 1.0)]
    assert shares == []


def test_errors_are_percent_of_the_diagonal_over_points_inside() -> None:
    true = np.array([[[10.0, 10.0], [-3.0, 5.0], [np.nan, np.nan]], [[20.0, 20.0], [79.4, 59.4], [79.6, 10.0]]])
    predicted = true + np.array([3.0, 4.0])
    errors = keypoint_metrics.errors_percent(predicted, true, 80, 60)
    assert np.isnan(errors).tolist() == [[False, True, True], [False, False, True]]
    assert np.allclose(errors[~np.isnan(errors)], 5.0)
    found = keypoint_metrics.localisation(errors, ["a", "b", "c"])
    assert found.mean is not None and np.isclose(found.mean, 5.0)
    assert set(found.per_keypoint) == {"a", "b"}
    assert found.pck["2"] == 0.0
    assert keypoint_metrics.localisation(np.full((2, 3), np.nan), ["a", "b", "c"]).mean is None
