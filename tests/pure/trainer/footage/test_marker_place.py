# SPDX-License-Identifier: GPL-3.0-or-later
"""A marker's place from one camera, from two, and from a depth image; the covariances tell the truth."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from marker_footage import CAMERA, ROBOT, Floats
from robot_keypoints.core.camera.intrinsics import invert
from robot_keypoints.trainer.footage.marker_detector import Detection, board_points
from robot_keypoints.trainer.footage.marker_place import Place, place_from_cameras, with_depth
from robot_keypoints.trainer.footage.marker_quality import observation
from robot_keypoints.trainer.footage.recording import Marker, MarkerObservation

MARKER = Marker("tag", "aruco", side=0.06, dictionary="DICT_4X4_50", number=0)
TRUTH = np.eye(4)
TRUTH[:3, :3] = cv2.Rodrigues(np.array([np.pi - 0.4, 0.3, 0.2]))[0]
TRUTH[:3, 3] = (0.02, -0.03, 0.7)
RIGHT = np.eye(4)
RIGHT[:3, :3] = cv2.Rodrigues(np.array([0.0, 0.5, 0.0]))[0]
RIGHT[:3, 3] = (-0.3, 0.0, 0.1)
CAMERAS = {"left": np.eye(4), "right": RIGHT}
NOISE = 0.15


def seen(camera: Floats, random: np.random.Generator) -> MarkerObservation:
    points = board_points(MARKER)
    pose = camera @ TRUTH
    corners, _ = CAMERA.project(points @ pose[:3, :3].T + pose[:3, 3])
    found = observation(0, Detection(MARKER, corners + random.normal(0, NOISE, (4, 2)), points, 1.0), 1.0, CAMERA)
    assert found is not None
    return found


def alone(found: MarkerObservation) -> Place:
    return Place(found.pose, found.covariance)


def off(pose: Floats) -> Floats:
    shift = TRUTH @ invert(pose)
    return np.array([*cv2.Rodrigues(shift[:3, :3])[0].ravel(), *shift[:3, 3]])


def test_two_cameras_tell_the_distance_better_than_one() -> None:
    random = np.random.default_rng(0)
    intrinsics = dict.fromkeys(CAMERAS, CAMERA)
    errors: dict[int, list[Floats]] = {1: [], 2: []}
    squares = []
    for _ in range(15):
        both = [(name, seen(camera, random)) for name, camera in CAMERAS.items()]
        for count in (1, 2):
            place = place_from_cameras(ROBOT, both[:count], CAMERAS, intrinsics)
            errors[count].append(off(place.pose))
        squares.append(float(errors[2][-1] @ np.linalg.solve(place.covariance, errors[2][-1])))
    depth = {count: np.sqrt(np.mean(np.array(e)[:, 5] ** 2)) for count, e in errors.items()}
    assert depth[2] < 0.5 * depth[1]
    assert 3 < np.mean(squares) < 10  # chi-square with six degrees of freedom


def test_a_depth_image_corrects_the_distance() -> None:
    random = np.random.default_rng(1)
    u, v = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    pixels = CAMERA.undistort(np.stack([u.ravel(), v.ravel()], 1))
    rays = np.concatenate([(pixels - (CAMERA.cx, CAMERA.cy)) / (CAMERA.fx, CAMERA.fy), np.ones((len(pixels), 1))], 1)
    normal = TRUTH[:3, 2]
    plane = ((normal @ TRUTH[:3, 3]) / (rays @ normal)).reshape(CAMERA.height, CAMERA.width)
    before, after = [], []
    for _ in range(15):
        found = seen(np.eye(4), random)
        place = with_depth(alone(found), found, plane + random.normal(0, 0.002, plane.shape))
        assert place is not None
        before.append(off(found.pose)[5])
        after.append(off(place.pose)[5])
        assert place.covariance[5, 5] < found.covariance[5, 5]
    assert np.std(after) < 0.8 * np.std(before)
    # Without a reading the marker alone tells; a wall behind it is no reading of it.
    for nothing in (np.full_like(plane, np.nan), np.where(random.random(plane.shape) < 2, np.nan, plane)):
        assert with_depth(alone(found), found, nothing) is None


def test_what_scatters_more_is_trusted_less() -> None:
    found = seen(np.eye(4), np.random.default_rng(2))
    rough = replace(found, quality=replace(found.quality, reprojection=1.0))
    intrinsics = {"left": CAMERA}
    fine, loose = (
        place_from_cameras(ROBOT, [("left", o)], {"left": np.eye(4)}, intrinsics).covariance for o in (found, rough)
    )
    assert np.trace(loose) > 4 * np.trace(fine)
