# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's priors follow the losses of images before they are first trained on, and say so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from robot_keypoints.core.messages.events import Posterior
from robot_keypoints.core.scene.pair import read_pairs
from robot_keypoints.core.scene.prior import Prior
from robot_keypoints.core.scene.scene_model import SceneModel, Variable
from robot_keypoints.core.settings.schema import FeedbackSettings
from robot_keypoints.trainer.training.draws import FirstUses
from robot_keypoints.trainer.training.priors import Priors

MODEL = SceneModel(tuple(Variable(name, Prior.symmetric(0.0, 1.0, 8)) for name in ("joint/a", "joint/b")))


class Board:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.posteriors: list[Posterior] = []

    def publish_posterior(self, posterior: Posterior) -> None:
        self.posteriors.append(posterior)


def learn(priors: Priors, rng: np.random.Generator, version: int, images: int = 800) -> None:
    """Batches of sixteen, half of which were never trained on; the third bin of the first variable is hard."""
    model = {v.version: v for v in (MODEL, priors.model)}.get(version, MODEL)
    for _ in range(images // 8):
        bins = np.stack([rng.choice(8, 8, p=v.prior.marginal) for v in model.variables], axis=1)
        losses = np.full(16, 1e9)  # those of images that come again tell nothing
        losses[::2] = rng.exponential(1.0 + 2.0 * (bins[:, 0] == 2))
        priors.note_losses(FirstUses(np.arange(0, 16, 2), bins, np.full(8, version)), losses)


def test_what_is_hard_is_drawn_more_often_published_and_recorded(tmp_path: Path) -> None:
    board, rng = Board(), np.random.default_rng(1)
    priors = Priors(tmp_path, MODEL, FeedbackSettings(), board)  # type: ignore[arg-type]
    for step in (10, 20, 30):
        learn(priors, rng, 0)
        learn(priors, rng, priors.model.version)
        priors.follow_evidence(step)
    marginal = 8 * priors.model["joint/a"].prior.marginal
    assert marginal.argmax() == 2 and marginal[2] > 1.5
    assert priors.model["joint/b"] == MODEL["joint/b"]
    assert [p.version for p in board.posteriors] == [1, 2, 3]
    assert board.posteriors[-1].explained["joint/a"] > 0.03 and board.posteriors[-1].explained["joint/b"] == 0.0
    last = json.loads((tmp_path / "priors.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert last["rule"] == "evidence" and sum(last["evidence"]["counts"]["joint/a"]) == 1600
    assert np.argmax(last["evidence"]["ratios"]["joint/a"]) == 2 and set(last["evidence"]["explained"]) == {
        "joint/a", "joint/b",
    }  # fmt: skip


def test_pairs_that_are_hard_together_are_published_recorded_and_gone_back_to(tmp_path: Path) -> None:
    board, rng = Board(), np.random.default_rng(1)
    settings = FeedbackSettings(combinations="pairs")
    priors = Priors(tmp_path, MODEL, settings, board)  # type: ignore[arg-type]
    bins = rng.integers(0, 8, (2000, 2))
    losses = rng.exponential(1.0 + 4.0 * ((bins[:, 0] < 2) & (bins[:, 1] > 5)))
    priors.note_losses(FirstUses(np.arange(2000), bins, np.zeros(2000, np.int64)), losses)
    priors.follow_evidence(10)
    assert [(p.first, p.second) for p in priors.model.pairs] == [("joint/a", "joint/b")]
    assert board.posteriors[-1].pairs == priors.model.pairs
    assert Posterior.decode(board.posteriors[-1].encode("run"), "run").pairs == priors.model.pairs
    line = json.loads((tmp_path / "priors.jsonl").read_text(encoding="utf-8"))
    assert MODEL.with_concentrations(line["concentrations"], line["version"], read_pairs(line["pairs"])) == priors.model
    assert line["evidence"]["pairs"][0]["variables"] == ["joint/a", "joint/b"]
    again = Priors(tmp_path, MODEL, settings, board)  # type: ignore[arg-type]
    again.restore(priors.model.concentrations(), 1, priors.model.pairs)
    assert again.model == priors.model


@pytest.mark.parametrize("settings", [FeedbackSettings(enabled=False), FeedbackSettings(rule="selection")])
def test_where_another_rule_moves_the_priors_losses_are_not_gathered(
    tmp_path: Path, settings: FeedbackSettings
) -> None:
    priors = Priors(tmp_path, MODEL, settings, Board())  # type: ignore[arg-type]
    learn(priors, np.random.default_rng(1), 0)
    assert not np.any(priors.evidence.state["fresh"])


def test_images_of_an_unknown_version_are_no_evidence(tmp_path: Path) -> None:
    priors = Priors(tmp_path, MODEL, FeedbackSettings(), Board())  # type: ignore[arg-type]
    learn(priors, np.random.default_rng(1), 7)
    assert not np.any(priors.evidence.state["fresh"])
