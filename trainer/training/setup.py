# SPDX-License-Identifier: GPL-3.0-or-later
"""What a training is made of besides its loop: finished images, the model's description, versions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...core import run_folder
from ...core.errors import UserError
from ...core.input_files import LARGEST_TABLE, read_json
from ...core.robot.robot import Robot
from ...core.settings.asset_folders import training_themes
from ...core.settings.schema import Settings
from ..images.training_augmentation import Augmentation
from ..networks import factory
from ..networks.model_file import ModelInfo
from .batch_pipeline import BatchAugmenter


def make_batch_augmenter(settings: Settings, where: torch.device, seed: int) -> BatchAugmenter:
    """What makes training images of raw batches.

    Raises:
        UserError: if a theme of backgrounds holds no photograph that can be read.
    """
    themes = training_themes(settings)
    augmentation = Augmentation(settings.augmentation, *settings.input_size, seed, where, themes)
    t = settings.training
    return BatchAugmenter(augmentation, where, t.occluded_weight, poses=t.pose_weight > 0, weighs=bool(settings.data))


def model_info(settings: Settings, folder: Path) -> ModelInfo:
    """What the model file of the run in ``folder`` says before anything is learned.

    Raises:
        UserError: if no network can be built as the settings say.
    """
    width, height = settings.input_size
    names = tuple(k.name for k in settings.keypoints)
    return ModelInfo(
        factory.NetworkConfig.of_run(settings),
        width,
        height,
        names,
        settings.skeleton,
        kinematics(folder),
        places=settings.keypoints,
        coarse_scale=settings.coarse_scale,
    )


def kinematics(folder: Path) -> dict[str, Any] | None:
    """The kinematics of a run's robot, as the run's folder has them; None where they are not known.

    Raises:
        UserError: if the file is damaged.
    """
    path = folder / run_folder.ROBOT
    if not path.exists():
        return None
    remedy = "copy it again from where it is whole, or remove it for a model without its robot's kinematics"
    document = read_json(path, remedy, largest=LARGEST_TABLE)
    try:
        Robot.from_dict(document)
    except (LookupError, TypeError, ValueError) as problem:
        raise UserError(f"{path} does not describe a robot: {remedy}") from problem
    return dict(document)


def robot_of_run(folder: Path) -> Robot | None:
    """The robot of :func:`kinematics`."""
    document = kinematics(folder)
    return None if document is None else Robot.from_dict(document)


def versions() -> dict[str, str]:
    """Versions of what computed a result."""
    from ... import __version__

    return {
        "robot_keypoints": __version__, "python": ".".join(map(str, sys.version_info[:3])),
        "torch": str(torch.__version__), "numpy": np.__version__,
    }  # fmt: skip
