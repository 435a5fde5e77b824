# SPDX-License-Identifier: GPL-3.0-or-later
"""``trainer/experiments/statistics.py`` on curves of which the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from robot_keypoints.trainer.experiments import statistics

SAMPLES = np.arange(1, 25) * 1000.0


def curves(
    pairs: int, speed: float, seed: int, noise: float = 0.03
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Errors that fall with the samples' root, ``speed`` times as fast, each training with a level of its own."""
    rng = np.random.default_rng(seed)
    level = np.exp(noise * rng.normal(size=(pairs, 1)))
    return 20.0 / np.sqrt(speed * SAMPLES / 1000) * level * np.exp(noise / 3 * rng.normal(size=(pairs, len(SAMPLES))))


@pytest.mark.parametrize("speed", [0.8, 1.0, 1.0 / 0.7])
def test_the_ratio_of_samples_is_found_and_its_interval_holds_it(speed: float) -> None:
    found = statistics.compare(SAMPLES, curves(30, speed, 1), curves(30, 1.0, 2))
    for reached in found.reached:
        ratio = reached.ratio
        assert ratio.value == pytest.approx(1 / speed, abs=0.05), reached.name
        assert ratio.low < 1 / speed < ratio.high, reached.name
        assert ratio.high - ratio.low < 0.15, reached.name


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(20):
        ratio = statistics.compare(SAMPLES, curves(20, 1.25, 2 * seed), curves(20, 1.0, 2 * seed + 1)).reached[0].ratio
        held += ratio.low <= 0.8 <= ratio.high
    assert 16 <= held <= 20


def test_pairs_are_compared_within_themselves() -> None:
    without = curves(30, 1.0, 3, noise=0.5)  # trainings differ far more than feedback changes
    found = statistics.compare(SAMPLES, without - 0.1, without)
    assert all(d.value == pytest.approx(-0.1) and d.high < -0.09 and d.low > -0.11 for d in found.difference)


def test_samples_lie_between_two_points_along_a_line() -> None:
    samples, curve = np.array([100.0, 200.0, 300.0]), np.array([9.0, 5.0, 6.0])
    assert statistics.samples_to_reach(samples, curve, 7.0) == 150.0
    assert statistics.samples_to_reach(samples, curve, 10.0) == 100.0
    assert statistics.samples_to_reach(samples, curve, 4.9) == np.inf


def test_an_error_that_is_not_reached_has_no_number() -> None:
    samples, worse, better = np.array([1.0, 2.0, 3.0]), np.array([[9.0, 8.0, 7.5]] * 3), np.array([[9.0, 5.0, 3.0]] * 3)
    found = statistics.compare(samples, worse, better)
    assert found.reached[0].level == 7.5
    assert found.reached[0].ratio.value == pytest.approx(3 / 1.375)
    assert found.reached[-1].to_dict()["with"] is None
    assert found.reached[-1].ratio.to_dict() == {"value": None, "low": None, "high": None}
