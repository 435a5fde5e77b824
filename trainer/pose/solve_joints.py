# SPDX-License-Identifier: GPL-3.0-or-later
"""Joints and the camera's pose together, from one image or from several by the same camera.

What kinematic sensors say, even if they are not quite right, is where the search begins, and can be weighed against
the image [US12387346, paragraphs 15, 18 and 21].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .camera import Camera
from .implicit_gradient import polish
from .kinematics import Chain
from .levenberg_marquardt import IDLE, Joints, State, Terms, descend
from .problem import Options, Solution, Status, layout_status, observe
from .rigid_motion import as_pose, move
from .solve_pose import invert_information, judge, verdict_of
from .starting_poses import starts as sampled_starts

GUESSES = 32
"""So many random settings of the joints are tried where nothing is known about them."""


def solve_joints(
    chain: Chain,
    pixels: Tensor,
    camera: Camera,
    *,
    covariances: Tensor | None = None,
    weights: Tensor | None = None,
    used: Tensor | None = None,
    initial: Tensor | None = None,
    angles: Tensor | None = None,
    deviations: Tensor | float | None = None,
    guesses: int | None = None,
    options: Options | None = None,
) -> Solution:
    """``T_cam_base`` and the joints of a robot.

    Args:
        chain: keypoints and the joints sought, D of them.
        pixels: ``(B, N, 2)``, or ``(B, I, N, 2)`` for I images that one resting camera took of a robot in as many
            settings; NaN for keypoints that aren't seen.
        covariances, weights, used: as in :func:`.solve_pose.solve_pose`.
        initial: ``T_cam_base`` to start from, ``(B, 4, 4)``.
        angles: joints to start from, ``(B, I, D)`` or ``(B, D)``, radians or metres, such as the sensors' readings.
        deviations: standard deviations of those readings, broadcast to ``(B, I, D)``, which then count as
            measurements; infinity for joints without.
        guesses: random settings tried, the best one counts; 1 where ``angles`` are given, else :data:`GUESSES`.

    Returns:
        A solution whose ``angles`` are ``(B, I, D)`` within their limits, and whose covariance is that of the pose's
        six unknowns and then of the I·D joints. Joints that move no visible keypoint stay where they began, with
        infinite variance.

    Raises:
        ValueError: if the shapes don't fit.
    """
    options = options or Options()
    if pixels.dim() == 3:
        pixels = pixels[:, None]
        covariances = None if covariances is None else covariances.unsqueeze(1)
        weights = None if weights is None else weights.unsqueeze(1)
        used = None if used is None else used.unsqueeze(1)
        single = True
    else:
        single = False
    n, d = len(chain.keypoints), len(chain.names)
    if pixels.dim() != 4 or pixels.shape[2:] != (n, 2):
        raise ValueError(f"pixels must be (B, I, {n}, 2), not {tuple(pixels.shape)}")
    b, images = pixels.shape[:2]
    device, dtype = pixels.device, options.dtype
    if angles is not None:
        if angles.dim() == 2:
            angles = angles[:, None]
        if angles.shape not in ((b, images, d), (b, 1, d)):
            raise ValueError(f"angles must be ({b}, {images}, {d}), not {tuple(angles.shape)}")
        angles = angles.to(device=device, dtype=dtype).expand(b, images, d)
    if deviations is not None and angles is None:
        raise ValueError("deviations need the angles that they belong to")
    seen = observe(
        pixels.reshape(b, -1, 2), camera,
        None if covariances is None else covariances.expand(b, images, n, 2, 2).reshape(b, -1, 2, 2),
        None if weights is None else weights.expand(b, images, n).reshape(b, -1),
        None if used is None else used.expand(b, images, n).reshape(b, -1), options,
    )  # fmt: skip
    size = images * d
    lower, upper = (x.repeat(images).expand(b, size) for x in chain.limits().to(device=device, dtype=dtype))
    middle = chain.middle().to(device=device, dtype=dtype).repeat(images).expand(b, size)
    given = middle if angles is None else angles.reshape(b, size)
    readable = given.isfinite().all(1)
    expected = torch.where(given.isfinite(), given, middle)
    precision = torch.zeros_like(expected)
    if deviations is not None:
        spread = torch.as_tensor(deviations, dtype=dtype, device=device).expand(b, images, d).reshape(b, size)
        precision = spread.detach().square().reciprocal().nan_to_num(nan=0.0, posinf=1e18)

    def geometry(joints: Tensor, entries: Tensor) -> tuple[Tensor, Tensor]:
        del entries
        place, slope = chain.with_derivatives(joints.mT.reshape(-1, images, d))
        number = len(place)
        whole = place.new_zeros(size, 3, images, n, number)
        for k in range(images):
            whole[k * d : (k + 1) * d, :, k] = slope[:, k].permute(1, 3, 2, 0)
        return place.reshape(number, -1, 3).permute(2, 1, 0).contiguous(), whole.flatten(2, 3)

    with torch.no_grad():
        still = seen.detach()
        tries = guesses if guesses is not None else 1 if angles is not None else GUESSES
        settings = _settings(expected, lower, upper, tries, known=angles is not None)
        points = chain(settings.reshape(-1, images, d)).reshape(b * tries, -1, 3)
        repeated = still.repeat(tries) if tries > 1 else still
        first = points.reshape(b, tries, -1, 3)[:, 0]
        status = layout_status(first.permute(2, 1, 0), still.used.mT, 3)
        count = still.used.sum(1) * 2 + (precision > 0).sum(1)
        moving = _moved(chain, settings, images, still.used).any(1)
        wanted = 6 + moving.sum(1)
        short = (status == Status.SOLVED) & (count < wanted)
        status = torch.where(short, int(Status.TOO_FEW), status)
        finite = camera.expand(b, dtype, device).finite() & readable
        if initial is not None:
            if initial.shape != (b, 4, 4):
                raise ValueError(f"initial must be ({b}, 4, 4), not {tuple(initial.shape)}")
            given_pose = initial.detach().to(device=device, dtype=dtype)
            finite = finite & given_pose.isfinite().flatten(1).all(1)
            start_pose = torch.where(finite[:, None, None], given_pose, torch.eye(4, dtype=dtype, device=device))
            start_pose = start_pose.repeat_interleave(tries, 0).permute(1, 2, 0)
            rotation, translation = start_pose[:3, :3, None], start_pose[:3, 3, None]
            found = torch.ones(b * tries, dtype=torch.bool, device=device)
        else:
            rotation, translation, found, _ = sampled_starts(points.permute(2, 1, 0).contiguous(), repeated, options)
        status = torch.where(finite, status, int(Status.NOT_FINITE))
        starts = rotation.shape[2]
        each = tries * starts

        def many(values: Tensor) -> Tensor:
            return values.mT.repeat_interleave(each, 1)

        limits = Joints(many(lower), many(upper), many(expected.detach()), many(precision), geometry)
        terms = Terms.of(points.new_zeros(3, 0, b * each), still.repeat(each), options, limits)
        state = State(
            rotation.transpose(2, 3).flatten(2), translation.transpose(1, 2).flatten(1),
            settings.reshape(b * tries, size).mT.repeat_interleave(starts, 1).clamp(limits.lower, limits.upper),
        )  # fmt: skip
        rest = descend(terms, state, torch.arange(b * each, device=device) // each)
        cost = rest.cost.nan_to_num(nan=math.inf)
        rest = rest.take(cost.reshape(b, each).argmin(1) + torch.arange(b, device=device) * each)
        found = found.reshape(b, tries).any(1)
        status = torch.where(status == Status.SOLVED, verdict_of(rest, found), status)
        solved = status == Status.SOLVED
        frozen = None if rest.frozen is None else rest.frozen.mT

    joints = at_rest = rest.state.joints.mT
    turn, spot = rest.state.rotation.permute(2, 0, 1), rest.state.translation.mT
    if seen.requires_grad or expected.requires_grad:
        step = polish(
            turn, spot, lambda change: chain((joints if change is None else joints + change).reshape(b, images, d))
            .reshape(b, -1, 3), seen, options, solved, frozen=frozen, joints=size,
            prior=lambda change: 0.5 * (precision * (joints + change - expected).square()).sum(1),
        )  # fmt: skip
        turn, spot = move(turn, spot, step[:, :6])
        joints = joints + step[:, 6:]
    with torch.no_grad():
        places = chain(at_rest.reshape(b, images, d)).reshape(b, -1, 3).permute(2, 1, 0)
        residuals, inliers = judge(places, rest.state, still, solved)
        covariance = invert_information(rest.information, solved)
    shape = (b, n) if single else (b, images, n)
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


def _settings(expected: Tensor, lower: Tensor, upper: Tensor, tries: int, known: bool) -> Tensor:
    """Joints to start from ``(B, tries, Q)``: what is expected, then random ones: near it if it is known."""
    first = expected.detach()[:, None]
    if tries == 1:
        return first
    generator = torch.Generator().manual_seed(0)
    luck = torch.rand(1, tries - 1, expected.shape[1], generator=generator, dtype=torch.float64).to(expected)
    low = torch.where(lower.isfinite(), lower, -math.pi)[:, None]
    high = torch.where(upper.isfinite(), upper, math.pi)[:, None]
    share = 0.1 if known else 1.0
    near = first + (low + luck * (high - low) - first) * share
    return torch.cat([first, near.expand(len(expected), -1, -1)], 1)


def _moved(chain: Chain, settings: Tensor, images: int, used: Tensor) -> Tensor:
    """Whether each joint ``(B, ·, Q)`` moves a keypoint that is used."""
    b = len(settings)
    d, n = len(chain.names), len(chain.keypoints)
    _, slope = chain.with_derivatives(settings[:, :1].reshape(b, images, d))
    moves = slope.abs().amax(-1) > IDLE  # (B, I, D, N)
    return (moves & used.reshape(b, images, 1, n)).any(-1).reshape(b, 1, -1)
