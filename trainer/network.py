# SPDX-License-Identifier: GPL-3.0-or-later
"""The localisation networks: ``light`` learns fast on a CPU, ``vgg`` is the paper's.

Both have one interface, so that the loop and prediction need not know which one they hold:
``forward`` gives an :class:`Output`, ``loss`` compares it with keypoints, ``beliefs`` turns it into maps.
"""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..core.errors import UserError
from . import belief_maps

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Normalisation of display-sRGB values in 0 … 1, per channel (ImageNet's)."""


@dataclass(frozen=True)
class NetworkConfig:
    """What it takes to build a network again.

    Attributes:
        kind: ``light`` or ``vgg``.
        keypoints: number of maps J.
        sigma: standard deviation of the targets, pixels of the network's input.
        stages: refinement stages and the first one together; ``vgg`` only.
        width: channels of the first level; ``light`` only.
    """

    kind: str
    keypoints: int
    sigma: float
    stages: int = 6
    width: int = 32

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> NetworkConfig:
        """Inverse of :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: if the document is not one.
        """
        config = cls(
            str(data["kind"]), int(data["keypoints"]), float(data["sigma"]), int(data["stages"]), int(data["width"])
        )
        sizes_fit = 1 <= config.keypoints <= 4096 and 1 <= config.stages <= 64 and 4 <= config.width <= 1024
        if config.kind not in ("light", "vgg") or not sizes_fit or not 0 < config.sigma < 1e4:
            raise ValueError(f"no such network: {config}")
        return config


@dataclass(frozen=True)
class Output:
    """What a network says before any squashing.

    Attributes:
        logits: one map per stage and keypoint, each ``(B, J, H, W)``, the last stage last.
        outside: logit of "this keypoint is outside the image", ``(B, J)``; None where the network has none.
    """

    logits: tuple[Tensor, ...]
    outside: Tensor | None


@dataclass(frozen=True)
class Beliefs:
    """Belief maps ``(B, J, H, W)``, not negative, and the confidence that a keypoint is in the image, ``(B, J)``."""

    maps: Tensor
    confidence: Tensor


class KeypointNetwork(nn.Module):
    """Images ``(B, 3, H, W)``, normalised, of any size, to belief maps at ``stride``."""

    stride: int
    multiple: int

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, images: Tensor) -> Output:
        """Pads at the right and the bottom to a multiple of the deepest stride, and crops the maps again."""
        height, width = images.shape[-2:]
        down, right = -height % self.multiple, -width % self.multiple
        if down or right:
            images = F.pad(images, (0, right, 0, down))
        output = self.compute(images)
        h, w = belief_maps.grid_size(height, self.stride), belief_maps.grid_size(width, self.stride)
        return Output(tuple(m[..., :h, :w].float() for m in output.logits), output.outside)

    @abstractmethod
    def compute(self, images: Tensor) -> Output:
        """The network itself, on images whose sides are multiples of ``multiple``."""

    @abstractmethod
    def loss(self, output: Output, keypoints: Tensor, width: int, height: int) -> Tensor:
        """Loss of each image ``(B,)`` against keypoints ``(B, J, 2)`` in pixels of the input."""

    @abstractmethod
    def beliefs(self, output: Output) -> Beliefs:
        """Belief maps of the last stage."""

    def decode(self, output: Output) -> tuple[belief_maps.Points, Tensor]:
        """Keypoints in pixels of the input, and their confidences ``(B, J)``."""
        beliefs = self.beliefs(output)
        return belief_maps.decode(beliefs.maps, self.stride, self.config.sigma), beliefs.confidence


def build(config: NetworkConfig, *, pretrained: bool = False) -> KeypointNetwork:
    """A new network.

    Raises:
        UserError: if pretrained weights are wanted and can't be had.
    """
    if config.kind == "light":
        return LightNetwork(config)
    network = VggNetwork(config)
    if pretrained:
        network.load_pretrained()
    return network


