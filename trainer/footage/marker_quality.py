# SPDX-License-Identifier: GPL-3.0-or-later
"""The pose of a marker in one image, and whether it can be relied on (US 12387346, paragraph 42).

An image has pose information of high quality where enough of the marker is seen, large and sharp enough, where its
corners fit one pose, and where the second pose that a plane's image nearly allows fits clearly worse.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.camera.intrinsics import Intrinsics
from ..pose.camera import Camera
from ..pose.rigid_motion import angle_between
from ..pose.solve_pose import solve_pose
from .marker_detector import Detection, inside
from .recording import Floats, MarkerObservation, Quality

LEAST_SHARE = 0.3
"""Of a board's corners that must be found."""
LEAST_CORNERS = 6
"""Of a board; a single marker has four."""
LEAST_SQUARE = 6.0
"""Pixels along the edge of a board's square, in the mean."""
LEAST_MARKER = 20.0
"""Pixels along the edge of a single marker."""
WIDEST_EDGE = 4.0
"""Pixels from black to white."""
WIDEST_SHARE = 0.35
"""The same, as a share of a square's edge."""
MOST_REPROJECTION = 1.0
"""Pixels, or the share of a square's edge below, whichever is more."""
REPROJECTION_SHARE = 0.03
AMBIGUOUS = 0.8
"""Errors of the best pose over those of the second, above which noise may have exchanged them."""
DIFFERENT = math.radians(3)
"""Angle between two poses from which on it matters which one is taken."""
CORNER_NOISE = 0.15
"""Standard deviation in pixels that a found corner has at least."""
EDGES = 60
"""So many edges between corners tell the sharpness."""


def edge_width(grey: NDArray[np.uint8], detection: Detection) -> float:
    """Pixels from black to white across the edges between neighbouring corners, which three of four don't exceed; zero
    where no edge can be measured."""
    import cv2

    one, two = _edges(detection)
    corners = detection.corners
    along = corners[two] - corners[one]
    length = np.linalg.norm(along, axis=1)
    keep = length > 4
    if not keep.any():
        return 0.0
    one, two, along, length = one[keep], two[keep], along[keep], length[keep]
    chosen = np.linspace(0, len(one) - 1, min(len(one), EDGES)).astype(int)
    middle = ((corners[one] + corners[two]) / 2)[chosen]
    normal = (np.stack([-along[:, 1], along[:, 0]], 1) / length[:, None])[chosen]
    reach = np.clip(0.4 * length[chosen], 2, 12)
    steps = np.linspace(-1, 1, 49)
    places = middle[:, None] + normal[:, None] * (reach[:, None] * steps)[..., None]
    profile = cv2.remap(
        grey, places[..., 0].astype(np.float32), places[..., 1].astype(np.float32), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float64)  # fmt: skip
    contrast = np.abs(profile[:, -6:].mean(1) - profile[:, :6].mean(1))
    slope = np.abs(np.gradient(profile, axis=1)).max(1) / (reach * (steps[1] - steps[0]))
    good = (contrast > 15) & (slope > 0)
    return float(np.percentile(contrast[good] / slope[good], 75)) if good.any() else 0.0


