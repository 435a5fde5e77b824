# SPDX-License-Identifier: GPL-3.0-or-later
"""``robot-keypoints experiment feedback``: pairs of trainings with feedback and without, a table and a figure."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...core import files
from ...core.errors import UserError
from ...core.processes.folder_lock import FolderLock
from ..experiments import feedback_experiment, pool, results, settings
from ..experiments.feedback_experiment import POOL
from ..experiments.settings import FeedbackExperiment
from .endings import noted

MOST_JOBS = 256

RENDERINGS = 6000
"""Of a pool that is rendered, if nothing else is asked for."""

RECORDING = "recording"
"""Folder of such renderings within the pool's."""


@dataclass(frozen=True)
class ExperimentOptions:
    """What was asked for on the command line.

    Attributes:
        source: a settings file to render a pool from, a recording, or the folder of an experiment: to go on with, or
            to take the pool of.
        out: the experiment's folder; None goes on with ``source``.
        device: as ``training.device`` names it.
        renderings: of a pool that is rendered from settings.
        workers, blender: to render it with; see :class:`.RenderOptions`.
        given: fields of :class:`.FeedbackExperiment` that were given.
        trainings: makes those of these places and nothing else, as one of the processes.
    """

    source: Path
    out: Path | None = None
    jobs: int = 1
    device: str = "auto"
    given: dict[str, Any] = field(default_factory=dict)
    renderings: int = RENDERINGS
    workers: int | None = None
    blender: str = ""
    trainings: Sequence[int] = ()


def run(options: ExperimentOptions, *, as_json: bool = False) -> int:
    """Make the trainings that are missing, and say what all of them say.

    Returns:
        the exit code.

    Raises:
        UserError: if what they ask for can't be done.
    """
    if not 1 <= options.jobs <= MOST_JOBS:
        raise UserError(f"--jobs is {options.jobs}: it must be between 1 and {MOST_JOBS}")
    folder = _folder(options)
    experiment = _experiment(options, folder)
    if options.trainings:
        feedback_experiment.run_share(folder, experiment, options.device, options.trainings)
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder)
    try:
        experiment.save(folder)
        with noted() as received:
            if not (folder / POOL / pool.DOCUMENT).exists():
                code = _make_pool(options, experiment, folder / POOL, received)
                if code:
                    return code
            if (options.source / settings.DOCUMENT).is_file() and options.source.resolve() != folder.resolve():
                taken = results.take_over(options.source, folder, experiment)
                _say(f"taking {taken} trainings without feedback of {options.source}")
            done = feedback_experiment.run_all(
                folder, experiment, options.device, options.jobs, lambda: bool(received), _say
            )
        if not done:
            _say("stopped; the same command goes on")
            return 128 + received[0]
        _report(folder, experiment, as_json=as_json)
    finally:
        lock.release()
    return 0


def _folder(options: ExperimentOptions) -> Path:
    """The experiment's folder."""
    if options.out is not None:
        return options.out
    if (options.source / settings.DOCUMENT).is_file():
        return options.source
    raise UserError(f"There is no experiment in {options.source} to go on with: give --out FOLDER for a new one")


def _experiment(options: ExperimentOptions, folder: Path) -> FeedbackExperiment:
    """What is compared: as an earlier call has said, where there was one; only the number of pairs may be another."""
    if not (folder / settings.DOCUMENT).exists():
        experiment = FeedbackExperiment(**options.given)
        experiment.check()
        return experiment
    earlier = FeedbackExperiment.load(folder)
    experiment = replace(earlier, **options.given)
    experiment.check()
    for name, value in options.given.items():
        if name != "pairs" and value != getattr(earlier, name):
            raise UserError(
                f"{settings.option(name)} was {getattr(earlier, name)} when {folder} was begun: leave it so, or give "
                "another --out"
            )
    return experiment


def _make_pool(
    options: ExperimentOptions, experiment: FeedbackExperiment, folder: Path, received: Sequence[int]
) -> int:  # fmt: skip
    """The pool of the recording that is given, or of one that is rendered into the pool's folder; the exit code."""
    from ..datasets.recording import Recording
    from ..experiments import pool_making

    if options.source.resolve() == folder.parent.resolve():
        raise UserError(f"{folder.parent} has no pool yet: give the recording that it is made of, and --out")
    if (options.source / POOL / pool.DOCUMENT).exists():
        _say(f"taking the pool of {options.source}")
        pool.share(options.source / POOL, folder)
        return 0
    source = options.source
    if source.suffix == ".toml":
        source = folder / RECORDING
        code = _render(options, source, received)
        if code:
            return code
    _say("making the pool")
    pool_making.make(Recording.load(source), experiment.shrink, folder)
    return 0


def _render(options: ExperimentOptions, folder: Path, received: Sequence[int]) -> int:
    """A recording as the settings file says, or the rest of one; the exit code."""
    from ..datasets.recording_maker import record
    from ..datasets.render_workers import RenderingError, StoppedError
    from ..experiments.pool_making import FEWEST
    from . import render

    if options.renderings < FEWEST:
        raise UserError(f"--renderings is {options.renderings}: it must be {FEWEST} at least")
    wanted = render.RenderOptions(options.source, workers=options.workers, blender=options.blender)
    rendered = render.load_source(wanted)
    try:
        record(folder, rendered, render.find_programs(rendered), options.renderings, lambda: bool(received), _say)
    except StoppedError:
        _say("stopped; the same command goes on")
        return 128 + received[0]
    except RenderingError as problem:
        _say(f"error: {problem}")
        return 1
    return 0


def _report(folder: Path, experiment: FeedbackExperiment, *, as_json: bool) -> None:
    """The table, the summary and the figure."""
    found, with_ = results.comparison(folder, experiment)
    document = results.save(folder, found, with_, experiment)
    written = [results.TABLE, results.SUMMARY]
    if importlib.util.find_spec("matplotlib") is None:
        _say("the figure is left out, as matplotlib is missing: the same command draws it where it is installed")
    else:
        from ..experiments import figure8
        from ..reports import figures

        figure = figure8.figure_of(found, experiment.described)
        for form in ("png", "svg"):
            written.append(f"{results.FIGURE}.{form}")
            files.write_bytes(folder / written[-1], figures.encode(figure, form))
    if as_json:
        print(json.dumps(document, allow_nan=False))
    else:
        print(results.table(found, document), end="")
    for name in written:
        _say(f"            {folder / name}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
