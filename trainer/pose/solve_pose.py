# SPDX-License-Identifier: GPL-3.0-or-later
"""The pose of a rigid object, or of a robot whose joints are known, from points in images.

Weighted least squares in which sharp points count for more [US12387346, paragraphs 15, 26 and 27], for a whole batch
at once, on the processor or a GPU, and differentiable, so that errors of the pose can train what found the points
[US12387346, paragraph 38].
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from .batched_linear import solve
from .camera import Camera
from .implicit_gradient import polish
from .levenberg_marquardt import Rest, State, Terms, descend, idle
from .problem import INLIER, Observations, Options, Solution, Status, layout_status, observe
from .rigid_motion import as_pose, exp_rotation, move
from .starting_poses import starts

POOR = 9.0
"""Sum of squared errors per degree of freedom, in variances, above which more starts are tried."""

LONG = 300
"""Steps of the second attempt: where residuals are large, the valley is followed slowly."""

LEAST_PIVOT = 1e-11
"""Share of a direction that its neighbours leave unexplained, below which the image doesn't determine it."""


def solve_pose(
    points: Tensor,
    pixels: Tensor,
    camera: Camera,
    *,
    covariances: Tensor | None = None,
    weights: Tensor | None = None,
    used: Tensor | None = None,
    initial: Tensor | None = None,
    options: Options | None = None,
) -> Solution:
    """``T_cam_base`` of objects whose points are known in their base frame.

    With ``(B, I, N, …)`` in place of ``(B, N, …)`` one camera pose is found for I images of a robot at known joints.

    Args:
        points: metres, ``(B, N, 3)``, or ``(N, 3)`` for all alike. NaN for points that aren't known.
        pixels: ``(B, N, 2)``; NaN for points that aren't seen.
        camera: of every image of an entry.
        covariances: of the pixels, pixels², ``(B, N, 2, 2)``; None is one pixel each way.
        weights: further factors of the squared errors, ``(B, N)``.
        used: points to use, ``(B, N)``; all where None.
        initial: ``T_cam_base`` to start from, ``(B, 4, 4)``, instead of sampling.

    Raises:
        ValueError: if the shapes don't fit. Nothing in the values raises: see :attr:`Solution.status`.
    """
    options = options or Options()
    if pixels.dim() not in (3, 4) or pixels.shape[-1] != 2:
        raise ValueError(f"pixels must be (B, N, 2) or (B, I, N, 2), not {tuple(pixels.shape)}")
    shape = pixels.shape[:-1]
    try:
        points = points.to(device=pixels.device, dtype=options.dtype).expand(*shape, 3)
        flat_points, flat_pixels = points.reshape(shape[0], -1, 3), pixels.reshape(shape[0], -1, 2)
        flat_weights = None if weights is None else weights.expand(shape).reshape(shape[0], -1)
        flat_used = None if used is None else used.expand(shape).reshape(shape[0], -1)
        spread = None if covariances is None else covariances.expand(*shape, 2, 2).reshape(shape[0], -1, 2, 2)
    except RuntimeError as error:
        raise ValueError(f"points, covariances, weights and used must fit pixels {tuple(shape)}: {error}") from None
    known = flat_points.isfinite().all(-1)
    known = known if flat_used is None else known & flat_used.to(torch.bool)
    seen = observe(flat_pixels, camera, spread, flat_weights, known, options)
    clean = torch.where(seen.used[..., None], flat_points, 0.0)

    with torch.no_grad():
        still, spot = seen.detach(), clean.detach().permute(2, 1, 0).contiguous()
        status = layout_status(spot, still.used.mT, 4 if initial is None else 3)
        finite = camera.expand(shape[0], options.dtype, pixels.device).finite()
        if initial is not None:
            if initial.shape != (shape[0], 4, 4):
                raise ValueError(f"initial must be ({shape[0]}, 4, 4), not {tuple(initial.shape)}")
            finite = finite & initial.isfinite().flatten(1).all(1).to(finite.device)
        status = torch.where(finite, status, int(Status.NOT_FINITE))
        rest, status = _settle(spot, still, initial, status, options)
        solved = status == Status.SOLVED

    rotation, translation = rest.state.rotation.permute(2, 0, 1), rest.state.translation.mT
    if seen.requires_grad or clean.requires_grad:
        step = polish(rotation, translation, lambda _: clean, seen, options, solved)
        rotation, translation = move(rotation, translation, step)
    pose = torch.where(solved[:, None, None], as_pose(rotation, translation), math.nan)
    with torch.no_grad():
        residuals, inliers = judge(spot, rest.state, still, solved)
        covariance = invert_information(rest.information, solved)
    return Solution(
        pose=pose,
        covariance=covariance,
        residuals=residuals.reshape(*shape, 2),
        inliers=inliers.reshape(shape),
        converged=rest.converged & solved,
        status=status,
        cost=torch.where(solved, rest.cost, math.nan),
    )


