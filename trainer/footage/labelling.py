# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the robot is in each image of footage: by its markers where these can be relied on, else by what its joints did
since, or until, they could [US12387346, paragraphs 42 to 51]."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ...core.camera.intrinsics import Intrinsics, transform
from ...core.robot.keypoints import Keypoint
from ..pose.kinematic_filter import Estimate, Links, State, backward, forward, seen, smooth
from ..pose.rigid_motion import cross_matrix
from .filter_problem import FilterProblem
from .recording import ROOM, Floats, Footage, MarkerObservation

Method = Literal["marker", "forward", "backward", "smoother"]
METHODS: tuple[Method, ...] = get_args(Method)

Source = Literal["marker", "filter", "smoother", "model"]


@dataclass(frozen=True)
class LabelledKeypoint:
    """One keypoint in one image.

    Attributes:
        uv: pixels; None behind the camera, or where the lens doesn't show it.
        xyz: in the camera's frame, metres.
        covariance: of ``uv``, pixels², ``(2, 2)``; None with it.
        inside: whether ``uv`` is in the image.
    """

    name: str
    uv: tuple[float, float] | None
    xyz: tuple[float, float, float]
    covariance: Floats | None
    inside: bool


@dataclass(frozen=True)
class FrameLabel:
    """The label of one image.

    Attributes:
        frame: its place in :attr:`.Footage.frames`.
        source: whether its own marker tells it, a filter or the smoother from markers at other times, or the joint
            positions and a camera that a model's keypoints have placed.
        T_cam_base: ``(4, 4)``, and the covariance of its error from the left ``(6, 6)``, radians and metres.
        joints: corrected positions, radians or metres, and their standard deviations.
        links: ``T_cam_link`` of all links.
        reprojection: root mean square distance in pixels of this image's marker corners, or of the model's keypoints,
            from where the label puts them; None where it shows none.
    """

    frame: int
    source: Source
    T_cam_base: Floats
    covariance: Floats
    joints: Mapping[str, float]
    deviations: Mapping[str, float]
    links: Mapping[str, Floats]
    keypoints: tuple[LabelledKeypoint, ...]
    reprojection: float | None

    @property
    def deviation(self) -> float:
        """The largest standard deviation of a keypoint inside the image, in pixels; infinite where there is none."""
        inside = [k.covariance for k in self.keypoints if k.inside and k.covariance is not None]
        spreads = [float(np.linalg.eigvalsh(c)[-1]) for c in inside]
        return math.sqrt(max(max(spreads), 0.0)) if spreads else math.inf


@dataclass(frozen=True)
class Filtered:
    """A filter's problem, and what the filter or the smoother found."""

    problem: FilterProblem
    estimate: Estimate


@dataclass(frozen=True)
class Labelled:
    """Labels of footage.

    Attributes:
        method: one of :data:`METHODS`, or ``model``.
        labels: in the order of the footage's frames.
        left_out: reasons by the frame's place, each a sentence.
        filtered: None where no filter was used.
    """

    footage: Footage
    method: str
    labels: tuple[FrameLabel, ...]
    left_out: Mapping[int, str]
    filtered: Filtered | None = None

    def with_left_out(self, reasons: Mapping[int, str]) -> Labelled:
        """The same with more frames that were left out."""
        return replace(self, left_out={**self.left_out, **reasons})


def label_frames(
    problem: FilterProblem, observations: Sequence[MarkerObservation], keypoints: Sequence[Keypoint], method: Method,
    most: float,
) -> Labelled:  # fmt: skip
    """Labels of all frames of a problem.

    Args:
        observations: that the problem was made from.
        most: pixels; images with a keypoint whose standard deviation is larger are left out.
    """
    estimate = run(problem, method)
    footage = problem.footage
    labels: dict[int, FrameLabel] = {}
    left_out: dict[int, str] = {}
    recording = problem.recording
    links = recording.links(estimate.states)
    every = [footage.robot.link_frames(_positions(problem, k, s)) for k, s in enumerate(estimate.states)]
    for k, (places, seen_here) in enumerate(zip(problem.places, problem.seen, strict=True)):
        by_frame: dict[int, list[int]] = {p: [] for p in places}
        refused = set()
        for o, distance, taken in zip(seen_here, estimate.distances[k], estimate.accepted[k], strict=True):
            by_frame[observations[o].frame].append(o)
            if not taken:
                refused.add(observations[o].frame)
                left_out[observations[o].frame] = (
                    f"Its marker contradicts the other images and the joints ({math.sqrt(distance):.0f} standard "
                    "deviations): the image or its joint positions are wrong."
                )
        for place in places:
            shown = [observations[o] for o in by_frame[place]]
            if place in refused:
                continue
            if method == "marker" and not any(estimate.accepted[k]):
                left_out[place] = "No marker tells its pose, and only markers were to be used."
                continue
            source: Source = "marker" if shown else "smoother" if method == "smoother" else "filter"
            label = _label(problem, place, k, estimate.states[k], links[k], every[k], keypoints, shown, source)
            if label.deviation > most:
                left_out[place] = known_too_badly(label)
                continue
            labels[place] = label
    ordered = tuple(labels[p] for p in sorted(labels))
    return Labelled(footage, method, ordered, left_out, Filtered(problem, estimate))


