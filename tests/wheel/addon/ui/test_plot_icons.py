# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures reach Blender as icons, and are drawn anew only when they change."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from robot_keypoints.addon.base import plots
from robot_keypoints.addon.ui import plot_icons


@pytest.fixture(autouse=True)
def collection() -> Iterator[None]:
    plot_icons.register()
    yield
    plot_icons.unregister()


def test_pixels_arrive_and_are_drawn_once() -> None:
    drawn = []

    def draw() -> plots.Image:
        drawn.append(1)
        return plots.histogram([1.0] * 4, [1.0, 2.0, 3.0, 4.0], 40, 40)

    first = plot_icons.picture("a", (1, 2), draw)
    again = plot_icons.picture("a", (1, 2), draw)
    assert first == again
    assert len(drawn) == 1
    plot_icons.picture("a", (1, 3), draw)
    assert len(drawn) == 2
    preview = plot_icons._collection["a"]
    assert tuple(preview.image_size) == (40, 40)
    held = np.array(preview.image_pixels_float[:]).reshape(40, 40, 4)
    assert held == pytest.approx(draw(), abs=1 / 127)


def test_a_picture_may_change_its_size() -> None:
    plot_icons.picture("a", 1, lambda: plots.dot(plots.RED, 16))
    plot_icons.picture("a", 2, lambda: plots.dot(plots.RED, 24))
    assert tuple(plot_icons._collection["a"].image_size) == (24, 24)


def test_dots_are_shared() -> None:
    for colour in (plots.GREEN, plots.RED, plots.GREEN):
        plot_icons.dot(colour)
    assert len(plot_icons._collection) == 2


def test_without_a_collection_there_is_no_icon() -> None:
    plot_icons.unregister()
    assert plot_icons.picture("a", 1, lambda: plots.dot(plots.RED)) == 0
    assert plot_icons.dot(plots.RED) == 0