def _settle(
    points: Tensor, seen: Observations, initial: Tensor | None, status: Tensor, options: Options
) -> tuple[Rest, Tensor]:
    """Follow the starts of entries that can have a pose, and keep the best of each; points are ``(3, M, B)``."""
    count, device = points.shape[-1], points.device
    possible = status == Status.SOLVED
    everyone = bool(possible.all())
    index = torch.arange(count, device=device) if everyone else possible.nonzero().squeeze(1)
    rest = Rest(
        State.rigid(
            torch.eye(3, dtype=points.dtype, device=device)[..., None].repeat(1, 1, count), points.new_zeros(3, count)
        ),
        points.new_zeros(count),
        torch.zeros(count, dtype=torch.bool, device=device),
        points.new_zeros(6, 6, count),
        None,
    )
    if not len(index):
        return rest, status
    if not everyone:
        points, seen = points[..., index], seen.take(index)
    given = None if initial is None else initial.detach().to(device=device, dtype=points.dtype)[index]
    done, found = _follow(points, seen, given, options)
    if initial is None and not options.robust:
        # Where the points fit badly, perhaps for an outlier, there may be a better valley: try again, and longer.
        freedom = (2 * seen.used.sum(1) - 6).clamp_min(1)
        poor = ((2 * done.cost > POOR * freedom) | ~done.converged).nonzero().squeeze(1)
        if len(poor):
            more = replace(
                options,
                starts=max(8, options.starts),
                triplets=max(40, options.triplets),
                iterations=max(LONG, options.iterations),
            )
            again, found_again = _follow(points[..., poor], seen.take(poor), None, more, around=done.state.take(poor))
            better = (again.cost < done.cost[poor]).nonzero().squeeze(1)
            done.put(poor[better], again.take(better))
            found[poor] = found_again | found[poor]
    verdict = verdict_of(done, found)
    if everyone:
        return done, verdict
    rest.put(index, done)
    status = status.clone()
    status[index] = verdict
    return rest, status


def _turns() -> Tensor:
    """The turns of a cube, ``(24, 3, 3)``, the identity first."""
    half = math.pi / 2
    spins = exp_rotation(half * torch.tensor([[0, 0, k] for k in range(4)], dtype=torch.float64))
    sides = [[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0], [0, 1, 0], [0, 3, 0]]
    sides_ = exp_rotation(half * torch.tensor(sides, dtype=torch.float64))
    return (sides_[:, None] @ spins).reshape(24, 3, 3)


