# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processor to compute on, and in which precision; found out by computing, not by asking."""

from __future__ import annotations

import copy
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from ..core.errors import UserError
from .network import KeypointNetwork


def run_kernel(device: torch.device) -> None:
    """A convolution forth and back and a look at its result; raises whatever a broken installation raises."""
    layer = torch.nn.Conv2d(3, 8, 3).to(device)
    loss = layer(torch.ones(1, 3, 16, 16, device=device)).square().mean()
    loss.backward()
    if not torch.isfinite(loss).item():
        raise RuntimeError("a convolution gave no number")


def choose(setting: str) -> torch.device:
    """The device for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        UserError: if ``cuda`` is wanted and does not work.
    """
    if setting != "cpu" and (setting == "cuda" or torch.cuda.is_available()):
        try:
            device = torch.device("cuda")
            run_kernel(device)
            return device
        except Exception as problem:  # the drivers raise many kinds
            reason = " ".join(str(problem).split())[:120]
            if setting == "cuda":
                raise UserError(
                    f"The graphics card can't be used ({reason}): set training.device to cpu, "
                    "or install the build of torch that fits the card"
                ) from problem
            print(f"the graphics card can't be used ({reason}); going on with the CPU", file=sys.stderr)
    return torch.device("cpu")


@dataclass(frozen=True)
class Precision:
    """How to compute on a device.

    Attributes:
        bfloat16: whether autocast to bfloat16 pays.
        seconds_per_image: of one training step, as measured.
    """

    device: torch.device
    bfloat16: bool
    seconds_per_image: float

    def autocast(self) -> AbstractContextManager[object]:
        """To compute the network under."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16)

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        return f"{name}, {'bfloat16' if self.bfloat16 else 'float32'}"


def measure(network: KeypointNetwork, batch: int, width: int, height: int, seconds: float = 3.0) -> Precision:
    """Try training steps in both precisions, in turn and on a copy, and take the faster one."""
    device = next(network.parameters()).device
    trial = copy.deepcopy(network).train()
    half = device.type == "cpu" or torch.cuda.is_bf16_supported()
    best = {False: float("inf"), True: float("inf")}
    count = min(batch, 8 if network.config.kind == "light" else 1)
    end = time.monotonic() + seconds
    rounds = 0
    while rounds < 1 or (time.monotonic() < end and rounds < 6):
        for bfloat16 in (False, True) if half else (False,):
            images = torch.zeros(count, 3, height, width, device=device).to(memory_format=torch.channels_last)
            points = torch.zeros(count, network.config.keypoints, 2, device=device)
            begin = time.monotonic()
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16):
                output = trial(images)
            trial.loss(output, points, width, height).mean().backward()  # type: ignore[no-untyped-call]
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            best[bfloat16] = min(best[bfloat16], time.monotonic() - begin)
        rounds += 1
    # Half the bits must be worth it.
    bfloat16 = best[True] < 0.9 * best[False]
    return Precision(device, bfloat16, best[bfloat16] / count)
