# SPDX-License-Identifier: GPL-3.0-or-later
"""The pose of a rigid object, or of a robot whose joints are known, from points in images.

Weighted least squares in which sharp points count for more (US 12387346, paragraphs 15, 26 and 27), for a whole batch
at once, on the processor or a GPU, and differentiable, so that errors of the pose can train what found the points
(paragraph 38).
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from .lie import as_pose, exp_rotation, move
from .pose_camera import Camera
from .pose_gradient import polish
from .pose_initial import starts
from .pose_problem import INLIER, Observations, Options, Solution, Status, layout_status, observe
from .pose_steps import Rest, State, Terms, descend

POOR = 9.0
"""Sum of squared errors per degree of freedom, in variances, above which more starts are tried."""

LONG = 300
"""Steps of the second look: where residuals are large, the valley is followed slowly."""

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
        still, spot = seen.detach(), clean.detach()
        status = layout_status(spot, still.used, 4 if initial is None else 3)
        finite = camera.expand(shape[0], options.dtype, pixels.device).finite()
        if initial is not None:
            if initial.shape != (shape[0], 4, 4):
                raise ValueError(f"initial must be ({shape[0]}, 4, 4), not {tuple(initial.shape)}")
            finite = finite & initial.isfinite().flatten(1).all(1).to(finite.device)
        status = torch.where(finite, status, int(Status.NOT_FINITE))
        rest, status = _settle(spot, still, initial, status, options)
        solved = status == Status.SOLVED

    state = rest.state
    if seen.requires_grad or clean.requires_grad:
        step = polish(state.rotation, state.translation, lambda _: clean, seen, options, solved)
        rotation, translation = move(state.rotation, state.translation, step)
    else:
        rotation, translation = state.rotation, state.translation
    pose = torch.where(solved[:, None, None], as_pose(rotation, translation), math.nan)
    with torch.no_grad():
        residuals, inliers = judge(spot, state, still, solved)
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
    """Follow the starts of entries that can have a pose, and keep the best of each."""
    count, device = len(points), points.device
    possible = status == Status.SOLVED
    everyone = bool(possible.all())
    index = torch.arange(count, device=device) if everyone else possible.nonzero().squeeze(1)
    rest = Rest(
        State(
            torch.eye(3, dtype=points.dtype, device=device).repeat(count, 1, 1),
            points.new_zeros(count, 3),
            points.new_zeros(count, 0),
        ),
        points.new_zeros(count),
        torch.zeros(count, dtype=torch.bool, device=device),
        points.new_zeros(count, 6, 6),
        None,
    )
    if not len(index):
        return rest, status
    if not everyone:
        points, seen = points[index], seen.take(index)
    given = None if initial is None else initial.detach().to(device=device, dtype=points.dtype)[index]
    done, found = _follow(points, seen, given, options)
    if initial is None and not options.robust:
        # Where the points fit badly, perhaps for an outlier, there may be a better valley: look again, and longer.
        freedom = (2 * seen.used.sum(1) - 6).clamp_min(1)
        poor = ((2 * done.cost > POOR * freedom) | ~done.converged).nonzero().squeeze(1)
        if len(poor):
            more = replace(
                options,
                starts=max(8, options.starts),
                triplets=max(40, options.triplets),
                iterations=max(LONG, options.iterations),
            )
            again, found_again = _follow(points[poor], seen.take(poor), None, more, around=done.state.take(poor))
            better = again.cost < done.cost[poor]
            done.state.put(poor, again.state.where(better, done.state.take(poor)))
            done.converged[poor] = torch.where(better, again.converged, done.converged[poor])
            done.information[poor] = torch.where(better[:, None, None], again.information, done.information[poor])
            done.cost[poor] = torch.where(better, again.cost, done.cost[poor])
            found[poor] = found_again | found[poor]
    verdict = verdict_of(done, seen.used, found)
    if everyone:
        return done, verdict
    rest.state.put(index, done.state)
    rest.cost[index] = done.cost
    rest.converged[index] = done.converged
    rest.information[index] = done.information
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
        around: poses whose object, turned in its place every which way, makes further starts.
    """
    count, device = len(points), points.device
    if given is None:
        rotation, translation, found, worth = starts(points, seen, options)
    else:
        rotation, translation = given[:, None, :3, :3], given[:, None, :3, 3]
        found = torch.ones(count, dtype=torch.bool, device=device)
        worth = torch.ones_like(found)[:, None]
    if around is not None:
        turns = _turns().to(points)
        gate = seen.used.to(points.dtype)[..., None]
        centre = ((points * gate).sum(1) / gate.sum(1).clamp_min(1))[:, :, None]
        place = around.rotation @ centre + around.translation[..., None]
        turned = turns @ around.rotation[:, None]
        rotation = torch.cat([rotation, turned], 1)
        worth = torch.ones(count, rotation.shape[1], dtype=torch.bool, device=device)
        translation = torch.cat([translation, (place[:, None] - turned @ centre[:, None]).squeeze(-1)], 1)
    number = rotation.shape[1]
    columns = points.mT.contiguous()
    if number == 1:
        terms = Terms(columns, seen, options, torch.arange(count, device=device))
        start = State(rotation[:, 0].contiguous(), translation[:, 0].contiguous(), points.new_zeros(count, 0))
        return descend(terms, start), found
    rows = worth.flatten().nonzero().squeeze(1)
    owners = rows // number
    terms = Terms(columns[owners], seen.take(owners), options, torch.arange(len(rows), device=device))
    start = State(rotation.reshape(-1, 3, 3)[rows], translation.reshape(-1, 3)[rows], points.new_zeros(len(rows), 0))
    done = descend(terms, start, owners, patience=2 if around is None else 10)
    costs = points.new_full((count * number,), math.inf)
    costs[rows] = done.cost.nan_to_num(nan=math.inf)
    place_of = torch.zeros(count * number, dtype=torch.long, device=device)
    place_of[rows] = torch.arange(len(rows), device=device)
    chosen = costs.reshape(count, number).argmin(1) + torch.arange(count, device=device) * number
    best = place_of[chosen]
    done = Rest(done.state.take(best), done.cost[best], done.converged[best], done.information[best], None)
    return done, found


