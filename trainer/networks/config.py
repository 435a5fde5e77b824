# SPDX-License-Identifier: GPL-3.0-or-later
"""What it takes to build a network again."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...core.errors import UserError
from ...core.settings.schema import DECODERS, Settings, TrainingSettings
from ..maps import curve_fit
from ..maps.losses import LOSSES

KINDS = ("light", "vgg", "mobilenet", "resnet", "efficientnet")
STRIDES = (2, 4, 8)
OWN_LOSS = {kind: "l2" if kind == "vgg" else "cross_entropy" for kind in KINDS}
OWN_WIDTH = {"light": 32, "vgg": 128, "mobilenet": 64, "resnet": 64, "efficientnet": 64}
OWN_STRIDE = 4
LEAST_WIDTH, MOST_WIDTH = 4, 1024


@dataclass(frozen=True)
class NetworkConfig:
    """The settings that make a network what it is; :meth:`resolved` fills in what is left to the network.

    Attributes:
        kind: one of :data:`KINDS`.
        keypoints: number of maps J.
        sigma: standard deviation of the targets, pixels of the network's input.
        stages: refinement stages and the first one together; ``vgg`` only.
        width: channels of ``light``'s first level, of ``vgg``'s stages, of the others' decoder; 0 is the network's own.
        stride: pixels of the input for each cell of the maps: 2, 4 or 8; 0 is the network's own.
        dropout: share of the features left out before the last layer while learning.
        loss: one of :data:`.LOSSES`, or ``auto`` for the network's own.
        occluded_weight: weight of occluded keypoints in the loss; see :func:`.losses.weights_of`.
        decoder: one of :data:`.DECODERS`. The targets are those that it wants, so a network finds keypoints outside the
            image only by the decoder that it was trained for.
    """

    kind: str
    keypoints: int
    sigma: float
    stages: int = 6
    width: int = 0
    stride: int = 0
    dropout: float = 0.0
    loss: str = "auto"
    occluded_weight: float = 1.0
    decoder: str = "soft_argmax"

    @property
    def is_fitted(self) -> bool:
        """Whether a curve finds the keypoints."""
        return self.decoder == "curve_fit"

    @classmethod
    def of(cls, training: TrainingSettings, keypoints: int, sigma: float) -> NetworkConfig:
        """What a run's settings ask for, resolved.

        Raises:
            UserError: if no network can be built so.
        """
        t = training
        if t.stride and t.stride not in STRIDES:
            raise UserError(f"training.stride = {t.stride} fits no network: set 2, 4 or 8, or 0 for the network's own")
        if 0 < t.width < LEAST_WIDTH:
            raise UserError(
                f"training.width = {t.width} is too narrow: set {LEAST_WIDTH} at least, or 0 for the network's own"
            )
        if t.decoder == "curve_fit" and t.loss == "coordinates":
            raise UserError(
                'training.decoder = "curve_fit" sees only what is near a map\'s peak, so training.loss = "coordinates" '
                'can\'t bring a peak to its place: set loss = "sum", or decoder = "soft_argmax"'
            )
        config = cls(
            t.network, keypoints, sigma, t.stages, t.width, t.stride, t.dropout, t.loss, t.occluded_weight, t.decoder
        ).resolved()  # fmt: skip
        if config.is_fitted:
            config = replace(config, sigma=max(sigma, curve_fit.LEAST_SIGMA * config.stride))
        return config

    @classmethod
    def of_run(cls, settings: Settings) -> NetworkConfig:
        """The same, for the keypoints and the size of images of a whole run's settings.

        Raises:
            UserError: if no network can be built so.
        """
        sigma = settings.training.target_sigma / 100 * math.hypot(*settings.input_size)
        return cls.of(settings.training, len(settings.keypoints), sigma)

    def resolved(self) -> NetworkConfig:
        """The settings with the network's own values in place of 0 and ``auto``, so that it says the same for ever."""
        return replace(
            self,
            width=self.width or OWN_WIDTH[self.kind],
            stride=self.stride or OWN_STRIDE,
            loss=OWN_LOSS[self.kind] if self.loss == "auto" else self.loss,
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, under the names that model files have."""
        document = asdict(self)
        document["hidden_weight"] = document.pop("occluded_weight")
        return document

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> NetworkConfig:
        """Inverse of :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: if the document is not one.
        """
        kind, width = str(data["kind"]), int(data["width"])
        config = cls(
            kind, int(data["keypoints"]), float(data["sigma"]), int(data["stages"]), width, int(data["stride"]),
            float(data["dropout"]), str(data["loss"]), float(data["hidden_weight"]),
            str(data.get("decoder", "soft_argmax")),
        )  # fmt: skip
        sizes_fit = (
            1 <= config.keypoints <= 4096 and 1 <= config.stages <= 64
            and (width == 0 or LEAST_WIDTH <= width <= MOST_WIDTH) and config.stride in (0, *STRIDES)
        )  # fmt: skip
        names_fit = kind in KINDS and config.loss in ("auto", *LOSSES) and config.decoder in DECODERS
        numbers_fit = 0 < config.sigma < 1e4 and 0 <= config.dropout < 1 and 0 <= config.occluded_weight < 1e6
        if not (sizes_fit and names_fit and numbers_fit):
            raise ValueError(f"no such network: {config}")
        return config
