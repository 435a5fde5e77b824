# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras, mounts of markers and offsets of joints as one least-squares problem.

Points are seen by cameras that rest or ride on a link; they sit on links, directly or on markers whose mounts are
sought with the rest. All of it goes to :func:`..pose.levenberg_marquardt.descend`, whose "joints" are the unknowns
here: small motions of each camera and each mount, as :mod:`..pose.rigid_motion` has them, then offsets of joints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ...core.camera.intrinsics import Intrinsics
from ...core.robot.keypoints import Keypoint
from ...core.robot.robot import Robot
from ..pose.camera import Camera
from ..pose.kinematics import Chain
from ..pose.levenberg_marquardt import Joints, State, Terms, descend
from ..pose.problem import Options
from ..pose.rigid_motion import as_pose, cross_matrix, exp_rotation, move, orthonormal, rotation_jacobian
from .recording import ROOM, Floats

STEPS = 60
CORNERS = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
LOOSE = 1e-10
"""Share of an unknown that the others leave unexplained, below which the images don't determine it."""


@dataclass(frozen=True)
class Block:
    """Points on one link or one marker, in one image.

    Attributes:
        camera: its name.
        link: that the points sit on; of a marker the link that it is mounted on.
        marker: its name, or empty where ``points`` are in the link's own frame.
        positions: of the robot's joints.
        points: metres, in the marker's or the link's frame, ``(N, 3)``.
        pixels: ``(N, 2)``.
        covariances: of the pixels, ``(N, 2, 2)``.
        group: what blocks have in common whose errors are not independent, such as a moment's joint positions.
    """

    camera: str
    link: str
    marker: str
    positions: Mapping[str, float]
    points: Floats
    pixels: Floats
    covariances: Floats
    group: str


@dataclass(frozen=True)
class Placement:
    """Where cameras and markers are.

    Attributes:
        cameras: ``T_cam_link`` of each camera, of the link that it is mounted on (the base, where it rests).
        mounts: ``T_link_marker`` of each marker.
        offsets: to be added to joint positions, radians or metres.
        clock: seconds to be added to the times of images.
        sizes: by how many times markers are larger than their points say, where that was sought.
    """

    cameras: Mapping[str, Floats]
    mounts: Mapping[str, Floats]
    offsets: Mapping[str, float] = field(default_factory=dict)
    clock: float = 0.0
    sizes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Setup:
    """What is known, and what is sought.

    Attributes:
        intrinsics: of each camera.
        links: of each camera, that it is mounted on.
        cameras, mounts: names of those that are sought; others stay where they are.
        offsets: standard deviation of the sensors' offset of each joint that is sought, radians or metres.
        rates: of each block's joints, per second, where the clock's offset is sought; None where it is not.
        sizes: markers whose size is sought.
    """

    robot: Robot
    intrinsics: Mapping[str, Intrinsics]
    links: Mapping[str, str]
    cameras: Sequence[str]
    mounts: Sequence[str]
    offsets: Mapping[str, float] = field(default_factory=dict)
    rates: Sequence[Mapping[str, float]] | None = None
    sizes: Sequence[str] = ()

    @property
    def unknowns(self) -> int:
        """How many numbers are sought."""
        poses = 6 * (len(self.cameras) + len(self.mounts))
        return poses + len(self.offsets) + len(self.sizes) + (self.rates is not None)


@dataclass(frozen=True)
class Fit:
    """What came of it.

    Attributes:
        residuals: seen minus given pixels of each block, ``(N, 2)``.
        covariance: of the unknowns, in the order cameras, mounts (six each), offsets, sizes, clock, ``(Q, Q)``;
            see :func:`solve`.
        by_noise: the same from the points' own covariances alone, as if nothing else erred.
        without: how far the unknowns would move without each group, ``(G, Q)``.
        groups: their names.
        determined: whether the images determine all of the unknowns.
    """

    placement: Placement
    residuals: tuple[Floats, ...]
    covariance: Floats
    by_noise: Floats
    without: Floats
    groups: tuple[str, ...]
    determined: bool


