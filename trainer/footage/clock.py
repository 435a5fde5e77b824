# SPDX-License-Identifier: GPL-3.0-or-later
"""The offset between the clocks of cameras and joint log, from how fast markers and links turn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ...core.camera.intrinsics import invert
from ...core.errors import UserError
from .joint_log import JointLog
from .recording import ROOM, Floats, Footage, MarkerObservation

WIDEST = 3.0
"""Seconds either way in which the offset is looked for."""
STEPS = 121
PAIRS = 150
"""So many pairs of images are compared."""
APART = 1.0
"""Seconds between two images up to which their turn is compared."""
LEAST_TURN = math.radians(0.5)


def estimate_clock(footage: Footage, observations: Sequence[MarkerObservation]) -> float:
    """Seconds to be added to the images' times: where the markers' turns from image to image are most like the links'.

    No calibration is needed for that, as a turn is as large whatever it is seen from.

    Raises:
        UserError: if the robot moves too little to tell.
    """
    log = footage.log
    assert log is not None
    pairs = _pairs(footage, observations)
    seen = np.array([p[3] for p in pairs])
    if len(pairs) < 5 or float(np.percentile(seen, 80)) < LEAST_TURN:
        raise UserError(
            f"The robot turns too little in {footage.source} to estimate the clock's offset: set "
            "joint_log.clock_offset, or give images of a moving robot"
        )
    given = footage.clock_offset or 0.0
    offsets = given + np.linspace(-WIDEST, WIDEST, STEPS)
    costs = [_cost(footage, log, pairs, seen, float(offset)) for offset in offsets]
    if not np.isfinite(costs).any():
        raise UserError(f"{log.file} and the images have no common time: set joint_log.clock_offset nearly right")
    return float(offsets[int(np.argmin(costs))])


def _pairs(footage: Footage, observations: Sequence[MarkerObservation]) -> list[tuple[int, int, str, float]]:
    """Frames, the marker's name, and the marker's turn between them, radians."""
    frames = footage.frames
    result = []
    chains: dict[tuple[str, str], list[MarkerObservation]] = {}
    for o in observations:
        if o.quality.high:
            chains.setdefault((frames[o.frame].camera, o.marker), []).append(o)
    for (_, marker), chain in chains.items():
        for a, b in pairwise(chain):
            step = (frames[b.frame].time or 0.0) - (frames[a.frame].time or 0.0)
            if 0 < step <= APART:
                result.append((a.frame, b.frame, marker, _angle(invert(a.pose) @ b.pose)))
    # The fastest tell most; a checkerboard that is counted from its other end seems to turn by half a circle.
    result = [p for p in result if p[3] < math.pi / 3]
    return sorted(result, key=lambda p: -p[3])[:PAIRS]


def _cost(
    footage: Footage, log: JointLog, pairs: Sequence[tuple[int, int, str, float]], seen: Floats, offset: float
) -> float:
    known: dict[int, Mapping[str, Floats] | None] = {}

    def frames_at(k: int) -> Mapping[str, Floats] | None:
        if k not in known:
            positions = log.at((footage.frames[k].time or 0.0) + offset)
            known[k] = None if positions is None else {ROOM: np.eye(4), **footage.robot.link_frames(positions)}
        return known[k]

    off = []
    for (a, b, marker, _), turn in zip(pairs, seen, strict=True):
        one, two = frames_at(a), frames_at(b)
        if one is None or two is None:
            continue
        camera, link = footage.camera(footage.frames[a].camera).link, footage.marker(marker).link
        relative = invert(invert(one[camera]) @ one[link]) @ (invert(two[camera]) @ two[link])
        off.append(abs(_angle(relative) - turn))
    return float(np.mean(np.minimum(off, math.radians(5)))) if len(off) >= max(5, len(pairs) // 2) else math.inf


def _angle(pose: Floats) -> float:
    return math.acos(float(np.clip((np.trace(pose[:3, :3]) - 1) / 2, -1, 1)))


def with_clock(footage: Footage, offset: float) -> Footage:
    """The footage with the joints at its frames' times plus ``offset`` seconds."""
    assert footage.log is not None
    log = footage.log
    frames = tuple(replace(f, positions=log.at((f.time or 0.0) + offset)) for f in footage.frames)
    return replace(footage, frames=frames, clock_offset=offset)


def rates_of(log: JointLog, times: Sequence[float]) -> list[dict[str, float]]:
    """Speeds of the joints at times on the log's clock, radians or metres per second."""
    step = max(2 * float(np.median(np.diff(log.times))) if len(log.times) > 1 else 0.02, 1e-3)
    rates = []
    for time in times:
        before, after = log.at(time - step), log.at(time + step)
        if before is None or after is None:
            rates.append(dict.fromkeys(log.names, 0.0))
        else:
            rates.append({n: (after[n] - before[n]) / (2 * step) for n in log.names})
    return rates