def observation(frame: int, detection: Detection, sharpness: float, intrinsics: Intrinsics) -> MarkerObservation | None:
    """A marker's pose in one image; None where no pose puts it in front of the camera.

    Args:
        frame: its place in :attr:`.Footage.frames`.
        sharpness: as :func:`edge_width` has it.
    """
    size = (intrinsics.width, intrinsics.height)
    kept = inside(detection.corners, size)
    corners, points = detection.corners[kept], detection.points[kept]
    if len(corners) < 4:
        return None
    starts = planar_poses(points, corners, intrinsics)
    if not len(starts):
        return None
    camera = Camera.of(intrinsics)
    noise = CORNER_NOISE**2 * torch.eye(2, dtype=torch.float64).expand(1, len(corners), 2, 2)
    solution = solve_pose(
        torch.from_numpy(points), torch.from_numpy(corners).expand(len(starts), -1, -1), camera,
        covariances=noise.expand(len(starts), -1, -1, -1), initial=torch.from_numpy(starts),
    )  # fmt: skip
    errors = solution.residuals.square().sum(-1).mean(-1).sqrt().nan_to_num(nan=math.inf)
    order = errors.argsort()
    order = order[errors[order].isfinite()]
    if not len(order):
        return None
    poses, errors = solution.pose[order], errors[order]
    apart = float(angle_between(poses[0, :3, :3], poses[-1, :3, :3]))
    if len(order) > 1 and apart < DIFFERENT:  # both have come to the same
        poses, errors = poses[:1], errors[:1]
    reprojection = float(errors[0])
    # Where corners scatter more than is assumed, the pose does so too.
    scale = max(1.0, reprojection**2 / (2 * CORNER_NOISE**2))
    one, two = _edges(Detection(detection.marker, corners, points, 1.0))
    edge = float(np.linalg.norm(corners[two] - corners[one], axis=1).mean()) if len(one) else 0.0
    quality = Quality(
        share=detection.share * float(kept.mean()), size=edge, sharpness=sharpness, reprojection=reprojection,
        ambiguity=float(errors[0] / errors[-1].clamp_min(1e-9)) if len(errors) > 1 else 0.0,
    )  # fmt: skip
    single = detection.marker.kind == "aruco"
    quality = replace(quality, reasons=tuple(_reasons(quality, len(corners), single)))
    covariance = (solution.covariance[order[0]] * scale).numpy()
    return MarkerObservation(frame, detection.marker.name, corners, points, poses.numpy(), covariance, quality)


def _reasons(quality: Quality, corners: int, single: bool) -> list[str]:
    reasons = []
    if not single and (quality.share < LEAST_SHARE or corners < LEAST_CORNERS):
        reasons.append(f"Only {quality.share:.0%} of the marker is seen.")
    least = LEAST_MARKER if single else LEAST_SQUARE
    if quality.size < least:
        what = "The marker is" if single else "The marker's squares are"
        reasons.append(f"{what} only {quality.size:.0f} pixels wide.")
    if quality.sharpness > max(WIDEST_EDGE, WIDEST_SHARE * quality.size):
        reasons.append(f"The image is blurred there: edges are {quality.sharpness:.1f} pixels wide.")
    limit = max(MOST_REPROJECTION, REPROJECTION_SHARE * quality.size)
    if quality.reprojection > limit:
        reasons.append(
            f"The corners fit no pose better than {quality.reprojection:.1f} pixels: the marker is bent, its sizes or "
            "the intrinsics are wrong."
        )
    if ambiguous(quality):
        reasons.append(AMBIGUOUS_REASON)
    return reasons


AMBIGUOUS_REASON = "Two poses of the marker explain the image almost equally well."


def ambiguous(quality: Quality) -> bool:
    """Whether an image leaves open which of two poses a plane has."""
    return quality.ambiguity > AMBIGUOUS


def planar_poses(points: Floats, corners: Floats, intrinsics: Intrinsics) -> Floats:
    """The two poses ``T_cam_marker`` ``(2, 4, 4)`` of a plane at z = 0, or fewer where OpenCV finds none."""
    import cv2

    lens = np.array(intrinsics.distortion)
    try:
        done: Any = cv2.solvePnPGeneric(points, corners, intrinsics.matrix, lens, flags=cv2.SOLVEPNP_IPPE)
    except cv2.error:  # corners on one line
        return np.zeros((0, 4, 4))
    poses = []
    for turn, shift in zip(done[1], done[2], strict=True):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(turn)[0], shift.ravel()
        if np.isfinite(pose).all() and (points @ pose[2, :3] + pose[2, 3] > 0).all():
            poses.append(pose)
    return np.array(poses).reshape(-1, 4, 4)


def _edges(detection: Detection) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Neighbouring corners, by place."""
    points = detection.points
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    marker = detection.marker
    step = marker.square if marker.kind in ("checkerboard", "charuco") else marker.side
    one, two = np.nonzero(np.triu(np.abs(apart - step) < 0.01 * step, 1))
    return one, two
