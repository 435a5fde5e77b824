# SPDX-License-Identifier: GPL-3.0-or-later
"""One step of the optimiser: from finished images to changed weights."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core.settings import TrainingSettings
from . import checkpoint, device
from .averaging import Average
from .device import Precision
from .distributed import Group
from .divergence import Watch
from .network import KeypointNetwork, Output

WEIGHT_DECAY = 1e-4

LONGEST_COMPUTATION = 1.0
"""A batch is computed in parts where it would keep a request to stop waiting longer than this, seconds."""


@dataclass(frozen=True)
class Batch:
    """What a step takes, on the device: normalised images ``(B, 3, H, W)``, channels last, keypoints ``(B, J, 2)`` in
    their pixels, and the keypoints' weights ``(B, J)`` or None."""

    images: Tensor
    keypoints: Tensor
    weights: Tensor | None

    def __len__(self) -> int:
        return len(self.images)

    def parts(self, size: int) -> list[Batch]:
        """Of at most ``size`` images each."""
        if len(self) <= size:
            return [self]
        weights = [None] * len(self) if self.weights is None else torch.split(self.weights, size)
        parts = zip(torch.split(self.images, size), torch.split(self.keypoints, size), weights, strict=False)
        return [Batch(*part) for part in parts]


@dataclass(frozen=True)
class Step:
    """What a step found: losses of each image ``(B,)`` and of each stage ``(S,)``; the gradient's length."""

    losses: NDArray[np.float64]
    stages: NDArray[np.float64]
    gradient: float

    @property
    def loss(self) -> float:
        """The mean over images."""
        return float(self.losses.mean())


class Engine:
    """A network, its optimiser, and the running average of its weights."""

    def __init__(
        self, network: KeypointNetwork, settings: TrainingSettings, precision: Precision, group: Group | None = None
    ) -> None:
        """
        Args:
            group: the processes that share each batch; None where this one is alone.
        """
        self.network = network
        self.settings = settings
        self.precision = precision
        self.group = group
        self.watch = Watch()
        self.steps = 0
        self._average = Average(network, settings.averaging)
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=WEIGHT_DECAY)
        self._plain: nn.Module = network
        self._forward: Callable[[Tensor], Output] = network
        self._unsure = False  # whether what was compiled has not run yet

    @property
    def average(self) -> KeypointNetwork:
        """The network that is validated and kept."""
        return self._average.network

    def begin(self) -> None:
        """Once the weights are what the first step starts from: join the group, compile."""
        if self.group is not None:
            self._plain = self.group.shared(self.network, self.precision.device)
        self._forward = self._plain
        wanted = self.settings.compile
        if wanted == "on" or (wanted == "auto" and self.precision.device.type == "cuda"):
            self._forward = torch.compile(self._plain)
            self._unsure = True

    def step(self, batch: Batch, rate: float, total: int, interrupted: Callable[[], bool]) -> Step | None:
        """Change the weights; None, and nothing is changed, as soon as ``interrupted()``.

        Args:
            rate: the learning rate.
            total: images of the whole group's batch.

        Raises:
            UserError: if the training has run away, or the batch needs more memory than there is; the weights, the
                average and the optimiser are then as before.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        share = 1 if self.group is None else self.group.size
        size = max(1, int(LONGEST_COMPUTATION / max(self.precision.seconds_per_image, 1e-9)))
        parts = batch.parts(size)
        found: list[Tensor] = []
        with device.enough_memory(len(parts[0])):
            for i, part in enumerate(parts):
                losses = self._losses(part)
                # The group takes the mean of its gradients, and does so with the last part.
                with nullcontext() if i + 1 == len(parts) or self.group is None else self._plain.no_sync():  # type: ignore[operator]
                    (losses.mean(0).sum() * (share / total)).backward()  # type: ignore[no-untyped-call]
                found.append(losses.detach())
                if self.group is None and i + 1 < len(parts) and interrupted():
                    return None
        limit = self.settings.largest_gradient or float("inf")
        gradient = float(torch.nn.utils.clip_grad_norm_(self.network.parameters(), limit))
        stages = torch.cat(found, 1).double().cpu().numpy()
        result = self._gathered(stages, gradient)
        if self.group is None or self.group.first:
            self.watch.check(result.loss, gradient, self.steps)
        self.optimiser.step()
        self.steps += 1
        if self.group is None or self.group.first:
            self._average.update(self.steps)
        return result

    def _losses(self, part: Batch) -> Tensor:
        """Of each stage and image ``(S, B)``."""
        height, width = part.images.shape[-2:]
        with self.precision.autocast():
            output = self._output(part.images)
        return self.network.stage_losses(output, part.keypoints, width, height, part.weights)

    def _output(self, images: Tensor) -> Output:
        if not self._unsure:
            return self._forward(images)
        try:
            output = self._forward(images)
        except Exception as problem:  # compilers raise many kinds; what is wrong with the network itself comes again
            reason = " ".join(str(problem).split())[:120]
            print(f"the network can't be compiled here ({reason}); going on without", file=sys.stderr, flush=True)
            self._forward = self._plain
            output = self._forward(images)
        self._unsure = False
        return output

    def _gathered(self, stages: NDArray[np.float64], gradient: float) -> Step:
        if self.group is not None:
            stages = self.group.gather(stages)
        return Step(stages.mean(0), stages.mean(1), gradient)

    # ------------------------------------------------------------------------------------------- saving, resuming

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Weights, average and optimiser, for a checkpoint."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        if self.average is not self.network:
            tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        return tensors | {f"optimiser.{k}": v for k, v in checkpoint.flatten_optimiser(self.optimiser).items()}

    @property
    def generators(self) -> dict[str, Tensor]:
        """States of torch's own random numbers."""
        found = {"torch": torch.get_rng_state()}
        if self.precision.device.type == "cuda":
            found["cuda"] = torch.cuda.get_rng_state(self.precision.device)
        return found

    @property
    def state(self) -> dict[str, Any]:
        """The rest, as plain JSON values."""
        return {"steps": self.steps, "watch": self.watch.state, "precision": self.precision.to_dict()}

    def restore(self, tensors: dict[str, Tensor], generators: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Inverse of these three.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: if they are not of such a network.
        """
        self.network.load_state_dict(checkpoint.part(tensors, "network"))
        if self.average is not self.network:
            # A run that begins to average goes on from the weights as they are.
            average = checkpoint.part(tensors, "average") or checkpoint.part(tensors, "network")
            self.average.load_state_dict(average)
        checkpoint.restore_optimiser(self.optimiser, checkpoint.part(tensors, "optimiser"))
        self.steps = int(state["steps"])
        self.watch.state = state["watch"]
        torch.set_rng_state(generators["torch"])
        if self.precision.device.type == "cuda" and "cuda" in generators:
            torch.cuda.set_rng_state(generators["cuda"], self.precision.device)
