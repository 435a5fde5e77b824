# SPDX-License-Identifier: GPL-3.0-or-later
"""Footage as a problem of the filter: its steps, what cameras see at each, and what is known before.

The reference is the first camera that rests; where all cameras ride on links, it is the room.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ...core.robot.keypoints import Keypoint
from ..pose.kinematic_filter import (
    MarkerPose,
    Recording,
    SensorModel,
    Sight,
    State,
    Step,
    forward,
    initial_state,
)
from ..pose.linear_kalman import block_diagonal
from ..pose.link_motion import LinkMotion
from ..pose.rigid_motion import invert
from .joint_problem import Placement
from .recording import ROOM, Floats, Footage, MarkerObservation

CONTRADICTS = 27.86
"""Squared Mahalanobis distance of a marker's pose that one of 10,000 exceeds by chance: chi-square with 6 degrees."""

LOOSE = 0.1
"""Radians and metres that a calibration's cameras and mounts are taken to be off by: far more than they are, so that
what images say of them isn't counted twice."""

TIGHT = 1e-5
"""Radians and metres that mounts are off by that were given."""

UNTIMED = 1.0
"""Seconds between images that nobody knows the times of."""

OFFSETS = tuple(math.radians(e) for e in (0.03, 0.1, 0.3, 1.0, 3.0))
ERRORS = tuple(math.radians(e) for e in (0.01, 0.03, 0.1, 0.3, 1.0))
"""Standard deviations of the joints' offsets and errors that are tried."""

SCALES = (1.0, 4.0, 16.0, 64.0)
"""Factors of the markers' covariances that are tried: corners of one board have errors in common."""

MEMORIES = (0.0, 0.5, 2.0, 8.0)
"""Seconds after which joints' errors are forgotten, that are tried: noise is another in each image, slack stays."""

SWEEPS = 4
"""So many times each of the deviations is chosen at most."""

FINER = math.sqrt(3.0)
"""Factor between neighbours among the deviations of offsets and errors that are tried in the end."""

TRIED = 120
"""So many steps tell the deviations."""


@dataclass(frozen=True)
class Layout:
    """Which place has what in the filter's states.

    Attributes:
        links: of :attr:`.Recording.motion`; the base is among them.
        reference: the camera that is the reference; None where it is the room.
        fixed: names of cameras and markers whose poses are states, in their order.
    """

    links: tuple[str, ...]
    reference: str | None
    fixed: tuple[tuple[str, str], ...]

    def sight(self, footage: Footage, camera: str, link: str, marker: str = "") -> Sight:
        """What ``camera`` looks at: a marker, or the frame of a link of the robot where ``marker`` is empty."""
        carrier = footage.camera(camera).link
        at_rest = self.reference is None and link == ROOM and marker != ""
        return Sight(
            None if at_rest else self.links.index(link),
            None if carrier == ROOM else self.links.index(carrier),
            self.fixed.index(("marker", marker)) if marker else None,
            None if camera == self.reference else self.fixed.index(("camera", camera)),
        )


@dataclass(frozen=True)
class FilterProblem:
    """Everything that the filter needs.

    Attributes:
        places: of each step's frames in :attr:`.Footage.frames`.
        seen: places of the observations behind each step's markers, in their order.
        joints: names of the joints, in the order of their positions.
        placement: cameras and mounts that the states start from.
        estimated: names of markers whose mounts weren't given.
    """

    footage: Footage
    layout: Layout
    recording: Recording
    places: tuple[tuple[int, ...], ...]
    seen: tuple[tuple[int, ...], ...]
    placement: Placement
    estimated: frozenset[str]

    @property
    def joints(self) -> tuple[str, ...]:
        """The joints, in the order of their positions."""
        return self.recording.motion.joints

    def start(self, recording: Recording) -> State:
        """What is known before the first step of ``recording``."""
        footage, layout, placement = self.footage, self.layout, self.placement
        base = torch.eye(4, dtype=torch.float64)
        if layout.reference is not None:
            base = _double(placement.cameras[layout.reference])
        fixed, deviations = [], []
        for kind, name in layout.fixed:
            if kind == "marker":
                fixed.append(_double(placement.mounts[name]))
                deviations.append(LOOSE if name in self.estimated else TIGHT)
            else:
                pose = _double(placement.cameras[name])
                fixed.append(pose @ invert(base) if footage.camera(name).link == ROOM else pose)
                deviations.append(LOOSE)
        still = LOOSE if layout.reference is not None else TIGHT
        return initial_state(
            recording, base, still**2 * torch.eye(6, dtype=torch.float64),
            torch.stack(fixed) if fixed else None,
            block_diagonal(*(d**2 * torch.eye(6, dtype=torch.float64) for d in deviations)) if fixed else None,
        )  # fmt: skip


