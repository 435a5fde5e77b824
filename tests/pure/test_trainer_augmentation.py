# SPDX-License-Identifier: GPL-3.0-or-later
"""Augmentation: keypoints go where the picture goes, and nothing else moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.settings import AugmentationSettings
from robot_keypoints.trainer.augmentation import Augmentation, on_backgrounds

CPU = torch.device("cpu")
WIDTH, HEIGHT = 96, 64


def dots(points: list[tuple[float, float]]) -> tuple[torch.Tensor, torch.Tensor]:
    """One image per point: a soft, opaque white dot."""
    y, x = torch.arange(HEIGHT).view(-1, 1), torch.arange(WIDTH).view(1, -1)
    images = torch.zeros(len(points), HEIGHT, WIDTH, 4, dtype=torch.uint8)
    for image, (u, v) in zip(images, points, strict=True):
        image[..., :3] = 255
        image[..., 3] = (255 * torch.exp(-((x - u) ** 2 + (y - v) ** 2) / 18)).round().byte()
    return images, torch.tensor(points).view(len(points), 1, 2)


def black(tmp_path: Path) -> str:
    Image.new("RGB", (200, 150), (0, 0, 0)).save(tmp_path / "black.png")
    return str(tmp_path)


def test_keypoints_move_with_the_picture(tmp_path: Path) -> None:
    only = AugmentationSettings(black(tmp_path), distractors=False, colour=False, noise=False, geometry=True)
    augmentation = Augmentation(only, WIDTH, HEIGHT, 4, CPU)
    images, keypoints = dots([(30.0, 25.0), (60.0, 40.0), (48.0, 20.0), (40.0, 44.0)] * 8)
    rgb, moved = augmentation(images, keypoints)
    y, x = torch.arange(HEIGHT).float(), torch.arange(WIDTH).float()
    weight = rgb[:, 0]
    u = (weight.sum(1) * x).sum(-1) / weight.sum((1, 2))
    v = (weight.sum(2) * y).sum(-1) / weight.sum((1, 2))
    distance = (torch.stack([u, v], -1) - moved[:, 0]).norm(dim=-1)
    assert distance.max() < 0.3
    assert (moved - keypoints).norm(dim=-1).max() > 4  # it did move


def test_a_robot_cut_off_by_the_border_stays_cut_off_there(tmp_path: Path) -> None:
    only = AugmentationSettings(black(tmp_path), distractors=False, colour=False, noise=False, geometry=True)
    augmentation = Augmentation(only, WIDTH, HEIGHT, 4, CPU)
    full = torch.full((64, HEIGHT, WIDTH, 4), 255, dtype=torch.uint8)
    rgb, _ = augmentation(full, torch.zeros(64, 1, 2))
    assert rgb.min() > 0.99


def test_the_same_seed_gives_the_same_images() -> None:
    images, keypoints = dots([(30.0, 25.0)] * 6)
    first = Augmentation(AugmentationSettings(), WIDTH, HEIGHT, 7, CPU)(images, keypoints)
    again = Augmentation(AugmentationSettings(), WIDTH, HEIGHT, 7, CPU)(images, keypoints)
    other = Augmentation(AugmentationSettings(), WIDTH, HEIGHT, 8, CPU)(images, keypoints)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert first[0].min() >= 0 and first[0].max() <= 1
    assert not torch.equal(first[0][0], first[0][1])


def test_an_opaque_image_is_kept_where_nothing_is_asked_for(tmp_path: Path) -> None:
    nothing = AugmentationSettings(distractors=False, colour=False, noise=False, geometry=False)
    image = torch.randint(0, 256, (2, HEIGHT, WIDTH, 4), dtype=torch.uint8)
    image[..., 3] = 255
    keypoints = torch.tensor([[[3.0, 4.0]], [[float("nan"), float("nan")]]])
    rgb, points = Augmentation(nothing, WIDTH, HEIGHT, 1, CPU)(image, keypoints)
    assert torch.allclose(rgb, image[..., :3].permute(0, 3, 1, 2) / 255.0, atol=1e-6)
    assert torch.equal(points[0], keypoints[0]) and points[1].isnan().all()


def test_photographs_are_used_and_broken_ones_left_out(tmp_path: Path) -> None:
    Image.new("RGB", (300, 80), (250, 10, 10)).save(tmp_path / "red.jpg")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    clear = torch.zeros(4, HEIGHT, WIDTH, 4, dtype=torch.uint8)
    seen = on_backgrounds(clear, str(tmp_path), 1).float().mean((2, 3)).sort().values
    assert ((seen[:, :2] < 40) & (seen[:, 2:] > 200)).all()
    (tmp_path / "red.jpg").unlink()
    with pytest.raises(UserError, match="No picture in"):
        on_backgrounds(clear, str(tmp_path), 1)


def test_fixed_backgrounds_are_fixed_and_differ() -> None:
    clear = torch.zeros(20, HEIGHT, WIDTH, 4, dtype=torch.uint8)
    first, again = on_backgrounds(clear, "", 3), on_backgrounds(clear, "", 3)
    assert torch.equal(first, again)
    assert len({np.asarray(i).tobytes() for i in first}) == 20
