# SPDX-License-Identifier: GPL-3.0-or-later
"""News of a run: where it stands, what its validations found, and the posteriors of its variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypedDict, cast

from ..scene.pair import Pair, read_pairs
from .envelope import SCHEMA, MessageError, dump, finite, parse, whole_number


class State(TypedDict):
    """What is going on.

    Attributes:
        phase: one of :class:`.Phase`'s values.
        message: one line for people.
    """

    phase: str
    message: str


class Progress(TypedDict, total=False):
    """How far a run is; what is not known yet is left out.

    Attributes:
        step, images, epoch: how many of each were trained.
        fraction: share of the run that is done.
        stall_fraction: share of the training spent waiting for samples.
        fresh_fraction: share of the renderings trained on that were new; the others were used again.
        dropped: samples that did not fit the contract.
        loss: running mean of the training loss.
        error_percent, median_error_percent: of the last validation, percent of the diagonal; None where no keypoint
            was inside an image.
        steps_per_second, images_per_second: since the event before.
        workers: samples per second of each worker, by its number.
        device: what the trainer computes on.
    """

    step: int
    images: int
    epoch: int
    fraction: float
    stall_fraction: float
    fresh_fraction: float
    dropped: int
    loss: float
    error_percent: float | None
    median_error_percent: float | None
    seconds_left: float
    steps_per_second: float
    images_per_second: float
    workers: dict[str, float]
    device: str


class HardRange(TypedDict):
    """A range of one variable that is over-represented among the hardest images, in the variable's unit."""

    variable: str
    low: float
    high: float
    share: float


class Metrics(TypedDict, total=False):
    """What one validation found; a line of the run's metrics.

    Attributes:
        step, images, seconds: of the run when it was made.
        loss, train_loss: of the validation, and the running mean of the training.
        mean_error_percent, median_error_percent: percent of the diagonal; left out where no keypoint was inside.
        per_keypoint: ``mean`` and ``median`` of each keypoint.
        pck: share of the keypoints found within so many percent.
        hardest: what the images with the largest losses have in common.
    """

    step: int
    images: int
    seconds: float
    loss: float
    train_loss: float
    mean_error_percent: float
    median_error_percent: float
    per_keypoint: dict[str, dict[str, float]]
    pck: dict[str, float]
    hardest: list[HardRange]


Event: TypeAlias = (
    tuple[Literal["state"], State] | tuple[Literal["progress"], Progress] | tuple[Literal["metrics"], Metrics]
)
"""What kind of news it is, and what it says."""

COUNTS = ("step", "images", "epoch", "dropped")
NUMBERS = (
    "fraction", "stall_fraction", "fresh_fraction", "seconds", "seconds_left", "loss", "train_loss",
    "steps_per_second", "images_per_second", "mean_error_percent",
)  # fmt: skip
"""Of progress and metrics; others are not looked at, so that a later version may tell more."""
UNKNOWN = ("error_percent", "median_error_percent")
"""Those that are None where no keypoint was inside an image."""


@dataclass(frozen=True)
class Posterior:
    """The concentrations of every variable at one version.

    Attributes:
        explained: share of the losses' variance that lies between a variable's bins, 0 … 1, as far as it is sure; of
            variables of which it is known.
        pairs: of variables that are not drawn independently.
    """

    version: int
    concentrations: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    explained: Mapping[str, float] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()

    def encode(self, run_id: str) -> bytes:
        """The message as JSON."""
        tables = {k: list(v) for k, v in self.concentrations.items()}
        return dump(
            {
                "schema": SCHEMA, "type": "posterior", "run": run_id, "version": self.version,
                "concentrations": tables, "explained": dict(self.explained),
                "pairs": [pair.to_dict() for pair in self.pairs],
            }
        )  # fmt: skip

    @classmethod
    def decode(cls, data: bytes | memoryview, run_id: str) -> Posterior:
        """Inverse of :meth:`encode`.

        Raises:
            MessageError: if it is malformed or of another run.
        """
        header = parse(data, "posterior")
        if header.get("run") != run_id:
            raise MessageError("the posterior belongs to another run")
        tables = header.get("concentrations")
        if not isinstance(tables, dict):
            raise MessageError("the concentrations are not a table")
        result = {}
        for name, theta in tables.items():
            if not isinstance(theta, list) or not all(finite(t) and t > 0 for t in theta) or not theta:
                raise MessageError(f"the concentrations of {name!r} are not positive numbers")
            result[name] = tuple(float(t) for t in theta)
        explained = header.get("explained", {})
        _check_table("shares of the losses", explained)
        shares = {name: float(v) for name, v in explained.items()}
        return cls(whole_number(header, "version"), result, shares, decode_pairs(header))