def normalise(images: Tensor) -> Tensor:
    """Display-sRGB values 0 … 1, ``(B, 3, H, W)``, to what the networks take."""
    mean = torch.tensor(MEAN, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(STD, device=images.device).view(1, 3, 1, 1)
    return (images - mean) / std


def _block(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class LightNetwork(KeypointNetwork):
    """A U-Net of 1.3 million parameters with output at stride 4.

    At stride 2 the last level alone took a third of the time; what it adds, decoding between cells gives as well.
    The beliefs of a keypoint are one softmax over all cells and one more for "outside the image", whose logit comes
    from the pooled deepest features: so the confidence, 1 - P(outside), is learned together with the place.
    """

    stride = 4
    multiple = 32

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        w = config.width
        # Channels at strides 2, 4, 8, 16 and 32.
        c = (w, 2 * w, 3 * w, 4 * w, 4 * w)
        deeper = [nn.Sequential(_block(a, b, stride=2), _block(b, b)) for a, b in itertools.pairwise(c)]
        self.down = nn.ModuleList([_block(3, c[0], stride=2), *deeper])
        self.up = nn.ModuleList(_block(c[i] + c[i + 1], c[i]) for i in (3, 2, 1))
        self.head = nn.Conv2d(c[1], config.keypoints, 1)
        self.outside = nn.Linear(c[-1], config.keypoints)

    def compute(self, images: Tensor) -> Output:
        features = []
        x = images
        for level in self.down:
            x = level(x)
            features.append(x)
        outside = self.outside(x.mean((-2, -1))).float()
        for level, skip in zip(self.up, reversed(features[1:-1]), strict=True):
            x = level(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], 1))
        # A softmax over n cells against one: the outside starts at even odds.
        cells = (images.shape[-2] // self.stride) * (images.shape[-1] // self.stride)
        return Output((self.head(x),), outside + math.log(cells))

    def loss(self, output: Output, keypoints: Tensor, width: int, height: int) -> Tensor:
        """Cross-entropy against the Gaussian target, less the target's own entropy: zero where all is learned."""
        assert output.outside is not None
        target = belief_maps.encode(keypoints, width, height, self.stride, self.config.sigma).flatten(2)
        outside = ~belief_maps.inside(keypoints, width, height)
        log_p = torch.log_softmax(torch.cat([output.logits[-1].flatten(2), output.outside[..., None]], -1), -1)
        entropy: Tensor = torch.special.entr(target).sum(-1)
        cross = -(target * log_p[..., :-1]).sum(-1) - outside * log_p[..., -1]
        return (cross - entropy).mean(-1)

    def beliefs(self, output: Output) -> Beliefs:
        """Maps that sum to one: the belief given that the keypoint is in the image."""
        assert output.outside is not None
        cells = output.logits[-1].flatten(2)
        confidence = torch.sigmoid(torch.logsumexp(cells, -1) - output.outside)
        return Beliefs(torch.softmax(cells, -1).view_as(output.logits[-1]), confidence)


class VggNetwork(KeypointNetwork):
    """The paper's network (III-A): VGG features at stride 4, a first stage, then stages that see the last beliefs.

    The loss after each stage, averaged, is the squared difference of sigmoid maps and Gaussians of height one, summed
    over a map's cells: with the mean over cells instead, nearly all of which are zero, the gradients would be tiny.
    """

    stride = 4
    multiple = 4

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        layers: list[nn.Module] = []
        inputs = 3
        for outputs in (64, 64, 0, 128, 128, 0, 256):
            if outputs:
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = outputs
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        first = self._stage(256, 3, 3, config.keypoints)
        later = [self._stage(256 + config.keypoints, 5, 7, config.keypoints) for _ in range(config.stages - 1)]
        self.stages = nn.ModuleList([first, *later])

    @staticmethod
    def _stage(inputs: int, blocks: int, size: int, keypoints: int) -> nn.Sequential:
        last = nn.Conv2d(512, keypoints, 1)
        # Sigmoids that start near zero, as nearly all of the target is.
        nn.init.constant_(last.bias, -4.0)  # type: ignore[arg-type]
        convolutions = [_block(inputs if i == 0 else 128, 128, size) for i in range(blocks)]
        return nn.Sequential(*convolutions, nn.Conv2d(128, 512, 1), nn.ReLU(inplace=True), last)

    def load_pretrained(self) -> None:
        """Take the features from torchvision's VGG-19, downloading it once.

        Raises:
            UserError: if it can't be downloaded.
        """
        from torchvision.models import VGG19_Weights

        try:
            weights = VGG19_Weights.IMAGENET1K_V1.get_state_dict(progress=False)
        except Exception as problem:  # URL errors, SSL errors, hash mismatches, OS errors
            reason = " ".join(str(problem).split())[:120]
            raise UserError(
                f"VGG's pretrained weights can't be downloaded ({reason}): "
                "set training.pretrained = false or connect to the internet once"
            ) from problem
        mine = self.features.state_dict()
        self.features.load_state_dict({k: weights[f"features.{k}"] for k in mine})

    def compute(self, images: Tensor) -> Output:
        features = self.features(images)
        logits: list[Tensor] = [self.stages[0](features)]
        for stage in self.stages[1:]:
            logits.append(stage(torch.cat([features, torch.sigmoid(logits[-1])], 1)))
        return Output(tuple(logits), None)

    def loss(self, output: Output, keypoints: Tensor, width: int, height: int) -> Tensor:
        target = belief_maps.encode(keypoints, width, height, self.stride, self.config.sigma, peak=True)
        stages = [((torch.sigmoid(m) - target) ** 2).sum((-2, -1)).mean(-1) for m in output.logits]
        return torch.stack(stages).mean(0)

    def beliefs(self, output: Output) -> Beliefs:
        """Sigmoid maps; the confidence is a map's highest value."""
        maps = torch.sigmoid(output.logits[-1])
        return Beliefs(maps, maps.flatten(2).amax(-1))
