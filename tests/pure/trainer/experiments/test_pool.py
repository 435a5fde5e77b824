# SPDX-License-Identifier: GPL-3.0-or-later
"""``trainer/experiments/pool.py``: a pool's renderings are drawn as the present priors would make them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from robot_keypoints.core.scene.pair import Pair
from robot_keypoints.core.scene.prior import Prior
from robot_keypoints.core.scene.scene_model import SceneModel, Variable
from robot_keypoints.trainer.evaluation.evaluate import EvaluationSet
from robot_keypoints.trainer.experiments import pool as pools
from robot_keypoints.trainer.experiments.paired_training import Simulators
from robot_keypoints.trainer.experiments.pool import Pool
from robot_keypoints.trainer.experiments.prior_updates import Following
from robot_keypoints.trainer.experiments.settings import FeedbackExperiment
from robot_keypoints.trainer.training import evidence
from scipy import stats

BINS = 8


def pool_of(count: int) -> Pool:
    """A pool of ``count`` renderings of one pixel, of two variables that adapt and one that doesn't."""
    model = SceneModel(
        (
            Variable("joint/lower", Prior.symmetric(-1.0, 1.0, BINS)),
            Variable("joint/upper", Prior.symmetric(-1.0, 1.0, BINS)),
            Variable("camera/target_x", Prior.symmetric(-1.0, 1.0, BINS), adapt=False),
        )
    )
    place = np.arange(count)
    bins = np.stack([place % BINS, place // BINS % BINS, place // BINS**2 % BINS], 1)
    nothing = EvaluationSet(torch.zeros(0, 3, 1, 1), np.zeros((0, 1, 2)))
    return Pool(
        model, np.zeros((count, 1, 1, 4), np.uint8), np.zeros((count, 1, 2)), np.zeros((count, 1)), bins, nothing,
        nothing, (), np.zeros((1, 1, 3, 2, 2), np.uint8), np.zeros((0, 1, 4, 1, 1), np.uint8),
    )  # fmt: skip


def moved(model: SceneModel) -> SceneModel:
    """The first variable's bins rise, the second's fall; the third, which does not adapt, changes as well."""
    rising = np.arange(1.0, BINS + 1)
    thetas = (rising, rising[::-1] ** 2, rising)
    variables = [
        replace(v, prior=v.prior.with_concentration(theta)) for v, theta in zip(model.variables, thetas, strict=True)
    ]
    return SceneModel(tuple(variables), 1)


def test_draws_follow_pairs() -> None:
    pool = pool_of(BINS**3 * 4)
    names = [v.name for v in pool.initial.variables if v.adapt]
    first, second = names[:2]
    table = np.ones((4, 4)) + 0.8 * np.outer([1, -1, 1, -1], [1, 1, -1, -1])
    pairs = (Pair(first, second, tuple(tuple(row) for row in table.tolist())),)
    model = replace(pool.initial, version=1, pairs=pairs)
    drawn = pool.draws(pool.density_ratios(model))(np.random.default_rng(1).random(20_000))
    columns = [[v.name for v in pool.initial.variables].index(n) for n in (first, second)]
    cells = pool.bins[drawn][:, columns].astype(np.int64) * 4 // BINS
    counts = np.bincount(4 * cells[:, 0] + cells[:, 1], minlength=16)
    assert stats.chisquare(counts, table.ravel() * len(drawn) / 16).pvalue > 1e-3


def test_draws_follow_the_posteriors_of_what_adapts() -> None:
    pool = pool_of(BINS**3 * 4)
    model = moved(pool.initial)
    drawn = pool.draws(pool.density_ratios(model))(np.random.default_rng(1).random(20_000))
    for i, variable in enumerate((*model.variables[:2], pool.initial.variables[2])):
        counts = np.bincount(pool.bins[drawn, i], minlength=BINS)
        assert stats.chisquare(counts, variable.prior.marginal * len(drawn)).pvalue > 1e-3, variable.name
    uniform = np.bincount(pool.bins[drawn, 0], minlength=BINS)
    assert stats.chisquare(uniform).pvalue < 1e-6, "the test could not fail"


def test_the_effective_share_says_how_much_of_the_pool_is_left() -> None:
    pool = pool_of(BINS**3)
    assert pools.effective_share(pool.density_ratios(pool.initial)) == 1.0
    one = replace(pool.initial.variables[0], prior=Prior(-1.0, 1.0, (1.0, *(1e-9,) * (BINS - 1))))
    model = SceneModel((one, *pool.initial.variables[1:]), 1)
    assert np.isclose(pools.effective_share(pool.density_ratios(model)), 1 / BINS)


def test_pairs_draw_alike_until_the_posteriors_differ_and_the_first_simulator_always() -> None:
    pool, experiment = pool_of(BINS**3), FeedbackExperiment(batch=10, share=0.4)
    plain, adapting, other = (
        Simulators(pool, experiment, 3),
        Simulators(pool, experiment, 3),
        Simulators(pool, experiment, 4),
    )
    first, same, different = plain.batches(20), adapting.batches(20), other.batches(20)
    assert np.array_equal(first[0], same[0]) and (first[1] == 1).all() and not np.array_equal(first[0], different[0])
    now = moved(pool.initial)
    now = SceneModel((*now.variables[:2], pool.initial.variables[2]), 1)
    adapting.follow(Following.of(pool, now))
    before, after = plain.batches(50), adapting.batches(50)
    assert np.array_equal(before[0][:, :6], after[0][:, :6])
    assert not np.array_equal(before[0][:, 6:], after[0][:, 6:])
    assert (after[1][:, :6] == 1).all()
    # What is drawn twice as often as initially stands for half as many.
    ratios = pool.density_ratios(now)[after[0][:, 6:]]
    assert np.allclose(after[1][:, 6:], np.minimum(1 / ratios, evidence.MOST_WEIGHT))
