# SPDX-License-Identifier: GPL-3.0-or-later
"""Which annotated keypoint is which of a model's: by name, and by robot where there are several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from .annotations import OUTSIDE, UNKNOWN, Annotated, Annotation, Item

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """What is annotated of a model's keypoints in one image.

    Attributes:
        points: pixels ``(J, 2)``, NaN where outside or not annotated.
        visibility: ``(J,)``: 2 visible, 1 occluded, 0 outside, -1 not annotated.
        area: of the robot, pixels²; None where it is not known.
        several: whether one of several robots had to be chosen.
        robot: the annotation that belongs to the model's first robot; None where there is none.
        variances: of the points, pixels² ``(J,)``; 0 where the annotation tells of none.
        outside: pixels ``(J, 2)`` that are annotated of keypoints outside the image, NaN of all others; None where that
            was not asked.
    """

    points: Floats
    visibility: NDArray[np.int64]
    area: float | None
    several: bool
    robot: Annotation | None = None
    variances: Floats = field(default_factory=lambda: np.zeros(0))
    outside: Floats | None = None


EVALUATE = "evaluate with images of the model's own robot"
"""What helps where an evaluation's images are of another robot."""


def check_names(data: Annotated, names: Sequence[str], model: object, remedy: str = EVALUATE) -> tuple[str, ...]:
    """The model's keypoints that the data knows, by either name.

    Args:
        model: what has the names, in a sentence.
        remedy: what to do where these are another robot's.

    Raises:
        UserError: if these are too few to be the same robot's.
    """
    known = set(data.names)
    shared = tuple(n for n in names if n in known or n.rpartition("/")[2] in known)
    if 2 * len(shared) < min(len(names), len(known)) or not shared:
        both = f"only {', '.join(shared)}" if shared else "none"
        raise UserError(
            f"{data.source} has the keypoints {_some(data.names)} and {model} has {_some(names)}, of which {both} "
            f"{'is' if len(shared) < 2 else 'are'} the same: {remedy}, or rename the keypoints"
        )
    return shared


def truth(item: Item, names: Sequence[str], complete: bool) -> Truth:
    """What an image's annotations say of a model's keypoints.

    A model of several robots calls the keypoints of the later ones ``robot/keypoint``. Each takes the annotation of
    its own robot where the data tells robots apart. A model of one robot takes, of several, the largest one: which
    one its maps answer for is not decided by anything else.

    Args:
        complete: whether robots that are not annotated are known to be outside the image.
    """
    points = np.full((len(names), 2), np.nan)
    outside = points.copy()
    visibility = np.full(len(names), OUTSIDE if complete else UNKNOWN, np.int64)
    variances = np.zeros(len(names))
    groups: dict[str, list[tuple[int, str]]] = {}
    whole = any(n in r.points for r in item.robots for n in names if "/" in n)
    for j, name in enumerate(names):
        robot, _, short = ("", "", name) if whole else name.rpartition("/")
        groups.setdefault(robot, []).append((j, short))
    area, several, first = None, False, None
    for number, (robot, members) in enumerate(groups.items()):
        wanted = {short for _, short in members}
        fitting = [r for r in item.robots if wanted & set(r.points)]
        if len(groups) > 1:
            own = [r for r in fitting if r.robot in (robot, number)]
            fitting = own or ([r for r in fitting if r.robot is None] if number == 0 else [])
        if not fitting:
            continue
        several |= len(fitting) > 1
        chosen = max(fitting, key=_size)
        area = max(area or 0.0, _size(chosen)) or None
        first = chosen if robot == "" else first
        for j, short in members:
            if short in chosen.points:
                u, v, seen = chosen.points[short]
                visibility[j] = seen
                if seen > 0:
                    points[j] = u, v
                    variances[j] = chosen.variances.get(short, 0.0)
                else:
                    outside[j] = u, v
    return Truth(points, visibility, area, several, first, variances, outside)


def _size(robot: Annotation) -> float:
    """The robot's area, or that of the box around its keypoints."""
    if robot.area is not None:
        return robot.area
    seen = np.array([(u, v) for u, v, s in robot.points.values() if s > 0]).reshape(-1, 2)
    return float(np.prod(np.ptp(seen, axis=0) + 1.0)) if len(seen) else 0.0


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
