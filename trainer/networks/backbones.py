# SPDX-License-Identifier: GPL-3.0-or-later
"""``mobilenet`` [Howard2019] and ``resnet`` [He2015]: torchvision's features, which may know photographs, and a light
decoder."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from . import pretrained_weights
from .base import KeypointNetwork, Output, block
from .config import NetworkConfig


class BackboneNetwork(KeypointNetwork):
    """Features at strides 2 to 32, added up from the deepest to the finest at one width, as in a feature pyramid."""

    multiple = 32
    channels: tuple[int, ...]
    """The channels of the features at strides 2, 4, 8, 16 and 32."""
    called: str

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        w = self.config.width
        self.backbone = self.make_backbone()
        channels = self.channels
        self.taps = range(len(channels) - 1, self.finest - 1, -1)
        self.sideways = nn.ModuleList(nn.Conv2d(channels[i], w, 1, bias=False) for i in self.taps)
        self.merge = nn.ModuleList(block(w, w) for _ in self.taps)
        self.dropout = nn.Dropout2d(self.config.dropout)
        self.head = self.last_layer(w)
        self.outside = self.outside_layer(channels[-1])

    @abstractmethod
    def make_backbone(self) -> nn.Module:
        """torchvision's features, from scratch, by torchvision's names."""

    @abstractmethod
    def weights(self) -> Any:
        """Where torchvision has the weights of the features."""

    @abstractmethod
    def features(self, images: Tensor) -> list[Tensor]:
        """Features at strides 2, 4, 8, 16 and 32."""

    def load_pretrained(self, file: str | Path = "") -> None:
        """Take the features from torchvision; see :func:`.pretrained_weights.copy`.

        Raises:
            UserError: if they can't be had.
        """
        pretrained_weights.copy(self.weights(), self.called, self.backbone.state_dict(), file)

    def compute(self, images: Tensor) -> Output:
        levels = self.features(images)
        x: Tensor | None = None
        for i, sideways, merge in zip(self.taps, self.sideways, self.merge, strict=True):
            side = sideways(levels[i])
            x = merge(side if x is None else side + F.interpolate(x, scale_factor=2.0, mode="nearest"))
        assert x is not None
        maps = self.head(self.dropout(x))
        return Output((maps,), self.outside_logits(levels[-1], maps))


class MobilenetNetwork(BackboneNetwork):
    """MobileNetV3-small: the fewest operations."""

    channels = (16, 16, 24, 48, 576)
    called = "MobileNetV3-small"
    LAST = (0, 1, 3, 8, 12)
    """The last of torchvision's layers at each stride."""

    def make_backbone(self) -> nn.Module:
        from torchvision.models import mobilenet_v3_small

        whole = mobilenet_v3_small(weights=None)
        return nn.ModuleDict({"features": whole.features})

    def weights(self) -> Any:
        from torchvision.models import MobileNet_V3_Small_Weights

        return MobileNet_V3_Small_Weights.IMAGENET1K_V1

    def features(self, images: Tensor) -> list[Tensor]:
        found = []
        x = images
        for i, layer in enumerate(self.backbone["features"]):  # type: ignore[index]
            x = layer(x)
            if i in self.LAST:
                found.append(x)
        return found


class ResnetNetwork(BackboneNetwork):
    """ResNet-18."""

    channels = (64, 64, 128, 256, 512)
    called = "ResNet-18"

    def make_backbone(self) -> nn.Module:
        from torchvision.models import resnet18

        whole = resnet18(weights=None)
        return nn.ModuleDict({
            name: getattr(whole, name) for name in ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
        })  # fmt: skip

    def weights(self) -> Any:
        from torchvision.models import ResNet18_Weights

        return ResNet18_Weights.IMAGENET1K_V1

    def features(self, images: Tensor) -> list[Tensor]:
        parts: Any = self.backbone
        x = F.relu(parts["bn1"](parts["conv1"](images)), inplace=True)
        found = [x]
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for name in ("layer1", "layer2", "layer3", "layer4"):
            x = parts[name](x)
            found.append(x)
        return found