def decode_pairs(header: Mapping[str, Any]) -> tuple[Pair, ...]:
    """The pairs of variables in a message; none in those from before there were any.

    Raises:
        MessageError: if they are malformed.
    """
    try:
        return read_pairs(header.get("pairs", []))
    except ValueError as problem:
        raise MessageError(str(problem)) from problem


def encode_event(run_id: str, event: Event) -> bytes:
    """News about a run.

    Raises:
        ValueError: if a number in it is not finite.
    """
    kind, content = event
    return dump({"schema": SCHEMA, "type": "event", "run": run_id, "kind": kind, "content": dict(content)})


def decode_event(data: bytes | memoryview, run_id: str) -> Event:
    """Inverse of :func:`encode_event`.

    Raises:
        MessageError: if it is malformed, of another run, or of a kind that nobody sends.
    """
    header = parse(data, "event")
    kind, content = header.get("kind"), header.get("content")
    if header.get("run") != run_id:
        raise MessageError("the event belongs to another run")
    if not isinstance(content, dict):
        raise MessageError("the event has no content")
    if kind == "state":
        for name in ("phase", "message"):
            if not isinstance(content.get(name), str):
                raise MessageError(f"the state has the {name} {content.get(name)!r}")
        return "state", cast(State, content)
    if kind == "progress":
        _check_numbers(kind, content)
        _check_table("workers' rates", content.get("workers", {}))
        if not isinstance(content.get("device", ""), str):
            raise MessageError(f"the progress has the device {content['device']!r}")
        return "progress", cast(Progress, content)
    if kind == "metrics":
        return "metrics", check_metrics(content)
    raise MessageError(f"there is no event of kind {kind!r}")


def check_metrics(content: Any) -> Metrics:
    """What a validation found, as plain JSON values of whatever origin.

    Raises:
        MessageError: if it is something else.
    """
    if not isinstance(content, dict):
        raise MessageError("the metrics are not a table")
    _check_numbers("metrics", content)
    _check_table("shares of keypoints", content.get("pck", {}))
    errors = content.get("per_keypoint", {})
    if not isinstance(errors, dict):
        raise MessageError("the keypoints' errors are not a table")
    for name, error in errors.items():
        _check_table(f"errors of {name!r}", error)
    _check_ranges(content.get("hardest", []))
    return cast(Metrics, content)


def _check_numbers(kind: str, content: Mapping[str, Any]) -> None:
    """What is shown as numbers must be some."""
    for name in COUNTS:
        value = content.get(name, 0)
        if type(value) is not int or not 0 <= value < 1 << 53:
            raise MessageError(f"the {kind} has the {name} {value!r}")
    for name in (*NUMBERS, *UNKNOWN):
        value = content.get(name, 0.0)
        if not finite(value) and not (value is None and name in UNKNOWN):
            raise MessageError(f"the {kind} has the {name} {value!r}")


def _check_table(what: str, table: Any) -> None:
    if not isinstance(table, dict) or not all(finite(v) for v in table.values()):
        raise MessageError(f"the {what} are not a table of numbers")


def _check_ranges(ranges: Any) -> None:
    if not isinstance(ranges, list):
        raise MessageError("the hardest ranges are not a list")
    for entry in ranges:
        if not isinstance(entry, dict) or not isinstance(entry.get("variable"), str):
            raise MessageError("a hardest range is not one of a variable")
        if not all(finite(entry.get(name)) for name in ("low", "high", "share")):
            raise MessageError(f"the hardest range of {entry['variable']!r} has no finite ends and share")