def make_problem(
    footage: Footage, observations: Sequence[MarkerObservation], placement: Placement, estimated: Set[str],
    keypoints: Sequence[Keypoint], model: SensorModel, used: Sequence[int],
) -> FilterProblem:  # fmt: skip
    """The filter's problem of some frames.

    Args:
        observations: of high quality, of frames in ``used``; others are left alone.
        placement: cameras and mounts as a calibration has found them.
        estimated: names of markers whose mounts weren't given.
        keypoints: whose links are to be known.
        model: of as many joints as :func:`joints_of` names.
        used: places in :attr:`.Footage.frames` of frames with joint positions.
    """
    resting = [c.name for c in footage.cameras if c.link == ROOM]
    reference = resting[0] if resting else None
    shown = {o.marker for o in observations}
    carriers = [footage.marker(m).link for m in sorted(shown)]
    riding = [c.link for c in footage.cameras if c.link != ROOM]
    moving = [link for link in (*carriers, *riding, *(k.frame for k in keypoints)) if link != ROOM]
    # The first is the object, whose pose is the filter's state.
    links = tuple(dict.fromkeys([*moving[:1], ROOM, *moving]))
    fixed = [("camera", c.name) for c in footage.cameras if c.name != reference]
    fixed += [("marker", m.name) for m in footage.markers if m.name in shown]
    layout = Layout(links, reference, tuple(fixed))
    motion = LinkMotion.of(footage.robot, links, joints_of(footage))

    wanted = set(used)
    by_frame: dict[int, list[int]] = {}
    for k, o in enumerate(observations):
        if o.frame in wanted:
            by_frame.setdefault(o.frame, []).append(k)
    steps, places, seen = [], [], []
    for time, members in _moments(footage, used):
        positions = footage.frames[members[0]].positions or {}
        ordered = [k for m in members for k in by_frame.get(m, ())]
        markers = tuple(
            MarkerPose(
                _double(observations[k].pose), _double(observations[k].covariance),
                layout.sight(
                    footage, footage.frames[observations[k].frame].camera, footage.marker(observations[k].marker).link,
                    observations[k].marker,
                ),
            )
            for k in ordered
        )  # fmt: skip
        values = torch.tensor([positions[n] for n in motion.joints], dtype=torch.float64)
        steps.append(Step(time, values, markers))
        places.append(tuple(members))
        seen.append(tuple(ordered))
    recording = Recording(motion, model, tuple(steps), CONTRADICTS)
    return FilterProblem(footage, layout, recording, tuple(places), tuple(seen), placement, frozenset(estimated))


def joints_of(footage: Footage) -> list[str]:
    """The joints whose positions the footage has, in the robot's order."""
    known = next((f.positions for f in footage.frames if f.positions is not None), {})
    return [j.name for j in footage.robot.moving_joints if j.name in known]


def fit_deviations(problem: FilterProblem, with_offsets: bool = True) -> FilterProblem:
    """The problem with those deviations of joints and markers under which what is seen is most likely.

    They are chosen out of :data:`ERRORS`, :data:`MEMORIES`, :data:`SCALES` and :data:`OFFSETS`, one after the other,
    until they stay the same; those of offsets and errors then out of finer ones about them.

    Args:
        with_offsets: whether the deviations of the joints' offsets are sought, too; else they stay what they are.
    """
    chosen: dict[str, float | None] = {
        "scale": SCALES[1], "error": ERRORS[2], "memory": MEMORIES[0], "offset": None,
    }  # fmt: skip
    trials: dict[str, tuple[float, ...]] = {"scale": SCALES, "error": ERRORS}
    # Poses that nobody knows the times of were taken one by one, with the robot at rest.
    if all(problem.footage.frames[p].time is not None for places in problem.places for p in places):
        trials["memory"] = MEMORIES
    if with_offsets:
        chosen["offset"], trials["offset"] = OFFSETS[3], OFFSETS

    @cache
    def likelihood(scale: float, error: float, memory: float, offset: float | None) -> float:
        return _likelihood(with_deviations(problem, scale, error, memory, offset))

    def best(name: str, values: Sequence[float]) -> float:
        return max(values, key=lambda value: likelihood(**{**chosen, name: value}))

    for _ in range(SWEEPS):
        before = dict(chosen)
        for name, values in trials.items():
            chosen[name] = best(name, values)
        if chosen == before:
            break
    for name in ("error", "offset") if with_offsets else ("error",):
        middle = chosen[name]
        assert middle is not None
        chosen[name] = best(name, (middle, middle / FINER, middle * FINER))
    return with_deviations(problem, **chosen)  # type: ignore[arg-type]


def with_deviations(
    problem: FilterProblem, scale: float, error: float, memory: float, offset: float | None
) -> FilterProblem:
    """The problem with the markers' covariances ``scale`` times as large and these standard deviations of joints.

    Args:
        memory: see :class:`.SensorModel`.
        error, offset: of all joints, radians or metres; None leaves the offsets' as they are.
    """
    recording = problem.recording
    steps = tuple(
        replace(s, markers=tuple(replace(m, covariance=m.covariance * scale) for m in s.markers))
        for s in recording.steps
    )
    model = replace(recording.model, error=torch.full_like(recording.model.error, error), memory=memory)
    if offset is not None:
        model = replace(model, offset=torch.full_like(model.offset, offset))
    return replace(problem, recording=replace(recording, steps=steps, model=model))


def _likelihood(problem: FilterProblem) -> float:
    part = replace(problem.recording, steps=problem.recording.steps[:TRIED])
    return forward(part, problem.start(part)).log_likelihood


def _moments(footage: Footage, used: Sequence[int]) -> list[tuple[float, list[int]]]:
    """Frames that were taken at once, with their times, in the order of time; without times in that of the footage."""
    groups: dict[str, list[int]] = {}
    for place in used:
        frame = footage.frames[place]
        groups.setdefault(frame.moment or f"{place}", []).append(place)
    timed = all(footage.frames[p].time is not None for p in used)
    moments = [
        (min(footage.frames[p].time or 0.0 for p in members) if timed else UNTIMED * k, members)
        for k, members in enumerate(groups.values())
    ]
    return sorted(moments, key=lambda m: m[0])


def _double(values: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))
