# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run trains with, set up once, in an order that its random numbers count on."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...core.settings.schema import Settings
from ..networks import device, factory, starting_model
from ..networks.factory import KeypointNetwork, NetworkConfig
from ..run_data import data_sets, joint_readings
from ..run_data.data_sets import Partition
from ..run_data.joint_readings import JointReadings
from . import distributed, mixed_store
from .batch_pipeline import Pipeline, Store
from .distributed import Followers
from .draws import Draws
from .engine import Engine
from .held_out_sets import HeldOut
from .mixed_store import MixedStore
from .replay_store import ReplayStore
from .sample_stream import SampleStream
from .setup import make_batch_augmenter, robot_of_run


@dataclass
class Parts:
    """What a run trains with.

    Attributes:
        engine: the network and its optimiser, to :meth:`begin` once its weights are what the first step starts from.
        held_out: validation and test images, not there yet.
        pipeline: makes batches of the stream's samples.
        followers: the other processes that share each batch; None where this one is alone.
        draws: of the renderings in the pipeline's store.
    """

    engine: Engine
    held_out: HeldOut
    pipeline: Pipeline
    followers: Followers | None
    draws: Draws

    @classmethod
    def set_up(
        cls, folder: Path, run_id: str, settings: Settings, config: NetworkConfig, stream: SampleStream,
        precision: dict[str, Any] | None, *, resumed: bool,
    ) -> Parts:  # fmt: skip
        """Build everything.

        Args:
            run: its id, by which the other processes know it.
            precision: what :func:`.device.decide` decided in an earlier sitting; None measures.
            resumed: whether weights come from a checkpoint.

        Raises:
            UserError: if the settings can't be followed on this machine.
        """
        t = settings.training
        where = device.choose(t.device)
        count = distributed.processes(t, where)
        torch.set_num_threads(device.threads_beside(settings.rendering_workers * settings.workers.threads, count))
        network = _network(settings, config, where, resumed=resumed)
        decided = device.decide(network, t.precision, t.batch_size, *settings.input_size, precision)
        followers = None
        if count > 1:
            followers = Followers(folder, run_id, count, where, resume=resumed)
            followers.process_group.tell(decided.to_dict())
        process_group = None if followers is None else followers.process_group
        engine = Engine(network, t, decided, process_group, [k.robot for k in settings.keypoints])
        data = data_sets.partitions(settings)
        readings = joint_readings.of_run(settings, data, robot_of_run(folder))
        joint_readings.check_shares(settings, readings, count)
        held_out = HeldOut(folder, settings, data)
        draws = Draws.of(settings)
        pipeline = _pipeline(settings, stream, where, count, draws, data, readings)
        torch.manual_seed(t.seed)  # the measurement may have drawn numbers
        return cls(engine, held_out, pipeline, followers, draws)

    def begin(self, settings: Settings) -> None:
        """The weights are what the first step starts from."""
        width, height = settings.input_size
        self.engine.begin((settings.training.batch_size, height, width))

    def close(self) -> None:
        """End the threads and the other processes."""
        self.pipeline.close()
        if self.followers is not None:
            self.followers.close()


def _network(settings: Settings, config: NetworkConfig, where: torch.device, *, resumed: bool) -> KeypointNetwork:
    t = settings.training
    torch.manual_seed(t.seed)
    fresh = t.pretrained and not resumed and not t.start_from
    network = factory.build(config, pretrained=fresh, weights=t.weights)
    if t.start_from and not resumed:
        start, info = starting_model.load(t.start_from)
        starting_model.check(t.start_from, info, config, [k.name for k in settings.keypoints])
        network.load_state_dict(start.state_dict())
    return network.to(where, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _pipeline(
    settings: Settings, stream: SampleStream, where: torch.device, count: int, draws: Draws, data: Sequence[Partition],
    readings: Sequence[JointReadings],
) -> Pipeline:  # fmt: skip
    t, augmenter = settings.training, make_batch_augmenter(settings, where, settings.training.seed)
    store: Store
    with device.enough_memory(t.batch_size):
        if data:
            shares = mixed_store.shares(settings, data, readings)
            rest = t.batch_size - sum(share.count for share in shares)
            sigma = t.target_sigma / 100 * math.hypot(settings.render.width, settings.render.height)
            renderings = _replay_store(settings, rest, draws) if rest else None
            store = MixedStore(renderings, shares, settings.scene_model(), sigma, t.seed)
        else:
            store = _replay_store(settings, t.batch_size, draws)
    # A thread that finishes the next batch needs a core, or a graphics card that leaves one.
    ahead = where.type == "cuda" or (os.cpu_count() or 1) > torch.get_num_threads()
    return Pipeline(store, stream, augmenter, where, ahead=ahead, shares=count)


def _replay_store(settings: Settings, batch: int, draws: Draws) -> ReplayStore:
    t, render = settings.training, settings.render
    return ReplayStore(
        render.width, render.height, len(settings.keypoints), settings.scene_model(), batch=batch,
        memory=t.store_mb << 20, reuse=t.reuse, fresh_share=t.fresh_share, seed=t.seed, hard_share=t.hard_share,
        draws=draws,
    )  # fmt: skip
