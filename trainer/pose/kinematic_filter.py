# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses of an object that a robot moves, from markers in some images and from joint sensors that are a little off.

Sensors are off in the absolute, but tell displacements well (US 12387346, paragraphs 46 to 51). So the state of an
error-state Kalman filter on SE(3) is, at each step k,

- X = ``T_reference_object``: a link's pose in the frame of the reference, such as a camera that rests;
- fixed poses: of more cameras, ``T_camera_reference``, and of markers on their links, ``T_link_marker``, as far as they
  are not known;
- what has to be added to the sensors' readings: offsets b, which change slowly, and errors s (noise, slack), which are
  forgotten after a while; e = b + s.

The object moves as the kinematics F = ``T_base_object`` say: X' = X · F(q + e)⁻¹ · F(q' + e') · exp(drift), where only
e' and the drift are random. A camera sees ``T_camera_marker`` = camera · X · F(q + e)⁻¹ · F_link(q + e) · mount.

Errors of poses are twists (ω, v) from the left, as :mod:`.rigid_motion` has them; radians and metres. The drift is one
of the object in its own frame, from the right. The order in a state's covariance is: X, fixed poses, b, s.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .linear_kalman import (
    Gaussian,
    Reading,
    Transition,
    block_diagonal,
    innovation,
    predict,
    run_filter,
    run_smoother,
    squared_distance,
    symmetric,
    update,
)
from .link_motion import LinkMotion
from .rigid_motion import adjoint, invert, left_jacobian, log_motion, move, orthonormal

Links = tuple[Tensor, Tensor]
"""``T_base_link`` ``(L, 4, 4)``, and the twists ``(L, 6, D)`` that joints give links; see :class:`.LinkMotion`."""

ITERATIONS = 20
CONVERGED = 1e-7
"""Standard deviations; a step of the smoother's iteration that is shorter in each direction ends it."""


@dataclass(frozen=True)
class SensorModel:
    """How far joint sensors and kinematics may be off: standard deviations.

    Attributes:
        offset: of each joint's offset at the start, radians or metres ``(D,)``.
        walk: by which offsets change within a second, ``(D,)``.
        error: of what else a reading is off by (noise, slack), ``(D,)``.
        memory: seconds after which such an error is forgotten but for a share 1/e; 0 where it is another in each image.
        drift_turn, drift_shift: by which the object turns and moves within a second other than the joints say.
    """

    offset: Tensor
    walk: Tensor
    error: Tensor
    memory: float = 0.0
    drift_turn: float = 0.0
    drift_shift: float = 0.0

    @classmethod
    def uniform(
        cls, joints: int, *, offset: float, walk: float = 0.0, error: float = 0.0, memory: float = 0.0,
        drift_turn: float = 0.0, drift_shift: float = 0.0,
    ) -> SensorModel:  # fmt: skip
        """The same for each of so many joints."""
        offsets, walks, errors = (torch.full((joints,), x, dtype=torch.float64) for x in (offset, walk, error))
        return cls(offsets, walks, errors, memory, drift_turn, drift_shift)

    def kept(self, seconds: float) -> float:
        """The share of an error that is still there after so many seconds."""
        return math.exp(-seconds / self.memory) if self.memory > 0 else float(seconds == 0)


@dataclass(frozen=True)
class MarkerPose:
    """The pose of a marker in one image.

    Attributes:
        pose: ``T_camera_marker`` ``(4, 4)``.
        covariance: of its error from the left, ``(6, 6)``.
        link: on which the marker is, by its place in :attr:`LinkMotion.links`.
        camera: which fixed pose is this camera's ``T_camera_reference``; None where the camera is the reference.
        mount: which fixed pose is the marker's ``T_link_marker``; None where its frame is the link's.
    """

    pose: Tensor
    covariance: Tensor
    link: int = 0
    camera: int | None = None
    mount: int | None = None


@dataclass(frozen=True)
class Step:
    """What was recorded at one time.

    Attributes:
        time: seconds.
        positions: the sensors' readings ``(D,)``, radians or metres.
        markers: poses of markers that can be relied on, of any cameras.
    """

    time: float
    positions: Tensor
    markers: tuple[MarkerPose, ...] = ()


