# SPDX-License-Identifier: GPL-3.0-or-later
"""Two passes over an image: where views lie, what they show, and that the closer one finds more exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from robot_keypoints.core.settings.schema import AugmentationSettings
from robot_keypoints.trainer.images import views as image_views
from robot_keypoints.trainer.images.sensor_effects import NAMES
from robot_keypoints.trainer.images.training_augmentation import Augmentation
from robot_keypoints.trainer.inference.predictor import Predictor
from robot_keypoints.trainer.networks import factory, two_passes
from robot_keypoints.trainer.networks.factory import KeypointNetwork, NetworkConfig, Output
from robot_keypoints.trainer.networks.model_file import ModelInfo
from torch import Tensor

IMAGE, VIEW = (320, 240), (160, 120)


class FindsBright(KeypointNetwork):
    """Finds the brightest cell of the first two channels."""

    multiple = 4

    def __init__(self) -> None:
        super().__init__(NetworkConfig("light", 2, 1.6, stride=4).resolved())
        self.sizes: list[tuple[int, ...]] = []

    def compute(self, images: Tensor) -> Output:
        self.sizes.append(tuple(images.shape))
        maps = torch.nn.functional.avg_pool2d(images[:, :2], 4)
        return Output((40.0 * (maps - maps.amax((-2, -1), keepdim=True)),), torch.full((len(images), 2), 0.0))


def ramp(width: int, height: int) -> Tensor:
    """An image whose two first channels tell u and v of each pixel."""
    v, u = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    return torch.stack([u, v, torch.zeros_like(u)])[None]


@pytest.mark.parametrize("inner", [None, torch.tensor([[[0.9, -0.2, 5.0], [0.2, 0.9, -3.0]]])])
def test_a_view_shows_the_pixels_that_it_says(inner: Tensor | None) -> None:
    views = image_views.boxes(torch.tensor([[40.0, 30.0]]), torch.tensor([[200.0, 150.0]]), VIEW)
    views = views if inner is None else views.of(inner)
    shown = image_views.sample(ramp(*IMAGE), views, VIEW)[0, :2]
    points = torch.tensor([[[20.0, 30.0], [80.0, 60.0], [133.0, 101.0]]])
    in_image = views.points_to_image(points)[0]
    for (u, v), place in zip(points[0].long().tolist(), in_image, strict=True):
        torch.testing.assert_close(shown[:, v, u], place, atol=0.02, rtol=0)
    torch.testing.assert_close(views.points_to_view(views.points_to_image(points)), points)


def test_a_whole_image_at_half_its_size_is_the_mean_of_squares_of_four() -> None:
    image = torch.rand(2, 3, 240, 320)
    shown = image_views.sample(image, image_views.whole(2, IMAGE, VIEW), VIEW)
    torch.testing.assert_close(shown, torch.nn.functional.avg_pool2d(image, 2), atol=1e-4, rtol=0)
    same = image_views.sample(image, image_views.whole(2, IMAGE, IMAGE), IMAGE)
    torch.testing.assert_close(same, image, atol=1e-4, rtol=0)


def test_nothing_is_passed_over_however_small_the_view() -> None:
    image = torch.zeros(1, 1, 960, 1280)
    image[..., 500, 700] = 64.0 * 64
    for side in (20, 40, 80):
        view = (side * 4 // 3, side)
        shown = image_views.sample(image, image_views.whole(1, (1280, 960), view), view)
        assert shown.sum() * (960 / side) ** 2 == pytest.approx(64 * 64, rel=0.35)


def test_covariances_scale_with_the_view() -> None:
    views = image_views.boxes(torch.zeros(1, 2), torch.tensor([[80.0, 60.0]]), VIEW)
    found = views.covariances_to_image(torch.eye(2).expand(1, 3, 2, 2))
    torch.testing.assert_close(found, 0.25 * torch.eye(2).expand(1, 3, 2, 2))


def test_the_closer_crop_is_around_the_keypoints_within_the_image_and_no_finer_than_it() -> None:
    points = torch.tensor([
        [[100.0, 100.0], [196.0, 120.0]],  # wide enough for a part of half the image
        [[10.0, 5.0], [12.0, 8.0]],  # tiny, in a corner
        [[5.0, 5.0], [315.0, 230.0]],  # as large as the image
        [[100.0, 100.0], [500.0, 120.0]],  # one is not there
    ])  # fmt: skip
    counted = torch.tensor([[True, True], [True, True], [True, True], [True, False]])
    views, worth = image_views.around(points, counted, IMAGE, VIEW)
    assert worth.tolist() == [True, True, False, False]
    corners = views.points_to_image(torch.tensor([[-0.5, -0.5], [159.5, 119.5]]).expand(4, 2, 2))
    extents = corners[:, 1] - corners[:, 0]
    torch.testing.assert_close(extents[0], torch.tensor([160.0, 120.0]))
    torch.testing.assert_close(corners[0].mean(0), points[0].mean(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(corners[1], torch.tensor([[-0.5, -0.5], [159.5, 119.5]]))
    for row in (2, 3):
        torch.testing.assert_close(corners[row], torch.tensor([[-0.5, -0.5], [319.5, 239.5]]))
    assert (views.points_to_view(points)[:2] > -0.5).all()


def test_the_second_pass_finds_more_exactly() -> None:
    network = FindsBright().eval()
    image = torch.zeros(2, 3, 240, 320)
    truth = torch.tensor([[[118.0, 81.0], [170.0, 101.0]], [[20.0, 20.0], [310.0, 230.0]]])
    for row in range(2):
        for j in range(2):
            u, v = truth[row, j].long().tolist()
            image[row, j, v - 1 : v + 2, u - 1 : u + 2] = 1.0
    found, taken = two_passes.find_keypoints(network, image, VIEW)
    assert [p.rows.tolist() for p in taken] == [[0, 1], [0]]
    once, _ = two_passes.find_keypoints(network, image, VIEW, closer=False)
    error, before = ((f.positions - truth).norm(dim=-1) for f in (found, once))
    assert error[0].max() < before[0].max() and error[0].max() < 2.5
    torch.testing.assert_close(found.positions[1], once.positions[1])
    assert {size[2:] for size in network.sizes} == {(120, 160)}


def test_a_part_around_the_surest_keypoint_leaves_out_what_only_looks_like_another() -> None:
    network = FindsBright().eval()
    image = torch.zeros(2, 3, 240, 320)
    image[:, 0, 77:83, 97:103] = 1.0  # sure
    image[0, 1, 100:102, 129:131] = 1.0  # small
    image[:, 1, 200:203, 288:291] = 1.0  # a little larger, and far away: in the second image the only one
    once, _ = two_passes.find_keypoints(network, image, VIEW)
    inspection = two_passes.Inspection(parts=(0.5,))
    found, taken = two_passes.find_keypoints(network, image, VIEW, inspection)
    far, near = torch.tensor([289.0, 201.0]), torch.tensor([129.5, 100.5])
    assert (once.positions[:, 1] - far).norm(dim=-1).max() < 4
    assert (found.positions[0, 1] - near).norm() < 3 and (found.positions[1, 1] - far).norm() < 4
    assert found.confidences[0, 1] > once.confidences[0, 1]
    assert taken[0].rows.tolist() == [0, 1] and taken[0].views.to_image.shape == (2, 2, 3)
    assert network.sizes[-3:-1] == [(2, 3, 120, 160)] * 2


def test_what_is_worth_no_crop_is_looked_at_in_all_sizes_too() -> None:
    network = FindsBright().eval()
    image = torch.zeros(1, 3, 240, 320)
    image[0, 0, 20:24, 20:24] = image[0, 1, 224:228, 300:304] = 1.0
    inspection = two_passes.Inspection((1.0, 1.5), (1.0,))
    _, taken = two_passes.find_keypoints(network, image, VIEW, inspection)
    assert len(taken) == 2 and network.sizes[-1] == (1, 3, 180, 240)
    network.sizes.clear()
    two_passes.find_keypoints(network, image, VIEW, inspection, closer=False)
    assert (1, 3, 180, 240) in network.sizes, "all sizes where there is one pass alone"


@pytest.mark.parametrize(("loss", "tells"), [("cross_entropy", True), ("coordinates", False)])
def test_a_peak_of_several_sizes_is_as_wide_as_that_of_the_smallest(loss: str, tells: bool) -> None:
    """Where maps tell at all how sure a network is."""
    torch.manual_seed(0)
    network = factory.build(NetworkConfig("light", 2, 1.6, stride=4, loss=loss, width=8)).eval()
    with torch.no_grad():
        _, beliefs, points = two_passes.answered(network, torch.rand(1, 3, 120, 160), (0.5, 1.0))
    alone = network.locate(beliefs.maps).masses
    assert (points.masses > alone).all() if tells else (points.masses == 1.0).all()


def test_parts_lie_within_the_image_and_have_no_finer_pixels() -> None:
    found = two_passes.Found(
        torch.tensor([[[10.0, 10.0], [160.0, 120.0]], [[160.0, 120.0], [310.0, 230.0]]]),
        torch.eye(2).expand(2, 2, 2, 2),
        torch.ones(2, 2), torch.tensor([[0.9, 0.1], [0.8, 0.3]]),
    )  # fmt: skip
    corners = torch.tensor([[-0.5, -0.5], [159.5, 119.5]]).expand(2, 2, 2)
    for share, sides in ((0.75, (240.0, 180.0)), (0.1, (160.0, 120.0)), (2.0, (320.0, 240.0))):
        placed = two_passes.part(found, IMAGE, VIEW, share).points_to_image(corners)
        torch.testing.assert_close(placed[:, 1] - placed[:, 0], torch.tensor([sides] * 2))
        assert placed.min() >= -0.5 - 1e-4 and (placed[:, 1] <= torch.tensor([319.5, 239.5]) + 1e-4).all()
        torch.testing.assert_close(placed[0, 0], torch.tensor([-0.5, -0.5]))
        torch.testing.assert_close(placed[1].mean(0), torch.tensor([160.0, 120.0]), atol=1.0, rtol=0)


def test_the_surest_answer_is_taken_for_each_image_by_itself() -> None:
    def answer(at: float, sure: list[float]) -> two_passes.Found:
        near = torch.tensor(sure)[:, None].expand(2, 3)
        covariances = torch.eye(2).expand(2, 3, 2, 2) * at
        return two_passes.Found(torch.full((2, 3, 2), at), covariances, torch.ones(2, 3), near)

    taken = two_passes.surest([answer(1.0, [0.9, 0.2]), answer(2.0, [0.5, 0.6])])
    assert taken.positions[:, 0, 0].tolist() == [1.0, 2.0] and taken.covariances[:, 0, 0, 0].tolist() == [1.0, 2.0]
    assert taken.confidences[:, 0].tolist() == pytest.approx([0.9, 0.6])


def test_an_image_of_the_inputs_own_size_is_looked_at_once_and_as_it_is() -> None:
    network = FindsBright().eval()
    image = torch.rand(1, 3, 120, 160)
    found, taken = two_passes.find_keypoints(network, image, VIEW)
    assert len(taken) == 1
    again, _ = network.decode(taken[0].output)
    assert torch.equal(found.positions, again.positions)


def test_prediction_looks_closer_where_the_model_says_so() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    image[200:206, 300:306, 0] = 255
    image[260:266, 380:386, 1] = 255
    errors = []
    for coarse_scale in (1.0, 0.5):
        info = ModelInfo(FindsBright().config, *VIEW, ("a", "b"), (), coarse_scale=coarse_scale)
        network = FindsBright().eval()
        (found,) = Predictor(network, info, torch.device("cpu")).predict([image])
        errors.append(max(abs(found[0].u - 302.5), abs(found[1].v - 262.5)))
        assert len(network.sizes) == (1 if coarse_scale == 1.0 else 3)  # a part between the two
    assert errors[1] < errors[0] and errors[1] < 4


def test_training_sees_whole_pictures_and_closer_ones_with_keypoints_where_they_are() -> None:
    generator = torch.Generator().manual_seed(3)
    images = torch.zeros(64, 240, 320, 4, dtype=torch.uint8)
    points = torch.rand(64, 3, 2, generator=generator) * torch.tensor([150.0, 90.0]) + torch.tensor([60.0, 50.0])
    for image, (u, v) in zip(images, points[:, 0].round().long().tolist(), strict=True):
        image[v - 2 : v + 3, u - 2 : u + 3] = torch.tensor([255, 0, 255, 255], dtype=torch.uint8)
    augmentation = Augmentation(AugmentationSettings(covers=0.0), *VIEW, 5, torch.device("cpu"))
    made = augmentation(images, points, np.zeros((64, len(NAMES))) + _neutral())
    assert made.images.shape == (64, 3, 120, 160) and made.to_rendering is not None
    scale = made.to_rendering[:, 0, 0]
    whole = (scale - 2.0).abs() < 1e-6
    assert 16 < int(whole.sum()) < 48
    assert scale[~whole].min() >= 1.0 and scale[~whole].unique().numel() > 8
    back = image_views.Views(made.to_rendering).points_to_image(made.keypoints)
    torch.testing.assert_close(back, points, atol=1e-3, rtol=0)
    for image, (u, v) in zip(made.images, made.keypoints[:, 0].tolist(), strict=True):
        if 1 <= u < 158 and 1 <= v < 118:
            r, g, b = image[:, round(v), round(u)].tolist()
            assert r > 0.8 and b > 0.8 and g < 0.2


def _neutral() -> np.ndarray:
    from robot_keypoints.trainer.images.sensor_effects import row

    return np.array(row({}))
