# SPDX-License-Identifier: GPL-3.0-or-later
"""The loss on poses: nothing where the pose is right, its gradient that of the numbers, and nothing wild ever."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from robot_keypoints.core.camera.intrinsics import Intrinsics
from robot_keypoints.core.messages.samples import Sample
from robot_keypoints.core.scene.scene_model import SceneDraw, SceneModel
from robot_keypoints.core.settings.schema import AugmentationSettings, TrainingSettings
from robot_keypoints.trainer.images.training_augmentation import Augmentation
from robot_keypoints.trainer.maps import codec
from robot_keypoints.trainer.maps.soft_argmax import Spots
from robot_keypoints.trainer.networks import factory
from robot_keypoints.trainer.networks.device import Precision
from robot_keypoints.trainer.pose import loss as pose_loss
from robot_keypoints.trainer.pose.camera import Camera
from robot_keypoints.trainer.pose.loss import PoseLoss, places
from robot_keypoints.trainer.training.batch_pipeline import BatchAugmenter
from robot_keypoints.trainer.training.engine import Batch, Engine
from robot_keypoints.trainer.training.replay_store import ReplayStore
from robot_keypoints.trainer.training.schedule import pose_share
from torch import Tensor

WIDTH, HEIGHT, STRIDE, SIGMA, COUNT = 160, 120, 4, 2.5, 6
CAMERA = torch.tensor([[150.0, 150.0, 79.0, 61.0, -0.08, 0.01, 0.001, -0.001, 0.0]], dtype=torch.float64)
SIZE = (WIDTH, HEIGHT)


def scene(images: int = 3, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels ``(B, J, 2)``, places ``(B, J, 3)``, cameras ``(B, 9)``."""
    generator = torch.Generator().manual_seed(seed)
    box = torch.rand(images, COUNT, 3, generator=generator, dtype=torch.float64)
    points = (box - 0.5) * torch.tensor([1.4, 1.0, 1.2], dtype=torch.float64)
    points = points + torch.tensor([0.0, 0.0, 2.4], dtype=torch.float64)
    cameras = CAMERA.expand(images, 9)
    return Camera.of_rows(cameras).project(points), points, cameras


def maps_of(pixels: Tensor, *, is_distribution: bool = True, size: tuple[int, int] = SIZE) -> Tensor:
    """Logits whose maps are the targets of these keypoints."""
    target = codec.encode(pixels, *size, STRIDE, SIGMA, peak=not is_distribution).double()
    return target.clamp_min(1e-9).log() if is_distribution else torch.logit(target.clamp(1e-9, 1 - 1e-6))


def loss_of(is_distribution: bool = True, robots: tuple[str, ...] = ()) -> PoseLoss:
    return PoseLoss(COUNT, STRIDE, SIGMA, is_distribution=is_distribution, robots=robots)


