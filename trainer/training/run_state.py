# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has come to, and how it is kept: one checkpoint, written whole or not at all, and lines that fit it."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...core import files, run_folder
from ...core.errors import UserError
from ...core.input_files import open_regular
from ...core.scene.pair import read_pairs
from .checkpoint import Checkpoint
from .engine import Engine

LOGS = (run_folder.METRICS, run_folder.PRIORS)
"""Files with a line for each step that is told of."""

LONGEST_LINE = 64 << 20
"""Bytes of a line in these."""

LOSS_SHARE = 0.05
"""What a step's loss adds to the running mean."""

MOST = 2**53
"""No counter and no measure of a run is larger."""


@dataclass
class Counters:
    """What adds up over a run, resumed ones included.

    Attributes:
        rendered: samples received.
        images: images trained on, reused ones counted again.
        fresh, renderings: those of them that were renderings never trained on before, and renderings at all.
        seconds: since the run began, without pauses and without the time between two sittings.
        collected: the value of ``seconds`` when training began.
        trained, waited: seconds of training, and those of them spent waiting for samples.
        best: lowest mean validation error so far, percent; the loss where no keypoint is inside.
        stale: validations since then.
    """

    step: int = 0
    rendered: int = 0
    images: int = 0
    fresh: int = 0
    renderings: int = 0
    seconds: float = 0.0
    collected: float = 0.0
    trained: float = 0.0
    waited: float = 0.0
    dropped: int = 0
    best: float | None = None
    stale: int = 0

    @property
    def stall_fraction(self) -> float:
        """Share of the training spent waiting for samples."""
        return self.waited / self.trained if self.trained > 0 else 0.0

    @property
    def fresh_fraction(self) -> float | None:
        """Share of the renderings trained on that were new; None where none has been counted."""
        return self.fresh / self.renderings if self.renderings else None

    def note_uses(self, fresh: int, renderings: int) -> None:
        """Count the renderings of a batch, and those of them that were never trained on before."""
        self.fresh += fresh
        self.renderings += renderings

    def ends_epoch(self, epoch_images: int, batch: int) -> bool:
        """Whether the last ``batch`` images have ended an epoch."""
        return self.images // epoch_images > (self.images - batch) // epoch_images

    def judge(self, score: float, *, doubtful: bool) -> bool:
        """Take note of a validation; whether it is the best one so far.

        Args:
            score: the lower the better.
            doubtful: whether the training may be running away, so that nothing of it is to be kept.
        """
        best = (self.best is None or score < self.best) and not doubtful
        self.stale = 0 if best else self.stale + 1
        if best:
            self.best = score
        return best


@dataclass
class RunState:
    """All that a resumed run goes on from, besides the engine's own state.

    Attributes:
        latest: content of the last validation.
        train_loss: running mean.
        version, concentrations, pairs: of the priors.
        evidence: what may move them next; none in runs of before it was gathered.
        data: of the pipeline.
    """

    counters: Counters = field(default_factory=Counters)
    latest: dict[str, Any] = field(default_factory=dict)
    train_loss: float | None = None
    version: int = 0
    concentrations: dict[str, tuple[float, ...]] = field(default_factory=dict)
    pairs: list[dict[str, Any]] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)

    def note_step(self, loss: float, images: int) -> None:
        """Count a step that has learned from so many images."""
        self.counters.step += 1
        self.counters.images += images
        mean = self.train_loss
        self.train_loss = loss if mean is None else mean + LOSS_SHARE * (loss - mean)


def save(folder: Path, state: RunState, engine: Engine) -> None:
    """Write the checkpoint of a run."""
    content = {**asdict(state), "engine": engine.state}
    Checkpoint(engine.tensors, content, engine.generators).save(run_folder.checkpoint(folder))


def find(folder: Path) -> Checkpoint | None:
    """The checkpoint of a run; None where it has not come to its first one.

    Raises:
        UserError: if it can't be read, or holds what no run would have written.
    """
    path = run_folder.checkpoint(folder)
    if not path.exists():
        print("the run ended before its first checkpoint; it begins anew", file=sys.stderr)
        return None
    saved = Checkpoint.load(path)
    try:
        _state(saved.state)
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as problem:
        raise UserError(f"The checkpoint {path} is damaged ({problem}): start a new run") from problem
    return saved


