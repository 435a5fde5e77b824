# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a resting camera is by the robot's outlines: the edges of what differs from the empty background.

A model that has learned from renderings errs alike in all images, and a camera that goes by its keypoints errs with it.
What moves before a resting camera differs from the median of its images; the silhouette of the robot's moving links has
to end where the difference does. Points along the silhouette look for that edge across it, as in [Harris1990], and all
images together move the camera by least squares.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import Intrinsics, transform
from ...core.camera.rasterizer import numbers
from ...core.errors import UserError
from ...core.meshes import reader
from ...core.meshes.mesh import MeshData, joined
from ...core.robot.robot import Robot
from .frame_reader import read_frames
from .marker_observing import Progress
from .recording import Floats, Footage

LEAST = 8
"""Images whose median is taken for the background, at least."""
MOST = 60
"""Images that are looked at, at most."""
WIDTH = 640
"""Pixels to which the longer side of images is reduced."""
POINTS = 150
"""Along the silhouette of one image."""
REACHES = (16, 16, 12, 8, 6, 5, 5)
"""Pixels to both sides in which each point looks for the edge, step by step."""
ARM = 4
"""Pixels to both sides of an edge that are compared."""
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
"""A pixel and its four neighbours."""
OFTEN = 0.35
"""Share of the images in which the robot covers a place, from which on their median may not be the background there."""
STILL = 0.02
"""Metres by which a link moves before its camera at least."""
SHARP = 3.0
"""By how many times the usual difference from the background an edge's two sides differ, at least."""
CLEAR = 30
"""Points of a silhouette that have a clear edge, without which an image doesn't tell whether it agrees."""
TAIL = 1.5
"""Pixels that an edge may be off before it counts for less."""


@dataclass(frozen=True)
class _View:
    """One image: what differs from the background ``(H, W)``, 1 being usual of the background, and ``T_carrier_link``
    of the links."""

    difference: NDArray[np.float32]
    links: Mapping[str, Floats]


@dataclass(frozen=True)
class Outlined:
    """Where a camera is by outlines.

    Attributes:
        pose: ``T_cam_base``.
        covariance: ``(6, 6)`` of the small motion (ω, v) of the camera frame, radians and metres, by the jackknife over
            images and over links: a shape that isn't quite the robot's errs alike in all images.
        agreement: share of the silhouette's clear edges that are where the silhouette is, of each frame whose joint
            positions are known and whose edges are clear enough, by its place.
        errors: root mean square distance of the edges that are, in pixels of the image, of the same frames.
    """

    pose: Floats
    covariance: Floats
    agreement: Mapping[int, float]
    errors: Mapping[int, float]


def by_outlines(
    footage: Footage, camera: str, start: Floats, frames: Sequence[int], offsets: Mapping[str, float],
    progress: Progress | None = None,
) -> Outlined | None:  # fmt: skip
    """Move a resting camera until silhouettes agree with what differs from the background.

    Args:
        start: its ``T_cam_base``, good to some 20 pixels.
        frames: places in :attr:`.Footage.frames` of its images whose joint positions are right.
        offsets: of joints, added to their positions, radians or metres.
        progress: called with the number of images that were looked at and with how many times one will be.

    Returns:
        None where outlines tell nothing: too few images or edges, or a robot without shapes.
    """
    lens = footage.camera(camera).intrinsics
    if footage.camera(camera).link or lens is None or len(frames) < LEAST:
        return None
    shapes = _shapes(footage.robot)
    scale = min(1.0, WIDTH / max(lens.width, lens.height))
    pinhole = Intrinsics(
        round(lens.width * scale), round(lens.height * scale), lens.fx * scale, lens.fy * scale,
        (lens.cx + 0.5) * scale - 0.5, (lens.cy + 0.5) * scale - 0.5,
    )  # fmt: skip
    looking = _Looking(footage, camera, lens, pinhole, offsets)
    known = [k for k in footage.of_camera(camera) if footage.frames[k].positions is not None]
    spread = {sorted(frames)[k] for k in np.linspace(0, len(frames) - 1, MOST).astype(int)}
    images = dict(looking.images(spread))
    background = np.median(np.stack(list(images.values())), axis=0)
    views = [looking.view(k, image, background) for k, image in images.items()]
    moving = [1 + i for i, (n, shape) in enumerate(shapes.items()) if _moves(shape, [v.links[n] for v in views])]
    if not moving:
        return None
    pose = start
    whole = len(REACHES) * len(views) + len(known)
    for number, reach in enumerate(REACHES):
        if progress is not None:
            progress(number * len(views), whole)
        drawn = [_drawn(v, shapes, pose, pinhole) for v in views]
        covered = _covered(drawn)
        found = [_edges(v, d, moving, covered, pinhole, reach) for v, d in zip(views, drawn, strict=True)]
        rows, off, link = (np.concatenate(parts) for parts in zip(*found, strict=True))
        seeing = [k for k, (_, own, _) in enumerate(found) if len(own)]
        if len(seeing) < LEAST:
            return None
        weighted = rows / (1 + np.square(off / TAIL))[:, None]
        step = np.linalg.pinv(weighted.T @ rows, rcond=1e-12) @ (weighted.T @ off)
        pose = _moved(pose, step)
    image = np.repeat(np.arange(len(found)), [len(own) for _, own, _ in found])
    left = off - rows @ step
    covariance = sum(_jackknife(rows, weighted, left, groups) for groups in (image, link))
    agreement, errors = {}, {}
    for number, (place, image) in enumerate(looking.images(known), 1):
        view = looking.view(place, image, background)
        _, own, _ = _edges(view, _drawn(view, shapes, pose, pinhole), moving, covered, pinhole, REACHES[0])
        if len(own) >= CLEAR:
            near = np.abs(own) < TAIL
            agreement[place] = float(near.mean())
            errors[place] = float(np.sqrt(np.square(own[near]).mean())) / scale if near.any() else TAIL / scale
        if progress is not None:
            progress(whole - len(known) + number, whole)
    return Outlined(pose, np.asarray(covariance), agreement, errors)


