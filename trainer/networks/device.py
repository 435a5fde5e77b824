# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processor to compute on, and in which precision; found out by computing, not by asking."""

from __future__ import annotations

import copy
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from ...core.errors import UserError
from .factory import KeypointNetwork


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
            torch.backends.cudnn.benchmark = True  # sizes seldom change: the best kernels for them are worth finding
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

    @property
    def name(self) -> str:
        """The name of the device, as people call it."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"

    def to_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: what a resumed run needs to compute in the same way."""
        return {"device": self.name, "bfloat16": self.bfloat16, "seconds_per_image": self.seconds_per_image}

    def __str__(self) -> str:
        return f"{self.name}, {'bfloat16' if self.bfloat16 else 'float32'}"


def decide(
    network: KeypointNetwork, setting: str, batch: int, width: int, height: int, known: Mapping[str, Any] | None = None
) -> Precision:
    """The precision for ``auto``, ``float32`` or ``bfloat16``.

    Args:
        known: what an earlier sitting of the run decided, :meth:`Precision.to_dict`; taken where the device is of the
            same kind and the setting allows it.

    Raises:
        UserError: if the device can't do what is wanted, or has no room for a few images.
    """
    device = next(network.parameters()).device
    half = device.type == "cpu" or torch.cuda.is_bf16_supported()
    if setting == "bfloat16" and not half:
        raise UserError("This graphics card does not compute in bfloat16: set training.precision to auto or float32")
    if known is not None:
        earlier = Precision(device, bool(known["bfloat16"]), float(known["seconds_per_image"]))
        fits = setting == "auto" or earlier.bfloat16 == (setting == "bfloat16")
        if known["device"] == earlier.name and fits:
            return earlier
    tried = {"float32": (False,), "bfloat16": (True,), "auto": (False, True) if half else (False,)}[setting]
    return measure(network, batch, width, height, tried)


def measure(
    network: KeypointNetwork, batch: int, width: int, height: int, tried: Sequence[bool] = (False, True),
    seconds: float = 3.0,
) -> Precision:  # fmt: skip
    """Try training steps, in bfloat16 or not, in turn and on a copy, and take the fastest.

    Raises:
        UserError: if there is no room for a few images.
    """
    device = next(network.parameters()).device
    trial = copy.deepcopy(network).train()
    best = dict.fromkeys(tried, math.inf)
    count = min(batch, 1 if network.config.kind == "vgg" else 8)
    end = time.monotonic() + seconds
    rounds = 0
    with enough_memory(count):
        while rounds < 1 or (time.monotonic() < end and rounds < 3 * len(tried)):
            for bfloat16 in tried:
                best[bfloat16] = min(best[bfloat16], _try(trial, bfloat16, count, width, height))
            rounds += 1
    # Half the bits must be worth it.
    bfloat16 = best.get(True, math.inf) < 0.9 * best.get(False, math.inf)
    return Precision(device, bfloat16, best[bfloat16] / count)


def _try(trial: KeypointNetwork, bfloat16: bool, count: int, width: int, height: int) -> float:
    """Seconds of one training step."""
    device = next(trial.parameters()).device
    images = torch.zeros(count, 3, height, width, device=device).to(memory_format=torch.channels_last)
    points = torch.zeros(count, trial.config.keypoints, 2, device=device)
    begin = time.monotonic()
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16):
        output = trial(images)
    trial.loss(output, points, width, height).mean().backward()  # type: ignore[no-untyped-call]
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic() - begin


@contextmanager
def enough_memory(images: int) -> Iterator[None]:
    """Raises :class:`UserError` where ``images`` at a time need more memory than there is."""
    try:
        yield
    except (MemoryError, RuntimeError) as problem:
        words = ("out of memory", "allocate memory", "not enough memory")
        if isinstance(problem, RuntimeError) and not any(w in str(problem) for w in words):
            raise
        at_once = "One image does" if images == 1 else f"{images} images at a time do"
        raise UserError(f"{at_once} not fit into memory: lower training.batch_size or the images' size") from problem


def threads_beside(busy: int, processes: int = 1) -> int:
    """Threads for each of ``processes`` to compute with where ``busy`` threads of the workers share this machine.

    torch's threads wait for one another many hundred times a step. Where one of them has lost its core to a worker the
    others wait, too, so that two threads on two busy cores were seen to be ten times slower than one.
    """
    return max(1, ((os.cpu_count() or 1) - busy) // processes)
