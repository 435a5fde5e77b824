# SPDX-License-Identifier: GPL-3.0-or-later
"""Many small symmetric systems of equations at once, the batch in the last dimension.

A matrix library is called once for each tiny matrix; here each operation runs over the whole batch without a gap, which
is several times faster for a few unknowns. From :data:`LARGE` unknowns on the library is the faster one.
"""

from __future__ import annotations

import torch
from torch import Tensor

LARGE = 20


def gram(rows: Tensor) -> Tensor:
    """Scalar products ``(S, S, B)`` of rows ``(S, L, B)``; only those with the first index not above the second count,
    the others are anything."""
    size, _, batch = rows.shape
    if size > LARGE:
        flat = rows.permute(2, 0, 1).contiguous()
        return (flat @ flat.mT).permute(1, 2, 0).contiguous()
    products = rows.new_zeros(size, size, batch)
    cells = products.flatten(0, 1).unbind()
    room = torch.empty_like(rows[0])
    every = rows.unbind()
    for i, one in enumerate(every):
        for j in range(i, size):
            torch.sum(torch.mul(one, every[j], out=room), 0, out=cells[i * size + j])
    return products


def mirrored(upper: Tensor) -> Tensor:
    """The symmetric matrices ``(S, S, B)`` whose upper halves are given."""
    above = upper.permute(2, 0, 1).triu()
    return (above + above.triu(1).mT).permute(1, 2, 0).contiguous()


def solve(system: Tensor) -> tuple[Tensor, Tensor]:
    """Solutions ``(P, R, B)`` of positive definite systems ``(P, P + R, B)``, whose last R columns are right-hand
    sides, and the least pivot of each, ``(B,)``: positive where there is a solution.

    Only the upper halves are looked at, and overwritten.
    """
    size = len(system)
    if size > LARGE:
        factor, failed = torch.linalg.cholesky_ex(mirrored(system[:, :size]).permute(2, 0, 1))
        answer = torch.cholesky_solve(system[:, size:].permute(2, 0, 1), factor).permute(1, 2, 0)
        least = factor.diagonal(dim1=-2, dim2=-1).square().amin(-1)
        return answer.contiguous(), torch.where(failed == 0, least, 0.0)
    tails = [row[i:] for i, row in enumerate(system.unbind())]
    for j, tail in enumerate(tails):
        shares = (tail[1 : size - j] / -tail[0]).unbind()
        for i, share in enumerate(shares, 1):
            tails[i + j].addcmul_(share, tail[i:])
    pivots = system[:, :size].diagonal().mT
    answer = torch.empty_like(system[:, size:])
    known: list[Tensor] = []
    for j in range(size - 1, -1, -1):
        rest = tails[j][size - j :]
        cells = tails[j][: size - j].unbind()
        for cell, value in zip(cells[1:], reversed(known), strict=True):
            rest = rest - cell * value
        known.append(torch.div(rest, cells[0], out=answer[j]))
    return answer, pivots.amin(0)
