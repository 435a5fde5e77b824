# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses of an object that a robot moves, from markers in some images and from joint sensors that are a little off.

Sensors are off in the absolute, but tell displacements well [US12387346, paragraphs 46 to 51]. So the state of an
error-state Kalman filter on SE(3) is, at each step k,

- X = ``T_reference_object``: a link's pose in the frame of the reference, such as a camera that rests;
- fixed poses, as far as they are not known: ``T_camera_link`` of cameras and ``T_link_marker`` of markers; of what
  rests, the reference is the link;
- what has to be added to the sensors' readings: offsets b, which change slowly, and errors s (noise, slack), which are
  forgotten after a while; e = b + s.

The object moves as the kinematics F = ``T_base_object`` say: X' = X · F(q + e)⁻¹ · F(q' + e') · exp(drift), where only
e' and the drift are random. A link is at L = X · F(q + e)⁻¹ · F_link(q + e) in the reference's frame. A camera sees
``T_camera_marker`` = camera · L⁻¹ · L' · mount, where L is the link that carries the camera and L' that of the marker;
each is the identity where the camera or the marker rests with the reference.

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

ROUNDS = 4
"""So many times the smoother decides anew which markers it uses."""

ALONE = 1e-9
"""Share of a covariance's largest variance under which nothing is left but rounding."""

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
class Sight:
    """What a camera looks at. The names of links are places in :attr:`.LinkMotion.links`.

    Attributes:
        link: that carries the marker; None where it rests with the reference.
        camera_link: that carries the camera; None where it rests with the reference.
        mount: which fixed pose is ``T_link_marker``; None where the marker's frame is the link's.
        camera: which fixed pose is ``T_camera_link``; None where the camera's frame is the link's.
    """

    link: int | None = 0
    camera_link: int | None = None
    mount: int | None = None
    camera: int | None = None


@dataclass(frozen=True)
class MarkerPose:
    """The pose of a marker in one image.

    Attributes:
        pose: ``T_camera_marker`` ``(4, 4)``.
        covariance: of its error from the left, ``(6, 6)``.
    """

    pose: Tensor
    covariance: Tensor
    sight: Sight


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
            what was expected: by a filter before they were looked at, by the smoother from all others.
        accepted: which of them were within :attr:`Recording.limit` and used.
        log_likelihood: of all markers' poses under the model, less a constant; each of those beyond the limit counts
            the same under any model, as if it could be anywhere.
    """

    states: tuple[State, ...]
    distances: tuple[tuple[float, ...], ...]
    accepted: tuple[tuple[bool, ...], ...]
    log_likelihood: float


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
    log_likelihood = 0.0
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
        away: list[float] = []
        taken: list[bool] = []
        for marker in step.markers:
            reading = _reading(marker, state, links)
            new = innovation(_centred(state), reading)
            away.append(squared_distance(new))
            taken.append(away[-1] <= recording.limit)
            if not taken[-1]:
                # The density of one that is wrong, known to a radian and a metre, whatever was expected of it.
                log_likelihood -= recording.limit / 2
            else:
                log_likelihood -= (away[-1] + float(new.covariance.logdet())) / 2
                after = update(_centred(state), reading)
                state = replace(state.moved(after.mean), covariance=after.covariance)
                (links,) = recording.links([state], here)
        states.append(state)
        distances.append(tuple(away))
        accepted.append(tuple(taken))
    return Estimate(tuple(states), tuple(distances), tuple(accepted), log_likelihood)


def backward(recording: Recording, initial: State) -> Estimate:
    """Poses from what was recorded from then on, by the same filter going backward from the last step.

    Args:
        initial: what is known at the last step before anything was measured; :func:`initial_state` of
            :meth:`Recording.backward` makes it.
    """
    found = forward(recording.backward(), initial)
    return replace(found, states=found.states[::-1], distances=found.distances[::-1], accepted=found.accepted[::-1])


def smooth(recording: Recording, initial: State) -> Estimate:
    """Poses from all that was recorded, by the Rauch–Tung–Striebel smoother.

    It is repeated about its own result until that stays the same, which is then the least-squares solution of all
    steps together [Bell1994]. Its distances are those of each marker from what all others together say; which of them
    are within the limit is first decided by the forward filter, and then, until that stays the same, by these.
    """
    found = forward(recording, initial)
    for _ in range(ROUNDS):
        states, distances = _smoothed(recording, initial, found.states, found.accepted)
        accepted = tuple(tuple(d <= recording.limit for d in away) for away in distances)
        settled = accepted == found.accepted
        found = replace(found, states=states, distances=distances)
        if settled:
            break
        found = replace(found, accepted=accepted)
    return found


def _smoothed(
    recording: Recording, initial: State, states: tuple[State, ...], accepted: Sequence[Sequence[bool]]
) -> tuple[tuple[State, ...], tuple[tuple[float, ...], ...]]:
    """The states from all accepted markers, from ``states`` on, and each marker's distance from what the others say."""
    waits = [after.time - before.time for before, after in itertools.pairwise(recording.steps)]
    for _ in range(ITERATIONS):
        links = recording.links(states)
        pairs = zip(waits, itertools.pairwise(states), itertools.pairwise(links), strict=True)
        transitions = [_transition(recording.model, seconds, *both, *placed) for seconds, both, placed in pairs]
        readings = [
            [_reading(m, state, placed) for m in step.markers]
            for step, state, placed in zip(recording.steps, states, links, strict=True)
        ]
        used = [list(itertools.compress(*part)) for part in zip(readings, accepted, strict=True)]
        smoothed = run_smoother(run_filter(_prior(initial, states[0]), transitions, used), transitions)
        states = tuple(replace(s.moved(g.mean), covariance=g.covariance) for s, g in zip(states, smoothed, strict=True))
        if max(_largest_share(g) for g in smoothed) < CONVERGED:
            break
    distances = tuple(
        tuple(_distance_from_others(g, r, used) for r, used in zip(*part, strict=True))
        for g, *part in zip(smoothed, readings, accepted, strict=True)
    )
    return states, distances


