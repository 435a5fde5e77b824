# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures show what they are given: bar heights, colours, curves."""

from __future__ import annotations

import numpy as np
import pytest
from robot_keypoints.addon.base import plots


def height_of_bar(image: plots.Image, k: int, bins: int, background: tuple[float, ...]) -> float:
    """Measured height of bar ``k`` in pixels: how far from below the middle column is not background."""
    _, width, _ = image.shape
    margin = max(2.0, width / 60)
    column = round(margin + (k + 0.5) * (width - 2 * margin) / bins)
    strip = image[:, column, :3]
    different = np.abs(strip - np.asarray(background[:3])).max(axis=1) > 0.12
    return float(np.flatnonzero(different).max() + 1 - margin)


def test_bars_have_the_heights_of_the_probabilities() -> None:
    posterior = [4.0, 1.0, 2.0, 1.0]
    prior = [1.0] * 4
    side = 200
    image = plots.histogram(prior, posterior, side, side)
    before, after = plots.bar_heights(prior, posterior)
    tall = side - 2 * max(2.0, side / 60)
    for k in range(4):
        expected = max(before[k], after[k]) * tall
        assert height_of_bar(image, k, 4, plots.BACKGROUND) == pytest.approx(expected, abs=2.5)
    assert after[0] / after[1] == pytest.approx(4.0)
    assert after[0] / before[0] == pytest.approx(2.0)


def test_bars_keep_their_scale_while_they_grow() -> None:
    flat, _ = plots.bar_heights([1.0] * 16, [1.0] * 16)
    grown, _ = plots.bar_heights([1.0] * 16, [1.0] * 15 + [2.0])
    assert flat[0] == pytest.approx(grown[0])
    assert max(plots.bar_heights([1.0] * 16, [0.01] * 15 + [9.0])[1]) <= 1.0


def test_more_and_less_often_have_their_colours() -> None:
    image = plots.histogram([1.0] * 2, [3.0, 1.0], 100, 100)
    more, less = image[10, 25, :3], image[10, 75, :3]
    assert more[0] > more[2] + 0.1  # towards orange
    assert less[2] > less[0] + 0.1  # towards blue


def test_prior_alone_is_grey() -> None:
    image = plots.histogram([1.0] * 4, None, 100, 100)
    bar = image[10, 15, :3]
    assert np.ptp(bar) < 0.02
    assert bar.mean() > plots.BACKGROUND[0] + 0.1


def test_curves_end_where_they_should() -> None:
    curve = plots.Curve((0.0, 100.0), (10.0, 1.2), plots.MEAN)
    image = plots.curves([curve], 200, 200)
    orange = (np.abs(image[..., :3] - np.asarray(plots.MEAN[:3])).max(axis=2) < 0.05).nonzero()
    rows, columns = orange
    low, high = plots.nice_limits(curve.y)
    assert (low, high) == (1.0, 20.0)
    right = rows[columns > 190].mean()
    left = rows[columns < 8].mean()
    margin, tall = 4.0, 192.0
    assert right == pytest.approx(margin + tall * np.log(1.2) / np.log(20), abs=4)
    assert left == pytest.approx(margin + tall * np.log(10) / np.log(20), abs=4)


def test_curves_of_nothing_are_an_empty_frame() -> None:
    image = plots.curves([], 50, 40)
    assert image.shape == (40, 50, 4)
    assert np.ptp(image[..., :3]) == 0


def test_rectangles_cover_parts_of_pixels() -> None:
    canvas = plots.Canvas(4, 4, (0.0, 0.0, 0.0, 1.0))
    canvas.rectangle(0.5, 0.0, 2.0, 1.0, (1.0, 1.0, 1.0, 1.0))
    assert canvas.pixels[0, :, 0].tolist() == pytest.approx([0.5, 1.0, 0.0, 0.0])
    assert canvas.pixels[1:, :, 0].max() == 0.0


def test_sparks() -> None:
    assert plots.spark([1.0] * 8) == "▅" * 16
    assert plots.spark([1.0, 3.0], most=5) == "▃▃▇▇"
    rising = plots.spark([1, 2, 3, 4, 5, 6, 7, 8], most=8)
    assert list(rising) == sorted(rising, key=plots.SPARKS.index)
    assert rising[-1] == "█"
    assert len(plots.spark([1.0] * 256)) == 16
    assert len(plots.spark([1.0] * 20, most=7)) == 7


def test_keypoint_colours_differ() -> None:
    colours = {plots.keypoint_colour(i, 20) for i in range(20)}
    assert len(colours) == 20