@dataclass(frozen=True)
class State:
    """The state of the filter; see the module.

    Attributes:
        object_pose: X, ``(4, 4)``.
        fixed: ``(M, 4, 4)``.
        errors: b and s, ``(2, D)``.
        covariance: ``(6 + 6 M + 2 D, …)``.
    """

    object_pose: Tensor
    fixed: Tensor
    errors: Tensor
    covariance: Tensor

    @property
    def correction(self) -> Tensor:
        """e ``(D,)``: what is to be added to the readings."""
        return self.errors.sum(0)

    def moved(self, delta: Tensor) -> State:
        """The state after a small change ``(6 + 6 M + 2 D,)``, with the same covariance."""
        count = 1 + len(self.fixed)
        poses = torch.cat([self.object_pose[None], self.fixed])
        turn, place = move(poses[:, :3, :3], poses[:, :3, 3], delta[: 6 * count].reshape(count, 6))
        poses = poses.clone()
        poses[:, :3, :3], poses[:, :3, 3] = orthonormal(turn), place
        return replace(
            self, object_pose=poses[0], fixed=poses[1:], errors=self.errors + delta[6 * count :].reshape(2, -1)
        )

    def difference(self, other: State) -> Tensor:
        """The change ``(6 + 6 M + 2 D,)`` that leads to ``other``: logarithms of poses, differences of errors."""
        mine = torch.cat([self.object_pose[None], self.fixed])
        theirs = torch.cat([other.object_pose[None], other.fixed])
        return torch.cat([log_motion(theirs @ invert(mine)).flatten(), (other.errors - self.errors).flatten()])


@dataclass(frozen=True)
class Recording:
    """The problem to be solved.

    Attributes:
        motion: the robot's links: the first is the object, the others those of markers.
        steps: in the order of time.
        limit: squared Mahalanobis distance beyond which a marker's pose contradicts the others and is left out;
            infinite takes all.
    """

    motion: LinkMotion
    model: SensorModel
    steps: tuple[Step, ...]
    limit: float = math.inf

    def backward(self) -> Recording:
        """The same with time running backwards: all parts of the model are reversible."""
        return replace(self, steps=tuple(replace(s, time=-s.time) for s in reversed(self.steps)))

    def links(self, states: Sequence[State], steps: slice = slice(None)) -> Sequence[Links]:
        """Where the links are at the corrected joints of some steps."""
        positions = torch.stack([s.positions for s in self.steps[steps]])
        frames, twists = self.motion(positions + torch.stack([s.correction for s in states]))
        return list(zip(frames, twists, strict=True))


@dataclass(frozen=True)
class Estimate:
    """Poses of all steps.

    Attributes:
        states: one for each step.
        distances: squared Mahalanobis distances (chi-square with 6 degrees of freedom) of each step's markers from
            what was expected before they were looked at.
        accepted: which of them were within :attr:`Recording.limit` and used.
    """

    states: tuple[State, ...]
    distances: tuple[tuple[float, ...], ...]
    accepted: tuple[tuple[bool, ...], ...]


def initial_state(
    recording: Recording, base: Tensor, base_covariance: Tensor, fixed: Tensor | None = None,
    fixed_covariance: Tensor | None = None, offsets: Tensor | None = None,
) -> State:  # fmt: skip
    """What is known before the first step.

    Args:
        base: ``T_reference_base`` ``(4, 4)``, such as a calibration has found it.
        base_covariance: ``(6, 6)``.
        fixed: fixed poses ``(M, 4, 4)``, and the covariance ``(6 M, 6 M)`` of their errors.
        offsets: of the joints, as far as known ``(D,)``; zero where None.
    """
    model, step = recording.model, recording.steps[0]
    count = len(model.offset)
    fixed = base.new_zeros(0, 4, 4) if fixed is None else fixed
    errors = torch.stack([base.new_zeros(count) if offsets is None else offsets, base.new_zeros(count)])
    frames, twists = recording.motion(step.positions + errors.sum(0))
    slope = adjoint(base) @ twists[0]
    size = 6 + 6 * len(fixed) + 2 * count
    # X = base · F(q + e): its error is the base's and what the joints' errors make of it.
    spread = torch.eye(size, dtype=base.dtype)
    spread[:6, -2 * count : -count], spread[:6, -count:] = slope, slope
    blocks = [base_covariance, *([] if fixed_covariance is None else [fixed_covariance])]
    covariance = block_diagonal(*blocks, (model.offset**2).diag(), (model.error**2).diag())
    if len(covariance) != size:
        raise ValueError(f"the covariance of {len(fixed)} fixed poses must be ({6 * len(fixed)}, {6 * len(fixed)})")
    return State(base @ frames[0], fixed, errors, symmetric(spread @ covariance @ spread.mT))