def _jackknife(rows: Floats, weighted: Floats, off: Floats, groups: NDArray[np.int64]) -> Floats:
    """Covariance ``(6, 6)`` of the motion, by how far it goes without each group."""
    names = np.unique(groups)
    moves = []
    for name in names:
        kept = groups != name
        moves.append(np.linalg.pinv(weighted[kept].T @ rows[kept], rcond=1e-12) @ (weighted[kept].T @ off[kept]))
    return np.asarray((len(names) - 1) / len(names) * np.transpose(moves) @ moves)


def _shapes(robot: Robot) -> dict[str, MeshData]:
    """The shape of each link that has one, in the link's frame."""
    files: dict[str, MeshData] = {}
    parts: dict[str, list[MeshData]] = {}
    for visual in robot.visuals:
        if visual.shape == "placeholder":
            continue
        try:
            parts.setdefault(visual.link, []).append(reader.shape(visual, files))
        except UserError:
            continue  # told when the robot is loaded
    return {n: joined(p) for n, p in parts.items()}


def _moves(shape: MeshData, frames: Sequence[Floats]) -> bool:
    low, high = shape.vertices.min(0), shape.vertices.max(0)
    corners = np.array([[(low, high)[i >> k & 1][k] for k in range(3)] for i in range(8)])
    places = np.array([transform(f, corners) for f in frames])
    return bool(np.ptp(places, axis=0).max() > STILL)


