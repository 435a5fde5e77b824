# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence finds what is hard within few updates, and leaves everything else at its prior."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from robot_keypoints.core.scene.prior import Prior
from robot_keypoints.core.scene.scene_model import SceneModel, Variable
from robot_keypoints.core.settings.schema import FeedbackSettings
from robot_keypoints.trainer.training.evidence import Evidence, importance

BINS = 16
PLANTED = 5
Difficulties = Callable[[NDArray[np.int64]], NDArray[np.float64]]

MODEL = SceneModel(
    (
        Variable("joint/a", Prior.symmetric(-np.pi, np.pi, BINS, circular=True), "rad"),
        Variable("joint/b", Prior.symmetric(-1.0, 1.0, BINS), "rad"),
        Variable("light/strength", Prior(0.0, 1.0, tuple(np.linspace(1.0, 3.0, BINS)))),
        Variable("light/choice", Prior.symmetric(0.0, 3.0, 3)),
        Variable("camera/fixed", Prior.symmetric(1.0, 1.0, 1)),
        Variable("camera/kept", Prior.symmetric(0.0, 1.0, 8), adapt=False),
    )
)


def even(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Nothing is harder than anything else."""
    return np.ones(len(bins))


def draw(model: SceneModel, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Bins of joint draws ``(N, V)``."""
    return np.stack([rng.choice(v.prior.bins, count, p=v.prior.marginal) for v in model.variables], axis=1)


def updates(
    evidence: Evidence, hard: Difficulties, times: int, count: int, seed: int, *, adaptive: float = 0.5, step: int = 64
) -> list[SceneModel]:  # fmt: skip
    """Posteriors from images of which a share follows the last posterior; losses fall as if a network learned."""
    rng = np.random.default_rng(seed)
    found = [MODEL]
    for i in range(times):
        bins = draw(MODEL, count, rng)
        follows = rng.random(count) < adaptive
        bins[follows] = draw(found[-1], int(follows.sum()), rng)
        losses = 0.9**i * hard(bins) * rng.lognormal(0.0, 0.8, count)
        weights = np.where(follows, importance(MODEL, found[-1], bins), 1.0)
        for k in range(0, count, step):
            evidence.add(bins[k : k + step], losses[k : k + step], weights[k : k + step])
        found.append(evidence.posterior(found[-1]))
    return found


@pytest.mark.parametrize("count", [500, 2000])
def test_without_evidence_every_posterior_stays_at_its_prior(count: int) -> None:
    for seed in range(3):
        evidence = Evidence(MODEL, FeedbackSettings())
        for version, model in enumerate(updates(evidence, even, 20, count, seed)):
            assert model.version == version
            for before, after in zip(MODEL.variables, model.variables, strict=True):
                assert np.abs(after.prior.marginal / before.prior.marginal - 1.0).max() < 0.05, before.name
        assert max(evidence.explained().values()) < 0.005


@pytest.mark.parametrize("name", ["joint/a", "joint/b", "light/strength"])
@pytest.mark.parametrize("place", [0, PLANTED, BINS - 1])
def test_a_bin_three_times_as_hard_is_found_within_three_updates(name: str, place: int) -> None:
    column = [v.name for v in MODEL.variables].index(name)
    for seed in range(3):
        evidence = Evidence(MODEL, FeedbackSettings())
        model = updates(evidence, lambda b: 1.0 + 2.0 * (b[:, column] == place), 3, 1000, seed)[-1]
        gain = model[name].prior.marginal / MODEL[name].prior.marginal
        assert gain.argmax() == place and gain[place] > 1.5
        assert sum(model[name].prior.concentration) == pytest.approx(sum(MODEL[name].prior.concentration))
        explained = evidence.explained()
        assert explained[name] > 0.02 and all(v < 0.01 for k, v in explained.items() if k != name)
        for other in MODEL.variables:
            if other.name != name:
                assert np.abs(model[other.name].prior.marginal / other.prior.marginal - 1.0).max() < 0.05


def test_a_slow_course_is_found_where_no_single_bin_stands_out() -> None:
    def wave(bins: NDArray[np.int64]) -> NDArray[np.float64]:
        return 1.0 + 0.3 * np.cos(2.0 * np.pi * (bins[:, 0] + 0.5) / BINS)  # type: ignore[no-any-return]

    model = updates(Evidence(MODEL, FeedbackSettings()), wave, 3, 1500, 1)[-1]
    marginal = BINS * model["joint/a"].prior.marginal
    assert min(marginal[0], marginal[-1]) > 1.1 and max(marginal[7], marginal[8]) < 0.9  # on both sides of the seam


def test_images_that_follow_the_posterior_say_the_same_as_those_of_the_prior() -> None:
    """The hard bin of one variable is drawn more often, and makes all bins of another one seem harder if not weighed:
    here the two go together."""

    def both(bins: NDArray[np.int64]) -> NDArray[np.float64]:
        return 1.0 + 3.0 * ((bins[:, 0] < 4) & (bins[:, 1] < 8))

    concentration = np.ones(BINS)
    concentration[:4] = 4.0
    first = MODEL.variables[0]
    moved = replace(first, prior=first.prior.with_concentration(concentration))
    adapted = SceneModel((moved, *MODEL.variables[1:]), 1)
    rng = np.random.default_rng(3)
    found = {}
    for kind, model in (("prior", MODEL), ("weighed", adapted), ("unweighed", adapted)):
        evidence = Evidence(MODEL, FeedbackSettings())
        bins = draw(model, 60_000, rng)
        weights = importance(MODEL, model, bins) if kind == "weighed" else None
        evidence.add(bins, both(bins), weights)
        evidence.posterior(MODEL)
        found[kind] = np.array(evidence.ratios()["joint/b"])
    assert np.abs(found["weighed"] - found["prior"]).max() < 0.05
    assert np.abs(found["unweighed"] - found["prior"]).max() > 0.1


def test_old_evidence_fades() -> None:
    settings = FeedbackSettings()
    evidence = Evidence(MODEL, settings)
    updates(evidence, lambda b: 1.0 + 2.0 * (b[:, 0] == PLANTED), 3, 1000, 1)
    model = updates(evidence, lambda b: 1.0 + 2.0 * (b[:, 0] == 12), 6, 1000, 2)[-1]
    marginal = model["joint/a"].prior.marginal
    assert marginal.argmax() == 12 and BINS * marginal[PLANTED] < 1.1


def test_the_floor_holds_and_the_exponent_is_one() -> None:
    def half(bins: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.where(bins[:, 0] < 8, 3.0, 0.03)

    model = updates(Evidence(MODEL, FeedbackSettings(floor=0.5)), half, 3, 2000, 1)[-1]
    assert model["joint/a"].prior.marginal.min() == pytest.approx(0.5 / BINS)
    seen = []
    for exponent in (1.0, 2.0):
        evidence = Evidence(MODEL, FeedbackSettings(floor=0.0, exponent=exponent))
        model = updates(evidence, lambda b: 1.0 + 2.0 * (b[:, 1] == 3), 3, 1000, 1, adaptive=0.0)[-1]
        seen.append(model["joint/b"].prior.marginal)
    squared = seen[0] ** 2
    assert np.allclose(seen[1], squared / squared.sum())


def test_a_single_image_and_losses_that_are_none_move_nothing() -> None:
    evidence = Evidence(MODEL, FeedbackSettings())
    rng = np.random.default_rng(1)
    bins = draw(MODEL, 1000, rng)
    losses = rng.lognormal(0.0, 0.5, 1000)
    losses[3], losses[4], losses[5] = np.nan, np.inf, 1e12
    evidence.add(bins, losses)
    model = evidence.posterior(MODEL)
    assert model.concentrations() == MODEL.concentrations()
    assert sum(evidence.counts()["joint/a"]) == 998
    with pytest.raises(ValueError, match="do not fit together"):
        evidence.add(bins[:, :2], losses)


def test_the_state_goes_through_json_and_back() -> None:
    def hard(bins: NDArray[np.int64]) -> NDArray[np.float64]:
        return 1.0 + 2.0 * (bins[:, 0] == PLANTED)

    evidence, again = (Evidence(MODEL, FeedbackSettings()) for _ in range(2))
    before = updates(evidence, hard, 2, 1000, 1)[-1]
    again.restore(json.loads(json.dumps(evidence.state)))
    assert (
        updates(again, hard, 1, 500, 2)[-1].concentrations() == updates(evidence, hard, 1, 500, 2)[-1].concentrations()
    )
    assert before.version == 2
    other = Evidence(SceneModel(MODEL.variables[:2]), FeedbackSettings())
    with pytest.raises(ValueError, match="another scene"):
        other.restore(evidence.state)
    damaged = json.loads(json.dumps(evidence.state))
    damaged["sums"][0][0][0] = -1.0
    with pytest.raises(ValueError, match="not made of sums"):
        again.restore(damaged)
