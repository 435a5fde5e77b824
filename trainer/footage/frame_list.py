# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each frame of footage, for whoever shows it: see :mod:`...core.messages.labelled_footage`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...core.camera.intrinsics import Intrinsics
from ...core.messages.labelled_footage import FootageFrame, LabelledFootage
from ...core.robot.keypoints import Keypoint
from .calibration import Calibration
from .labelling import FrameLabel, Labelled
from .recording import Frame


def frame_list(
    labelled: Labelled, calibration: Calibration, keypoints: Sequence[Keypoint], form: str
) -> LabelledFootage:
    """All frames of the footage with their labels, which the data set of the format ``form`` has in the same order."""
    footage = calibration.footage
    doubts: dict[int, list[str]] = {}
    for o in calibration.observations:
        doubts.setdefault(o.frame, []).extend(f"{o.marker}: {reason}" for reason in o.quality.reasons)
    labels = {label.frame: (index, label) for index, label in enumerate(labelled.labels)}
    frames = []
    for place, frame in enumerate(footage.frames):
        why = tuple(doubts.get(place, ()))
        if place in labels:
            frames.append(_labelled(frame, *labels[place], why))
        else:
            left_out = labelled.left_out.get(place, "")
            frames.append(
                FootageFrame(
                    frame.camera, frame.path, frame.index, frame.time, frame.positions, left_out=left_out, doubts=why
                )
            )
    cameras: dict[str, Intrinsics] = {}
    for camera in footage.cameras:
        assert camera.intrinsics is not None
        cameras[camera.name] = camera.intrinsics
    return LabelledFootage(footage.robot, tuple(keypoints), form, cameras, tuple(frames))


def _labelled(frame: Frame, index: int, label: FrameLabel, doubts: tuple[str, ...]) -> FootageFrame:
    deviation = label.deviation if math.isfinite(label.deviation) else None
    return FootageFrame(
        frame.camera, frame.path, frame.index, frame.time, label.joints, label.T_cam_base, index, label.source,
        deviation, label.deviations, doubts=doubts,
    )  # fmt: skip
