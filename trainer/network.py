# SPDX-License-Identifier: GPL-3.0-or-later
"""The localisation networks: ``light`` learns fast on a CPU, ``vgg`` is the paper's, ``mobilenet``, ``resnet`` and
``efficientnet`` stand on features that may know photographs. What they share is in :mod:`.network_base`.
"""

from __future__ import annotations

from pathlib import Path

from .network_backbones import BackboneNetwork, MobilenetNetwork, ResnetNetwork
from .network_base import MEAN, STD, Beliefs, KeypointNetwork, Output, normalise
from .network_config import NetworkConfig
from .network_efficientnet import EfficientnetNetwork
from .network_light import LightNetwork
from .network_vgg import VggNetwork

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