def _distance_from_others(state: Gaussian, reading: Reading, used: bool) -> float:
    """The squared Mahalanobis distance of a measurement from what follows from all others, given the state that all
    together give, with this one among them or not."""
    spread = reading.matrix @ state.covariance @ reading.matrix.mT
    left = Gaussian(
        reading.value - reading.matrix @ state.mean,
        symmetric(reading.noise - spread if used else reading.noise + spread),
    )
    values, vectors = torch.linalg.eigh(left.covariance)
    # A measurement that alone tells something leaves nothing to compare it with in that direction.
    scale = torch.where(values > ALONE * values[-1], values, torch.inf)
    return float(((vectors.mT @ left.mean).square() / scale).sum())


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


def seen(sight: Sight, state: State, links: Links) -> tuple[Tensor, Tensor]:
    """The pose ``T_camera_marker`` ``(4, 4)``, and the twists ``(6, 6 + 6 M + 2 D)`` from the left, in the camera's
    frame, that changes of the state give it."""
    frames, twists = links
    joints, size = state.errors.shape[1], len(state.covariance)
    base = state.object_pose @ invert(frames[0])
    to_base = adjoint(base)
    identity = torch.eye(4, dtype=frames.dtype)

    def placed(link: int | None) -> tuple[Tensor, Tensor]:
        """A link in the reference's frame, and its twists there."""
        slope = frames.new_zeros(6, size)
        if link is None:
            return identity, slope
        slope[:, :6] = torch.eye(6, dtype=frames.dtype)
        by_joint = to_base @ (twists[link] - twists[0])
        slope[:, size - 2 * joints :] = torch.cat([by_joint, by_joint], -1)
        return base @ frames[link], slope

    carrier, carrier_slope = placed(sight.camera_link)
    body, body_slope = placed(sight.link)
    from_reference = (identity if sight.camera is None else state.fixed[sight.camera]) @ invert(carrier)
    carried = from_reference @ body
    slope = adjoint(from_reference) @ (body_slope - carrier_slope)
    if sight.camera is not None:
        slope[:, 6 + 6 * sight.camera : 12 + 6 * sight.camera] += torch.eye(6, dtype=frames.dtype)
    if sight.mount is not None:
        slope[:, 6 + 6 * sight.mount : 12 + 6 * sight.mount] += adjoint(carried)
    return carried if sight.mount is None else carried @ state.fixed[sight.mount], slope


def _reading(marker: MarkerPose, state: State, links: Links) -> Reading:
    """What a marker says, as changes of ``state``."""
    expected, slope = seen(marker.sight, state, links)
    residual = log_motion(marker.pose @ invert(expected))
    # The logarithm of exp(residual) exp(-change) is the residual less the inverse right Jacobian times the change.
    return Reading(torch.linalg.solve(left_jacobian(-residual), slope), residual, marker.covariance)
