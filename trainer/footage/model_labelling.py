# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels without a marker: where kinematics have the keypoints before cameras that a model has placed.

One image's keypoints may be far off; the camera goes by all images together, so that labels are better than what the
model finds, and it can learn from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...core.camera.intrinsics import invert, transform
from ...core.robot.keypoints import Keypoint
from .calibration import Calibration
from .labelling import FrameLabel, Labelled, LabelledKeypoint, known_too_badly, labelled_keypoint
from .model_calibration import Confirmed
from .recording import Floats

METHOD = "model"
STEP = 1e-5
"""Radians or metres, for derivatives by the joints."""


def label_by_model(confirmed: Confirmed, keypoints: Sequence[Keypoint], most: float) -> Labelled:
    """Labels of the images that the model's keypoints confirm.

    Args:
        most: pixels; images with a keypoint whose standard deviation is larger are left out.
    """
    calibration = confirmed.calibration
    footage = calibration.footage
    left_out = {k: "The joint log says nothing of it." for k, f in enumerate(footage.frames) if f.positions is None}
    left_out |= confirmed.unconfirmed
    labels = []
    for place, error in sorted(confirmed.errors.items()):
        label = _label(calibration, place, keypoints, error)
        if label.deviation > most:
            left_out[place] = known_too_badly(label)
        else:
            labels.append(label)
    return Labelled(footage, METHOD, tuple(labels), left_out)


def _label(calibration: Calibration, place: int, keypoints: Sequence[Keypoint], error: float) -> FrameLabel:
    frame = calibration.footage.frames[place]
    result = calibration.cameras[frame.camera]
    intrinsics = result.camera.intrinsics
    assert intrinsics is not None
    robot = calibration.footage.robot
    joints = dict(frame.positions or {})
    for name, (offset, _) in calibration.offsets.items():
        joints[name] = joints.get(name, 0.0) + offset
    spread = result.with_offsets

    def placed(positions: Mapping[str, float]) -> tuple[Floats, dict[str, Floats], Floats]:
        """``T_cam_base``, ``T_cam_link`` of all links, and the keypoints ``(N, 3)`` in the camera's frame."""
        links = robot.link_frames(positions)
        base = result.pose @ (invert(links[result.camera.link]) if result.camera.link else np.eye(4))
        seen = {n: base @ t for n, t in links.items()}
        return base, seen, np.concatenate([transform(seen[k.frame], k.offset) for k in keypoints])

    base, links, points = placed(joints)
    # By the camera's small motion (ω, v), then by each offset.
    turns = np.stack([np.cross(axis, points) for axis in np.eye(3)], -1)
    slopes = [turns, np.broadcast_to(np.eye(3), turns.shape)]
    twists = [np.eye(6)]
    for name in calibration.offsets:
        (after, _, later), (before, _, earlier) = (
            placed({**joints, name: joints[name] + step}) for step in (STEP, -STEP)
        )
        slopes.append(((later - earlier) / (2 * STEP))[..., None])
        change = (after @ invert(before) - np.eye(4)) / (2 * STEP)
        twists.append(np.array([[change[2, 1], change[0, 2], change[1, 0], *change[:3, 3]]]).T)
    slope, twist = np.concatenate(slopes, -1), np.concatenate(twists, -1)
    found: tuple[LabelledKeypoint, ...] = tuple(
        labelled_keypoint(k.name, intrinsics, xyz, s @ spread @ s.T)
        for k, xyz, s in zip(keypoints, points, slope, strict=True)
    )
    deviations = dict.fromkeys(joints, 0.0) | {n: deviation for n, (_, deviation) in calibration.offsets.items()}
    return FrameLabel(place, "model", base, twist @ spread @ twist.T, joints, deviations, links, found, error)
