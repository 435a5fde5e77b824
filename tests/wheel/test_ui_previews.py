# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures reach Blender as icons, and are drawn anew only when they change."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from robot_keypoints.addon import pictures, previews


@pytest.fixture(autouse=True)
def collection() -> Iterator[None]:
    previews.register()
    yield
    previews.unregister()


def test_pixels_arrive_and_are_drawn_once() -> None:
    drawn = []

    def draw() -> pictures.Image:
        drawn.append(1)
        return pictures.histogram([1.0] * 4, [1.0, 2.0, 3.0, 4.0], 40, 40)

    first = previews.picture("a", (1, 2), draw)
    again = previews.picture("a", (1, 2), draw)
    assert first == again
    assert len(drawn) == 1
    previews.picture("a", (1, 3), draw)
    assert len(drawn) == 2
    preview = previews._collection["a"]
    assert tuple(preview.image_size) == (40, 40)
    held = np.array(preview.image_pixels_float[:]).reshape(40, 40, 4)
    assert held == pytest.approx(draw(), abs=1 / 127)


def test_a_picture_may_change_its_size() -> None:
    previews.picture("a", 1, lambda: pictures.dot(pictures.RED, 16))
    previews.picture("a", 2, lambda: pictures.dot(pictures.RED, 24))
    assert tuple(previews._collection["a"].image_size) == (24, 24)


def test_dots_are_shared() -> None:
    for colour in (pictures.GREEN, pictures.RED, pictures.GREEN):
        previews.dot(colour)
    assert len(previews._collection) == 2


def test_without_a_collection_there_is_no_icon() -> None:
    previews.unregister()
    assert previews.picture("a", 1, lambda: pictures.dot(pictures.RED)) == 0
    assert previews.dot(pictures.RED) == 0
