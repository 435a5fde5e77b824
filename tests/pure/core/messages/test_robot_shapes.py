# SPDX-License-Identifier: GPL-3.0-or-later
"""A robot's shapes in a request: they arrive as they were sent, and nothing malformed is taken in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from robot_keypoints.core.messages import robot_shapes
from robot_keypoints.core.messages.envelope import MessageError
from robot_keypoints.core.messages.robot_shapes import RobotShapes, ShapePart

RANDOM = np.random.default_rng(3)
SHAPES = RobotShapes(
    tuple(
        ShapePart(RANDOM.normal(size=(v, 3)).astype(np.float32), RANDOM.integers(v, size=(t, 3)).astype(np.uint32))
        for v, t in ((5, 7), (3, 1), (40, 60))
    )
)


def test_they_arrive_as_they_were_sent() -> None:
    again = RobotShapes.decode(SHAPES.counts, SHAPES.data)
    assert SHAPES.counts == [[5, 7], [3, 1], [40, 60]] and len(again.parts) == 3
    for here, there in zip(SHAPES.parts, again.parts, strict=True):
        assert np.array_equal(here.vertices, there.vertices) and np.array_equal(here.triangles, there.triangles)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (None, "no list"), ([], "no list"), ({"a": 1}, "no list"), ([[1, 1]] * 1025, "no list"),
        ([3], "not counted"), ([[3]], "not counted"), ([[3, 1, 1]], "not counted"), ([[True, 1]], "not counted"),
        ([[0, 1]], "not counted"), ([[3, -1]], "not counted"), ([[3.0, 1]], "not counted"),
        ([[3, 10**30]], "not counted"), ([[5, 7], [3, 1], [40, 61]], "bytes, not"), ([[3, 1]], "bytes, not"),
        ([[5, 7], [2, 2], [40, 60]], "that isn't there"),
    ],
)  # fmt: skip
def test_counts_that_are_not_its_own_are_refused(counts: Any, words: str) -> None:
    with pytest.raises(MessageError, match=words):
        RobotShapes.decode(counts, SHAPES.data)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1001.0])
def test_a_vertex_that_can_be_no_robots_is_refused(value: float) -> None:
    places = np.zeros((3, 3), np.float32)
    places[1, 2] = value
    wrong = RobotShapes((ShapePart(places, np.array([[0, 1, 2]], np.uint32)),))
    with pytest.raises(MessageError, match="within 1000 m"):
        RobotShapes.decode(wrong.counts, wrong.data)


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robot_shapes, "MOST_BYTES", len(SHAPES.data) - 1)
    with pytest.raises(MessageError, match="at most"):
        RobotShapes.decode(SHAPES.counts, SHAPES.data)
