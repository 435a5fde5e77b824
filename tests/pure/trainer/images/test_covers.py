# SPDX-License-Identifier: GPL-3.0-or-later
"""Covers hide a keypoint of the images that get one, and nothing of the others."""

from __future__ import annotations

import numpy as np
import torch
from robot_keypoints.trainer.images import covers
from robot_keypoints.trainer.images.procedural import Dice

WIDTH, HEIGHT = 160, 120
ARM = torch.tensor([[40.0, 100.0], [60.0, 50.0], [110.0, 30.0], [120.0, 60.0]])


def drawn(share: float, count: int = 60, points: torch.Tensor = ARM, seed: int = 1) -> torch.Tensor:
    """Which pixels ``(count, H, W)`` of grey images are changed."""
    images = torch.full((count, 3, HEIGHT, WIDTH), 0.5)
    covers.draw(images, points.expand(count, *points.shape), share, Dice(torch.Generator().manual_seed(seed)))
    assert images.min() >= 0 and images.max() <= 1 and torch.isfinite(images).all()
    return (images != 0.5).any(1)


def test_the_share_of_the_images_that_get_one() -> None:
    assert not drawn(0.0).any()
    assert 0.2 < drawn(0.4, 200).flatten(1).any(1).float().mean() < 0.6
    assert drawn(1.0).flatten(1).any(1).float().mean() > 0.9


def test_covers_lie_on_keypoints_and_most_often_on_the_last() -> None:
    changed = drawn(1.0, 200)
    hidden = torch.stack([changed[:, int(v), int(u)] for u, v in ARM.tolist()], 1).float().mean(0)
    assert hidden[-1] > 0.3 and hidden[-1] > hidden[:-1].max()
    area = changed.flatten(1).float().mean(1)
    assert area.median() > 0.005 and area.max() < 0.5


def test_the_same_dice_give_the_same_covers() -> None:
    assert torch.equal(drawn(0.7, seed=4), drawn(0.7, seed=4))
    assert not torch.equal(drawn(0.7, seed=4), drawn(0.7, seed=5))


def test_without_keypoints_in_the_image_there_is_none() -> None:
    outside = torch.tensor([[-40.0, 10.0], [np.nan, np.nan], [400.0, 20.0], [50.0, 50.0]])
    assert not drawn(1.0, points=outside).any()


def test_a_texture_is_laid_the_right_way_round() -> None:
    texture = covers._texture(Dice(torch.Generator().manual_seed(0)))
    n = texture.width
    texture.paste((255, 0, 0, 255), (0, 0, n // 2, n // 2))
    laid = covers._laid(texture, [(40, 30), (100, 30), (100, 90), (40, 90)], WIDTH, HEIGHT)
    assert tuple(laid[35, 45]) == (255, 0, 0, 255) and tuple(laid[85, 95]) != (255, 0, 0, 255)
    assert laid[20, 20, 3] == 0
