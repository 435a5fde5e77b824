# SPDX-License-Identifier: GPL-3.0-or-later
"""Models on disk: safetensors and JSON, written whole or not at all, executing nothing when read."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core import builtin_models
from ...core.errors import UserError
from ...core.messages.model_document import read_header
from ...core.robot.keypoints import Keypoint
from ...core.robot.robot import triple
from ...core.settings.schema import MOST_INPUT
from . import factory, tensor_file
from .covariance_calibration import Calibration
from .factory import KeypointNetwork, NetworkConfig

SCHEMA = 2

MOST_WEIGHTS = 1 << 29
"""Numbers in a network's weights; none of the usual settings has a tenth of them."""


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says about itself besides its weights.

    Attributes:
        width, height: size of the network's input in training, pixels.
        robot: ``Robot.to_dict()``, or None.
        training: summary of the training so far.
        places: where each keypoint sits, or nothing, as in models of earlier versions.
        coarse_scale: size of the input over that of the images it was trained on; below 1 there are two passes
            (:mod:`.two_passes`).
        calibration: of the covariances; None where it was never learned, as in models of earlier versions.
    """

    network: NetworkConfig
    width: int
    height: int
    keypoints: tuple[str, ...]
    skeleton: tuple[tuple[str, str], ...]
    robot: dict[str, Any] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    places: tuple[Keypoint, ...] = ()
    coarse_scale: float = 1.0
    calibration: Calibration | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON document in the file's metadata."""
        return {
            "schema": SCHEMA,
            "network": self.network.to_dict(),
            "input": {"width": self.width, "height": self.height},
            "first_look": self.coarse_scale,
            "keypoints": list(self.keypoints),
            "skeleton": [list(edge) for edge in self.skeleton],
            "robot": self.robot,
            "normalisation": {"mean": list(factory.MEAN), "std": list(factory.STD)},
            "training": self.training,
            "places": [{"frame": k.frame, "offset": list(k.offset), "robot": k.robot} for k in self.places],
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelInfo:
        """Inverse of :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: if the document is not one.
        """
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']!r}")
        names = tuple(str(n) for n in data["keypoints"])
        config = NetworkConfig.from_dict(data["network"])
        width, height = int(data["input"]["width"]), int(data["input"]["height"])
        if config.keypoints != len(names) or min(width, height) < 1 or width * height > MOST_INPUT:
            raise ValueError("keypoints or input size do not fit the network")
        edges = tuple((str(a), str(b)) for a, b in data["skeleton"])
        if not {n for edge in edges for n in edge} <= set(names):
            raise ValueError("the skeleton refers to other keypoints")
        if data["robot"] is not None and not isinstance(data["robot"], dict):
            raise ValueError("the robot is not a table")
        documents = data.get("places") or ()
        if documents and len(documents) != len(names):
            raise ValueError("not every keypoint has a place")
        places = tuple(
            Keypoint(n, str(p["frame"]), triple(p["offset"]), str(p["robot"]))
            for n, p in zip(names, documents, strict=False)
        )
        if not all(math.isfinite(v) for p in places for v in p.offset):
            raise ValueError("a place is no number")
        scale = float(data.get("first_look", 1.0))
        if not 0.0 < scale <= 1.0:
            raise ValueError(f"a coarse scale of {scale}")
        learned = data.get("calibration")
        calibration = None if learned is None else Calibration.from_dict(learned, len(names))
        training = dict(data["training"])
        return cls(config, width, height, names, edges, data["robot"], training, places, scale, calibration)


def save_model(path: Path, weights: Mapping[str, Tensor], info: ModelInfo) -> None:
    """Write a model file.

    Raises:
        UserError: if a weight is no finite number, or the file can't be written.
    """
    tensor_file.write(path, weights, info.to_dict())


def load_model(path: str | os.PathLike[str], device: torch.device) -> tuple[KeypointNetwork, ModelInfo]:
    """Read a model file; the network is in evaluation mode.

    Raises:
        UserError: if there is no such file, it is cut off or damaged, or it is not a model of ours or of another
            version of it.
    """
    file = Path(path)
    if file.is_dir():
        raise UserError(f"{file} is a folder: choose the model.safetensors in it")
    if not file.exists():
        raise UserError(
            f"There is no model file at {file}, and no built-in model of that name: choose a model.safetensors, "
            f"{builtin_models.names()}"
        )
    try:
        header = read_header(file)
        _check_schema(file, header.document)
        info = ModelInfo.from_dict(header.document)
        _check_shapes(info.network, header.shapes)
        tensors = tensor_file.read_tensors(header)
        net = factory.build(info.network)
        net.load_state_dict(tensors)
        net.calibration = info.calibration
    except UserError:
        raise
    except OSError as problem:
        raise UserError(f"{file} can't be read ({problem.strerror or problem}): choose another model") from problem
    except Exception as problem:  # a foreign file can break any of these steps in its own way
        raise UserError(f"{file} is not a model of Robot Keypoints: choose a model.safetensors of a run") from problem
    net = net.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return net, info


def _check_shapes(config: NetworkConfig, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a file whose tensors are not those of its network, before either takes memory.

    Raises:
        ValueError: if they are not.
    """
    with torch.device("meta"):
        expected = {k: tuple(v.shape) for k, v in factory.build(config).state_dict().items()}
    if expected != shapes:
        raise ValueError("the weights are of another network")
    if sum(math.prod(s) for s in expected.values()) > MOST_WEIGHTS:
        raise ValueError("the network is too large")


def _check_schema(file: Path, data: Any) -> None:
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema == SCHEMA or type(schema) is not int or "network" not in data:
        return
    newer = schema > SCHEMA
    raise UserError(
        f"{file} has the {'newer' if newer else 'older'} form {schema} of model files, and this Robot Keypoints reads "
        f"form {SCHEMA}: {'update Robot Keypoints' if newer else 'train the model again'}"
    )


MOMENTS = {"step", "exp_avg", "exp_avg_sq"}
"""What AdamW keeps of each parameter."""
