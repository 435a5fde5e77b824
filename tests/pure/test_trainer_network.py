# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks: one interface, any input size, and losses that fall."""

from __future__ import annotations

import math

import numpy as np
import pytest
import synthetic
import torch
from robot_keypoints.core.errors import UserError
from robot_keypoints.trainer import network
from robot_keypoints.trainer.finishing import Finisher

KINDS = {
    "light": network.NetworkConfig("light", 3, 1.0, width=12),
    "vgg": network.NetworkConfig("vgg", 3, 2.0, stages=2),
}


def figures(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    model = synthetic.settings().scene_model()
    rng = np.random.default_rng(5)
    samples = [synthetic.sample(model, rng) for _ in range(count)]
    finisher = Finisher.of(synthetic.settings())
    renderings = torch.from_numpy(np.stack([s.image for s in samples]))
    images = finisher.finish(renderings, [s.hidden.values for s in samples], range(count))
    keypoints = torch.from_numpy(np.stack([s.keypoints for s in samples])).float()
    return network.normalise(images.float() / 255.0), keypoints


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "height"), [(64, 48), (33, 70), (100, 31)])
def test_any_input_size(kind: str, width: int, height: int) -> None:
    net = network.build(KINDS[kind]).eval()
    output = net(torch.zeros(2, 3, height, width))
    shape = (2, 3, math.ceil(height / net.stride), math.ceil(width / net.stride))
    assert all(m.shape == shape for m in output.logits)
    keypoints = torch.tensor([[[3.0, 4.0], [math.nan, math.nan], [-9.0, 2.0]]]).expand(2, 3, 2)
    loss = net.loss(output, keypoints, width, height)
    assert loss.shape == (2,) and torch.isfinite(loss).all()
    points, confidence = net.decode(output)
    assert points.positions.shape == (2, 3, 2) and points.covariances.shape == (2, 3, 2, 2)
    assert ((confidence >= 0) & (confidence <= 1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_loss_falls(kind: str) -> None:
    torch.manual_seed(0)
    images, keypoints = figures(8)
    net = network.build(KINDS[kind]).train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3)
    losses = []
    for _ in range(25 if kind == "light" else 16):
        optimiser.zero_grad()
        loss = net.loss(net(images), keypoints, 64, 48).mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]


def test_light_learns_where_and_whether() -> None:
    torch.manual_seed(0)
    images, keypoints = figures(12)
    within = (keypoints[..., 0] > -0.5) & (keypoints[..., 0] < 63.5)
    assert 0 < (~within).sum() < within.sum()
    net = network.build(KINDS["light"]).train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=4e-3)
    for _ in range(150):
        optimiser.zero_grad()
        net.loss(net(images), keypoints, 64, 48).mean().backward()
        optimiser.step()
    with torch.no_grad():
        points, confidence = net.decode(net(images))
    assert ((confidence > 0.5) == within).float().mean() > 0.9
    error = (points.positions - keypoints).norm(dim=-1)[within]
    assert error.median() < 2.0


def test_perfect_beliefs_cost_nothing() -> None:
    """The loss is zero exactly where nothing is left to learn, for keypoints inside and outside."""
    from robot_keypoints.trainer import belief_maps

    net = network.build(KINDS["light"])
    keypoints = torch.tensor([[[20.3, 30.1], [-5.0, 3.0], [40.0, 10.0]]])
    target = belief_maps.encode(keypoints, 64, 48, net.stride, net.config.sigma)
    logits = torch.log(target.clamp_min(1e-12))
    outside = torch.tensor([[-40.0, 40.0, -40.0]])
    loss = net.loss(network.Output((logits,), outside), keypoints, 64, 48)
    assert abs(loss.item()) < 1e-3
    wrong = net.loss(network.Output((logits.flip(-1),), outside), keypoints, 64, 48)
    assert wrong.item() > 1


def test_vgg_loss_is_the_mean_over_stages() -> None:
    net = network.build(KINDS["vgg"])
    keypoints = torch.tensor([[[20.3, 30.1], [5.0, 3.0], [40.0, 10.0]]])
    a, b = torch.randn(1, 3, 12, 16), torch.randn(1, 3, 12, 16)
    apart = [net.loss(network.Output((m,), None), keypoints, 64, 48) for m in (a, b)]
    both = net.loss(network.Output((a, b), None), keypoints, 64, 48)
    assert torch.allclose(both, (apart[0] + apart[1]) / 2)


def test_weights_that_cannot_be_downloaded_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import VGG19_Weights

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(VGG19_Weights, "get_state_dict", refuse)
    with pytest.raises(UserError, match=r"no route to host.*training.pretrained = false"):
        network.build(KINDS["vgg"], pretrained=True)
