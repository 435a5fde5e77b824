# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has come to, and how it is kept: one checkpoint, written whole or not at all, and lines that fit it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..core import files
from ..core.errors import UserError
from .checkpoint import Checkpoint
from .engine import Engine

FOLDER = "checkpoints"
LATEST = "latest.safetensors"
LOGS = ("metrics.jsonl", "priors.jsonl")


@dataclass
class Counters:
    """What adds up over a run, resumed ones included.

    Attributes:
        rendered: samples received.
        images: images trained on, reused ones counted again.
        seconds: since the run began, without pauses and without the time between two sittings.
        collected: the value of ``seconds`` when training began.
        trained, waited: seconds of training, and those of them spent waiting for samples.
        best: lowest mean validation error so far, percent; the loss where no keypoint is inside.
        stale: validations since then.
    """

    step: int = 0
    rendered: int = 0
    images: int = 0
    seconds: float = 0.0
    collected: float = 0.0
    trained: float = 0.0
    waited: float = 0.0
    dropped: int = 0
    best: float | None = None
    stale: int = 0


@dataclass
class RunState:
    """All that a resumed run goes on from, besides the engine's own state.

    Attributes:
        latest: content of the last validation.
        train_loss: running mean.
        version, concentrations: of the priors.
        data: of the pipeline.
    """

    counters: Counters = field(default_factory=Counters)
    latest: dict[str, Any] = field(default_factory=dict)
    train_loss: float | None = None
    version: int = 0
    concentrations: dict[str, tuple[float, ...]] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)


def save(run: Path, state: RunState, engine: Engine) -> None:
    """Write the checkpoint of a run."""
    content = {**asdict(state), "engine": engine.state}
    Checkpoint(engine.tensors, content, engine.generators).save(run / FOLDER / LATEST)


def find(run: Path) -> Checkpoint | None:
    """The checkpoint of a run; None where it has not come to its first one.

    Raises:
        UserError: if it can't be read.
    """
    path = run / FOLDER / LATEST
    if not path.exists():
        print("the run ended before its first checkpoint; it begins anew", file=sys.stderr)
        return None
    return Checkpoint.load(path)


def known_precision(saved: Checkpoint | None) -> dict[str, Any] | None:
    """What :func:`.device.decide` decided before."""
    engine = saved.state.get("engine") if saved is not None else None
    found = engine.get("precision") if isinstance(engine, dict) else None
    return found if isinstance(found, dict) else None


def restore(run: Path, saved: Checkpoint, engine: Engine) -> RunState:
    """Give the engine its state again, and leave only those lines in the logs that the checkpoint knows of.

    Raises:
        UserError: if the checkpoint is of other settings.
    """
    try:
        content = dict(saved.state)
        engine.restore(saved.tensors, saved.generators, content.pop("engine"))
        state = RunState(**{**content, "counters": Counters(**content["counters"])})
    except (KeyError, TypeError, ValueError, RuntimeError) as problem:
        raise UserError(unfit(run)) from problem
    for name in LOGS:
        _keep_lines(run / name, state.counters.step)
    return state


def unfit(run: Path) -> str:
    """What to say of a checkpoint that is not of the run's settings."""
    return f"The checkpoint in {run / FOLDER} does not fit the run's settings.toml: undo the change or start a new run"


def clean(run: Path) -> None:
    """Remove what a sitting that was killed had begun to write."""
    files.sweep(run, run / FOLDER, run / "logs")


def _keep_lines(path: Path, step: int) -> None:
    """Leave out what was written after the checkpoint that is gone back to, be it whole or not."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            if json.loads(line)["step"] > step:
                break
        except ValueError:
            break
        kept.append(line + "\n")
    files.write_text(path, "".join(kept))
