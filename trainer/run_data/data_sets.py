# SPDX-License-Identifier: GPL-3.0-or-later
"""Data sets that a run learns from: which images are learned from, and which are held out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...core.errors import UserError
from ...core.settings.schema import VALIDATION_SHARE, DataSettings, Settings
from ..datasets import keypoint_matching, reader
from ..datasets.annotations import Annotated, Item
from ..footage.unlabelled import read_unlabelled

FOOTAGE = ".toml"
"""How the name of footage ends, whose images have joint positions and no labels."""

REMEDY = "learn from images of the same robot"


@dataclass(frozen=True)
class Partition:
    """A data set of a run.

    Attributes:
        settings: what the run's settings say of it.
        learned: images that are learned from.
        held_out: images for validation and test, in an order without meaning.
        complete: whether robots that are not annotated are known to be outside; of the images learned from, and of
            those held out.
    """

    settings: DataSettings
    learned: tuple[Item, ...]
    held_out: tuple[Item, ...]
    complete: tuple[bool, bool]


def partitions(settings: Settings) -> list[Partition]:
    """The data sets of a run, in the order of its settings. No image is decoded.

    Which images are held out follows from their names and the run's seed, so that those of a data set that grows stay
    held out.

    Raises:
        UserError: if annotations can't be read, are of another robot, or leave nothing to learn from or to measure by;
            or if an image is missing.
    """
    data = settings.data
    if not settings.renders and not any(d.held_out or d.validation_split for d in data):
        data = tuple(d if is_unlabelled(d) else replace(d, held_out=VALIDATION_SHARE) for d in data)
    for d in data:
        _check_labels(d, settings.training.displacement_weight)
    names, t = [k.name for k in settings.keypoints], settings.training
    result = [_partition(d, names, t.seed, t.validation_images + t.test_images) for d in data]
    held = sum(len(p.held_out) for p in result)
    if held == 0 and not settings.renders:
        raise UserError(
            "No image with labels is held out, and a model is chosen by these: give the data set a validation_split, "
            "or add a [[data]] with labels"
        )
    if held == 1:
        raise UserError(
            "Only one image would be held out, and validation and test need one each: give a validation_split of two"
        )
    return result


def batch_counts(settings: Settings) -> list[int]:
    """Images of each data set in a batch, at least one of each, and one rendering where there are any."""
    size = settings.training.batch_size
    counts = [max(1, round(d.share * size)) for d in settings.data]
    spare = size - sum(counts) - settings.renders
    while spare < 0:
        counts[counts.index(max(counts))] -= 1
        spare += 1
    if not settings.renders:
        counts[-1] += spare
    return counts


def is_unlabelled(data: DataSettings) -> bool:
    """Whether the images learned from are those of footage, without labels."""
    return str(_place(data, data.split)).lower().endswith(FOOTAGE)


def _check_labels(data: DataSettings, displacement_weight: float) -> None:
    if is_unlabelled(data) and not displacement_weight:
        raise UserError(
            f"{data.path} is footage without labels, of which only training.displacement_weight makes use: set it "
            "above 0, or label the footage with robot-keypoints label and give the data set that it writes"
        )
    if is_unlabelled(data) and data.held_out:
        raise UserError(
            f"{data.path} is footage without labels, of which nothing can be held out to measure by: leave held_out "
            "out, or give a validation_split with labels"
        )


def _partition(data: DataSettings, names: Sequence[str], seed: int, most: int) -> Partition:
    annotated = _read(data, data.split, names)
    items = _shuffled(annotated.items, seed)
    if data.validation_split:
        held = _read(data, data.validation_split, names)
        own = {item.path for item in held.items}
        learned = [item for item in items if item.path not in own]
        held_out = _shuffled(held.items, seed)[:most]
        complete = annotated.complete, held.complete
    else:
        count = min(most, round(data.held_out * len(items)))
        count = max(2, count) if data.held_out else 0  # one for validation, one for the test
        held_out, learned = items[:count], items[count:]
        complete = annotated.complete, annotated.complete
    if not learned:
        raise UserError(f"No image of {annotated.source} is left to learn from: hold fewer out, or annotate more")
    return Partition(data, tuple(learned), tuple(held_out), complete)


def _read(data: DataSettings, split: str, names: Sequence[str]) -> Annotated:
    place = _place(data, split)
    if place.suffix.lower() == FOOTAGE:
        annotated = read_unlabelled(place)
    else:
        annotated = reader.read(place)
        keypoint_matching.check_names(annotated, names, "this training", REMEDY)
    if not annotated.items:
        raise UserError(f"{annotated.source} has no images: choose another data set")
    missing = next((item.path for item in annotated.items if not item.path.is_file()), None)
    if missing is not None:
        raise UserError(f"There is no image at {missing}: put it there, or leave it out of the annotations")
    return annotated


def _place(data: DataSettings, split: str) -> Path:
    """What a split is: a folder, or a COCO file."""
    folder = Path(data.path)
    if not split:
        return folder
    places = [folder / split, folder / f"{split}.json", folder / reader.FOLDER / f"{split}.json"]
    found = next((p for p in places if p.exists()), None)
    if found is None:
        raise UserError(f"{folder} has no split {split!r}: it would be a folder of that name, or {split}.json")
    return found


def _shuffled(items: Sequence[Item], seed: int) -> list[Item]:
    return sorted(items, key=lambda item: hashlib.sha256(f"{seed}/{item.name}".encode()).digest())
