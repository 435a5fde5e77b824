# SPDX-License-Identifier: GPL-3.0-or-later
"""Where cameras and mounts may be, from some images at a time, so that wrong images don't matter.

OpenCV solves ``A X = Z B`` for a few images that agree with one another; how well all images of the pair fit what comes
of it tells the best of many such trials. Corners of a checkerboard are counted from the end that fits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import Intrinsics, invert
from .recording import Floats

TRIALS = 60
SAMPLE = 6
LEAST = 3
"""Images from which on ``A X = Z B`` has a solution."""
AGREE = math.radians(2.0)
"""Angle by which the turns of a pair of images may differ between marker and robot."""
TRUNCATE = 20.0
"""Pixels, root mean square, from which on an image is as bad as any."""
PLENTY = 300
"""So many images judge a trial."""


@dataclass(frozen=True)
class View:
    """One image of a marker by a camera.

    Attributes:
        link: ``T_cameralink_markerlink`` as the joints say, ``(4, 4)``.
        ways: ``T_cam_marker`` ``(4, 4)``, one for each way of counting the marker's corners, and for each of the two
            poses that a plane may have.
        points: the corners in the marker's frame in each way ``(W, N, 3)``.
        corners: pixels ``(N, 2)``.
    """

    link: Floats
    ways: Floats
    points: Floats
    corners: Floats


def placed_together(
    views: Sequence[View], intrinsics: Intrinsics, camera: Floats | None, mount: Floats | None
) -> tuple[Floats, Floats, float] | None:
    """``T_cam_link`` of the camera, ``T_link_marker``, and how well they fit (pixels, root mean square of each image,
    cut off and averaged); None where no trial gives any.

    Args:
        camera, mount: where they are known.
    """
    random = np.random.default_rng(0)
    judges = [views[int(k)] for k in np.linspace(0, len(views) - 1, min(len(views), PLENTY)).astype(int)]
    best: tuple[Floats, Floats, float] | None = None
    for x, y in _trials(views, camera, mount, random):
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            continue
        cost = float(np.mean([min(error_of(v, intrinsics, x, y)[0], TRUNCATE) for v in judges]))
        if best is None or cost < best[2]:
            best = x, y, cost
    return best


def error_of(view: View, intrinsics: Intrinsics, camera: Floats, mount: Floats) -> tuple[float, int]:
    """Root mean square error in pixels of an image in the way that fits best, and which way of counting that is."""
    pose = camera @ view.link @ mount
    placed = view.points @ pose[:3, :3].T + pose[:3, 3]
    pixels, depth = intrinsics.project(placed.reshape(-1, 3))
    off = pixels.reshape(*view.points.shape[:2], 2) - view.corners
    square = (off**2).sum(-1)
    bad = ~np.isfinite(square) | (depth.reshape(square.shape) <= 0)
    errors = np.sqrt(np.where(bad, 1e12, square).mean(-1))
    way = int(errors.argmin())
    return float(errors[way]), way


def _trials(
    views: Sequence[View], camera: Floats | None, mount: Floats | None, random: np.random.Generator
) -> Iterator[tuple[Floats, Floats]]:
    if camera is not None and mount is not None:
        yield camera, mount
        return
    if camera is not None or mount is not None:
        order = random.permutation(len(views))[:TRIALS]
        for view in (views[int(k)] for k in order):
            for way in view.ways:
                if camera is not None:
                    yield camera, invert(camera @ view.link) @ way
                elif mount is not None:
                    yield way @ invert(view.link @ mount), mount
        return
    if len(views) < LEAST:
        return
    for _ in range(TRIALS):
        seed = views[int(random.integers(len(views)))]
        first = seed.ways[int(random.integers(len(seed.ways)))]
        agreeing = [(v, way) for v in views if v is not seed and (way := _agreeing(seed, first, v)) is not None]
        if len(agreeing) < LEAST - 1:
            continue
        chosen = random.permutation(len(agreeing))[: SAMPLE - 1]
        sample = [(seed, first), *(agreeing[int(k)] for k in chosen)]
        yield from _solved([v.link for v, _ in sample], [way for _, way in sample])


def _agreeing(seed: View, first: Floats, view: View) -> Floats | None:
    """The way of ``view`` whose turn since ``seed`` is as large as the robot's; None where none is."""
    robot = _angle((invert(seed.link) @ view.link)[:3, :3])
    turns = np.array([_angle((invert(first) @ way)[:3, :3]) for way in view.ways])
    k = int(np.abs(turns - robot).argmin())
    return view.ways[k] if abs(turns[k] - robot) < AGREE else None


def _angle(rotation: Floats) -> float:
    return math.acos(float(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))


def _solved(links: Sequence[Floats], poses: Sequence[Floats]) -> Iterator[tuple[Floats, Floats]]:
    """``A X = Z B`` with the camera's poses of the marker as A and the robot's as B, by OpenCV's two methods."""
    import cv2

    def parts(matrices: Sequence[Floats]) -> tuple[list[Floats], list[Floats]]:
        return [m[:3, :3] for m in matrices], [m[:3, 3:] for m in matrices]

    for method in (cv2.CALIB_ROBOT_WORLD_HAND_EYE_SHAH, cv2.CALIB_ROBOT_WORLD_HAND_EYE_LI):
        try:
            done = cv2.calibrateRobotWorldHandEye(*parts(poses), *parts(links), method=method)
        except cv2.error:  # axes all parallel, or too few
            continue
        marker_link, camera = _rigid(done[0], done[1]), _rigid(done[2], done[3])
        if marker_link is not None and camera is not None:
            yield camera, invert(marker_link)


def _rigid(rotation: NDArray[np.float64], shift: NDArray[np.float64]) -> Floats | None:
    if not (np.isfinite(rotation).all() and np.isfinite(shift).all()):
        return None
    u, _, vt = np.linalg.svd(rotation)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt, np.asarray(shift).ravel()
    return pose
