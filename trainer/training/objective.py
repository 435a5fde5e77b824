# SPDX-License-Identifier: GPL-3.0-or-later
"""What is minimised: the loss of the maps, and beside it what the settings add: the maps' width and range, the
pose, and its displacement between images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...core.settings.schema import TrainingSettings
from ..maps import codec, curve_fit
from ..maps.shape_losses import range_losses, width_losses
from ..networks.factory import KeypointNetwork, Output
from ..pose.batch_displacement import BatchDisplacement
from ..pose.loss import PoseLoss


class Objective:
    """What the training of one network minimises.

    Attributes:
        extras: what counts beside the maps' loss: ``width``, ``range``, ``pose``, ``displacement``.
    """

    def __init__(self, network: KeypointNetwork, settings: TrainingSettings, robots: Sequence[str] = ()) -> None:
        """Choose the losses that the settings give a weight.

        Args:
            robots: whose each keypoint is; none for one robot.
        """
        c = network.config
        weights = {
            "width": settings.width_weight, "range": settings.range_weight, "pose": settings.pose_weight,
            "displacement": settings.displacement_weight,
        }  # fmt: skip
        self._network = network
        self._weights = {name: weight for name, weight in weights.items() if weight > 0}
        self.extras = tuple(self._weights)
        self._pose = PoseLoss(
            c.keypoints, network.stride, c.sigma, is_distribution=network.is_distribution, fitted=c.is_fitted,
            robots=robots,
        )  # fmt: skip
        self._displacement = BatchDisplacement(
            network.stride, c.sigma, is_distribution=network.is_distribution, fitted=c.is_fitted
        )  # fmt: skip

    def __call__(
        self, output: Output, keypoints: Tensor, weights: Tensor | None, size: tuple[int, int], pose: float,
        places: Tensor | None = None, cameras: Tensor | None = None, to_rendering: Tensor | None = None,
        readings: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Losses of each stage and image, and below them those of each of :attr:`extras`, ``(S + E, B)``, none of them
        weighted yet.

        Args:
            keypoints: pixels of the input ``(B, J, 2)``.
            weights: of the keypoints, ``(B, J)``.
            size: of the input, width and height.
            pose: see :meth:`total`; where 0, that row is empty.
            places, cameras, to_rendering: see :meth:`.PoseLoss.__call__`; where they are missing, the pose's
                row is empty.
            readings: see :meth:`.BatchDisplacement.__call__`; where they are missing, the displacement's row is empty.
        """
        stages = self._network.stage_losses(output, keypoints, *size, weights)
        if not self.extras:
            return stages
        c, last = self._network.config, output.logits[-1]
        rows: dict[str, Tensor] = {}
        if "width" in self.extras or "range" in self.extras:
            target = codec.encode(
                keypoints, *size, self._network.stride, c.sigma, peak=not self._network.is_distribution,
                margin=curve_fit.margin(c.sigma) if c.is_fitted else 0.0,
            )  # fmt: skip
            both = width_losses(c.loss, last, target, self._network.stride), range_losses(c.loss, last, target)
            gate = torch.ones_like(both[0]) if weights is None else weights
            rows |= {name: (part * gate).mean(-1) for name, part in zip(("width", "range"), both, strict=True)}
        if pose > 0 and "pose" in self.extras and places is not None and cameras is not None:
            rows["pose"] = self._pose(last, keypoints, weights, places, cameras, to_rendering, size)
        if "displacement" in self.extras and readings is not None:
            confidences = self._network.beliefs(output).confidence
            rows["displacement"] = self._displacement(last, confidences, readings, to_rendering)
        empty = torch.zeros_like(stages[0])
        return torch.cat([stages, torch.stack([rows.get(name, empty) for name in self.extras])])

    def total(self, rows: Tensor, pose: float) -> Tensor:
        """What is minimised, of each image ``(B,)``.

        Args:
            rows: from a call.
            pose: the share of the pose's weight that counts by now.
        """
        stages = rows[: len(rows) - len(self.extras)]
        result = stages.mean(0)
        for name, row in zip(self.extras, rows[len(stages) :], strict=True):
            result = result + self._weights[name] * (pose if name == "pose" else 1.0) * row
        return result