def _follow(
    points: Tensor, seen: Observations, given: Tensor | None, options: Options, around: State | None = None
) -> tuple[Rest, Tensor]:
    """The best end of some starts for each entry, and whether there was any start, ``(B,)``.

    Args:
        points: ``(3, M, B)``.
        around: poses whose object, turned in its place every which way, makes further starts.
    """
    count, device = points.shape[-1], points.device
    terms = Terms.of(points, seen, options)
    if given is not None:
        begin = State.rigid(given[:, :3, :3].permute(1, 2, 0).contiguous(), given[:, :3, 3].mT.contiguous())
        return descend(terms, begin), torch.ones(count, dtype=torch.bool, device=device)
    rotation, translation, found, worth = starts(points, seen, options)
    if around is not None:
        turns = _turns().to(points)
        gate = terms.used.to(points.dtype)
        centre = (points * gate).sum(1) / gate.sum(0).clamp_min(1)
        place = (around.rotation * centre).sum(1) + around.translation
        turned = torch.einsum("sij,jkb->iksb", turns, around.rotation)
        rotation = torch.cat([rotation, turned], 2)
        translation = torch.cat([translation, place[:, None] - (turned * centre[:, None]).sum(1)], 1)
        worth = torch.ones(rotation.shape[2:], dtype=torch.bool, device=device)
    rows = worth.flatten().nonzero().squeeze(1)
    rotation, translation = rotation.flatten(2), translation.flatten(1)
    if len(rows) == count:  # the first of each
        begin = State.rigid(rotation[..., :count].contiguous(), translation[:, :count].contiguous())
        return descend(terms, begin), found
    owners = rows % count
    begin = State.rigid(rotation[..., rows], translation[..., rows])
    done = descend(terms.take(owners), begin, owners, patience=2 if around is None else 10)
    costs = points.new_full((worth.numel(),), math.inf)
    costs[rows] = done.cost.nan_to_num(nan=math.inf)
    place_of = torch.zeros(worth.numel(), dtype=torch.long, device=device)
    place_of[rows] = torch.arange(len(rows), device=device)
    chosen = costs.reshape(-1, count).min(0).indices * count + torch.arange(count, device=device)
    return done.take(place_of[chosen]), found


def _scaled(information: Tensor, still: Tensor) -> tuple[Tensor, Tensor]:
    """Information ``(P, P, B)`` with a diagonal of ones, unknowns ``(P, B)`` that stand still cut off, and what each
    was divided by."""
    free = torch.where(still, 0.0, torch.where(still, 1.0, information.diagonal().mT).rsqrt())
    scaled = information * free[:, None] * free
    scaled.diagonal().mT.add_(still)
    return scaled, free


def verdict_of(rest: Rest, found: Tensor) -> Tensor:
    """:class:`Status` ``(B,)`` of where the steps came to rest."""
    still = idle(rest.information) if rest.frozen is None else rest.frozen
    _, pivot = solve(_scaled(rest.information, still)[0])
    least = LEAST_PIVOT if pivot.dtype == torch.float64 else 1e-5
    loose = ~(pivot > least) | still[:6].any(0)
    status = torch.where(loose, int(Status.DEGENERATE), torch.zeros_like(loose, dtype=torch.long))
    # A point behind the camera costs more than any image could.
    lost = ~found | ~rest.cost.isfinite() | (rest.cost > 1e11)
    return torch.where(lost, int(Status.NOT_FOUND), status)


def judge(points: Tensor, state: State, seen: Observations, solved: Tensor) -> tuple[Tensor, Tensor]:
    """Seen minus given pixels ``(B, M, 2)`` of points ``(3, M, B)``, NaN where there are none, and which points are
    inliers, ``(B, M)``."""
    placed = torch.addcmul(state.translation[:, None], state.rotation[:, 0, None], points[0])
    placed.addcmul_(state.rotation[:, 1, None], points[1]).addcmul_(state.rotation[:, 2, None], points[2])
    front = seen.used.mT & solved & (placed[2] > 0)
    if not bool(front.all()):
        placed = torch.where(front, placed, 1.0)
    error = seen.camera.project(placed.permute(2, 1, 0)) - seen.pixels
    w00, w10, w11 = seen.whitening.unbind(-1)
    square = (w00 * error[..., 0]).square() + (w10 * error[..., 0] + w11 * error[..., 1]).square()
    front = front.mT
    return torch.where(front[..., None], error, math.nan), front & (square < INLIER)


def invert_information(information: Tensor, solved: Tensor) -> Tensor:
    """Covariances ``(B, P, P)`` from ``(P, P, B)``: infinite variance for unknowns that nothing tells of, NaN where
    nothing is solved."""
    still = idle(information)
    scaled, free = _scaled(information, still)
    unit = torch.eye(len(free), dtype=free.dtype, device=free.device)[..., None]
    if not bool(solved.all()):
        scaled = torch.where(solved, scaled, unit)
    inverse, _ = solve(torch.cat([scaled, unit.expand_as(scaled)], 1))
    covariance = inverse * free[:, None] * free
    if bool(still.any()):
        covariance.diagonal().mT.masked_fill_(still, math.inf)
    return torch.where(solved, covariance, math.nan).permute(2, 0, 1)