@pytest.mark.parametrize("is_distribution", [True, False])
def test_the_right_maps_cost_nothing_and_others_the_more_the_further_they_are_off(is_distribution: bool) -> None:
    pixels, points, cameras = scene()
    wrong = torch.randn(3, COUNT, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    costs = [
        loss_of(is_distribution)(
            maps_of(pixels + s * wrong, is_distribution=is_distribution), pixels, None, points, cameras, None, SIZE
        )
        for s in (0.0, 0.5, 1.0, 2.0)
    ]
    assert costs[0].shape == (3,) and costs[0].max() < 0.1
    assert all((b > a + 0.01).all() for a, b in itertools.pairwise(costs))


def test_the_gradient_is_that_of_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through maps, coordinates, covariances, the solver and the pose; each map's cells together move as one."""
    monkeypatch.setattr(pose_loss, "STEEPEST", math.inf)
    pixels, points, cameras = scene(2)
    generator = torch.Generator().manual_seed(2)
    logits = maps_of(pixels + torch.randn(pixels.shape, generator=generator, dtype=torch.float64))
    logits = (logits + 0.3 * torch.randn(logits.shape, generator=generator, dtype=torch.float64)).requires_grad_()

    def cost(shown: Tensor) -> Tensor:
        return loss_of()(shown, pixels, None, points, cameras, None, SIZE).sum()

    (slope,) = torch.autograd.grad(cost(logits), logits)
    for _ in range(6):
        way = torch.randn(logits.shape, generator=generator, dtype=torch.float64)
        step = 1e-5
        with torch.no_grad():
            expected = (cost(logits + step * way) - cost(logits - step * way)) / (2 * step)
        assert float((slope * way).sum()) == pytest.approx(float(expected), rel=1e-3, abs=1e-7)
    assert slope.flatten(2).norm(dim=-1).min() > 0


def test_what_the_network_sees_may_be_a_part_of_the_rendering_turned_and_scaled() -> None:
    pixels, points, cameras = scene()
    c, s = 0.6 * math.cos(0.2), 0.6 * math.sin(0.2)
    matrix = torch.tensor([[[c, -s, 25.0], [s, c, 5.0]]], dtype=torch.float64).expand(3, 2, 3)
    inner = (pixels - matrix[:, None, :, 2]) @ torch.linalg.inv(matrix[:, :, :2]).mT
    size = (200, 180)
    shown = maps_of(inner, size=size)
    found = loss_of()(shown, inner, None, points, cameras, matrix, size)
    assert codec.inside(inner, *size).sum() > 12
    own = torch.diag_embed(torch.tensor([9.0, 1.0], dtype=torch.float64)).expand(3, COUNT, 2, 2)
    moved, turned = pose_loss.in_rendering(inner, own, matrix, STRIDE)
    assert torch.allclose(moved, pixels)
    cell = STRIDE * STRIDE / 12
    assert turned[0, 0].trace() == pytest.approx(0.36 * (10 + 2 * cell))
    along = matrix[0, :, 0] / 0.6  # where the input's u axis points to
    assert along @ turned[0, 0] @ along == pytest.approx(0.36 * (9 + cell))
    assert found.max() < 0.1
    assert loss_of()(shown, inner, None, points, cameras, None, size).min() > 0.5


def test_keypoints_outside_or_of_no_weight_are_not_listened_to() -> None:
    pixels, points, cameras = scene()
    misled = pixels.clone()
    misled[:, 0] = torch.tensor([20.0, 20.0], dtype=torch.float64)
    weights = torch.ones(3, COUNT)
    heard = loss_of()(maps_of(misled), pixels, weights, points, cameras, None, SIZE)
    weights[:, 0] = 0.0
    assert loss_of()(maps_of(misled), pixels, weights, points, cameras, None, SIZE).max() < 0.1 < heard.min()
    outside = pixels.clone()
    outside[:, 0] = -30.0
    assert loss_of()(maps_of(misled), outside, None, points, cameras, None, SIZE).max() < 0.1
    outside[:, :3] = math.nan
    few = maps_of(misled).requires_grad_()
    none = loss_of()(few, outside, None, points, cameras, None, SIZE)
    assert torch.equal(none, torch.zeros_like(none))  # three keypoints are too few


def test_every_robot_has_a_pose_of_its_own() -> None:
    pixels, points, cameras = scene()
    robots = ("", "", "", "", "", "second")
    misled = pixels.clone()
    misled[:, 5] = torch.tensor([20.0, 20.0], dtype=torch.float64)
    alone = loss_of(robots=robots)(maps_of(misled), pixels, None, points, cameras, None, SIZE)
    assert alone.max() < 0.1 < loss_of()(maps_of(misled), pixels, None, points, cameras, None, SIZE).min()


def test_no_maps_however_wild_give_a_wild_gradient() -> None:
    """Flat, contradictory, infinite; points on one line, in one place, unknown."""
    pixels, points, cameras = scene(8)
    points = points.clone()
    points[1] = points[1, :1] + torch.linspace(0, 1, COUNT, dtype=torch.float64)[:, None] * torch.tensor(
        [0.3, 0.2, 0.1]
    )
    points[2] = points[2, :1]
    points[3] = math.nan
    points[4, :3] = math.nan
    logits = maps_of(pixels.flip(1)).float()
    logits[5] = 0.0
    logits[6, 2] = math.inf
    logits[7, 1:3] = math.nan
    logits.requires_grad_()
    found = loss_of()(logits, pixels, None, points, cameras, None, SIZE)
    found.sum().backward()
    assert found.isfinite().all() and logits.grad is not None
    wild = logits.grad
    assert wild.isfinite().all()
    # A cell moves the mean by no more than it is away from it, and these windows reach four cells.
    assert wild.flatten(1).abs().sum(1).max() < 100 * pose_loss.STEEPEST
    assert torch.equal(found[1:4], torch.zeros(3))


def test_no_image_has_a_steeper_gradient_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a robot far away, whose distance a pixel changes by metres."""
    pixels, points, cameras = scene(8)
    points = points + torch.tensor([0.0, 0.0, 20.0], dtype=torch.float64)
    pixels = Camera.of_rows(cameras).project(points)
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    lengths = []
    for limit in (math.inf, 0.1):
        monkeypatch.setattr(pose_loss, "STEEPEST", limit)
        leaf = (pixels + 0.02 * noise).requires_grad_()
        spots = Spots(leaf, 4.0 * torch.eye(2).double().expand(8, COUNT, 2, 2), torch.ones(8, 1), torch.ones(8, 1) > 0)
        monkeypatch.setattr(pose_loss, "located", lambda *_, found=spots, **__: found)
        loss_of()(torch.zeros(8, COUNT, 30, 40), pixels, None, points, cameras, None, SIZE).sum().backward()
        assert leaf.grad is not None
        lengths.append(leaf.grad.flatten(1).norm(dim=1) * SIGMA)
    assert lengths[0].max() > 0.2
    assert lengths[1].max() <= 0.1 + 1e-6
    below = lengths[0] < 0.05
    assert torch.allclose(lengths[0][below], lengths[1][below])


def test_places_are_what_a_camera_with_a_lens_shows() -> None:
    pixels, points, cameras = scene()
    assert torch.allclose(places(pixels, points[..., 2], cameras), points, atol=1e-9)
    k = Intrinsics(WIDTH, HEIGHT, *CAMERA[0, :4].tolist(), tuple(CAMERA[0, 4:].tolist()))  # type: ignore[arg-type]
    shown, _ = k.project(points[0].numpy())
    assert torch.allclose(torch.from_numpy(shown), pixels[0], atol=1e-9)
    behind = points[..., 2].clone()
    behind[0, 0] = -1.0
    pixels[1, 2] = math.nan
    found = places(pixels, behind, cameras).isnan().any(-1)
    assert found.sum() == 2 and found[0, 0] and found[1, 2]


class Waiting:
    """A stream of samples that a camera with a lens has taken."""

    def take(self, limit: int) -> list[Sample]:
        pixels, points, cameras = scene(limit, seed=7)
        fx, fy, cx, cy, *bent = cameras[0].tolist()
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
        image = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
        return [
            Sample(
                image, p.numpy(), q[:, 2].numpy(), np.full(COUNT, 2), SceneDraw({}, {}), 0, 0, 0, matrix, np.eye(4),
                np.array(bent),
            )
            for p, q in zip(pixels, points, strict=True)
        ]  # fmt: skip

    def wait(self, timeout: float) -> bool:
        return True


@pytest.mark.parametrize("view", [SIZE, (80, 60)])
def test_what_the_network_sees_and_where_the_keypoints_are_fit_together(view: tuple[int, int]) -> None:
    """From samples through the store and the augmentation, whether images are moved, or seen in part."""
    store = ReplayStore(
        WIDTH, HEIGHT, COUNT, SceneModel(()), batch=6, memory=1 << 20, reuse=1, fresh_share=1.0, seed=0
    )  # fmt: skip
    raw = store.next_batch(Waiting(), lambda: False)
    assert raw is not None
    augmentation = Augmentation(AugmentationSettings(geometry=True, covers=0.0), *view, 3, torch.device("cpu"))
    made = BatchAugmenter(augmentation, torch.device("cpu"), 1.0, poses=True)(raw)
    assert made.places is not None and made.cameras is not None and made.to_rendering is not None
    assert not torch.allclose(made.keypoints.double(), torch.from_numpy(raw.keypoints), atol=1.0)
    linear, offset = made.to_rendering[:, :, :2], made.to_rendering[:, :, 2]
    shown = made.keypoints @ linear.mT + offset[:, None]
    expected = Camera.of_rows(made.cameras).project(made.places)
    assert torch.allclose(shown.double(), expected, atol=1e-3)
    assert BatchAugmenter(augmentation, torch.device("cpu"), 1.0)(raw).places is None


def test_the_weight_rises_over_a_tenth_of_the_run_after_its_time_has_come() -> None:
    t = TrainingSettings(pose_weight=0.5, pose_from=0.4)
    assert [pose_share(t, f) for f in (0.0, 0.4, 0.45, 0.5, 1.0)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert pose_share(replace(t, pose_weight=0.0), 1.0) == 0.0
    assert pose_share(replace(t, pose_from=0.0), 0.0) == 1.0  # of a run without end, too


# --------------------------------------------------------------------------------------------------------- the engine


def batch() -> Batch:
    pixels, points, cameras = scene(4)
    images = torch.randn(4, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(3))
    images = images.contiguous(memory_format=torch.channels_last)
    return Batch(images, pixels.float(), None, None, points, cameras)


def engine(seconds: float = 1e-4, **settings: float) -> Engine:
    torch.manual_seed(1)
    net = factory.build(factory.NetworkConfig("light", COUNT, SIGMA, width=8)).to(memory_format=torch.channels_last)
    t = replace(TrainingSettings(pretrained=False), **settings)  # type: ignore[arg-type]
    made = Engine(net, t, Precision(torch.device("cpu"), False, seconds))
    made.begin()
    return made


def weights(of: Engine) -> Tensor:
    return torch.cat([p.detach().flatten() for p in of.network.parameters()])


def test_an_engine_learns_poses_once_it_is_told_to_and_tells_what_they_cost() -> None:
    plain, early, late = engine(pose_weight=0.0), engine(pose_weight=1.0), engine(pose_weight=1.0)
    steps = [
        e.step(batch(), 0.01, 4, lambda: False, pose) for e, pose in ((plain, 0.0), (early, 0.0), (late, 1.0))
    ]  # fmt: skip
    assert torch.equal(weights(plain), weights(early)) and not torch.equal(weights(plain), weights(late))
    assert steps[0] is not None and steps[1] is not None and steps[2] is not None
    assert steps[0].extras == {} and steps[1].extras == {"pose": 0.0} and steps[2].extras["pose"] > 0.1
    assert steps[0].loss == steps[2].loss  # losses are the maps', whatever else counts


def test_a_batch_computed_in_parts_keeps_its_poses_with_its_images() -> None:
    whole, found = batch(), loss_of()
    logits = maps_of(whole.keypoints.double() + 1.0)
    together = found(logits, whole.keypoints, None, *_truth(whole), None, SIZE)
    parts = whole.parts(3)
    assert [len(p) for p in parts] == [3, 1]
    apart = [
        found(shown, p.keypoints, None, *_truth(p), None, SIZE)
        for shown, p in zip(torch.split(logits, 3), parts, strict=True)
    ]
    assert torch.allclose(torch.cat(apart), together) and together.min() > 0.05


def _truth(of: Batch) -> tuple[Tensor, Tensor]:
    assert of.places is not None and of.cameras is not None
    return of.places, of.cameras


def test_descending_the_loss_mends_the_pose() -> None:
    pixels, points, cameras = scene()
    wrong = torch.randn(3, COUNT, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    logits = maps_of(pixels + wrong).float().requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=0.05)
    costs = []
    for _ in range(15):
        optimiser.zero_grad()
        cost = loss_of()(logits, pixels, None, points, cameras, None, SIZE).sum()
        cost.backward()
        optimiser.step()
        costs.append(float(cost.detach()))
    assert costs[-1] < 0.5 * costs[0]
