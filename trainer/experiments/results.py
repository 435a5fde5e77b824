# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of an experiment: one for each training that is done, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core import files, run_folder
from ...core.errors import UserError
from ...core.input_files import read_json
from .paired_training import Course
from .settings import FeedbackExperiment
from .statistics import Comparison, Estimate, compare

COURSES = "trainings"
SUMMARY, TABLE, FIGURE = run_folder.SUMMARY, "table.txt", "feedback"


def path_of(folder: Path, seed: int, *, feedback: bool) -> Path:
    """The file of one training."""
    return folder / COURSES / f"{seed:06d}-{'with' if feedback else 'without'}.json"


def every_training(experiment: FeedbackExperiment) -> list[tuple[int, bool]]:
    """Seeds, and whether with feedback."""
    seeds = range(experiment.seed, experiment.seed + experiment.pairs)
    return [(seed, feedback) for seed in seeds for feedback in (False, True)]


def missing(folder: Path, experiment: FeedbackExperiment) -> list[tuple[int, bool]]:
    """The trainings that are not done yet."""
    return [(s, f) for s, f in every_training(experiment) if not path_of(folder, s, feedback=f).exists()]


def take_over(source: Path, folder: Path, experiment: FeedbackExperiment) -> int:
    """Copy the trainings without feedback of another experiment where they are the same; returns how many.

    Raises:
        WriteError: if they can't be written.
    """
    if not experiment.same_without_feedback(FeedbackExperiment.load(source)):
        return 0
    (folder / COURSES).mkdir(exist_ok=True)
    taken = 0
    for seed, feedback in missing(folder, experiment):
        path = path_of(source, seed, feedback=feedback)
        if not feedback and path.exists():
            files.write_bytes(path_of(folder, seed, feedback=feedback), path.read_bytes())
            taken += 1
    return taken


def load(path: Path) -> Course:
    """What a training has measured.

    Raises:
        UserError: if the file is damaged.
    """
    mend = "remove it, and the same command makes this training again"
    document = read_json(path, mend)
    try:
        return Course.from_dict(document)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise UserError(f"{path} is damaged ({problem}): {mend}") from problem


def comparison(folder: Path, experiment: FeedbackExperiment) -> tuple[Comparison, list[Course]]:
    """The pairs that are complete, and the trainings with feedback among them.

    Raises:
        UserError: if there are fewer than two.
    """
    left = {seed for seed, _ in missing(folder, experiment)}
    seeds = [s for s in range(experiment.seed, experiment.seed + experiment.pairs) if s not in left]
    if len(seeds) < 2:
        raise UserError(f"Only {len(seeds)} pairs in {folder} are complete: let the same command go on")
    with_, without = ([load(path_of(folder, s, feedback=f)) for s in seeds] for f in (True, False))
    samples = without[0].images
    for course in (*with_, *without):
        if course.images != samples or len(course.mean) != len(samples):
            path = path_of(folder, course.seed, feedback=course.feedback)
            raise UserError(f"{path} is of another experiment: remove it, and the same command makes it again")
    curves = [np.array([c.mean for c in courses]) for courses in (with_, without)]
    return compare(np.array(samples, np.float64), *curves), with_


def summary(found: Comparison, with_: Sequence[Course], experiment: FeedbackExperiment) -> dict[str, Any]:
    """Everything that was found, as plain JSON values."""
    shares = [share for course in with_ for share in course.effective_share]
    curves = {
        name: {"mean": errors.mean(0).tolist(), "sd": errors.std(0, ddof=1).tolist()}
        for name, errors in (("with", found.with_), ("without", found.without))
    }
    return {
        "pairs": found.pairs, "rule": experiment.rule, "exponent": experiment.exponent, "strength": experiment.strength,
        "share": experiment.share,
        "samples": found.samples.tolist(), **curves,
        "difference": [d.to_dict() for d in found.difference],
        "reached": [r.to_dict() for r in found.reached],
        "effective_share": float(np.mean(shares)) if shares else 1.0,
    }  # fmt: skip


def table(found: Comparison, document: dict[str, Any]) -> str:
    """The same for people."""
    lines = [f"{'images':>8}   {'with feedback':>16}   {'without':>16}   {'with − without (95 % interval)':>32}"]
    for t, samples in enumerate(found.samples):
        both = [f"{c[:, t].mean():8.3f} ± {c[:, t].std(ddof=1):5.3f}" for c in (found.with_, found.without)]
        d = found.difference[t]
        difference = f"{d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f})"
        lines.append(f"{samples:8.0f}   {both[0]:>16}   {both[1]:>16}   {difference:>32}")
    lines += ["", f"{found.pairs} pairs; errors in percent of the diagonal, mean ± standard deviation", ""]
    lines += ["images to reach an error, with feedback over without (95 % interval over pairs):"]
    for r in found.reached:
        lines.append(f"  {r.level:7.3f} %  {_ratio(r.ratio):>24}   {r.name}")
    lines += ["", f"the posteriors draw from {document['effective_share']:.0%} of the pool, in effect"]
    return "\n".join(lines) + "\n"


def _ratio(ratio: Estimate) -> str:
    ends = [f"{x:.2f}" if np.isfinite(x) else "never" for x in (ratio.value, ratio.low, ratio.high)]
    return f"{ends[0]} ({ends[1]} to {ends[2]})"


def save(folder: Path, found: Comparison, with_: Sequence[Course], experiment: FeedbackExperiment) -> dict[str, Any]:
    """Write the summary and the table; returns the former."""
    document = summary(found, with_, experiment)
    files.write_json(folder / SUMMARY, document)
    files.write_text(folder / TABLE, table(found, document))
    return document
