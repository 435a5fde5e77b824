# SPDX-License-Identifier: GPL-3.0-or-later
"""Combinations of two variables that are hard are found and drawn more often; without evidence no pair is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from robot_keypoints.core.scene.pair import CELLS, MOST_PAIRS, cell_of
from robot_keypoints.core.scene.prior import Prior
from robot_keypoints.core.scene.scene_model import SceneModel, Variable
from robot_keypoints.core.settings.schema import FeedbackSettings
from robot_keypoints.trainer.training.evidence import Evidence, importance
from robot_keypoints.trainer.training.pair_evidence import PairDifficulty, difficulty, strongest

BINS = 16
PAIRS = FeedbackSettings(combinations="pairs", exponent=1.0)
MODEL = SceneModel(
    (
        *(Variable(f"joint/{name}", Prior.symmetric(-1.0, 1.0, BINS), "rad") for name in "abcdef"),
        Variable("light/strength", Prior(0.0, 1.0, tuple(np.linspace(1.0, 3.0, BINS)))),
        Variable("light/choice", Prior.symmetric(0.0, 3.0, 3)),
        Variable("camera/fixed", Prior.symmetric(1.0, 1.0, 1)),
        Variable("camera/kept", Prior.symmetric(0.0, 1.0, 8), adapt=False),
    )
)


def draw(model: SceneModel, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Bins of joint draws ``(N, V)``."""
    names = [v.name for v in model.variables]
    return np.array([[draw.bins[n] for n in names] for draw in (model.sample(rng) for _ in range(count))])


def hard_pair(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """One combination of coarse cells is three times as hard."""
    return 1.0 + 2.0 * ((bins[:, 0] // 4 == 1) & (bins[:, 2] // 4 == 3))


def updates(evidence: Evidence, hard, times: int, count: int, seed: int) -> list[SceneModel]:  # type: ignore[no-untyped-def]
    """Posteriors from images of which half follow the last posterior."""
    rng = np.random.default_rng(seed)
    found = [MODEL]
    for i in range(times):
        bins = np.concatenate([draw(MODEL, count // 2, rng), draw(found[-1], count // 2, rng)])
        losses = 0.9**i * hard(bins) * rng.lognormal(0.0, 0.8, count)
        weights = np.append(np.ones(count // 2), importance(MODEL, found[-1], bins[count // 2 :]))
        evidence.add(bins, losses, weights)
        found.append(evidence.posterior(found[-1]))
    return found


@pytest.mark.parametrize("count", [500, 2000])
def test_without_evidence_no_pair_moves_in_twenty_updates(count: int) -> None:
    for seed in range(3):
        for model in updates(Evidence(MODEL, PAIRS), lambda b: np.ones(len(b)), 20, count, seed):
            assert model.pairs == ()


def test_variables_that_are_hard_each_by_itself_make_no_pair() -> None:
    """Factors of each variable multiply: the product of the marginals has it all."""

    def factors(bins: NDArray[np.int64]) -> NDArray[np.float64]:
        return (1.0 + 2.0 * (bins[:, 0] < 4)) * (1.0 + 2.0 * (bins[:, 2] >= 12))

    for seed in range(3):
        models = updates(Evidence(MODEL, PAIRS), factors, 8, 1000, seed)
        assert models[-1]["joint/a"].prior.marginal[0] > 1.4 / BINS
        assert all(model.pairs == () for model in models)


def test_a_combination_three_times_as_hard_is_found_within_three_updates() -> None:
    for seed in range(3):
        evidence = Evidence(MODEL, PAIRS)
        model = updates(evidence, hard_pair, 3, 1000, seed)[-1]
        assert [(p.first, p.second) for p in model.pairs] == [("joint/a", "joint/c")]
        table = model.pairs[0].table
        assert np.unravel_index(table.argmax(), table.shape) == (1, 3) and table.max() > 1.2
        record = evidence.record()["pairs"]
        assert record[0]["variables"] == ["joint/a", "joint/c"] and record[0]["explained"] > 0.005
        json.dumps(record, allow_nan=False)


def test_what_is_drawn_of_a_pair_goes_as_the_losses_go() -> None:
    model = updates(Evidence(MODEL, PAIRS), hard_pair, 8, 4000, 1)[-1]
    a, c = (model[name].prior.marginal.reshape(CELLS, -1).sum(1) for name in ("joint/a", "joint/c"))
    joint = model.pairs[0].table * a[:, None] * c
    others = np.ones((CELLS, CELLS), bool)
    others[1, 3] = False
    assert joint[1, 3] / joint[others].mean() == pytest.approx(3.0, rel=0.2)


def test_no_combination_falls_below_the_floor() -> None:
    def unlike(bins: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.where((bins[:, 0] < 8) == (bins[:, 2] < 8), 3.0, 0.03)

    settings = FeedbackSettings(combinations="pairs", floor=0.5)
    model = updates(Evidence(MODEL, settings), unlike, 3, 2000, 1)[-1]
    assert min(pair.table.min() for pair in model.pairs) == pytest.approx(0.5)


def test_the_strongest_pairs_close_no_circle() -> None:
    flat = np.ones((CELLS, CELLS))
    found = [PairDifficulty(*p, flat, s) for p, s in (((0, 1), 0.1), ((1, 2), 0.3), ((0, 2), 0.2))]
    assert [(f.first, f.second) for f in strongest(found)] == [(1, 2), (0, 2)]
    many = [PairDifficulty(2 * i, 2 * i + 1, flat, i / 100) for i in range(MOST_PAIRS + 3)]
    assert [f.first for f in strongest(many)] == [2 * i for i in range(MOST_PAIRS + 2, 2, -1)]


def test_too_few_images_or_no_scatter_say_nothing() -> None:
    sums = np.zeros((4, CELLS, CELLS))
    assert difficulty(sums, 1e-3) is None
    sums[:] = 100.0  # all losses are the mean
    assert difficulty(sums, 1e-3) is None


def test_the_state_goes_through_json_and_back() -> None:
    evidence, again = (Evidence(MODEL, PAIRS) for _ in range(2))
    updates(evidence, hard_pair, 2, 1000, 1)
    again.restore(json.loads(json.dumps(evidence.state)))
    ahead, behind = (updates(e, hard_pair, 1, 1000, 2)[-1] for e in (evidence, again))
    assert ahead.pairs == behind.pairs != ()
    state = evidence.state
    del state["pairs"]
    Evidence(MODEL, PAIRS).restore(state)  # of a run that had not looked at pairs
    for damage, reason in ((np.full((4, 1, 4, 4), 1.0), "another scene"), (None, "not made of sums")):
        damaged = evidence.state
        sums = np.array(damaged["pairs"]["sums"])
        sums[0, 0, 0, 0] = -1.0
        damaged["pairs"]["sums"] = (sums if damage is None else damage).tolist()
        with pytest.raises(ValueError, match=reason):
            again.restore(damaged)


def test_the_coarse_cells_of_few_bins_are_the_bins() -> None:
    assert cell_of(np.arange(3), 3).tolist() == [0, 1, 2]
    assert cell_of(np.arange(BINS), BINS).tolist() == np.repeat(range(4), 4).tolist()