def known_too_badly(label: FrameLabel) -> str:
    """Why an image is left out whose keypoints' deviation is too large."""
    if math.isinf(label.deviation):
        return "No keypoint is inside the image."
    return f"Its keypoints are known to {label.deviation:.1f} pixels only."


def run(problem: FilterProblem, method: Method) -> Estimate:
    """What the chosen method finds at each step.

    By markers alone it is the smoother as well, as offsets of joints and errors of the camera are the recording's and
    not an image's.
    """
    recording = problem.recording
    if method == "forward":
        return forward(recording, problem.start(recording))
    if method == "backward":
        return backward(recording, problem.start(recording.backward()))
    return smooth(recording, problem.start(recording))


def _positions(problem: FilterProblem, step: int, state: State) -> dict[str, float]:
    values = problem.recording.steps[step].positions + state.correction
    return dict(zip(problem.joints, values.tolist(), strict=True))


def _label(
    problem: FilterProblem, place: int, step: int, state: State, links: Links, frames: Mapping[str, Floats],
    keypoints: Sequence[Keypoint], shown: Sequence[MarkerObservation], source: Source,
) -> FrameLabel:  # fmt: skip
    footage, layout = problem.footage, problem.layout
    camera = footage.camera(footage.frames[place].camera)
    intrinsics = camera.intrinsics
    assert intrinsics is not None
    base, slope = seen(layout.sight(footage, camera.name, ROOM), state, links)
    pose = base.numpy()
    points = []
    for keypoint in keypoints:
        link, twist = seen(layout.sight(footage, camera.name, keypoint.frame), state, links)
        points.append(_keypoint(keypoint, intrinsics, link, twist, state.covariance))
    joints = len(problem.joints)
    spread = torch.cat([torch.eye(joints, dtype=torch.float64)] * 2, -1)
    deviations = (spread @ state.covariance[-2 * joints :, -2 * joints :] @ spread.mT).diagonal().clamp_min(0).sqrt()
    errors = []
    for observation in shown:
        sight = layout.sight(footage, camera.name, footage.marker(observation.marker).link, observation.marker)
        errors.append(_corner_errors(observation, intrinsics, seen(sight, state, links)[0]))
    return FrameLabel(
        place, source, pose, (slope @ state.covariance @ slope.mT).numpy(), _positions(problem, step, state),
        dict(zip(problem.joints, deviations.tolist(), strict=True)),
        {name: pose @ frame for name, frame in frames.items()}, tuple(points),
        float(np.sqrt(np.mean(np.concatenate(errors)))) if errors else None,
    )  # fmt: skip


def _keypoint(
    keypoint: Keypoint, intrinsics: Intrinsics, link: Tensor, twist: Tensor, covariance: Tensor
) -> LabelledKeypoint:
    offset = torch.tensor(keypoint.offset, dtype=torch.float64)
    point = link[:3, :3] @ offset + link[:3, 3]
    slope = twist[3:] - cross_matrix(point) @ twist[:3]
    return labelled_keypoint(keypoint.name, intrinsics, point.numpy(), (slope @ covariance @ slope.mT).numpy())


def labelled_keypoint(name: str, intrinsics: Intrinsics, xyz: Floats, spread: Floats) -> LabelledKeypoint:
    """A keypoint in an image, from its place in the camera's frame ``(3,)``, metres, and the covariance ``(3, 3)``."""
    pixel = intrinsics.project(xyz)[0][0]
    place = (float(xyz[0]), float(xyz[1]), float(xyz[2]))
    steps = np.eye(3) * 1e-5 * max(abs(place[2]), 1e-3)
    around = (intrinsics.project(xyz + steps)[0] - intrinsics.project(xyz - steps)[0]) / (2 * steps[0, 0])
    if not (np.isfinite(pixel).all() and np.isfinite(around).all()):
        return LabelledKeypoint(name, None, place, None, False)
    inside = bool(intrinsics.contains(pixel)[0])
    return LabelledKeypoint(name, (float(pixel[0]), float(pixel[1])), place, around.T @ spread @ around, inside)


def _corner_errors(observation: MarkerObservation, intrinsics: Intrinsics, pose: Tensor) -> Floats:
    """Squared distances ``(N,)``, pixels²."""
    pixels, _ = intrinsics.project(transform(pose.numpy(), observation.points))
    return np.asarray(np.square(pixels - observation.corners).sum(1))
