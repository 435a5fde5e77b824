# SPDX-License-Identifier: GPL-3.0-or-later
"""How far several people's annotations of the same photographs lie apart [Heindl2019, IV-A, Fig. 6a]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.robot import visibility as keypoint_visibility
from ..datasets.annotations import Annotated, Annotation, Item
from ..datasets.coco_reader import read_coco
from ..datasets.keypoint_matching import check_names, truth
from . import keypoint_metrics

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ratings:
    """What R people annotated of J keypoints in N photographs.

    Attributes:
        people: their names: those of their files.
        items: the photographs.
        points: pixels ``(R, N, J, 2)``, NaN where one did not annotate.
        visibility: ``(R, N, J)``: 2, 1, or -1 where not annotated.
        names: of the keypoints.
    """

    people: tuple[str, ...]
    items: tuple[Item, ...]
    points: Floats
    visibility: NDArray[np.int64]
    names: tuple[str, ...]

    def of(self, rows: Sequence[int]) -> Ratings:
        """Those of some of the photographs."""
        chosen = list(rows)
        items = tuple(self.items[row] for row in chosen)
        return replace(self, items=items, points=self.points[:, chosen], visibility=self.visibility[:, chosen])

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many people annotated each keypoint, ``(N, J)``."""
        return np.asarray((~np.isnan(self.points[..., 0])).sum(0), np.int64)

    def mean(self) -> Floats:
        """The people's mean place ``(N, J, 2)``, pixels; NaN where fewer than two annotated it."""
        total = np.nan_to_num(self.points).sum(0)
        counts = self.counts[..., None]
        return np.where(counts >= 2, total / np.maximum(counts, 1), np.nan)

    def to_mean(self, diagonals: Floats) -> Floats:
        """Each one's distance to the mean of all ``(R, N, J)``, percent of the diagonals ``(N,)``."""
        return np.asarray(np.linalg.norm(self.points - self.mean(), axis=-1) / diagonals[:, None] * 100.0)

    def to_others(self, diagonals: Floats) -> Floats:
        """Each one's distance to the mean of the *others* ``(R, N, J)``, percent of the diagonals.

        A person's own annotation pulls the mean of all towards itself, as a model's answer does not; so this is what
        a model's error can be compared with.
        """
        counts = self.counts
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.to_mean(diagonals) * np.where(counts >= 2, counts / (counts - 1), np.nan))

    def deviation(self, diagonals: Floats) -> Floats:
        """Standard deviation of the places ``(N, J)``: root of the mean squared distance (over n - 1), percent."""
        squares = np.nansum(self.to_mean(diagonals) ** 2, axis=0)
        counts = self.counts
        return np.where(counts >= 2, np.sqrt(squares / np.maximum(counts - 1, 1)), np.nan)

    def consensus(self) -> Annotated:
        """The people's mean as annotations to measure a model against; visible is what most of them call so."""
        mean, items = self.mean(), []
        for i, item in enumerate(self.items):
            points = {}
            for j, name in enumerate(self.names):
                if not np.isnan(mean[i, j, 0]):
                    votes = self.visibility[:, i, j]
                    seen = (
                        keypoint_visibility.VISIBLE
                        if (votes == 2).sum() >= (votes == 1).sum()
                        else keypoint_visibility.OCCLUDED
                    )
                    points[name] = (float(mean[i, j, 0]), float(mean[i, j, 1]), seen)
            items.append(Item(item.name, item.path, item.width, item.height, (Annotation(points),)))
        return Annotated(self.items[0].path.parent, "COCO", self.names, tuple(items), False)

    def to_dict(self, diagonals: Floats) -> dict[str, Any]:
        """The spread between people, of each keypoint and each photograph, percent of the diagonal."""
        deviation, nearest, others = self.deviation(diagonals), self.to_mean(diagonals), self.to_others(diagonals)

        def spread(rows: Any, columns: Any) -> dict[str, Any]:
            squares = deviation[rows, columns] ** 2
            known = squares[~np.isnan(squares)]
            return {
                "standard_deviation": math.sqrt(float(known.mean())) if known.size else None,
                "to_mean": keypoint_metrics.distribution(nearest[:, rows, columns]),
                "to_others_mean": keypoint_metrics.distribution(others[:, rows, columns]),
            }

        every = slice(None)
        return {
            "people": list(self.people),
            "photographs": len(self.items),
            "unit": "percent of the diagonal",
            **spread(every, every),
            "per_keypoint": {n: spread(every, slice(j, j + 1)) for j, n in enumerate(self.names)},
            "per_photograph": {item.name: spread(slice(i, i + 1), every) for i, item in enumerate(self.items)},
        }


def files(sources: Sequence[Path]) -> list[Path]:
    """The annotation files that are meant: each source is one person's file, or a folder of such.

    Raises:
        UserError: if they are fewer than two.
    """
    found: list[Path] = []
    for source in sources:
        inside = (p for p in source.glob("*.json") if not p.name.startswith("."))
        found += sorted(inside) if source.is_dir() else [source]
    if len(found) < 2:
        raise UserError(
            f"--raters found {len(found)} file{'s' * (len(found) != 1)}: it needs the COCO files of at least two people"
        )
    return found


def read(sources: Sequence[Path], folder: Path, names: Sequence[str], model: object) -> Ratings:
    """Several people's annotations of the photographs in ``folder``, which are matched by ``file_name``.

    Args:
        names: the model's keypoints.

    Raises:
        UserError: if a file can't be read, is of another robot, or no photograph was annotated by two people.
    """
    given = files(sources)
    sets = [read_coco(f, folder) for f in given]
    for data in sets:
        check_names(data, names, model)
    items: dict[Path, Item] = {}  # tools write the same picture's place in different ways
    for data in sets:
        for item in data.items:
            old = items.setdefault(item.path, item)
            if (old.width, old.height) != (item.width, item.height):
                raise UserError(
                    f"{data.source} gives {item.name} {item.width} × {item.height} pixels, another file "
                    f"{old.width} × {old.height}: all must have annotated the same picture"
                )
    shape = (len(sets), len(items), len(names))
    points, visibility = np.full((*shape, 2), np.nan), np.full(shape, -1, np.int64)
    order = {path: i for i, path in enumerate(items)}
    for r, data in enumerate(sets):
        for item in data.items:
            found = truth(item, names, False)
            points[r, order[item.path]] = found.points
            visibility[r, order[item.path]] = np.where(found.visibility > 0, found.visibility, -1)
    twice = ((~np.isnan(points[..., 0])).sum(0) >= 2).any(1)
    if not twice.any():
        raise UserError("No photograph was annotated by two people: the files' images need the same file_name")
    chosen = tuple(item for item, both in zip(items.values(), twice, strict=True) if both)
    return Ratings(_people(given), chosen, points[:, twice], visibility[:, twice], tuple(names))


def _people(paths: Sequence[Path]) -> tuple[str, ...]:
    stems = [p.stem for p in paths]
    return tuple(s if stems.count(s) == 1 else str(p) for s, p in zip(stems, paths, strict=True))
