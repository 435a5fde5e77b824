# SPDX-License-Identifier: GPL-3.0-or-later
"""One step of the optimiser, AdamW [Loshchilov2019]: from training images to changed weights."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...core.settings.schema import TrainingSettings
from ...core.step_times import TRAINING, StepTimes, Stopwatch
from ..networks import device
from ..networks.cuda_graphs import GraphedTraining
from ..networks.device import Precision
from ..networks.factory import KeypointNetwork, Output
from . import checkpoint
from .distributed import ProcessGroup
from .divergence import Watch
from .objective import Objective
from .weight_average import Average

WEIGHT_DECAY = 1e-4

LONGEST_COMPUTATION = 1.0
"""A batch is computed in parts where it would keep a request to stop waiting longer than this, seconds."""

LEAST_TO_COMPARE = 4
"""Images of such a part at least, where images are compared with one another."""

MEASURED_EVERY = 25
"""Of so many steps on a graphics card one is measured: it has to be waited for after each part."""


@dataclass(frozen=True)
class Batch:
    """What a step takes, on the device.

    Attributes:
        images: normalised ``(B, 3, H, W)``, channels last.
        keypoints: in their pixels ``(B, J, 2)``.
        weights: of the keypoints ``(B, J)``, or None.
        to_rendering: from the images' pixels to those of the renderings ``(B, 2, 3)``; None where they are the same.
        places: keypoints in the camera frame, metres ``(B, J, 3)``, NaN where not known; None where nobody asks.
        cameras: of the renderings, fx, fy, cx, cy, k1, k2, p1, p2, k3 in their pixels ``(B, 9)``; likewise.
        readings: of joints, rows of :class:`.Readings` ``(B, R)``; None where nobody asks.
    """

    images: Tensor
    keypoints: Tensor
    weights: Tensor | None = None
    to_rendering: Tensor | None = None
    places: Tensor | None = None
    cameras: Tensor | None = None
    readings: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def tensors(self) -> list[Tensor]:
        """All of them."""
        return [t for t in (self.images, self.keypoints, *self._rest) if t is not None]

    @property
    def _rest(self) -> tuple[Tensor | None, ...]:
        return self.weights, self.to_rendering, self.places, self.cameras, self.readings

    def parts(self, size: int) -> list[Batch]:
        """Parts of the batch, of at most ``size`` images each."""
        if len(self) <= size:
            return [self]

        def split(tensor: Tensor | None) -> Sequence[Tensor | None]:
            return [None] * len(self) if tensor is None else torch.split(tensor, size)

        rest = [split(tensor) for tensor in self._rest]
        parts = zip(torch.split(self.images, size), torch.split(self.keypoints, size), *rest, strict=False)
        return [Batch(*part) for part in parts]


@dataclass(frozen=True)
class Step:
    """What a step found: the maps' losses of each image ``(B,)`` and of each stage ``(S,)``; the gradient's length; and
    the mean of what counts beside the maps, by name, not weighted."""

    losses: NDArray[np.float64]
    stages: NDArray[np.float64]
    gradient: float
    extras: Mapping[str, float] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """The mean over images."""
        return float(self.losses.mean())


class Engine:
    """A network, its optimiser, and the running average of its weights."""

    def __init__(
        self, network: KeypointNetwork, settings: TrainingSettings, precision: Precision,
        process_group: ProcessGroup | None = None, robots: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Set up the optimiser, the average and the losses of a network.

        Args:
            process_group: the processes that share each batch; None where this one is alone.
            robots: whose each keypoint is; none for one robot.
        """
        self.network = network
        self.settings = settings
        self.precision = precision
        self.process_group = process_group
        self.watch = Watch()
        self.steps = 0
        self.times = StepTimes()
        """How long the parts of those steps took that were measured."""
        self._average = Average(network, settings.averaging)
        self._objective = Objective(network, settings, robots)
        self.optimiser = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=WEIGHT_DECAY,
            fused=precision.device.type == "cuda",
        )  # fmt: skip
        self._plain: nn.Module = network
        self._forward: Callable[[Tensor], Output] = network
        self._unsure = False  # whether what was compiled has not run yet

    @property
    def average(self) -> KeypointNetwork:
        """The network that is validated and kept."""
        return self._average.network

    def begin(self, images: tuple[int, int, int] | None = None) -> None:
        """Once the weights are what the first step starts from: join the group, compile or record.

        Args:
            images: of each step: how many, height and width. Only where they are known can a graphics card record the
                network's work; no other thread may use the card meanwhile.
        """
        if self.process_group is not None:
            self._plain = self.process_group.shared(self.network, self.precision.device)
        self._forward = self._plain
        if self.settings.compile == "on":
            self._forward = torch.compile(self._plain, dynamic=False)
            self._unsure = True
        elif (
            self.settings.compile == "auto"
            and images
            and self.process_group is None
            and self.precision.device.type == "cuda"
        ):
            count, height, width = images
            self._forward = GraphedTraining(self.network, (count, 3, height, width), bfloat16=self.precision.bfloat16)

    def step(
        self, batch: Batch, rate: float, total: int, interrupted: Callable[[], bool], pose: float = 0.0
    ) -> Step | None:
        """Change the weights; None, and nothing is changed, as soon as ``interrupted()``.

        Args:
            rate: the learning rate.
            total: images of the whole group's batch.
            pose: the share of the weight of the pose's loss that counts by now.

        Raises:
            UserError: if the training has run away, or the batch needs more memory than there is; the weights, the
                average and the optimiser are then as before.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.network.train()
        watch = self._stopwatch()
        self.optimiser.zero_grad(set_to_none=True)
        share = 1 if self.process_group is None else self.process_group.size
        size = max(1, int(LONGEST_COMPUTATION / max(self.precision.seconds_per_image, 1e-9)))
        if batch.readings is not None:
            size = max(size, LEAST_TO_COMPARE)
        parts = batch.parts(size)
        found: list[Tensor] = []
        with device.enough_memory(len(parts[0])):
            for i, part in enumerate(parts):
                losses = self._losses(part, pose)
                watch.lap("forward")
                # The group takes the mean of its gradients, and does so with the last part.
                with nullcontext() if i + 1 == len(parts) or self.process_group is None else self._plain.no_sync():  # type: ignore[operator]
                    (self._objective.total(losses, pose).sum() * (share / total)).backward()  # type: ignore[no-untyped-call]
                watch.lap("backward")
                found.append(losses.detach())
                if self.process_group is None and i + 1 < len(parts) and interrupted():
                    return None
        limit = self.settings.largest_gradient or float("inf")
        gradient = float(torch.nn.utils.clip_grad_norm_(self.network.parameters(), limit))
        stages = torch.cat(found, 1).double().cpu().numpy()
        result = self._gathered(stages, gradient)
        if self.process_group is None or self.process_group.first:
            self.watch.check(result.loss, gradient, self.steps)
        self.optimiser.step()
        self.steps += 1
        if self.process_group is None or self.process_group.first:
            self._average.update(self.steps)
        watch.lap("optimiser")
        if watch.seconds and self.steps > 1:  # the first step compiles and allocates
            self.times.add(watch.seconds, TRAINING)
        return result

    def _stopwatch(self) -> Stopwatch:
        """Of the next step; on a graphics card, which computes while Python goes on, of a few steps alone."""
        where = self.precision.device
        if where.type != "cuda":
            return Stopwatch()
        return Stopwatch(lambda: torch.cuda.synchronize(where), running=self.steps % MEASURED_EVERY == 0)

    def _losses(self, part: Batch, pose: float) -> Tensor:
        """The losses of each stage and image, and below them of all that counts besides, ``(S + E, B)``."""
        height, width = part.images.shape[-2:]
        with self.precision.autocast():
            output = self._output(part.images)
        return self._objective(
            output, part.keypoints, part.weights, (width, height), pose, part.places, part.cameras, part.to_rendering,
            part.readings,
        )  # fmt: skip

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

    def _gathered(self, rows: NDArray[np.float64], gradient: float) -> Step:
        if self.process_group is not None:
            rows = self.process_group.gather(rows)
        names = self._objective.extras
        stages, rest = np.split(rows, [len(rows) - len(names)])
        return Step(stages.mean(0), stages.mean(1), gradient, dict(zip(names, rest.mean(1).tolist(), strict=True)))

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