def forward(recording: Recording, initial: State) -> Estimate:
    """Poses from what was recorded until then, by an extended Kalman filter that goes forward in time."""
    states: list[State] = []
    distances: list[tuple[float, ...]] = []
    accepted: list[tuple[bool, ...]] = []
    state, (links,) = initial, recording.links([initial], slice(1))
    for k, step in enumerate(recording.steps):
        here = slice(k, k + 1)
        if k > 0:
            seconds = step.time - recording.steps[k - 1].time
            before, errors = state, torch.stack([state.errors[0], recording.model.kept(seconds) * state.errors[1]])
            (ahead,) = recording.links([replace(before, errors=errors)], here)
            pose = before.object_pose @ invert(links[0][0]) @ ahead[0][0]
            state = replace(before, object_pose=pose, errors=errors)
            transition = _transition(recording.model, seconds, before, state, links, ahead)
            state, links = replace(state, covariance=predict(_centred(before), transition).covariance), ahead
        seen: list[float] = []
        taken: list[bool] = []
        for marker in step.markers:
            reading = _reading(marker, state, links)
            seen.append(squared_distance(innovation(_centred(state), reading)))
            taken.append(seen[-1] <= recording.limit)
            if taken[-1]:
                after = update(_centred(state), reading)
                state = replace(state.moved(after.mean), covariance=after.covariance)
                (links,) = recording.links([state], here)
        states.append(state)
        distances.append(tuple(seen))
        accepted.append(tuple(taken))
    return Estimate(tuple(states), tuple(distances), tuple(accepted))


def backward(recording: Recording, initial: State) -> Estimate:
    """Poses from what was recorded from then on, by the same filter going backward from the last step.

    Args:
        initial: what is known at the last step before anything was measured; :func:`initial_state` of
            :meth:`Recording.backward` makes it.
    """
    found = forward(recording.backward(), initial)
    return Estimate(found.states[::-1], found.distances[::-1], found.accepted[::-1])


def smooth(recording: Recording, initial: State) -> Estimate:
    """Poses from all that was recorded, by the Rauch–Tung–Striebel smoother.

    It is repeated about its own result until that stays the same, which is then the least-squares solution of all
    steps together (Bell 1994). Which markers are used is decided by the forward filter.
    """
    first = forward(recording, initial)
    states = first.states
    waits = [after.time - before.time for before, after in itertools.pairwise(recording.steps)]
    for _ in range(ITERATIONS):
        links = recording.links(states)
        pairs = zip(waits, itertools.pairwise(states), itertools.pairwise(links), strict=True)
        transitions = [_transition(recording.model, seconds, *both, *placed) for seconds, both, placed in pairs]
        readings = [
            [_reading(m, state, placed) for m, used in zip(step.markers, taken, strict=True) if used]
            for step, taken, state, placed in zip(recording.steps, first.accepted, states, links, strict=True)
        ]
        prior = _prior(initial, states[0])
        smoothed = run_smoother(run_filter(prior, transitions, readings), transitions)
        states = tuple(replace(s.moved(g.mean), covariance=g.covariance) for s, g in zip(states, smoothed, strict=True))
        if max(_largest_share(g) for g in smoothed) < CONVERGED:
            break
    return replace(first, states=states)


