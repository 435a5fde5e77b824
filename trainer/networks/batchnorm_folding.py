# SPDX-License-Identifier: GPL-3.0-or-later
"""Batch-norm folding, for a network that only answers: into the convolution before each normalisation."""

from __future__ import annotations

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .base import KeypointNetwork


def fused(network: KeypointNetwork) -> KeypointNetwork:
    """A copy in evaluation mode that says the same in less time and can't learn."""
    result = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(result.modules()):
        before: tuple[str, nn.Conv2d] | None = None
        for name, child in list(module.named_children()):
            if before is not None and isinstance(child, nn.BatchNorm2d):
                _replace(module, before[0], fuse_conv_bn_eval(before[1], child))
                _replace(module, name, nn.Identity())
            before = (name, child) if isinstance(child, nn.Conv2d) else None
    return result


def _replace(module: nn.Module, name: str, child: nn.Module) -> None:
    """Put another module in a child's place, in a container too."""
    module._modules[name] = child
