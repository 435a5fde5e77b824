# SPDX-License-Identifier: GPL-3.0-or-later
"""What the other processes of a trainer do: take their shares of each batch from the first one, and compute them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from ...core.settings.schema import Settings
from ..images.procedural import mixed
from ..networks import device, factory
from ..networks.device import Precision
from . import distributed, run_state
from .engine import Engine
from .setup import make_batch_augmenter, model_info


def follow(folder: Path, settings: Settings, *, resume: bool) -> None:
    """Until the first process says that it is over.

    Raises:
        UserError: if a share can't be computed.
        RuntimeError: if the first process is gone.
    """
    t = settings.training
    where = device.choose(t.device)
    if where.type == "cuda":
        where = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(where)
    process_group = distributed.join(where)
    decided, _ = process_group.hear()
    torch.set_num_threads(
        device.threads_beside(settings.rendering_workers * settings.workers.threads, process_group.size)
    )
    net = factory.build(model_info(settings, folder).network)  # the weights come from the first process
    net = net.to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    precision = Precision(where, bool(decided["bfloat16"]), float(decided["seconds_per_image"]))
    engine = Engine(net, t, precision, process_group, [k.robot for k in settings.keypoints])
    saved = run_state.find(folder) if resume else None
    if saved is not None:
        engine.restore(saved.tensors, saved.generators, saved.state["engine"])
    torch.manual_seed(mixed(t.seed, process_group.rank, engine.steps))
    augmenter = make_batch_augmenter(settings, where, mixed(t.seed, process_group.rank, engine.steps))
    engine.begin()
    while True:
        message, share = process_group.hear()
        if share is None:
            break
        engine.step(augmenter(share), message["rate"], message["total"], lambda: False, message["pose"])
    sys.stderr.flush()
    os._exit(0)  # the group's own threads can be in the way of an orderly end
