# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of footage as a data set without labels: pictures, cameras, and the joint positions at the time."""

from __future__ import annotations

from pathlib import Path

from ...core.errors import UserError
from ..datasets.annotations import Annotated, Annotation, Item
from .footage_file import load_footage
from .recording import ROOM, Camera


def read_unlabelled(path: Path) -> Annotated:
    """The images of a ``FOOTAGE.toml`` whose joint positions are known.

    Raises:
        UserError: if it can't be read, has a video, or a camera of which too little is known.
    """
    footage = load_footage(path)
    cameras = {camera.name: camera for camera in footage.cameras}
    numbers = {name: _numbers(path, camera) for name, camera in cameras.items()}
    items = []
    for frame in footage.frames:
        if frame.index is not None:
            raise UserError(
                f"{path} has the video {frame.path.name}, and a training reads images: label it with "
                "robot-keypoints label, and learn from the data set that it writes"
            )
        if frame.positions is not None:
            width, height = cameras[frame.camera].size
            body = Annotation({}, joints=frame.positions)
            items.append(
                Item(
                    str(frame.path), frame.path, width, height, (body,), numbers[frame.camera],
                    f"{path.resolve()}:{frame.camera}",
                )
            )  # fmt: skip
    if not items:
        raise UserError(f"{path} tells of no image what the joints' positions were: give it a joint log that does")
    return Annotated(path, "footage", (), tuple(items), False)


def _numbers(path: Path, camera: Camera) -> tuple[float, ...]:
    """fx, fy, cx, cy, k1, k2, p1, p2, k3."""
    if camera.link != ROOM:
        raise UserError(
            f"{path}: the camera {camera.name} is on the link {camera.link}, and a training learns without labels "
            "only from a camera that rests: label the footage first"
        )
    if camera.intrinsics is None:
        raise UserError(
            f"{path}: nothing is known of the camera {camera.name}'s lens: give its intrinsics, or label the footage "
            "first"
        )
    i = camera.intrinsics
    return (i.fx, i.fy, i.cx, i.cy, *i.distortion)
