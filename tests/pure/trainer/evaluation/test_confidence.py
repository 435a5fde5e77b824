# SPDX-License-Identifier: GPL-3.0-or-later
"""Confidences against errors: who is sure and wrong."""

from __future__ import annotations

import numpy as np
import pytest
from robot_keypoints.trainer.evaluation import confidence, confidence_plot
from robot_keypoints.trainer.reports import figures


def test_counts_are_those_of_a_list() -> None:
    percent = np.array([[1.0, 5.0, 5.1], [40.0, np.nan, 9.0]])
    given = np.array([[0.5, 0.95, 1.0], [0.49, 0.9, 0.96]])
    assert confidence.false_sure(percent, given).tolist() == [[False, False, True], [False, False, True]]
    found = confidence.calibration(percent, given)
    assert (found["sure"], found["false_sure"], found["false_sure_share"]) == (4, 2, 0.5)
    bins = {round(b["low"], 1): (b["count"], b["confidence"], b["right"]) for b in found["bins"]}
    assert bins[0.4] == (1, 0.49, 0.0) and bins[0.5] == (1, 0.5, 1.0)
    assert bins[0.9] == (3, pytest.approx(0.97), pytest.approx(1 / 3))
    gaps = (0.49 + 0.5 + 3 * abs(0.97 - 1 / 3)) / 5
    assert found["calibration_error"] == pytest.approx(gaps)


def test_honest_confidences_have_no_calibration_error() -> None:
    rng = np.random.default_rng(1)
    given = rng.uniform(size=40000)
    percent = np.where(rng.uniform(size=40000) < given, 1.0, 20.0)
    assert confidence.calibration(percent, given)["calibration_error"] < 0.02
    boasting = confidence.calibration(percent, np.sqrt(given))
    assert boasting["calibration_error"] > 0.1


def test_of_nothing_nothing_is_said() -> None:
    nothing = np.full((3, 2), np.nan)
    found = confidence.calibration(nothing, np.ones((3, 2)))
    assert (found["sure"], found["false_sure_share"], found["calibration_error"], found["bins"]) == (0, None, None, [])
    assert figures.encode(confidence_plot.figure_of(nothing, np.ones((3, 2))), "png").startswith(b"\x89PNG")
