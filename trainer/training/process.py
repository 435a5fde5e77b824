# SPDX-License-Identifier: GPL-3.0-or-later
"""The trainer's process: binds the run's sockets, says where, and trains."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from ...core import files, run_folder
from ...core.errors import UserError
from ...core.messages.events import Posterior
from ...core.messages.run_sockets import Hub, SampleReceiver
from ...core.messages.samples import SampleContract, largest_sample
from ...core.processes.lifeline import end_with_parent
from ...core.settings import toml_file, validation
from ...core.settings.schema import Settings


def main(argv: Sequence[str]) -> int:
    """``--run RUN --identity ID [--resume]``; 0 when done, 2 on a user's mistake, 1 on a fault."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(prog="trainer")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--identity", required=True)
    parser.add_argument("--resume", action="store_true")
    try:
        options = parser.parse_args(list(argv))
    except SystemExit as usage:
        return int(usage.code or 0)
    try:
        settings = toml_file.load(options.run / run_folder.SETTINGS)
        validation.check(settings)
        if int(os.environ.get("RANK", "0")) > 0:
            from .follower import follow

            follow(options.run, settings, resume=options.resume)
        else:
            _train(options.run, options.identity, settings, options.resume, started)
    except UserError as problem:
        print(f"error: {problem}", file=sys.stderr, flush=True)
        return 2
    except ImportError as problem:
        print(f"error: This Python lacks what the trainer needs ({problem}): install it, or choose another Python",
              file=sys.stderr, flush=True)  # fmt: skip
        return 2
    except OSError as problem:
        where = f"could not use {problem.filename}" if problem.filename else f"could not write into {options.run}"
        print(f"error: The trainer {where} ({problem.strerror or problem}): mend that and resume the run",
              file=sys.stderr, flush=True)  # fmt: skip
        return 2
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _train(folder: Path, run_id: str, settings: Settings, resume: bool, started: float) -> None:
    orphaned = threading.Event()
    # torch takes seconds to import: the port is taken and settings are checked before.
    largest = largest_sample(settings.render.width, settings.render.height)
    to = settings.stream
    hub = Hub(to.host, to.port, to.keys, largest=largest, workers=settings.workers.count)
    try:
        from .control_server import Switchboard
        from .sample_stream import DropLog, SampleStream

        model = settings.scene_model()
        render, training = settings.render, settings.training
        contract = SampleContract.of(run_id, render.width, render.height, len(settings.keypoints), model)
        drops = DropLog()
        capacity = max(8, settings.workers.count, training.batch_size)
        stream = SampleStream(SampleReceiver(hub.samples, contract, drops), drops, settings.workers.count, capacity)
        switchboard = Switchboard(
            hub.control, hub.news, run_id, Posterior(model.version, model.concentrations()), orphaned
        )
        try:
            stream.start()
            switchboard.start()
            e = hub.endpoints
            ready = {"run": run_id, "host": e.host, "ports": [e.samples, e.news, e.control]}
            if not resume:
                # The workers may begin while torch is being imported and the network measured.
                files.write_json(run_folder.ready(folder), ready)
            from .setup import model_info
            from .trainer import Trainer

            info = model_info(settings, folder)
            trainer = Trainer(folder, settings, info, stream, switchboard, started, resume=resume)
            if resume:
                # Only now is the posterior known that the adapting workers are welcomed with.
                files.write_json(run_folder.ready(folder), ready)
            end_with_parent(orphaned.set)  # from here on there is something to keep
            with closing(trainer):
                trainer.run()
        finally:
            stream.close()
            switchboard.close()
    finally:
        hub.close()