def verdict_of(rest: Rest, used: Tensor, found: Tensor) -> Tensor:
    """:class:`Status` ``(B,)`` of where the steps came to rest."""
    information = rest.information
    scale = information.diagonal(dim1=-2, dim2=-1)
    idle = scale <= 0
    if rest.held is not None:
        idle = idle | rest.held
    free = torch.where(idle, 0.0, 1 / torch.where(idle, 1.0, scale).sqrt())
    scaled = information * free[:, :, None] * free[:, None] + torch.diag_embed(idle.to(scale.dtype))
    factor, failed = torch.linalg.cholesky_ex(torch.where(scaled.isfinite(), scaled, 0.0))
    pivot = factor.diagonal(dim1=-2, dim2=-1).square().amin(-1)
    least = LEAST_PIVOT if scale.dtype == torch.float64 else 1e-5
    loose = (failed != 0) | ~(pivot > least) | idle[:, :6].any(1)
    status = torch.where(loose, int(Status.DEGENERATE), torch.zeros_like(failed, dtype=torch.long))
    # A point behind the camera costs more than any image could.
    lost = ~found | ~rest.cost.isfinite() | (rest.cost > 1e11)
    return torch.where(lost, int(Status.NOT_FOUND), status)


def judge(points: Tensor, state: State, seen: Observations, solved: Tensor) -> tuple[Tensor, Tensor]:
    """Seen minus given pixels ``(B, M, 2)``, NaN where there are none, and which points are inliers, ``(B, M)``."""
    placed = points @ state.rotation.mT + state.translation[:, None]
    fine = seen.used & solved[:, None]
    front = fine & (placed[..., 2] > 0)
    ahead = torch.tensor([0.0, 0.0, 1.0], dtype=placed.dtype, device=placed.device)
    error = seen.camera.project(torch.where(front[..., None], placed, ahead)) - seen.pixels
    w00, w10, w11 = seen.whitening.unbind(-1)
    square = (w00 * error[..., 0]).square() + (w10 * error[..., 0] + w11 * error[..., 1]).square()
    return torch.where(front[..., None], error, math.nan), front & (square < INLIER)


def invert_information(information: Tensor, solved: Tensor) -> Tensor:
    """Covariances ``(B, P, P)``: infinite variance for unknowns that nothing tells of, NaN where nothing is solved."""
    scale = information.diagonal(dim1=-2, dim2=-1)
    idle = scale <= 0
    free = torch.where(idle, 0.0, 1 / torch.where(idle, 1.0, scale).sqrt())
    scaled = information * free[:, :, None] * free[:, None] + torch.diag_embed(idle.to(scale.dtype))
    scaled = torch.where(solved[:, None, None], scaled, torch.eye(scale.shape[1], dtype=scale.dtype).to(scale.device))
    inverse, _ = torch.linalg.inv_ex(scaled)
    covariance = inverse * free[:, :, None] * free[:, None] + torch.diag_embed(torch.where(idle, math.inf, 0.0))
    covariance = 0.5 * (covariance + covariance.mT)
    return torch.where(solved[:, None, None], covariance, math.nan)
