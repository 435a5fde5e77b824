# SPDX-License-Identifier: GPL-3.0-or-later
"""Monte-Carlo dropout tells how unsure a network is, the same way twice, and leaves everything else alone."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic
import torch
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.settings.schema import FeedbackSettings, Settings
from robot_keypoints.core.settings.validation import check
from robot_keypoints.trainer.evaluation.evaluate import EvaluationSet, evaluate
from robot_keypoints.trainer.networks.device import Precision
from robot_keypoints.trainer.networks.factory import KeypointNetwork, NetworkConfig, build
from robot_keypoints.trainer.training import uncertainty
from torch import Tensor

CPU = Precision(torch.device("cpu"), False, 0.001)
COUNT = 6


def light(dropout: float) -> KeypointNetwork:
    torch.manual_seed(3)
    return build(NetworkConfig("light", 2, 1.0, dropout=dropout))


def data() -> EvaluationSet:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (COUNT, 3, 32, 48), dtype=torch.uint8, generator=generator)
    keypoints = np.random.default_rng(1).uniform(5, 30, (COUNT, 2, 2))
    keypoints[0] = -10.0
    keypoints[1, 1] = np.nan
    return EvaluationSet(images, keypoints)


def test_the_same_seed_gives_the_same_spreads() -> None:
    network, images = light(0.3), data()
    first = uncertainty.spreads(network, images, CPU, 4, 6, seed=5)
    assert first is not None and first.shape == (COUNT,)
    assert first[0] == 0.0 and (first[1:] > 0).all()
    assert np.array_equal(first, uncertainty.spreads(network, images, CPU, 4, 6, seed=5))  # type: ignore[arg-type]
    assert not np.array_equal(first, uncertainty.spreads(network, images, CPU, 4, 6, seed=6))  # type: ignore[arg-type]


def test_only_dropout_is_at_work_and_only_meanwhile() -> None:
    network, images = light(0.3), data()
    network.eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    torch.manual_seed(11)
    expected = torch.rand(4)
    result = evaluate(network, images, CPU, 4)
    torch.manual_seed(11)
    uncertainty.spreads(network, images, CPU, 4, 3, seed=5)
    assert torch.equal(torch.rand(4), expected), "the training's random numbers were used up"
    assert not any(m.training for m in network.modules())
    # Batch normalisation in training mode would have moved its running means.
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    again = evaluate(network, images, CPU, 4)
    assert result is not None and again is not None and np.array_equal(result.losses, again.losses)


def test_leaving_more_out_spreads_more() -> None:
    network, images = light(0.5), data()
    more = uncertainty.spreads(network, images, CPU, COUNT, 6, seed=5)
    less = light(0.02)
    less.load_state_dict(network.state_dict())
    fewer = uncertainty.spreads(less, images, CPU, COUNT, 6, seed=5)
    assert more is not None and fewer is not None and fewer.mean() < more.mean()


def test_perturbed_copies_are_moved_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds a bright spot wherever it is shifted to never disagrees with itself; what always says the same does,
    by as much as the copies are shifted."""
    images = torch.zeros(COUNT, 3, 32, 48, dtype=torch.uint8)
    spots = [(8 + 3 * i, 10 + i) for i in range(COUNT)]
    for i, (x, y) in enumerate(spots):
        images[i, :, y, x] = 200
    data = EvaluationSet(images, np.array(spots, np.float64)[:, None])
    seen: list[Tensor] = []

    def brightest(network: object, shown: Tensor, *rest: object, **more: object) -> tuple[SimpleNamespace, None]:
        seen.append(shown)
        flat = shown[:, 1].flatten(1).argmax(1)
        return SimpleNamespace(positions=torch.stack([flat % 48, flat // 48], -1)[:, None].float()), None

    def fixed(network: object, shown: Tensor, *rest: object, **more: object) -> tuple[SimpleNamespace, None]:
        return SimpleNamespace(positions=torch.full((len(shown), 1, 2), 9.0)), None

    monkeypatch.setattr(uncertainty, "SHIFT", 0.05)
    monkeypatch.setattr(uncertainty.two_passes, "find_keypoints", brightest)
    network = light(0.0)
    found = uncertainty.spreads(network, data, CPU, COUNT, 8, seed=5, perturbed=True)
    assert found is not None and np.allclose(found, 0.0)
    assert len(seen) == 8 and not torch.equal(seen[0], seen[1])
    assert len({round(float(s[0].max()), 2) for s in seen}) > 3  # the gains
    monkeypatch.setattr(uncertainty.two_passes, "find_keypoints", fixed)
    found = uncertainty.spreads(network, data, CPU, COUNT, 8, seed=5, perturbed=True)
    assert found is not None and found.min() > 1.0 and np.ptp(found) < 1e-9


def test_perturbed_copies_need_no_dropout_and_follow_from_the_seed() -> None:
    network, images = light(0.0), data()
    before = torch.get_rng_state()
    first = uncertainty.spreads(network, images, CPU, 4, 5, seed=5, perturbed=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert first is not None and first[0] == 0.0 and (first[1:] > 0).all()
    assert np.array_equal(first, uncertainty.spreads(network, images, CPU, 4, 5, seed=5, perturbed=True))  # type: ignore[arg-type]
    settings = Settings(feedback=FeedbackSettings(rule="selection", select="perturbation", passes=3))
    result = evaluate(network, images, CPU, 4)
    assert result is not None
    scores = uncertainty.scores(result, network, images, CPU, settings)
    assert scores is not None and scores.shape == (COUNT,) and not np.array_equal(scores, result.losses)
    settings = synthetic.settings()
    check(replace(settings, feedback=FeedbackSettings(rule="selection", select="perturbation")))


def test_the_setting_decides() -> None:
    network, images = light(0.2), data()
    result = evaluate(network, images, CPU, 4)
    assert result is not None
    settings = Settings()
    assert uncertainty.scores(result, network, images, CPU, settings) is result.losses
    unsure = replace(settings, feedback=FeedbackSettings(select="uncertainty", passes=3))
    scores = uncertainty.scores(result, network, images, CPU, unsure)
    assert scores is not None and scores.shape == (COUNT,) and not np.array_equal(scores, result.losses)
    assert uncertainty.scores(result, network, images, CPU, unsure, lambda: True) is None


def test_uncertainty_without_dropout_is_refused() -> None:
    with pytest.raises(ValueError, match="no dropout"):
        uncertainty.spreads(light(0.0), data(), CPU, 4, 3, seed=5)
    settings = synthetic.settings()
    unsure = replace(settings, feedback=FeedbackSettings(rule="selection", select="uncertainty"))
    with pytest.raises(UserError, match=r"set training\.dropout") as refusal:
        check(unsure)
    assert "\n" not in str(refusal.value)
    check(replace(unsure, training=replace(unsure.training, dropout=0.1)))
    check(replace(unsure, feedback=replace(unsure.feedback, enabled=False)))
    check(replace(unsure, feedback=replace(unsure.feedback, rule="evidence")))
