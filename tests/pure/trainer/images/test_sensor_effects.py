# SPDX-License-Identifier: GPL-3.0-or-later
"""Lens, sensor and codec: each effect goes the way its name says, and a neutral value does nothing at all."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from robot_keypoints.core.scene import catalogue
from robot_keypoints.trainer.images import jpeg, sensor_effects
from robot_keypoints.trainer.images.sensor_effects import Values, table

WIDTH, HEIGHT = 96, 64
EXTREMES = [
    (name, bound)
    for name in sensor_effects.NAMES
    if name not in ("background/theme", "objects/drawn")
    for entry in [catalogue.BY_NAME[name]]
    for bound in {entry.low, entry.high}
    if bound != entry.neutral
    and not (bound < 0 and name in ("sensor/blur", "sensor/jpeg", "sensor/read_noise", "sensor/sharpening"))
]


def standard_noise(places: np.ndarray) -> torch.Tensor:
    one = torch.randn(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    return one.expand(len(places), 3, HEIGHT, WIDTH)


def after(rgb: torch.Tensor, *values: dict[str, float]) -> torch.Tensor:
    """Copies of one picture ``(3, H, W)`` in a batch, one for each of ``values``."""
    batch = rgb.expand(len(values), 3, HEIGHT, WIDTH).clone()
    return sensor_effects.apply(batch, Values(table(values)), standard_noise)


def picture() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 3, 16, 24, generator=generator)
    return torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH))[0] * 0.6 + 0.2


def grey(level: float) -> torch.Tensor:
    return torch.full((3, HEIGHT, WIDTH), level)


def dot(u: float = 48.0, v: float = 31.0) -> torch.Tensor:
    y, x = torch.arange(HEIGHT).view(-1, 1), torch.arange(WIDTH).view(1, -1)
    return torch.exp(-((x - u) ** 2 + (y - v) ** 2) / 8).expand(3, HEIGHT, WIDTH)


def moments(rgb: torch.Tensor) -> tuple[float, float, float, float, float]:
    """Centroid (u, v), variances along u and v, covariance; pixels."""
    weight = rgb[0].double()
    weight = weight / weight.sum()
    y, x = torch.arange(HEIGHT).double().view(-1, 1), torch.arange(WIDTH).double().view(1, -1)
    u, v = float((weight * x).sum()), float((weight * y).sum())
    along = [float((weight * a * b).sum()) for a, b in ((x - u, x - u), (y - v, y - v), (x - u, y - v))]
    return (u, v, *along)  # type: ignore[return-value]


@pytest.mark.parametrize(("name", "bound"), EXTREMES)
def test_an_effect_changes_its_own_picture_and_no_other(name: str, bound: float) -> None:
    before = picture()
    own, neutral, missing = after(before, {name: bound}, {name: catalogue.BY_NAME[name].neutral}, {})
    assert (own - before).abs().max() > 0.01
    assert torch.equal(neutral, before) and torch.equal(missing, before)
    assert own.min() >= 0 and own.max() <= 1


def test_all_effects_together_keep_to_the_range_and_to_the_shape() -> None:
    low, high = ({n: getattr(catalogue.BY_NAME[n], end) for n in sensor_effects.NAMES} for end in ("low", "high"))
    result = after(picture(), low, high)
    assert result.shape == (2, 3, HEIGHT, WIDTH) and result.dtype == torch.float32
    assert torch.isfinite(result).all() and result.min() >= 0 and result.max() <= 1


@pytest.mark.parametrize(("u", "v"), [(0.1, 0.0), (0.0, -0.08), (0.05, 0.03), (-0.04, 0.06)])
def test_motion_smears_along_its_direction_about_the_same_middle(u: float, v: float) -> None:
    before, after_ = moments(dot()), moments(after(dot(), {"camera/motion_u": u, "camera/motion_v": v})[0])
    assert np.allclose(after_[:2], before[:2], atol=1e-3)
    right, down = u * WIDTH, v * WIDTH
    expected = np.array([right * right, down * down, right * down]) / 12  # of a uniform distribution along a line
    assert np.allclose(np.subtract(after_[2:], before[2:]), expected, atol=0.25 + 0.02 * expected.max())


def test_blur_is_a_gaussian_of_its_pixels_and_none_below_zero() -> None:
    soft, sharp = after(dot(), {"sensor/blur": 2.0}, {"sensor/blur": -2.0})
    assert np.allclose(np.subtract(moments(soft)[2:], moments(dot())[2:]), [4, 4, 0], atol=0.1)
    assert np.allclose(moments(soft)[:2], moments(dot())[:2], atol=1e-3)
    assert torch.equal(sharp, dot())
    assert torch.allclose(after(grey(0.7), {"sensor/blur": 3.0}), grey(0.7), atol=1e-5)


def test_vignetting_takes_its_share_of_the_light_from_the_corners() -> None:
    result = after(grey(0.8), {"sensor/vignetting": 0.5})[0, 0]
    light = (result / 0.8) ** sensor_effects.DISPLAY_GAMMA
    assert light[0, 0] == pytest.approx(0.5, abs=1e-4) and light[-1, -1] == pytest.approx(0.5, abs=1e-4)
    assert light[HEIGHT // 2, WIDTH // 2] > 0.999
    assert light[HEIGHT // 2, 0] > light[0, 0]


def test_brightness_is_added_and_contrast_is_about_mid_grey() -> None:
    assert torch.allclose(after(grey(0.3), {"sensor/brightness": 0.1}), grey(0.4), atol=1e-6)
    assert torch.allclose(after(grey(0.3), {"sensor/contrast": 1.5}), grey(0.2), atol=1e-6)
    assert torch.allclose(after(grey(0.5), {"sensor/contrast": 0.6}), grey(0.5), atol=1e-6)
    white, black = after(grey(0.95), {"sensor/brightness": 0.2}), after(grey(0.05), {"sensor/brightness": -0.2})
    assert torch.equal(white, torch.ones_like(white)) and torch.equal(black, torch.zeros_like(black))


def test_gamma_is_an_exponent() -> None:
    assert torch.allclose(after(grey(0.5), {"sensor/gamma": 2.0}), grey(0.25), atol=1e-6)
    dark = after(grey(0.1), {"sensor/brightness": -0.2, "sensor/gamma": 1.3})
    assert torch.equal(dark, torch.zeros_like(dark))


def test_colours_turn_fade_and_shift() -> None:
    red = torch.tensor([0.8, 0.2, 0.2]).view(3, 1, 1).expand(3, HEIGHT, WIDTH)

    def one(values: dict[str, float], rgb: torch.Tensor = red) -> list[float]:
        return after(rgb, values)[0, :, 5, 5].tolist()

    assert one({"sensor/saturation": 0.0}) == pytest.approx([0.299 * 0.8 + 0.701 * 0.2] * 3, abs=1e-5)
    assert one({"sensor/saturation": 1.2})[0] > 0.85
    r, g, b = one({"sensor/hue": 2 * np.pi / 3})
    assert (r, g, b) == pytest.approx((0.2, 0.8, 0.2), abs=1e-5)
    assert one({"sensor/hue": 1.0}, grey(0.4)) == pytest.approx([0.4] * 3, abs=1e-5)
    r, g, b = one({"sensor/white_balance": 0.2}, grey(0.5))
    assert r == g > 0.5 > b
    r, g, b = one({"sensor/white_balance": -0.2}, grey(0.5))
    assert r == g < 0.5 < b


def test_noise_has_its_deviation_and_comes_after_the_lens() -> None:
    noisy = after(grey(0.5), {"sensor/noise": 0.04})[0] - 0.5
    assert float(noisy.std()) == pytest.approx(0.04, rel=0.03) and abs(float(noisy.mean())) < 0.001
    dark = after(grey(0.5), {"sensor/noise": 0.04, "sensor/vignetting": 0.9, "sensor/blur": 3.0})[0]
    plain = after(grey(0.5), {"sensor/vignetting": 0.9, "sensor/blur": 3.0})[0]
    assert torch.allclose(dark - plain, noisy, atol=1e-5)


def test_jpeg_is_jpeg_and_comes_last() -> None:
    before = picture()
    strong, weak = after(before, {"sensor/jpeg": 1.0}, {"sensor/jpeg": 0.2})
    assert (strong - before).pow(2).mean() > 3 * (weak - before).pow(2).mean()
    assert torch.equal(after(before, {"sensor/jpeg": -0.5})[0], before)
    noisy = after(before, {"sensor/noise": 0.03})[0]
    both = after(before, {"sensor/noise": 0.03, "sensor/jpeg": 1.0})[0]
    buffer = io.BytesIO()
    Image.fromarray((noisy * 255).round().byte().permute(1, 2, 0).numpy()).save(buffer, "JPEG", quality=20)
    coded = torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1)
    assert torch.equal((both * 255).round().byte(), coded)


@pytest.mark.parametrize("quality", [20, 50, 90])
def test_jpeg_on_tensors_is_libjpegs(quality: int) -> None:
    # A picture with edges and colours, of sides that are no multiples of a block.
    y, x = torch.meshgrid(torch.arange(75.0), torch.arange(101.0), indexing="ij")
    rgb = torch.stack([x / 101, (torch.hypot(x - 50, y - 37) < 20).float() * 0.8, 0.5 + 0.4 * torch.sin(y / 5)])[None]
    ours, libjpeg = jpeg.on_tensors(rgb, np.array([float(quality)])), jpeg.coded(rgb, np.array([float(quality)]))
    assert (ours - libjpeg).abs().mean() * 255 < 1.5
    assert (ours - libjpeg).abs().mean() < 0.3 * (libjpeg - rgb).abs().mean()
    assert torch.equal((ours * 255).round() / 255, ours)


def test_noise_of_the_light_is_strongest_where_it_is_dark() -> None:
    spread = [float((after(grey(level), {"sensor/read_noise": 0.004})[0] - level).std()) for level in (0.15, 0.4, 0.8)]
    slopes = [0.004 / 2.2 * level ** (1 - 2.2) for level in (0.15, 0.4, 0.8)]
    assert spread == pytest.approx(slopes, rel=0.05)
    both = after(grey(0.4), {"sensor/read_noise": 0.004, "sensor/noise": 0.02})[0]
    assert float((both - 0.4).std()) == pytest.approx(float(np.hypot(slopes[1], 0.02)), rel=0.05)


def test_sharpening_overshoots_at_an_edge_and_leaves_flat_parts() -> None:
    edge = grey(0.3)
    edge[:, :, WIDTH // 2 :] = 0.6
    sharp = after(edge, {"sensor/sharpening": 1.0})[0]
    row = sharp[0, HEIGHT // 2]
    assert row.min() < 0.27 and row.max() > 0.63
    assert torch.allclose(row[: WIDTH // 2 - 6], torch.tensor(0.3), atol=1e-5)
    assert torch.equal(after(edge, {"sensor/sharpening": -1.0})[0], edge)
