# SPDX-License-Identifier: GPL-3.0-or-later
"""The sheet of the hardest images: which they are, and that it stays small."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from robot_keypoints.trainer.evaluation import hardest_sheet
from robot_keypoints.trainer.evaluation.evaluate import Evaluation, EvaluationSet


def measured(count: int, width: int, height: int) -> tuple[EvaluationSet, Evaluation]:
    """Image i is of the grey 10 i and has the loss i; all keypoints are found where they are, in the middle."""
    greys = torch.arange(count, dtype=torch.uint8) * 10
    images = greys.view(-1, 1, 1, 1).expand(-1, 3, height, width)
    points = np.full((count, 2, 2), (width / 2, height / 2))
    found = Evaluation(
        np.arange(count, dtype=float), points, np.zeros((count, 2, 2, 2)), np.ones((count, 2)), np.zeros((count, 2)),
        0.1,
    )  # fmt: skip
    return EvaluationSet(images, points), found


def test_the_hardest_image_stands_first(tmp_path: Path) -> None:
    data, found = measured(9, 100, 75)
    hardest_sheet.write(tmp_path / "hardest.jpg", data, found, ("foot", "hand"))
    picture = np.asarray(Image.open(tmp_path / "hardest.jpg").convert("L"), float)
    assert picture.shape == (3 * 180, 2 * 240)
    corners = [picture[180 * row + 5, 240 * column + 5] for row in range(3) for column in range(2)]
    assert corners == pytest.approx([80, 70, 60, 50, 40, 30], abs=3)


@pytest.mark.parametrize(("count", "grid"), [(1, (1, 1)), (2, (2, 1)), (3, (2, 2))])
def test_few_images_leave_no_empty_rows(count: int, grid: tuple[int, int]) -> None:
    drawn = hardest_sheet.sheet(*measured(count, 100, 75), ("foot", "hand"))
    assert Image.open(io.BytesIO(drawn)).size == (grid[0] * 240, grid[1] * 180)


@pytest.mark.parametrize(("count", "size"), [(1, (64, 48)), (3, (48, 640)), (8, (1600, 1200))])
def test_it_stays_small_whatever_the_images_are(count: int, size: tuple[int, int]) -> None:
    data, found = measured(count, *size)
    drawn = hardest_sheet.sheet(data, found, ("foot", "hand"))
    width, height = Image.open(io.BytesIO(drawn)).size
    assert width <= 480 and height <= 720 and len(drawn) < 1 << 20
