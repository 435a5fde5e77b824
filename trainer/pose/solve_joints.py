# SPDX-License-Identifier: GPL-3.0-or-later
"""Joints and the camera's pose together, from one image or from several by the same camera.

What kinematic sensors say, even if they are not quite right, is where the search begins, and can be weighed against
the image (US 12387346, paragraphs 15, 18 and 21).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .camera import Camera
from .implicit_gradient import polish
from .kinematics import Chain
from .levenberg_marquardt import IDLE, Geometry, Joints, Rest, State, Terms, descend
from .problem import Observations, Options, Solution, Status, layout_status, observe
from .rigid_motion import as_pose, move
from .solve_pose import invert_information, judge, verdict_of
from .starting_poses import starts as sampled_starts

GUESSES = 32
"""So many random settings of the joints are tried where nothing is known about them."""

SURE = 1e18
"""Precision of a reading whose deviation is zero, one over radians² or metres²."""


@dataclass(frozen=True)
class JointStart:
    """What is known before the image is looked at.

    Attributes:
        pose: ``T_cam_base`` to start from, ``(B, 4, 4)``; None samples.
        angles: joints to start from, ``(B, I, D)`` or ``(B, D)``, radians or metres, such as the sensors' readings;
            None is the middle of their ranges.
        deviations: standard deviations of those readings, broadcast to ``(B, I, D)``, which then count as
            measurements; infinity for joints without.
        guesses: random settings tried, the best one counts; None is 1 where ``angles`` are given, else
            :data:`GUESSES`.
    """

    pose: Tensor | None = None
    angles: Tensor | None = None
    deviations: Tensor | float | None = None
    guesses: int | None = None

    @property
    def tries(self) -> int:
        """Settings of the joints that are tried."""
        if self.guesses is not None:
            return self.guesses
        return GUESSES if self.angles is None else 1


def solve_joints(
    chain: Chain,
    pixels: Tensor,
    camera: Camera,
    *,
    covariances: Tensor | None = None,
    weights: Tensor | None = None,
    used: Tensor | None = None,
    start: JointStart | None = None,
    options: Options | None = None,
) -> Solution:
    """``T_cam_base`` and the joints of a robot.

    Args:
        chain: keypoints and the joints sought, D of them.
        pixels: ``(B, N, 2)``, or ``(B, I, N, 2)`` for I images that one resting camera took of a robot in as many
            settings; NaN for keypoints that aren't seen.
        covariances, weights, used: as in :func:`.solve_pose.solve_pose`.
        start: what is known of joints and pose; nothing where None.

    Returns:
        A solution whose ``angles`` are ``(B, I, D)`` within their limits, and whose covariance is that of the pose's
        six unknowns and then of the I·D joints. Joints that move no visible keypoint stay where they began, with
        infinite variance.

    Raises:
        ValueError: if the shapes don't fit.
    """
    options, start = options or Options(), start or JointStart()
    n, d = len(chain.keypoints), len(chain.names)
    shape = pixels.shape[:-1]
    if pixels.dim() == 3:
        pixels = pixels[:, None]
        covariances, weights, used = (None if x is None else x.unsqueeze(1) for x in (covariances, weights, used))
    if pixels.dim() != 4 or pixels.shape[2:] != (n, 2):
        raise ValueError(f"pixels must be (B, I, {n}, 2), not {tuple(pixels.shape)}")
    b, images = pixels.shape[:2]
    seen = observe(
        pixels.reshape(b, -1, 2), camera,
        None if covariances is None else covariances.expand(b, images, n, 2, 2).reshape(b, -1, 2, 2),
        None if weights is None else weights.expand(b, images, n).reshape(b, -1),
        None if used is None else used.expand(b, images, n).reshape(b, -1), options,
    )  # fmt: skip
    known = _Known.of(chain, start, (b, images), pixels.device, options.dtype)
    finite = camera.expand(b, options.dtype, pixels.device).finite() & known.readable
    with torch.no_grad():
        rest, status = _settle(chain, seen.detach(), known, start, finite, options)
        solved = status == Status.SOLVED
    turn, spot, joints = _differentiable(chain, seen, known, rest, solved, options)
    with torch.no_grad():
        places = chain(rest.state.joints.mT.reshape(b, images, d)).reshape(b, -1, 3).permute(2, 1, 0)
        residuals, inliers = judge(places, rest.state, seen.detach(), solved)
        covariance = invert_information(rest.information, solved)
    return Solution(
        pose=torch.where(solved[:, None, None], as_pose(turn, spot), math.nan),
        covariance=covariance,
        residuals=residuals.reshape(*shape, 2),
        inliers=inliers.reshape(shape),
        converged=rest.converged & solved,
        status=status,
        cost=torch.where(solved, rest.cost, math.nan),
        angles=torch.where(solved[:, None, None], joints.reshape(b, images, d), math.nan),
    )


@dataclass(frozen=True)
class _Known:
    """What is known about the I·D joints of each entry, ``(B, I·D)`` each.

    Attributes:
        images: I.
        lower, upper: limits.
        expected: readings, or the middle of a range where there is none.
        precision: one over the variance of that, zero where nothing is known.
        readable: whether all readings are finite, ``(B,)``.
        given: whether there are any.
        weighed: whether it is known how far off they may be, infinitely far included.
    """

    images: int
    lower: Tensor
    upper: Tensor
    expected: Tensor
    precision: Tensor
    readable: Tensor
    given: bool
    weighed: bool

    @classmethod
    def of(
        cls, chain: Chain, start: JointStart, batch: tuple[int, int], device: torch.device, dtype: torch.dtype
    ) -> _Known:
        """For ``batch`` entries and images.

        Raises:
            ValueError: if readings or deviations don't fit.
        """
        (b, images), d, angles = batch, len(chain.names), start.angles
        if start.deviations is not None and angles is None:
            raise ValueError("deviations need the angles that they belong to")
        limits = chain.limits().to(device=device, dtype=dtype)
        lower, upper = (x.repeat(images).expand(b, images * d) for x in limits)
        middle = chain.middle().to(device=device, dtype=dtype).repeat(images).expand(b, images * d)
        given = middle if angles is None else _shaped(angles, b, images, d).to(device=device, dtype=dtype).flatten(1)
        expected = torch.where(given.isfinite(), given, middle)
        precision = torch.zeros_like(expected)
        if start.deviations is not None:
            spread = torch.as_tensor(start.deviations, dtype=dtype, device=device).expand(b, images, d).reshape(b, -1)
            precision = spread.detach().square().reciprocal().nan_to_num(nan=0.0, posinf=SURE)
        readable, weighed = given.isfinite().all(1), start.deviations is not None
        return cls(images, lower, upper, expected, precision, readable, angles is not None, weighed)

    def repeated(self, times: int, geometry: Geometry) -> Joints:
        """Each entry so many times in a row, as the steps take it."""
        rows = (self.lower, self.upper, self.expected.detach(), self.precision)
        lower, upper, expected, precision = (x.mT.repeat_interleave(times, 1) for x in rows)
        return Joints(lower, upper, expected, precision, geometry)


def _shaped(angles: Tensor, b: int, images: int, d: int) -> Tensor:
    """Readings ``(B, I, D)``."""
    angles = angles[:, None] if angles.dim() == 2 else angles
    if angles.shape not in ((b, images, d), (b, 1, d)):
        raise ValueError(f"angles must be ({b}, {images}, {d}), not {tuple(angles.shape)}")
    return angles.expand(b, images, d)


def _settle(
    chain: Chain, seen: Observations, known: _Known, start: JointStart, finite: Tensor, options: Options
) -> tuple[Rest, Tensor]:
    """Where the best start of each entry comes to rest, and :class:`.Status` ``(B,)``.

    Args:
        finite: whether the camera and the readings are, ``(B,)``.
    """
    b, tries = len(seen.used), start.tries
    settings = _settings(known, tries)
    points = chain(settings.reshape(-1, known.images, len(chain.names))).reshape(b * tries, -1, 3)
    if start.pose is not None:
        finite = finite & _checked_pose(start.pose, b).to(finite.device).isfinite().flatten(1).all(1)
        rotation, translation, found = _given_poses(start.pose, finite, tries, options)
    else:
        repeated = seen.repeat(tries) if tries > 1 else seen
        rotation, translation, found, _ = sampled_starts(points.permute(2, 1, 0).contiguous(), repeated, options)
    first = points.reshape(b, tries, -1, 3)[:, 0]
    status = _layout(chain, seen, known, settings, first, sampled=start.pose is None)
    status = torch.where(finite, status, int(Status.NOT_FINITE))
    starts = rotation.shape[2]
    each = tries * starts
    limits = known.repeated(each, _geometry(chain, known.images))
    terms = Terms.of(points.new_zeros(3, 0, b * each), seen.repeat(each), options, limits)
    joints = settings.flatten(0, 1).mT.repeat_interleave(starts, 1).clamp(limits.lower, limits.upper)
    state = State(rotation.transpose(2, 3).flatten(2), translation.transpose(1, 2).flatten(1), joints)
    entries = torch.arange(b * each, device=points.device)
    rest = descend(terms, state, entries // each)
    cost = rest.cost.nan_to_num(nan=math.inf)
    rest = rest.take(cost.reshape(b, each).argmin(1) + entries[:b] * each)
    verdict = verdict_of(rest, found.reshape(b, tries).any(1))
    return rest, torch.where(status == Status.SOLVED, verdict, status)


def _layout(
    chain: Chain, seen: Observations, known: _Known, settings: Tensor, first: Tensor, *, sampled: bool
) -> Tensor:
    """:class:`.Status` ``(B,)``, whether there is enough to go by, at the first of the settings ``(B, ·, I·D)``, which
    has the points ``(B, M, 3)``.

    Args:
        sampled: whether no pose is known to start from.
    """
    # Three points have several poses, even where all joints are as good as known.
    status = layout_status(first.permute(2, 1, 0), seen.used.mT, 4 if sampled else 3)
    moving = _moved(chain, settings, known.images, seen.used)
    count = seen.used.sum(1) * 2 + ((known.precision > 0) & moving).sum(1)
    wanted = 6 + moving.sum(1)
    return torch.where((status == Status.SOLVED) & (count < wanted), int(Status.TOO_FEW), status)


def _checked_pose(pose: Tensor, b: int) -> Tensor:
    if pose.shape != (b, 4, 4):
        raise ValueError(f"the starting pose must be ({b}, 4, 4), not {tuple(pose.shape)}")
    return pose


def _given_poses(pose: Tensor, finite: Tensor, tries: int, options: Options) -> tuple[Tensor, Tensor, Tensor]:
    """The given pose for each setting, as :func:`.starting_poses.starts` gives its own."""
    given = pose.detach().to(device=finite.device, dtype=options.dtype)
    unit = torch.eye(4, dtype=options.dtype, device=finite.device)
    start = torch.where(finite[:, None, None], given, unit).repeat_interleave(tries, 0).permute(1, 2, 0)
    found = torch.ones(start.shape[-1], dtype=torch.bool, device=finite.device)
    return start[:3, :3, None], start[:3, 3, None], found


def _geometry(chain: Chain, images: int) -> Geometry:
    """Points and derivatives of all images, each by its own joints only."""
    d, n = len(chain.names), len(chain.keypoints)

    def geometry(joints: Tensor, entries: Tensor) -> tuple[Tensor, Tensor]:
        del entries
        place, slope = chain.with_derivatives(joints.mT.reshape(-1, images, d))
        number = len(place)
        whole = place.new_zeros(images * d, 3, images, n, number)
        for k in range(images):
            whole[k * d : (k + 1) * d, :, k] = slope[:, k].permute(1, 3, 2, 0)
        return place.reshape(number, -1, 3).permute(2, 1, 0).contiguous(), whole.flatten(2, 3)

    return geometry


def _differentiable(
    chain: Chain, seen: Observations, known: _Known, rest: Rest, solved: Tensor, options: Options
) -> tuple[Tensor, Tensor, Tensor]:
    """Rotation ``(B, 3, 3)``, translation ``(B, 3)`` and joints ``(B, I·D)`` at rest, with a history of derivatives
    where one is asked for."""
    turn, spot, joints = rest.state.rotation.permute(2, 0, 1), rest.state.translation.mT, rest.state.joints.mT
    if not (seen.requires_grad or known.expected.requires_grad):
        return turn, spot, joints
    (b, size), d = joints.shape, len(chain.names)

    def points(change: Tensor | None) -> Tensor:
        moved = joints if change is None else joints + change
        return chain(moved.reshape(b, known.images, d)).reshape(b, -1, 3)

    step = polish(
        turn, spot, points, seen, options, solved, frozen=None if rest.frozen is None else rest.frozen.mT, joints=size,
        prior=lambda change: 0.5 * (known.precision * (joints + change - known.expected).square()).sum(1),
    )  # fmt: skip
    return *move(turn, spot, step[:, :6]), joints + step[:, 6:]


def _settings(known: _Known, tries: int) -> Tensor:
    """Joints to start from ``(B, tries, I·D)``: what is expected, then random ones: near it if it is known, and not far
    from it at all where it is known how well."""
    first = known.expected.detach()[:, None]
    if tries == 1:
        return first
    generator = torch.Generator().manual_seed(0)
    luck = torch.rand(1, tries - 1, first.shape[2], generator=generator, dtype=torch.float64).to(first)
    low = torch.where(known.lower.isfinite(), known.lower, -math.pi)[:, None]
    high = torch.where(known.upper.isfinite(), known.upper, math.pi)[:, None]
    unsure = 0.1 if known.given and not known.weighed else 1.0
    share = torch.where(known.precision > 0, 0.0, unsure)[:, None]
    near = first + (low + luck * (high - low) - first) * share
    return torch.cat([first, near.expand(len(first), -1, -1)], 1)


def _moved(chain: Chain, settings: Tensor, images: int, used: Tensor) -> Tensor:
    """Whether each joint ``(B, I·D)`` moves a keypoint that is used."""
    b = len(settings)
    d, n = len(chain.names), len(chain.keypoints)
    _, slope = chain.with_derivatives(settings[:, :1].reshape(b, images, d))
    moves = slope.abs().amax(-1) > IDLE  # (B, I, D, N)
    return (moves & used.reshape(b, images, 1, n)).any(-1).reshape(b, -1)