def _centred(state: State) -> Gaussian:
    return Gaussian(state.errors.new_zeros(len(state.covariance)), state.covariance)


def _largest_share(change: Gaussian) -> float:
    """The longest part of a change, in standard deviations."""
    deviation = change.covariance.diagonal().clamp_min(0).sqrt()
    return float((change.mean.abs() / torch.where(deviation > 0, deviation, torch.inf)).max())


def _prior(initial: State, about: State) -> Gaussian:
    """What is known before the first step, as changes of the state ``about``."""
    mean = about.difference(initial)
    count = 1 + len(about.fixed)
    turned = [left_jacobian(-twist) for twist in mean[: 6 * count].reshape(count, 6)]
    slope = block_diagonal(*turned, torch.eye(about.errors.numel(), dtype=mean.dtype))
    return Gaussian(mean, symmetric(slope @ initial.covariance @ slope.mT))


def _transition(
    model: SensorModel, seconds: float, before: State, after: State, links: Links, links_after: Links
) -> Transition:
    """The motion from one step to the next, as changes of the states ``before`` and ``after`` there."""
    kept = model.kept(seconds)
    (frame, *_), (twist, *_) = links
    (ahead, *_), (twist_ahead, *_) = links_after
    base = before.object_pose @ invert(frame)
    expected = base @ ahead
    slope, slope_ahead = adjoint(base) @ twist, adjoint(base) @ twist_ahead
    to_reference = adjoint(expected)
    residual = log_motion(invert(expected) @ after.object_pose)

    joints, size = before.errors.shape[1], len(before.covariance)
    offset, error = slice(size - 2 * joints, size - joints), slice(size - joints, size)
    matrix = torch.eye(size, dtype=frame.dtype)
    matrix[:6, offset], matrix[:6, error] = slope_ahead - slope, kept * slope_ahead - slope
    matrix[error, error] *= kept
    shift = after.difference(before)
    shift[error] = kept * before.errors[1] - after.errors[1]
    shift[:6] = slope_ahead @ (shift[offset] + shift[error]) - to_reference @ residual

    spread = matrix.new_zeros(size, 2 * joints)
    spread[:6] = torch.cat([slope_ahead, slope_ahead], -1)
    spread[size - 2 * joints :] = torch.eye(2 * joints, dtype=frame.dtype)
    variance = torch.cat([model.walk**2 * seconds, model.error**2 * (1 - kept**2)])
    noise = (spread * variance) @ spread.mT
    drift = matrix.new_tensor([model.drift_turn] * 3 + [model.drift_shift] * 3) * math.sqrt(seconds)
    drifted = to_reference @ left_jacobian(residual) * drift
    noise[:6, :6] += drifted @ drifted.mT
    return Transition(matrix, shift, symmetric(noise))


def _reading(marker: MarkerPose, state: State, links: Links) -> Reading:
    """What a marker says, as changes of ``state``."""
    frames, twists = links
    base = state.object_pose @ invert(frames[0])
    identity = torch.eye(4, dtype=frames.dtype)
    camera = identity if marker.camera is None else state.fixed[marker.camera]
    mount = identity if marker.mount is None else state.fixed[marker.mount]
    carried = camera @ base @ frames[marker.link]
    residual = log_motion(marker.pose @ invert(carried @ mount))

    joints, size = state.errors.shape[1], len(state.covariance)
    matrix = frames.new_zeros(6, size)
    matrix[:, :6] = adjoint(camera)
    if marker.camera is not None:
        matrix[:, 6 + 6 * marker.camera : 12 + 6 * marker.camera] = torch.eye(6, dtype=frames.dtype)
    if marker.mount is not None:
        matrix[:, 6 + 6 * marker.mount : 12 + 6 * marker.mount] = adjoint(carried)
    slope = adjoint(camera @ base) @ (twists[marker.link] - twists[0])
    matrix[:, size - 2 * joints :] = torch.cat([slope, slope], -1)
    # The logarithm of exp(residual) exp(-change) is the residual less the inverse right Jacobian times the change.
    return Reading(torch.linalg.solve(left_jacobian(-residual), matrix), residual, marker.covariance)
