# SPDX-License-Identifier: GPL-3.0-or-later
"""Where markers and keypoints are at each moment of a recording whose cameras are known: from all cameras that see them
then, and from depth images (US 12387346, paragraph 43)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...core.camera.intrinsics import Intrinsics, invert
from .calibration import Calibration
from .frame_reader import read_depth
from .marker_place import Place, place_from_cameras, with_depth
from .model_keypoints import ModelKeypoints
from .recording import ROOM, Floats, Footage, MarkerObservation
from .triangulation import triangulate


@dataclass(frozen=True)
class MarkerPlace:
    """A marker at one moment.

    Attributes:
        time: on the cameras' clock, seconds; None where nobody knows.
        place: ``T_base_marker``; the covariance takes the cameras as true.
        cameras: that see it.
        depth: whether a depth image has told, too.
        apart: metres from where the joints and the mount have it.
    """

    moment: str
    time: float | None
    marker: str
    place: Place
    cameras: tuple[str, ...]
    depth: bool
    apart: float


@dataclass(frozen=True)
class KeypointPlace:
    """A model's keypoint at one moment, from two cameras or more.

    Attributes:
        xyz: in the base's frame, metres ``(3,)``, with its covariance ``(3, 3)``, which takes the cameras as true.
        apart: metres from where the joints have it.
    """

    moment: str
    time: float | None
    keypoint: str
    xyz: Floats
    covariance: Floats
    cameras: tuple[str, ...]
    apart: float


def marker_places(calibration: Calibration) -> list[MarkerPlace]:
    """Each marker whose mount is known at each moment at which a camera sees it well.

    Raises:
        UserError: if a depth image can't be read.
    """
    footage = calibration.footage
    groups: dict[tuple[str, str], list[MarkerObservation]] = {}
    for o in calibration.observations:
        if o.quality.high and footage.marker(o.marker).mount is not None:
            groups.setdefault((footage.frames[o.frame].moment, o.marker), []).append(o)
    found = []
    for (moment, name), seen in groups.items():
        frames = [footage.frames[o.frame] for o in seen]
        cameras = {f.camera: _camera_pose(calibration, o.frame) for f, o in zip(frames, seen, strict=True)}
        by_name = [(f.camera, o) for f, o in zip(frames, seen, strict=True)]
        if len(seen) > 1:
            place = place_from_cameras(footage.robot, by_name, cameras, _intrinsics(footage))
        else:
            place = Place(seen[0].pose, seen[0].covariance).seen_from(invert(cameras[frames[0].camera]))
        depth = False
        for camera, o in by_name:
            measured = _with_depth(footage, o, place.seen_from(cameras[camera]))
            if measured is not None:
                place, depth = measured.seen_from(invert(cameras[camera])), True
        marker = footage.marker(name)
        links = {**footage.robot.link_frames(frames[0].positions or {}), ROOM: np.eye(4)}
        assert marker.mount is not None
        expected = links[marker.link] @ marker.mount
        apart = float(np.linalg.norm(place.pose[:3, 3] - expected[:3, 3]))
        found.append(MarkerPlace(moment, frames[0].time, name, place, tuple(cameras), depth, apart))
    return found


def keypoint_places(calibration: Calibration, found: ModelKeypoints) -> list[KeypointPlace]:
    """Each keypoint that two cameras or more are sure of at one moment."""
    footage = calibration.footage
    groups: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for k, taken in enumerate(found.frames):
        for n in np.flatnonzero(taken.sure).tolist():
            groups.setdefault((footage.frames[taken.frame].moment, n), []).append((k, taken.frame))
    intrinsics = _intrinsics(footage)
    places = []
    for (moment, n), members in groups.items():
        names = [footage.frames[frame].camera for _, frame in members]
        if len(set(names)) < 2:
            continue
        result = triangulate(
            [_camera_pose(calibration, frame) for _, frame in members], [intrinsics[name] for name in names],
            np.stack([found.frames[k].pixels[n] for k, _ in members]),
            np.stack([found.frames[k].covariances[n] for k, _ in members]),
        )  # fmt: skip
        if result is None:
            continue
        first = footage.frames[members[0][1]]
        keypoint = found.keypoints[n]
        link = footage.robot.link_frames(first.positions or {})[keypoint.frame]
        expected = (link @ np.array([*keypoint.offset, 1.0]))[:3]
        places.append(KeypointPlace(
            moment, first.time, keypoint.name, result[0], result[1], tuple(names),
            float(np.linalg.norm(result[0] - expected)),
        ))  # fmt: skip
    return places


def with_depths(calibration: Calibration) -> Calibration:
    """The calibration with markers' poses corrected where there are depth images.

    Raises:
        UserError: if one can't be read.
    """
    observations = []
    for o in calibration.observations:
        place = _with_depth(calibration.footage, o, Place(o.pose, o.covariance)) if o.quality.high else None
        if place is not None:
            o = replace(o, poses=np.stack([place.pose, *o.poses[1:]]), covariance=place.covariance)
        observations.append(o)
    return replace(calibration, observations=tuple(observations))


def as_json(markers: Sequence[MarkerPlace], keypoints: Sequence[KeypointPlace]) -> dict[str, Any]:
    """All places as plain JSON values."""
    return {
        "markers": [
            {"moment": p.moment, "time": p.time, "marker": p.marker, "T_base_marker": p.place.pose.tolist(),
             "covariance": p.place.covariance.tolist(), "cameras": list(p.cameras), "depth": p.depth,
             "from_joints_mm": 1e3 * p.apart}
            for p in markers
        ],
        "keypoints": [
            {"moment": p.moment, "time": p.time, "keypoint": p.keypoint, "xyz": p.xyz.tolist(),
             "covariance": p.covariance.tolist(), "cameras": list(p.cameras), "from_joints_mm": 1e3 * p.apart}
            for p in keypoints
        ],
    }  # fmt: skip


def as_text(markers: Sequence[MarkerPlace], keypoints: Sequence[KeypointPlace]) -> list[str]:
    """Lines about what several cameras, or depth images, have told."""
    lines = []
    several = [p for p in markers if len(p.cameras) > 1]
    by_depth = [p for p in markers if p.depth]
    for what, own in (("several cameras at once", several), ("depth images", by_depth)):
        if own:
            apart = 1e3 * float(np.median([p.apart for p in own]))
            lines.append(f"markers placed by {what} {len(own)} times, {apart:.1f} mm from the joints' places (median)")
    if keypoints:
        apart = 1e3 * float(np.median([p.apart for p in keypoints]))
        lines.append(f"{len(keypoints)} keypoints triangulated, {apart:.1f} mm from the joints' places (median)")
    return lines


def _with_depth(footage: Footage, seen: MarkerObservation, place: Place) -> Place | None:
    """``T_cam_marker`` corrected by the frame's depth image; None where it has none, or nothing is measured there."""
    frame = footage.frames[seen.frame]
    depth = read_depth(frame, footage.camera(frame.camera).size)
    return None if depth is None else with_depth(place, seen, depth)


def _camera_pose(calibration: Calibration, frame: int) -> Floats:
    """``T_cam_base`` at the moment of a frame."""
    footage = calibration.footage
    taken = footage.frames[frame]
    result = calibration.cameras[taken.camera]
    if result.camera.link == ROOM:
        return result.pose
    return result.pose @ invert(footage.robot.link_frames(taken.positions or {})[result.camera.link])


def _intrinsics(footage: Footage) -> Mapping[str, Intrinsics]:
    return {c.name: c.intrinsics for c in footage.cameras if c.intrinsics is not None}
