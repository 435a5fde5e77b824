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
from ..pose.silhouette import Border, Drawn, Shapes, moved, smaller_pinhole
from .frame_reader import read_frames
from .marker_observing import Progress
from .outline_covariance import (
    TAIL,
    Edges,
    JointPose,
    camera_motion,
    edge_weights,
    joined_edges,
    motion_covariance,
)
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
OFTEN = 0.35
"""Share of the images in which the robot covers a place, from which on their median may not be the background there."""
STILL = 0.02
"""Metres by which a link moves before its camera at least."""
SHARP = 3.0
"""By how many times the usual difference from the background an edge's two sides differ, at least."""
CLEAR = 30
"""Points of a silhouette that have a clear edge, without which an image doesn't tell whether it agrees."""


@dataclass(frozen=True)
class _View:
    """One image: what differs from the background ``(H, W)``, 1 being usual of the background, ``T_base_link`` of the
    links, and the joints' positions, radians or metres."""

    difference: NDArray[np.float32]
    links: Mapping[str, Floats]
    joints: Mapping[str, float]


@dataclass(frozen=True)
class Outlined:
    """Where a camera is by outlines.

    Attributes:
        pose: ``T_cam_base``.
        covariance: ``(6, 6)`` of the small motion (ω, v) of the camera frame, radians and metres: see
            :func:`.motion_covariance`.
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
    shapes = Shapes.of(footage.robot)
    pinhole = smaller_pinhole(lens, WIDTH)
    scale = pinhole.fx / lens.fx
    looking = _Looking(footage, camera, lens, pinhole, offsets)
    known = [k for k in footage.of_camera(camera) if footage.frames[k].positions is not None]
    spread = {sorted(frames)[k] for k in np.linspace(0, len(frames) - 1, MOST).astype(int)}
    images = dict(looking.images(spread))
    background = np.median(np.stack(list(images.values())), axis=0)
    views = [looking.view(k, image, background) for k, image in images.items()]
    solids = zip(shapes.links, shapes.vertices, strict=True)
    moving = [1 + i for i, (n, vertices) in enumerate(solids) if _moves(vertices, [v.links[n] for v in views])]
    if not moving:
        return None
    pose = start
    whole = len(REACHES) * len(views) + len(known)
    for number, reach in enumerate(REACHES):
        if progress is not None:
            progress(number * len(views), whole)
        drawn = [shapes.drawn(v.links, pose, pinhole) for v in views]
        covered = _covered(drawn)
        found = [_edges(v, d, moving, covered, pinhole, reach) for v, d in zip(views, drawn, strict=True)]
        if sum(len(edges.off) > 0 for edges in found) < LEAST:
            return None
        rows, off = joined_edges(found)
        step = camera_motion(rows, off, edge_weights(off))
        pose = moved(pose, step)
    poses = [JointPose(v.joints, np.array([v.links[n] for n in shapes.links])) for v in views]
    covariance = motion_covariance(footage.robot, shapes.links, poses, found, step)
    agreement, errors = {}, {}
    for number, (place, image) in enumerate(looking.images(known), 1):
        view = looking.view(place, image, background)
        own = _edges(view, shapes.drawn(view.links, pose, pinhole), moving, covered, pinhole, REACHES[0]).off
        if len(own) >= CLEAR:
            near = np.abs(own) < TAIL
            agreement[place] = float(near.mean())
            errors[place] = float(np.sqrt(np.square(own[near]).mean())) / scale if near.any() else TAIL / scale
        if progress is not None:
            progress(whole - len(known) + number, whole)
    return Outlined(pose, covariance, agreement, errors)


def _moves(vertices: Floats, frames: Sequence[Floats]) -> bool:
    low, high = vertices.min(0), vertices.max(0)
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
        return _View(away / usual, self.footage.robot.link_frames(joints), joints)


def _covered(drawn: Sequence[Drawn]) -> NDArray[np.bool_]:
    """Where the robot stands in so many of the images, or so near to it, that their median isn't the background."""
    share = np.mean([d.shown > 0 for d in drawn], axis=0).astype(np.float32)
    return np.asarray(cv2.dilate(share, np.ones((2 * ARM + 1, 2 * ARM + 1), np.uint8)) > OFTEN)


def _edges(
    view: _View, drawn: Drawn, moving: Sequence[int], covered: NDArray[np.bool_], k: Intrinsics, reach: int
) -> Edges:
    """The edges that points along the silhouette find.

    Args:
        moving: numbers of the links that are looked at.
        covered: see :func:`_covered`.
    """
    border = Border.of(drawn, k, POINTS, np.isin(drawn.shown, moving) & ~covered, reach + ARM + 1)
    along = np.arange(-reach - ARM, reach + ARM + 1)
    profile = border.across(view.difference, along).astype(np.float64)
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
    clear = (best > SHARP) & (where > 0) & (where < len(middle) - 1)
    return Edges(border.take(clear), off[clear])