@dataclass(frozen=True)
class _Looking:
    """How a camera's images become views."""

    footage: Footage
    camera: str
    lens: Intrinsics
    pinhole: Intrinsics
    offsets: Mapping[str, float]

    def images(self, frames: Collection[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Each of these frames, smaller and without the lens's distortion."""
        lens = self.lens
        maps = cv2.initUndistortRectifyMap(
            lens.matrix, np.array(lens.distortion), np.eye(3), lens.matrix, (lens.width, lens.height), cv2.CV_32FC1
        )
        size = (self.pinhole.width, self.pinhole.height)
        for place, pixels in read_frames(self.footage, self.camera):
            if place in frames:
                straight = cv2.remap(pixels, *maps, cv2.INTER_LINEAR)
                yield place, cv2.resize(straight, size, interpolation=cv2.INTER_AREA).astype(np.float32)

    def view(self, place: int, image: NDArray[np.float32], background: NDArray[np.float32]) -> _View:
        """What this frame tells."""
        away = cv2.GaussianBlur(np.sqrt(np.square(image - background).sum(-1)), (0, 0), 0.8)
        usual = max(float(np.median(away)), 1.0)
        positions = self.footage.frames[place].positions or {}
        joints = {n: v + self.offsets.get(n, 0.0) for n, v in positions.items()}
        return _View(away / usual, self.footage.robot.link_frames(joints))


@dataclass(frozen=True)
class _Drawn:
    """What a view should show: the number of the link from 1 on at each pixel ``(H, W)``, 0 for none, and how far the
    middle of each link is from the camera's plane, metres."""

    shown: NDArray[np.uint16]
    depths: Floats


def _drawn(view: _View, shapes: Mapping[str, MeshData], pose: Floats, k: Intrinsics) -> _Drawn:
    names = list(shapes)
    placed = [transform(pose @ view.links[n], shapes[n].vertices) for n in names]
    counts = np.cumsum([0, *(len(p) for p in placed)])
    vertices = np.concatenate(placed)
    triangles = np.concatenate([shapes[n].faces + c for n, c in zip(names, counts, strict=False)])
    values = np.concatenate([
        np.full(len(shapes[n].faces), 1 + i, np.uint16) for i, n in enumerate(names)
    ])  # fmt: skip
    depths = np.array([p[:, 2].mean() for p in placed])
    return _Drawn(numbers(vertices, triangles, values, k), np.maximum(depths, 1e-3))


def _covered(drawn: Sequence[_Drawn]) -> NDArray[np.bool_]:
    """Where the robot stands in so many of the images, or so near to it, that their median isn't the background."""
    share = np.mean([d.shown > 0 for d in drawn], axis=0).astype(np.float32)
    return np.asarray(cv2.dilate(share, np.ones((2 * ARM + 1, 2 * ARM + 1), np.uint8)) > OFTEN)


def _edges(
    view: _View, drawn: _Drawn, moving: Sequence[int], covered: NDArray[np.bool_], k: Intrinsics, reach: int
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Derivatives ``(N, 6)`` of silhouette points across the silhouette by the camera's motion (ω, v), how far ``(N,)``
    the edges are outside it, pixels, and the number of the link ``(N,)`` on which each is.

    Args:
        moving: numbers of the links that are looked at.
        covered: see :func:`_covered`.
    """
    shown = drawn.shown
    inside = (shown > 0).astype(np.float32)
    soft = cv2.GaussianBlur(inside, (0, 0), 2.0)
    du, dv = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    border = (inside > 0) & (cv2.erode(inside, CROSS) == 0)
    border &= np.isin(shown, moving) & ~covered
    rim = reach + ARM + 1
    border[:rim], border[-rim:], border[:, :rim], border[:, -rim:] = False, False, False, False
    v, u = np.nonzero(border)
    if not len(u):
        return np.empty((0, 6)), np.empty(0), np.empty(0, np.int64)
    chosen = np.unique(np.linspace(0, len(u) - 1, POINTS).astype(int))
    u, v = u[chosen], v[chosen]
    normal = -np.stack([du[v, u], dv[v, u]], 1).astype(np.float64)
    length = np.linalg.norm(normal, axis=1)
    normal /= np.maximum(length, 1e-9)[:, None]
    # The border's pixels lie half a pixel inside the silhouette, along the axis that it crosses more steeply.
    place = np.stack([u, v], 1) + 0.5 * np.abs(normal).max(1, keepdims=True) * normal
    along = np.arange(-reach - ARM, reach + ARM + 1)
    at = place[:, None] + along[None, :, None] * normal[:, None]
    profile = cv2.remap(
        view.difference, at[..., 0].astype(np.float32), at[..., 1].astype(np.float32), cv2.INTER_LINEAR
    ).astype(np.float64)
    sums = np.cumsum(np.pad(profile, ((0, 0), (1, 0))), 1)
    middle = np.arange(ARM, len(along) - ARM)
    # The edge lies between a place's neighbours: the place itself belongs to neither side.
    contrast = (sums[:, middle] - sums[:, middle - ARM]) - (sums[:, middle + 1 + ARM] - sums[:, middle + 1])
    contrast /= ARM
    where = contrast.argmax(1)
    best = contrast[np.arange(len(where)), where]
    before = contrast[np.arange(len(where)), np.maximum(where - 1, 0)]
    after = contrast[np.arange(len(where)), np.minimum(where + 1, len(middle) - 1)]
    bend = before - 2 * best + after
    finer = np.where(bend < 0, (before - after) / np.minimum(2 * bend, -1e-9), 0.0)
    off = along[middle][where] + np.clip(finer, -0.5, 0.5)
    clear = (best > SHARP) & (length > 1e-6) & (where > 0) & (where < len(middle) - 1)
    # For derivatives it is near enough that all points of a link are as far from the camera as its middle.
    link = shown[v, u].astype(np.int64)
    depth = drawn.depths[link - 1]
    points = np.stack([(place[:, 0] - k.cx) / k.fx * depth, (place[:, 1] - k.cy) / k.fy * depth, depth], 1)
    slope = np.zeros((len(points), 3))
    slope[:, 0] = normal[:, 0] * k.fx / depth
    slope[:, 1] = normal[:, 1] * k.fy / depth
    slope[:, 2] = -(slope[:, 0] * points[:, 0] + slope[:, 1] * points[:, 1]) / depth
    rows = np.concatenate([np.cross(points, slope), slope], 1)
    return rows[clear], off[clear], link[clear]


def _moved(pose: Floats, motion: Floats) -> Floats:
    """``T_cam_base`` after the small motion (ω, v) of the camera's frame."""
    step = np.eye(4)
    step[:3, :3] = cv2.Rodrigues(motion[:3])[0]
    step[:3, 3] = motion[3:]
    return np.asarray(step @ pose)
