# SPDX-License-Identifier: GPL-3.0-or-later
"""Fine-tuning: a run that starts from a model's weights, and has from it what its settings leave out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from ...core import builtin_models
from ...core.errors import UserError
from ...core.robot.robot import Robot
from ...core.settings.schema import Settings, TrainingSettings
from . import model_file
from .factory import KeypointNetwork, NetworkConfig
from .model_file import ModelInfo

SLOWER = 10
"""Learning from scratch is so many times as fast, where the settings give no learning rate."""

SAME = ("kind", "stages", "width", "stride", "loss")
"""What weights fit to, besides the number of keypoints."""


def load(word: str) -> tuple[KeypointNetwork, ModelInfo]:
    """The model of a file or of a built-in name.

    Raises:
        UserError: see :func:`.load_model`.
    """
    return model_file.load_model(builtin_models.resolve(word), torch.device("cpu"))


def complete(settings: Settings, given: Mapping[str, Any], info: ModelInfo) -> tuple[Settings, Robot | None]:
    """The settings with what they leave out taken from the model that they start from: network, size of the images,
    width of the targets, decoder, keypoints and skeleton; the learning rate is the usual one over :data:`SLOWER`.

    Args:
        given: the settings as they stand in their file.

    Returns:
        The settings, and the model's robot; None where they name one, or it is not known.
    """
    own = NetworkConfig.from_dict(info.network.to_dict())
    training, render = (given.get(k, {}) for k in ("training", "render"))
    scale = info.coarse_scale
    known: dict[str, Any] = {
        "network": own.kind, "stages": own.stages, "width": own.width, "stride": own.stride, "loss": own.loss,
        "dropout": own.dropout, "decoder": own.decoder, "coarse_scale": scale,
        "target_sigma": 100 * own.sigma / math.hypot(info.width, info.height),
        "learning_rate": TrainingSettings().learning_rate / SLOWER,
    }  # fmt: skip
    size: dict[str, Any] = {"width": round(info.width / scale), "height": round(info.height / scale)}
    settings = replace(
        settings,
        training=replace(settings.training, **{k: v for k, v in known.items() if k not in training}),
        render=replace(settings.render, **{k: v for k, v in size.items() if k not in render}),
    )
    if "keypoints" not in given and info.places:
        skeleton = settings.skeleton if "skeleton" in given else info.skeleton
        settings = replace(settings, keypoints=info.places, skeleton=skeleton)
    if "robot" in given or info.robot is None:
        return settings, None
    try:
        return settings, Robot.from_dict(info.robot)
    except (LookupError, TypeError, ValueError):
        return settings, None


def check(word: str, info: ModelInfo, config: NetworkConfig, names: Sequence[str]) -> None:
    """Refuse a model whose weights don't fit to a run.

    Args:
        config: of the run's network, resolved.
        names: of the run's keypoints.

    Raises:
        UserError: saying what doesn't fit.
    """
    if tuple(names) != info.keypoints:
        raise UserError(
            f"The model {word} has the keypoints {', '.join(info.keypoints)} and this training {', '.join(names)}: "
            "start from a model of the same keypoints in the same order, or leave the keypoints out of the settings"
        )
    for name in SAME:
        if name == "stages" and config.kind != "vgg":
            continue
        theirs, ours = getattr(info.network.resolved(), name), getattr(config, name)
        if theirs != ours:
            key = "network" if name == "kind" else name
            raise UserError(
                f"The network of the model {word} has {key} = {theirs} and this training asks for {ours}: leave "
                f"training.{key} out of the settings, or start from another model"
            )
