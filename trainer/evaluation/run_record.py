# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has left in its folder, be it finished, still going on or broken off; its files may be damaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ...core import run_folder
from ...core.errors import UserError
from ...core.input_files import open_regular, read_json
from ...core.messages.envelope import finite
from ...core.messages.events import Metrics, check_metrics
from ...core.scene.pair import read_pairs
from ...core.scene.scene_model import SceneModel
from ...core.settings import toml_file
from ...core.settings.schema import Settings
from ...core.step_times import RunTimes

T = TypeVar("T")

LONGEST_LINE = 16 << 20
"""Bytes of a line."""

LARGEST = 128 << 20
"""Bytes that are read of a file of lines."""

MEND = "the report goes without it"

DAMAGE = (AttributeError, LookupError, TypeError, ValueError, OverflowError, RecursionError)
"""What comes of reading a line that no run would have written."""

SUMMARY_NUMBERS = (
    "images_rendered", "images_trained", "steps", "seconds", "test_images", "mean_error_percent",
    "median_error_percent",
)  # fmt: skip
"""Of the summary, what a report shows; None where it was not measured."""


@dataclass(frozen=True)
class PriorVersion:
    """The priors after one update.

    Attributes:
        explained: share of the losses' variance that each variable explained, 0 … 1; empty where that is not known.
    """

    step: int
    model: SceneModel
    explained: Mapping[str, float]


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder tells of it.

    Attributes:
        metrics: of every validation, the first one first.
        priors: every version, the first one first.
        times: None where they were not measured.
        summary: None where the run has not ended of its own accord.
        missing: a sentence about each part that is not there or can't be read.
    """

    folder: Path
    settings: Settings
    metrics: tuple[Metrics, ...]
    priors: tuple[PriorVersion, ...]
    times: RunTimes | None
    summary: Mapping[str, Any] | None
    missing: tuple[str, ...]


def read(folder: Path) -> RunRecord:
    """What there is.

    Raises:
        UserError: if the folder is not one of a run, or its settings can't be read.
    """
    if not (folder / run_folder.SETTINGS).is_file():
        raise UserError(f"There is no run in {folder}: give the folder that holds its settings.toml")
    settings = toml_file.load(folder / run_folder.SETTINGS)
    missing: list[str] = []
    metrics = _lines(folder / run_folder.METRICS, check_metrics, missing)
    if not metrics:
        missing.append("No validation has been recorded: there are no curves yet.")
    initial = settings.scene_model()
    priors = _lines(folder / run_folder.PRIORS, lambda line: _version(line, initial), missing)
    times = _document(folder / run_folder.TIMINGS, RunTimes.read, missing)
    if times is None and not (folder / run_folder.TIMINGS).exists():
        missing.append("Times are written down at each validation: there are none yet.")
    summary = _document(folder / run_folder.SUMMARY, _summary, missing)
    if summary is None and not (folder / run_folder.SUMMARY).exists():
        missing.append(
            "There is no summary: the run is still going on, or was broken off, so the errors are those on the "
            "validation images."
        )
    return RunRecord(folder, settings, tuple(metrics), tuple(priors), times, summary, tuple(missing))


def _lines(path: Path, parse: Callable[[Any], T], missing: list[str]) -> list[T]:
    """Each line's value, up to the first that is damaged, and for that a sentence."""
    found: list[T] = []
    left = LARGEST
    try:
        with open_regular(path) as stream:
            while left > 0 and (line := stream.readline(LONGEST_LINE)):
                left -= len(line)
                if not line.endswith(b"\n"):
                    raise ValueError("it is cut off")
                found.append(parse(json.loads(line)))
            if left <= 0 and stream.read(1):
                missing.append(f"{path.name} is longer than {LARGEST >> 20} MiB: only its beginning is shown.")
    except FileNotFoundError:
        pass  # a run that was broken off before its first line
    except OSError as problem:
        missing.append(f"{path.name} can't be read ({problem.strerror or problem}).")
    except DAMAGE:
        missing.append(f"{path.name} is cut off or damaged after {len(found)} lines: only these are shown.")
    return found


def _document(path: Path, parse: Callable[[Any], T], missing: list[str]) -> T | None:
    if not path.exists():
        return None
    try:
        return parse(read_json(path, MEND))
    except UserError as problem:
        missing.append(f"{problem}.")
    except DAMAGE as problem:
        missing.append(f"{path.name} is damaged ({problem}): {MEND}.")
    return None


def _version(line: Any, initial: SceneModel) -> PriorVersion:
    step, version = line["step"], line["version"]
    if type(step) is not int or type(version) is not int:
        raise ValueError("a version of the priors has no number")
    model = initial.with_concentrations(line["concentrations"], version, read_pairs(line.get("pairs", [])))
    explained = line.get("evidence", {}).get("explained", {})
    if not isinstance(explained, dict) or not all(finite(v) and 0 <= v <= 1 for v in explained.values()):
        raise ValueError("the explained shares are no table of shares")
    return PriorVersion(step, model, {k: float(v) for k, v in explained.items()})


def _summary(document: Any) -> Mapping[str, Any]:
    for name in SUMMARY_NUMBERS:
        value = document.get(name)
        if value is not None and not finite(value):
            raise ValueError(f"{name} is {str(value)[:40]}")
    return {**{name: document.get(name) for name in SUMMARY_NUMBERS}, "stopped": document.get("stopped") is True}
