# SPDX-License-Identifier: GPL-3.0-or-later
"""The localisation networks: ``light`` learns fast on a CPU, ``vgg`` is that of [Heindl2019], ``mobilenet``, ``resnet``
and ``efficientnet`` stand on features that may know photographs. What they share is in :mod:`.base`.
"""

from __future__ import annotations

from pathlib import Path

from .backbones import BackboneNetwork, MobilenetNetwork, ResnetNetwork
from .base import MEAN, STD, Beliefs, KeypointNetwork, Output, normalise
from .config import NetworkConfig
from .efficientnet import EfficientnetNetwork
from .light import LightNetwork
from .vgg import VggNetwork

__all__ = [
    "MEAN", "STD", "BackboneNetwork", "Beliefs", "EfficientnetNetwork", "KeypointNetwork", "LightNetwork",
    "MobilenetNetwork", "NetworkConfig", "Output", "ResnetNetwork", "VggNetwork", "build", "normalise",
]  # fmt: skip


def build(config: NetworkConfig, *, pretrained: bool = False, weights: str | Path = "") -> KeypointNetwork:
    """A new network.

    Args:
        pretrained: whether features of torchvision start from weights learned on photographs; ``light`` has none.
        weights: file with them; empty downloads them once.

    Raises:
        UserError: if pretrained weights are wanted and can't be had.
    """
    if config.kind == "light":
        return LightNetwork(config)
    kinds: dict[str, type[VggNetwork | BackboneNetwork]] = {
        "vgg": VggNetwork, "mobilenet": MobilenetNetwork, "resnet": ResnetNetwork,
        "efficientnet": EfficientnetNetwork,
    }  # fmt: skip
    network = kinds[config.kind](config)
    if pretrained:
        network.load_pretrained(weights)
    return network