class _Geometry:
    """Points in their cameras' frames, and how they move with the unknowns."""

    def __init__(self, setup: Setup, blocks: Sequence[Block], start: Placement) -> None:
        self._setup, self._blocks, self._start = setup, blocks, start
        counts = torch.tensor([len(b.points) for b in blocks])
        self.block = torch.arange(len(blocks)).repeat_interleave(counts)
        self.points = to_double(np.concatenate([b.points for b in blocks]))
        cameras, mounts = list(start.cameras), ["", *start.mounts]
        self._names = mounts
        self._camera = torch.tensor([cameras.index(b.camera) for b in blocks])
        self._mount = torch.tensor([mounts.index(b.marker) for b in blocks])
        self._poses = torch.stack([to_double(start.cameras[c]) for c in cameras])
        self._mounts = torch.stack(
            [torch.eye(4, dtype=torch.float64), *(to_double(start.mounts[m]) for m in mounts[1:])]
        )
        self._camera_column = [setup.cameras.index(c) * 6 if c in setup.cameras else -1 for c in cameras]
        base = 6 * len(setup.cameras)
        self._mount_column = [base + setup.mounts.index(m) * 6 if m in setup.mounts else -1 for m in mounts]
        self._offset_column = base + 6 * len(setup.mounts)
        self._size_column = self._offset_column + len(setup.offsets)
        self._links = sorted({*(b.link for b in blocks), *(setup.links[b.camera] for b in blocks)} - {ROOM})
        keypoints = [Keypoint(f"{link}/{k}", link, c) for link in self._links for k, c in enumerate(CORNERS)]
        names = [j.name for j in setup.robot.moving_joints]
        self._chain = Chain.of(setup.robot, keypoints, names)
        rest = self._chain.middle().tolist()
        stand = {n: 0.0 if j.fixed else r for n, j, r in zip(names, setup.robot.moving_joints, rest, strict=True)}
        self._joints = torch.tensor(
            [[b.positions.get(n, stand[n]) for n in names] for b in blocks], dtype=torch.float64
        ).reshape(len(blocks), len(names))
        self._rates = None if setup.rates is None else torch.tensor(
            [[r.get(n, 0.0) for n in names] for r in setup.rates], dtype=torch.float64
        ).reshape(len(blocks), len(names))  # fmt: skip
        self._sought = [names.index(n) for n in setup.offsets]
        self._known: tuple[Tensor, Tensor] | None = None

    def __call__(self, values: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        """See :data:`..pose.levenberg_marquardt.Geometry`; the batch is one entry."""
        x = values[:, 0]
        poses, pose_slopes = self._moved(self._poses, self._camera_column, x)
        mounts, mount_slopes = self._moved(self._mounts, self._mount_column, x)
        frames, slopes = self._frames(x)
        b = self.block
        points = self._sized(x)
        on = _apply(mounts[self._mount][b], points)  # in the link's frame
        camera_link = torch.tensor([self._place(self._setup.links[k.camera]) for k in self._blocks])
        link = torch.tensor([self._place(k.link) for k in self._blocks])
        row = torch.arange(len(self._blocks))
        body, carrier = frames[row, link], frames[row, camera_link]
        away = _apply(body[b], on) - carrier[b][:, :3, 3]
        back = carrier[b][:, :3, :3].mT
        seen = (back @ away[..., None]).squeeze(-1)  # in the frame of the camera's link
        camera = self._camera[b]
        turn = poses[camera][:, :3, :3]
        placed = _apply(poses[camera], seen)
        derivatives = values.new_zeros(len(values), 3, len(placed))
        for k, column in enumerate(self._camera_column):
            chosen = (camera == k).nonzero().squeeze(1)
            if column >= 0 and len(chosen):
                before = _apply(self._poses[k], seen[chosen])
                derivatives[column : column + 3][..., chosen] = torch.einsum("krc,nc->krn", pose_slopes[k], before)
                derivatives[column + 3 : column + 6][..., chosen] = torch.eye(3, dtype=x.dtype)[..., None]
        whole = turn @ back @ body[b][:, :3, :3]
        mount = self._mount[b]
        for k, column in enumerate(self._mount_column):
            chosen = (mount == k).nonzero().squeeze(1)
            if column >= 0 and len(chosen):
                before = _apply(self._mounts[k], points[chosen])
                turned = torch.einsum("krc,nc->nrk", mount_slopes[k], before)
                derivatives[column : column + 3][..., chosen] = (whole[chosen] @ turned).permute(2, 1, 0)
                derivatives[column + 3 : column + 6][..., chosen] = whole[chosen].permute(2, 1, 0)
        for k, name in enumerate(self._setup.sizes):
            chosen = (mount == self._names.index(name)).nonzero().squeeze(1)
            turned_mounts = mounts[mount[chosen]][:, :3, :3]
            grown = whole[chosen] @ turned_mounts @ self.points[chosen][..., None]
            derivatives[self._size_column + k][..., chosen] = grown.squeeze(-1).mT
        if slopes is not None:
            # Of the body's and the carrier's motions by each joint, (blocks, D, 3, 4).
            moved, carried = slopes[row, :, link], slopes[row, :, camera_link]
            shift = torch.einsum("ndrc,nc->ndr", moved[b][..., :3], on) + moved[b][..., 3] - carried[b][..., 3]
            change = torch.einsum("nrc,ndc->ndr", back, shift)
            change += torch.einsum("ndcr,nc->ndr", carried[b][..., :3], away)
            by_joint = torch.einsum("nrc,ndc->drn", turn, change)
            column = self._offset_column
            for k, joint in enumerate(self._sought):
                derivatives[column + k] = by_joint[joint]
            if self._rates is not None:
                derivatives[-1] = torch.einsum("nd,drn->rn", self._rates[b], by_joint)
        return placed.mT[..., None].contiguous(), derivatives[..., None]

    def _sized(self, x: Tensor) -> Tensor:
        """The points ``(M, 3)`` on markers as large as they are taken to be."""
        if not self._setup.sizes:
            return self.points
        larger = x.new_zeros(len(self._names))
        for k, name in enumerate(self._setup.sizes):
            larger[self._names.index(name)] = x[self._size_column + k]
        return self.points * (1 + larger[self._mount[self.block]])[:, None]

    def _place(self, link: str) -> int:
        return 0 if link == ROOM else 1 + self._links.index(link)

    def _moved(self, poses: Tensor, columns: Sequence[int], x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Poses after their motions, and the derivatives ``(3, 3, 3)`` of each one's turn by its rotation vector."""
        moved, slopes = [], []
        for pose, column in zip(poses, columns, strict=True):
            motion = x[column : column + 6] if column >= 0 else x.new_zeros(6)
            rotation, translation = move(pose[:3, :3], pose[:3, 3], motion)
            moved.append(as_pose(rotation, translation))
            # By the k-th number of the rotation vector, the turn changes by [J e_k]× times itself.
            slopes.append(cross_matrix(rotation_jacobian(motion[:3]).mT) @ exp_rotation(motion[:3]))
        return torch.stack(moved), slopes

    def _frames(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """``T_base_link`` ``(blocks, 1 + L, 4, 4)``, the room's first, and how ``(blocks, D, 1 + L, 3, 4)`` joints move
        them."""
        free = bool(self._sought) or self._rates is not None
        if not free and self._known is not None:
            return self._known[0], None
        joints = self._joints.clone()
        column = self._offset_column
        for k, joint in enumerate(self._sought):
            joints[:, joint] += x[column + k]
        if self._rates is not None:
            joints += self._rates * x[-1]
        places, moves = self._chain.with_derivatives(joints)
        frames = _frames_of(places)
        if not free:
            self._known = (frames, frames)
            return frames, None
        flat = moves.reshape(len(joints), -1, len(self._links), 4, 3)
        slope = torch.cat([(flat[..., 1:, :] - flat[..., :1, :]), flat[..., :1, :]], -2).mT
        room = slope.new_zeros(*slope.shape[:2], 1, 3, 4)
        return frames, torch.cat([room, slope], 2)


def _frames_of(places: Tensor) -> Tensor:
    """Rigid motions ``(B, 1 + L, 4, 4)``, the identity first, from where each takes the origin and the axes' tips,
    ``(B, 4 L, 3)``."""
    corners = places.reshape(len(places), -1, 4, 3)
    rotation = (corners[:, :, 1:] - corners[:, :, :1]).mT
    frames = as_pose(rotation, corners[:, :, 0])
    room = torch.eye(4, dtype=places.dtype).expand(len(places), 1, 4, 4)
    return torch.cat([room, frames], 1)


def _apply(poses: Tensor, points: Tensor) -> Tensor:
    return (poses[..., :3, :3] @ points[..., None]).squeeze(-1) + poses[..., :3, 3]


def to_double(values: Floats) -> Tensor:
    """The same numbers as a tensor."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))


def solve(setup: Setup, blocks: Sequence[Block], start: Placement, options: Options | None = None) -> Fit:
    """The placement under which the points come to lie where they are seen.

    The covariance is the jackknife's: it goes by how much the solution depends on each group of blocks, and so contains
    the errors of joints, which all points of an image share, and which their own covariances know nothing of.

    Args:
        start: near enough; contains all cameras and all markers.
        options: with a robust kernel, points far off count less.
    """
    options = replace(options or Options(), iterations=STEPS)
    geometry = _Geometry(setup, blocks, start)
    pixels = to_double(np.concatenate([b.pixels for b in blocks]))
    spread = to_double(np.concatenate([b.covariances for b in blocks]))
    numbers = torch.tensor([_numbers(setup.intrinsics[b.camera]) for b in blocks], dtype=torch.float64)[geometry.block]
    size = setup.unknowns
    precision = torch.zeros(size, 1, dtype=torch.float64)
    first = 6 * (len(setup.cameras) + len(setup.mounts))
    for k, deviation in enumerate(setup.offsets.values()):
        precision[first + k] = 1 / deviation**2
    endless = torch.full((size, 1), math.inf, dtype=torch.float64)
    zero = torch.zeros(size, 1, dtype=torch.float64)
    joints = Joints(-endless, endless, zero, precision, geometry)
    factor = torch.linalg.cholesky(spread).inverse()
    focal = numbers[:, :2]
    whitening = torch.stack([
        factor[:, 0, 0] * focal[:, 0], factor[:, 1, 0] * focal[:, 0], factor[:, 1, 1] * focal[:, 1],
    ])[..., None]  # fmt: skip
    lens = numbers[:, 4:]
    terms = Terms(
        points=geometry.points.mT[..., None], target=((pixels - numbers[:, 2:4]) / focal).mT[..., None].contiguous(),
        whitening=whitening.contiguous(), used=torch.ones(len(pixels), 1, dtype=torch.bool),
        distortion=lens.mT[..., None].contiguous() if bool(lens.any()) else None,
        skewed=bool((whitening[1] != 0).any()), options=options, entries=torch.zeros(1, dtype=torch.long),
        joints=joints, pose_known=True,
    )  # fmt: skip
    identity = State(torch.eye(3, dtype=torch.float64)[..., None], torch.zeros(3, 1, dtype=torch.float64), zero.clone())
    done = descend(terms, identity)
    # Derivatives and errors there, whitened, (P + 1, 2, M).
    room = terms.room()
    terms.normal(done.state, room)
    rows, errors = room[6:-1, ..., 0], room[-1, ..., 0]
    covariance, by_noise, without, groups, determined = _jackknife(
        rows,
        errors,
        [blocks[int(k)].group for k in geometry.block],
        precision[:, 0],
    )
    values = done.state.joints
    placed, _ = geometry(values, terms.entries)
    shown = _project(placed[..., 0].mT, numbers)
    off = (shown - pixels).numpy()
    cuts = np.cumsum([len(b.points) for b in blocks])[:-1]
    return Fit(
        _placement(setup, start, values[:, 0]),
        tuple(np.split(off, cuts)),
        covariance,
        by_noise,
        without,
        groups,
        determined,
    )


def _jackknife(
    rows: Tensor, errors: Tensor, groups: Sequence[str], precision: Tensor
) -> tuple[Floats, Floats, Floats, tuple[str, ...], bool]:
    """The covariance ``(Q, Q)`` of the unknowns, that by noise alone ``(Q, Q)``, how far they would move without each
    group ``(G, Q)``, the groups' names, and whether all unknowns are determined.

    Args:
        rows: whitened derivatives ``(Q, 2, M)``.
        errors: whitened, ``(2, M)``.
    """
    names = tuple(dict.fromkeys(groups))
    member = torch.tensor([names.index(g) for g in groups])
    size = len(rows)
    flat = rows.permute(2, 0, 1)  # (M, Q, 2)
    hessians = rows.new_zeros(len(names), size, size).index_add_(0, member, flat @ flat.mT)
    slopes = rows.new_zeros(len(names), size).index_add_(0, member, (flat @ errors.mT[..., None]).squeeze(-1))
    whole = hessians.sum(0) + precision.diag()
    scale = whole.diagonal().clamp_min(1e-300).rsqrt()

    def inverse(matrix: Tensor) -> tuple[Tensor, bool]:
        values, vectors = torch.linalg.eigh(matrix * scale[:, None] * scale)
        good = bool(values[0] > LOOSE)
        values = values.clamp_min(LOOSE)
        return (vectors / values) @ vectors.mT * scale[:, None] * scale, good

    full, determined = inverse(whole)
    moves = []
    for hessian, slope in zip(hessians, slopes, strict=True):
        # At the solution the groups' slopes add up to zero, so that without one the others' are its negative.
        moves.append(inverse(whole - hessian)[0] @ slope)
    without = torch.stack(moves)
    count = len(names)
    covariance = (count - 1) / count * without.mT @ without + full @ precision.diag() @ full
    return covariance.numpy(), full.numpy(), without.numpy(), names, determined


def _placement(setup: Setup, start: Placement, x: Tensor) -> Placement:
    def moved(pose: Floats, column: int) -> Floats:
        before = to_double(pose)
        rotation, translation = move(before[:3, :3], before[:3, 3], x[column : column + 6])
        return as_pose(orthonormal(rotation), translation).numpy()

    cameras = {**start.cameras, **{n: moved(start.cameras[n], 6 * k) for k, n in enumerate(setup.cameras)}}
    base = 6 * len(setup.cameras)
    mounts = {**start.mounts, **{n: moved(start.mounts[n], base + 6 * k) for k, n in enumerate(setup.mounts)}}
    base += 6 * len(setup.mounts)
    offsets = {n: float(x[base + k]) for k, n in enumerate(setup.offsets)}
    clock = start.clock + (float(x[-1]) if setup.rates is not None else 0.0)
    base += len(setup.offsets)
    sizes = {n: 1.0 + float(x[base + k]) for k, n in enumerate(setup.sizes)}
    return Placement(cameras, mounts, offsets, clock, sizes)


def _numbers(intrinsics: Intrinsics) -> list[float]:
    return [intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy, *intrinsics.distortion]


def _project(points: Tensor, numbers: Tensor) -> Tensor:
    """Pixels ``(M, 2)`` of points ``(M, 3)``, each with its own camera's nine numbers ``(M, 9)``."""
    return Camera.of_rows(numbers).project(points[:, None]).squeeze(1)
