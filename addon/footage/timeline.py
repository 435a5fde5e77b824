# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frame of a recording is at which frame of the timeline, and what is told of it there. Without Blender."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.messages.labelled_footage import FootageFrame, LabelledFootage

Floats = NDArray[np.float64]

LONGEST_NAME = 63
"""Bytes of a timeline marker's name in Blender."""

SAME = 1e-4
"""Radians, metres, and in entries of ``T_cam_base``: by less, a rig stands as keys of single precision had it."""

RESTING = 1e-5
"""By which entries of ``T_cam_base`` may differ between frames of a camera that rests."""


@dataclass(frozen=True)
class Moment:
    """A frame of the timeline.

    Attributes:
        number: on the timeline, from 1.
        place: of the frame in the whole recording.
    """

    number: int
    place: int
    frame: FootageFrame


def moments(footage: LabelledFootage, camera: str) -> tuple[Moment, ...]:
    """What one camera took: a video frame for frame, single images one after another."""
    own = [(place, f) for place, f in enumerate(footage.frames) if f.camera == camera]
    return tuple(Moment((k if f.index is None else f.index) + 1, place, f) for k, (place, f) in enumerate(own))


def reason(frame: FootageFrame) -> str:
    """Why a frame wants a look; empty where it doesn't."""
    if frame.label is None:
        return f"left out: {frame.left_out or 'it has no label'}"
    if frame.source != "hand" and frame.doubts:
        return f"doubtful: {' '.join(frame.doubts)}"
    return ""


def marker_name(text: str) -> str:
    """A reason as a timeline marker can bear it: as many of its words as there is room for."""
    data = text.encode()
    if len(data) <= LONGEST_NAME:
        return text
    return data[: LONGEST_NAME - 2].decode(errors="ignore").rpartition(" ")[0] + "…"


def joint_values(shown: Sequence[Moment], joint: str) -> tuple[list[int], list[float]]:
    """Frames of the timeline and positions, radians or metres, where a joint's is known."""
    known = [(m.number, m.frame.joints[joint]) for m in shown if m.frame.joints and joint in m.frame.joints]
    return [n for n, _ in known], [v for _, v in known]


def deviation_values(shown: Sequence[Moment], joint: str = "") -> tuple[list[int], list[float]]:
    """Frames of the timeline and standard deviations: of a joint, radians or metres, or of the keypoints, pixels."""
    found = [(m.number, (m.frame.joint_deviations or {}).get(joint) if joint else m.frame.deviation) for m in shown]
    known = [(n, v) for n, v in found if v is not None]
    return [n for n, _ in known], [v for _, v in known]


def camera_poses(shown: Sequence[Moment]) -> tuple[list[int], Floats]:
    """Frames of the timeline and ``T_cam_base`` ``(N, 4, 4)``: one only of a camera that rests."""
    known = [(m.number, m.frame.T_cam_base) for m in shown if m.frame.T_cam_base is not None]
    poses = np.array([p for _, p in known], dtype=np.float64).reshape(-1, 4, 4)
    if len(poses) and np.ptp(poses, axis=0).max() <= RESTING:
        return [known[0][0]], poses[:1]
    return [n for n, _ in known], poses


def next_of(numbers: Sequence[int], now: int, back: bool = False) -> int | None:
    """The next of some frames after the present one, or before it; beyond the last one the first. None of none."""
    if back:
        before = [n for n in numbers if n < now]
        return max(before) if before else max(numbers, default=None)
    after = [n for n in numbers if n > now]
    return min(after) if after else min(numbers, default=None)


def stands_as_labelled(frame: FootageFrame, pose: Floats, joints: Mapping[str, float]) -> bool:
    """Whether a rig at ``T_cam_base`` with these joint positions stands as a frame's label has it already."""
    if frame.label is None or frame.T_cam_base is None:
        return False
    labelled = frame.joints or {}
    apart = [abs(position - labelled.get(name, math.inf)) for name, position in joints.items()]
    return max([float(np.abs(pose - frame.T_cam_base).max()), *apart]) < SAME