def known_precision(saved: Checkpoint | None) -> dict[str, Any] | None:
    """What :func:`.device.decide` decided before."""
    return None if saved is None else dict(saved.state["engine"]["precision"])


def restore(folder: Path, saved: Checkpoint, engine: Engine) -> RunState:
    """Give the engine its state again, and leave only those lines in the logs that the checkpoint knows of.

    Args:
        saved: as :func:`find` gave it.

    Raises:
        UserError: if the checkpoint is of other settings.
    """
    try:
        engine.restore(saved.tensors, saved.generators, saved.state["engine"])
    except (LookupError, TypeError, ValueError, RuntimeError) as problem:
        raise UserError(unfit(folder)) from problem
    state = _state(saved.state)
    for name in LOGS:
        _keep_lines(folder / name, state.counters.step)
    return state


def _state(content: dict[str, Any]) -> RunState:
    """What a checkpoint says, with everything looked at that the training takes as it stands.

    Raises:
        AttributeError, LookupError, RecursionError, TypeError, ValueError: if it is not what :func:`save` wrote.
    """
    fields = {k: v for k, v in content.items() if k != "engine"}
    state = RunState(**{**fields, "counters": Counters(**content["counters"])})
    for name, value in asdict(state.counters).items():
        whole = isinstance(getattr(Counters, name), int)
        if name != "best" or value is not None:
            _number(f"counters.{name}", value, whole=whole, low=-math.inf if name == "best" else 0)
    _number("version", state.version, whole=True)
    if state.train_loss is not None:
        _number("train_loss", state.train_loss, low=-math.inf)
    latest = state.latest
    _number("latest.step", latest.get("step", 0), whole=True)
    if "mean_error_percent" in latest:
        _number("latest.mean_error_percent", latest["mean_error_percent"])
        _number("latest.median_error_percent", latest["median_error_percent"])
    for name, counts in state.concentrations.items():
        for count in counts:
            _number(name, count)
    read_pairs(state.pairs)
    _numbers("evidence", state.evidence, whole=False)
    _numbers("data", state.data, whole=True)
    engine = content["engine"]
    _number("engine.steps", engine["steps"], whole=True)
    _number("engine.watch.high", engine["watch"]["high"], whole=True)
    if engine["watch"]["mean"] is not None:
        _number("engine.watch.mean", engine["watch"]["mean"], low=-math.inf)
    _number("engine.precision", engine["precision"]["seconds_per_image"])
    if not isinstance(engine["precision"]["device"], str) or type(engine["precision"]["bfloat16"]) is not bool:
        raise TypeError("engine.precision is of another kind")
    return state


def _number(name: str, value: Any, *, whole: bool = False, low: float = 0) -> None:
    kinds = (int,) if whole else (int, float)
    if type(value) not in kinds or not low <= value <= MOST:
        raise ValueError(f"{name} is {str(value)[:40]}")


def _numbers(name: str, value: Any, *, whole: bool) -> None:
    """Refuse anything but numbers from 0 on in tables and lists."""
    if isinstance(value, dict):
        for key, entry in value.items():
            _numbers(f"{name}.{key}", entry, whole=whole)
    elif isinstance(value, list):
        for entry in value:
            _numbers(name, entry, whole=whole)
    else:
        _number(name, value, whole=whole)


def unfit(folder: Path) -> str:
    """What to say of a checkpoint that is not of the run's settings."""
    checkpoints = folder / run_folder.CHECKPOINTS
    return f"The checkpoint in {checkpoints} does not fit the run's settings.toml: undo the change or start a new run"


def clean(folder: Path) -> None:
    """Remove what a sitting that was killed had begun to write."""
    files.sweep(folder, folder / run_folder.CHECKPOINTS, folder / run_folder.LOGS)


def _keep_lines(path: Path, step: int) -> None:
    """Leave out what was written after the checkpoint that is gone back to, be it whole or not."""
    kept = []
    try:
        with open_regular(path) as stream:
            while line := stream.readline(LONGEST_LINE):
                if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                    break
                kept.append(line)
    except FileNotFoundError:
        pass  # a run that was broken off before its first line
    except (ValueError, LookupError, TypeError, RecursionError):
        print(f"warning: {path} is damaged after {len(kept)} lines, which are kept", file=sys.stderr, flush=True)
    except OSError as problem:
        why = problem.strerror or problem
        raise UserError(f"{path} can't be read ({why}): mend that and resume the run") from problem
    files.write_bytes(path, b"".join(kept))
