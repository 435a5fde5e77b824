# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches and an engine for two processes that share the work."""

from __future__ import annotations

import numpy as np
import synthetic
import torch
from robot_keypoints.core.settings.schema import TrainingSettings
from robot_keypoints.trainer.images import sensor_effects
from robot_keypoints.trainer.networks import factory
from robot_keypoints.trainer.networks.device import Precision
from robot_keypoints.trainer.pose import loss as pose_loss
from robot_keypoints.trainer.pose.batch_displacement import Readings
from robot_keypoints.trainer.training import distributed
from robot_keypoints.trainer.training.engine import Batch, Engine
from robot_keypoints.trainer.training.replay_store import RawBatch

CPU = torch.device("cpu")


def raw(count: int, seed: int, *, read: bool = False) -> RawBatch:
    """Noise, with keypoints anywhere.

    Args:
        read: whether joints are told of, as if one camera had taken all images.
    """
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, synthetic.HEIGHT, synthetic.WIDTH, 4), np.uint8)
    camera = np.array([50.0, 50.0, 32.0, 24.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    readings = [Readings.pack(0, camera, points) for points in rng.uniform(-0.3, 0.3, (count, 4, 3))]
    return RawBatch(
        images, rng.uniform(0, 44, (count, 4, 2)), rng.integers(0, 3, (count, 4)),
        np.zeros((count, len(sensor_effects.NAMES))), np.arange(count), rng.uniform(0.8, 1.2, (count, 4)),
        np.tile(camera, (count, 1)), np.ones((count, 4)), np.array(readings) if read else np.empty((count, 0)),
    )  # fmt: skip


def finished(share: RawBatch) -> Batch:
    images = torch.from_numpy(share.images[..., :3]).permute(0, 3, 1, 2).float() / 255.0
    keypoints, cameras = torch.from_numpy(share.keypoints), torch.from_numpy(share.cameras)
    places = pose_loss.places(keypoints, torch.from_numpy(share.depths), cameras)
    readings = torch.from_numpy(share.readings) if share.readings.shape[1] else None
    return Batch(images, keypoints.float(), None, None, places, cameras, readings)


def engine(process_group: distributed.ProcessGroup | None, seconds: float = 1e-4, displacement: float = 0.0) -> Engine:
    # The others take the first one's weights.
    torch.manual_seed(1 if process_group is None or process_group.first else 2)
    torch.set_num_threads(1)
    net = factory.build(factory.NetworkConfig("light", 4, 1.0, width=8))
    settings = TrainingSettings(pretrained=False, averaging=0.0, pose_weight=0.2, displacement_weight=displacement)
    made = Engine(net, settings, Precision(CPU, False, seconds), process_group)
    made.begin()
    return made


def weights(of: Engine) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.concatenate([p.detach().numpy().ravel() for p in of.network.parameters()])
