# SPDX-License-Identifier: GPL-3.0-or-later
"""Views of places follow from the dice, look the way that they should, and cost no more than they must."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.scene import catalogue
from robot_keypoints.trainer.images import places
from robot_keypoints.trainer.images.places import Places
from robot_keypoints.trainer.images.procedural import Dice

WIDTH, HEIGHT = 96, 72


def dice(seed: int) -> Dice:
    return Dice(torch.Generator().manual_seed(seed))


def compass() -> torch.Tensor:
    """A world ``(1, 3, 64, 129)`` whose red grows with the azimuth and whose green grows towards the zenith."""
    azimuth = (torch.arange(128) + 0.0) / 128
    elevation = 1 - (torch.arange(64) + 0.5) / 64
    red = azimuth.expand(64, 128)
    green = elevation[:, None].expand(64, 128)
    pixels = (torch.stack([red, green, torch.zeros(64, 128)]) * 255).byte()
    return torch.cat([pixels, pixels[:, :, :1]], 2)[None]


def test_every_world_of_blender_is_there_and_rooms() -> None:
    found = {f.stem for f in places.FOLDER.glob("*.jpg")}
    rooms = {name for name in found if name.startswith("room_")}
    assert found - rooms == set(catalogue.SHIPPED_WORLDS) and len(rooms) >= 6
    for name in found:
        with Image.open(places.FOLDER / f"{name}.jpg") as image:
            assert image.width == 2 * image.height, "all around"


def test_the_same_dice_give_the_same_view_whatever_was_drawn_before() -> None:
    first, other = Places(), Places()
    other.sample(dice(8), WIDTH, HEIGHT)
    view = first.sample(dice(5), WIDTH, HEIGHT)
    assert view.shape == (3, HEIGHT, WIDTH) and view.dtype == torch.uint8
    assert torch.equal(view, other.sample(dice(5), WIDTH, HEIGHT))
    assert not torch.equal(view, first.sample(dice(6), WIDTH, HEIGHT))


def test_views_are_exposed_as_cameras_do_it() -> None:
    found = Places()
    means = [float(found.sample(dice(s), WIDTH, HEIGHT).float().mean()) for s in range(60)]
    assert 90 < np.mean(means) < 190 and min(means) > 15 and max(means) < 254


@pytest.mark.parametrize("yaw", [0.0, 1.0, -2.5])
def test_a_camera_sees_the_direction_that_it_looks_at(yaw: float) -> None:
    view = places._view(compass(), 41, 31, math.radians(60), yaw, 0.3, 0.0)
    middle = view[:, 15, 20]
    expected = places.decoded((torch.tensor([yaw / math.tau + 0.5, 0.5 + 0.3 / math.pi]) * 255).byte())
    assert torch.allclose(middle[:2], expected, rtol=0.06)
    assert (view[1, 0] > view[1, -1]).all(), "the sky is above"
    right = places._view(compass(), 41, 31, math.radians(60), 0.0, 0.0, 0.0)[0, 15]
    assert (right.diff() > -1e-6).all(), "further right is a greater azimuth"


def test_the_seam_of_a_world_is_not_seen() -> None:
    smooth = compass()
    smooth[:, 0] = (128 + 100 * torch.sin(torch.arange(129) / 128 * math.tau)).byte()
    row = places._view(smooth, 201, 3, math.radians(60), math.pi, 0.0, 0.0)[0, 1]
    assert row.diff().abs().max() < 3 * row.diff().abs().median() + 0.05


def test_radiance_comes_back_from_a_kept_picture() -> None:
    light = np.geomspace(0.01, 50.0, 60).reshape(1, 20, 3)
    again = places.decoded(torch.from_numpy(places.encoded(light)))
    assert np.allclose(again, light, rtol=0.25, atol=0.005)


def test_without_pictures_a_sentence_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="install Robot Keypoints again"):
        Places(tmp_path)
    Image.new("RGB", (64, 32), (90, 90, 90)).save(tmp_path / "grey.jpg")
    view = Places(tmp_path).sample(dice(1), WIDTH, HEIGHT).float()
    assert view.std() < 2 and 110 < view.mean() < 240
