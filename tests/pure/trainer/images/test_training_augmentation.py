# SPDX-License-Identifier: GPL-3.0-or-later
"""Augmentation: keypoints go where the picture goes, nothing else moves, and the latent values are followed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from robot_keypoints.core.scene import presets
from robot_keypoints.core.scene.scene_model import SceneModel
from robot_keypoints.core.settings.schema import AugmentationSettings
from robot_keypoints.trainer.images import sensor_effects
from robot_keypoints.trainer.images.sensor_effects import table
from robot_keypoints.trainer.images.training_augmentation import Augmentation, Augmented

CPU = torch.device("cpu")
WIDTH, HEIGHT = 96, 64
BEHIND = {"background/theme": 1.5}


def dots(points: list[tuple[float, float]]) -> Augmented:
    """One image per point: a soft, opaque white dot."""
    y, x = torch.arange(HEIGHT).view(-1, 1), torch.arange(WIDTH).view(1, -1)
    images = torch.zeros(len(points), HEIGHT, WIDTH, 4, dtype=torch.uint8)
    for image, (u, v) in zip(images, points, strict=True):
        image[..., :3] = 255
        image[..., 3] = (255 * torch.exp(-((x - u) ** 2 + (y - v) ** 2) / 18)).round().byte()
    return images, torch.tensor(points).view(len(points), 1, 2)


def on_black(tmp_path: Path, *, geometry: bool) -> Augmentation:
    Image.new("RGB", (200, 150), (0, 0, 0)).save(tmp_path / "black.png")
    return Augmentation(AugmentationSettings(str(tmp_path), geometry=geometry), WIDTH, HEIGHT, 4, CPU, (".",))


def centroids(rgb: torch.Tensor) -> torch.Tensor:
    y, x = torch.arange(HEIGHT).float(), torch.arange(WIDTH).float()
    weight = rgb[:, 0]
    u = (weight.sum(1) * x).sum(-1) / weight.sum((1, 2))
    v = (weight.sum(2) * y).sum(-1) / weight.sum((1, 2))
    return torch.stack([u, v], -1)


def test_keypoints_move_with_the_picture(tmp_path: Path) -> None:
    images, keypoints = dots([(30.0, 25.0), (60.0, 40.0), (48.0, 20.0), (40.0, 44.0)] * 8)
    rgb, moved, _ = on_black(tmp_path, geometry=True)(images, keypoints, table([BEHIND] * 32))
    assert (centroids(rgb) - moved[:, 0]).norm(dim=-1).max() < 0.3
    assert (moved - keypoints).norm(dim=-1).max() > 4  # it did move


def test_blur_and_motion_leave_labels_true(tmp_path: Path) -> None:
    images, keypoints = dots([(30.0, 25.0), (60.0, 40.0), (48.0, 20.0), (40.0, 44.0)])
    rng = np.random.default_rng(0)
    values = [
        BEHIND | {"camera/motion_u": u, "camera/motion_v": v, "sensor/blur": 1.5}
        for u, v in rng.uniform(-0.06, 0.06, (4, 2))
    ]
    rgb, points, _ = on_black(tmp_path, geometry=False)(images, keypoints, table(values))
    still, _, _ = on_black(tmp_path, geometry=False)(images, keypoints, table([BEHIND] * 4))
    assert torch.equal(points, keypoints)
    assert (centroids(rgb) - centroids(still)).norm(dim=-1).max() < 0.02
    assert (rgb.amax((1, 2, 3)) < still.amax((1, 2, 3)) - 0.1).all()  # it did smear


def test_a_robot_cut_off_by_the_border_stays_cut_off_there(tmp_path: Path) -> None:
    full = torch.full((64, HEIGHT, WIDTH, 4), 255, dtype=torch.uint8)
    rgb, _, _ = on_black(tmp_path, geometry=True)(full, torch.zeros(64, 1, 2), table([BEHIND] * 64))
    assert rgb.min() > 0.99


def test_the_same_seed_gives_the_same_images() -> None:
    images, keypoints = dots([(30.0, 25.0)] * 6)
    model = SceneModel(presets.variables("everything", 1.0))
    values = table([model.sample(np.random.default_rng(i)).values for i in range(6)])

    def augmented(seed: int) -> Augmented:
        return Augmentation(AugmentationSettings(geometry=True), WIDTH, HEIGHT, seed, CPU)(images, keypoints, values)

    first, again, other = augmented(7), augmented(7), augmented(8)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert first[0].min() >= 0 and first[0].max() <= 1
    assert not torch.equal(first[0][0], first[0][1])


def test_an_opaque_image_is_kept_where_nothing_is_asked_for() -> None:
    image = torch.randint(0, 256, (3, HEIGHT, WIDTH, 4), dtype=torch.uint8)
    image[:2, ..., 3] = 255
    image[2, ..., 3] = 0
    keypoints = torch.tensor([[[3.0, 4.0]], [[float("nan"), float("nan")]], [[5.0, 6.0]]])
    augmentation = Augmentation(AugmentationSettings(), WIDTH, HEIGHT, 1, CPU)
    for chosen in ([0, 1], [0, 2, 1]):
        rgb, points, _ = augmentation(image[chosen], keypoints[chosen], table([{}] * len(chosen)))
        for i, own in zip(chosen, rgb, strict=True):
            assert torch.equal(own, image[i, ..., :3].permute(2, 0, 1) / 255.0) == (i < 2)
        assert torch.equal(points[0], keypoints[0])
    assert points[2].isnan().all()


def test_each_image_has_its_own_effects() -> None:
    image = torch.full((1, HEIGHT, WIDTH, 4), 128, dtype=torch.uint8)
    image[..., 3] = 255
    values: list[dict[str, float]] = [
        {}, {"sensor/brightness": 0.1}, {"sensor/noise": 0.03}, {"objects/drawn": 6.5}, {"sensor/vignetting": 0.4},
    ]  # fmt: skip
    augmentation = Augmentation(AugmentationSettings(), WIDTH, HEIGHT, 1, CPU)
    rgb, _, _ = augmentation(image.expand(5, -1, -1, -1), torch.zeros(5, 1, 2), table(values))
    grey = 128 / 255
    assert torch.equal(rgb[0], torch.full_like(rgb[0], grey))
    assert torch.allclose(rgb[1], rgb[0] + 0.1)
    assert abs(float((rgb[2] - grey).std()) - 0.03) < 0.002
    touched = (rgb[3] != grey).any(0).float().mean()
    assert 0.001 < touched < 0.7
    assert rgb[4, :, 0, 0].max() < 0.85 * grey and rgb[4, :, HEIGHT // 2, WIDTH // 2].min() > 0.99 * grey


def test_the_fast_preset_is_about_as_strong_as_it_should_be() -> None:
    """A fifth of the images have something drawn over them, and a quarter or so are blurred enough to be seen."""
    model = SceneModel(presets.variables("fast", 1.0))
    rng = np.random.default_rng(0)
    values = sensor_effects.Values(table([model.sample(rng).values for _ in range(4000)]))
    assert abs((values["objects/drawn"] >= 1).mean() - 0.2) < 0.02
    assert 0.15 < (values["sensor/blur"] > 0.4).mean() < 0.3
    assert not values["sensor/jpeg"].any() and not values["camera/motion_u"].any()
