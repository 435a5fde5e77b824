# SPDX-License-Identifier: GPL-3.0-or-later
"""What footage is made of: cameras, frames with joint positions, markers, and what frames show of the markers.

Frames of reference are named after the robot's links; the empty name is the base, the robot's root, in which the room
rests. ``T_a_b`` maps points in frame b to frame a. Pixels are OpenCV's, the centre of the top-left one is (0, 0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import Intrinsics
from ...core.robot.robot import Robot
from .joint_log import JointLog

Floats = NDArray[np.float64]

ROOM = ""
"""The link of what rests beside the robot."""

KINDS = ("checkerboard", "charuco", "grid", "aruco")


@dataclass(frozen=True)
class Camera:
    """One camera.

    Attributes:
        intrinsics: None where they are to be estimated from a board.
        link: that it is mounted on (eye-in-hand), or :data:`ROOM` (eye-to-hand).
        size: width and height of its images, pixels.
    """

    name: str
    intrinsics: Intrinsics | None = None
    link: str = ROOM
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Frame:
    """One image of one camera, not yet read.

    Attributes:
        camera: its name.
        path: an image file, or the video.
        index: number of the frame in a video, from 0; None for an image file.
        time: seconds on the camera's clock; None where only :attr:`moment` says what belongs together.
        moment: frames of several cameras with the same moment were taken at once, with the robot at the same joints.
        positions: joint positions, radians or metres, by the joint's name; None where the log says nothing of it.
        depth: image file of depths beside it, or None.
    """

    camera: str
    path: Path
    index: int | None = None
    time: float | None = None
    moment: str = ""
    positions: Mapping[str, float] | None = None
    depth: Path | None = None

    @property
    def name(self) -> str:
        """How reports call it: the file's name, of a video with the frame's number."""
        return self.path.name if self.index is None else f"{self.path.name}#{self.index}"


@dataclass(frozen=True)
class Marker:
    """A printed board, or markers of one dictionary and size.

    Its frame is OpenCV's: of a checkerboard the origin is the first inner corner, of a ChArUco board the outer corner
    of the first square, of a grid of markers the outer corner of the first marker, of a single ArUco or AprilTag marker
    its middle (x right, y up, z towards who looks at it).

    Attributes:
        kind: one of :data:`KINDS`; AprilTags are ``aruco`` with a dictionary of theirs.
        counts: of a checkerboard its inner corners, of a ChArUco board its squares, of a grid its markers, in x and y.
        square: edge of a board's squares, of a grid from one marker to the next, metres; zero for single markers.
        side: edge of the black square of an ArUco marker, metres; zero for a checkerboard.
        dictionary: OpenCV's name of it, such as ``DICT_4X4_50``; empty for a checkerboard.
        number: which marker of the dictionary, of a grid the first; None for boards, and for whichever single markers
            of the dictionary are there.
        legacy: whether a ChArUco board has the pattern that OpenCV had before 4.6.
        link: that it is mounted on, or :data:`ROOM`.
        mount: ``T_link_marker`` ``(4, 4)``; None where it is to be estimated.
    """

    name: str
    kind: str
    counts: tuple[int, int] = (0, 0)
    square: float = 0.0
    side: float = 0.0
    dictionary: str = ""
    number: int | None = None
    legacy: bool = False
    link: str = ROOM
    mount: Floats | None = None


@dataclass(frozen=True)
class Quality:
    """Whether an image's pose information is of high quality, and what that was decided by.

    Attributes:
        reasons: why it isn't, each a sentence; empty where it is.
        share: of the marker's corners that were found, 0 … 1.
        size: edge of one of the marker's squares in the image, pixels, in the mean.
        sharpness: width of the edges between black and white, pixels; the smaller the sharper.
        reprojection: root mean square error of the corners under the marker's own best pose, pixels.
        ambiguity: reprojection error of the best of the two poses over that of the second: near 1, a plane's image
            can't tell them apart; 0 where there is no second.
    """

    reasons: tuple[str, ...] = ()
    share: float = 1.0
    size: float = 0.0
    sharpness: float = 0.0
    reprojection: float = 0.0
    ambiguity: float = 0.0

    @property
    def high(self) -> bool:
        """Whether the pose can be relied on."""
        return not self.reasons


@dataclass(frozen=True)
class MarkerObservation:
    """What one frame shows of one marker.

    Attributes:
        frame: its place in :attr:`Footage.frames`.
        marker: the marker's name.
        corners: pixels ``(N, 2)``.
        points: the same corners in the marker's frame, metres, ``(N, 3)``.
        poses: ``T_cam_marker``, the best first, then the second solution of a planar pose where there is one,
            ``(1 or 2, 4, 4)``.
        covariance: of the first of them, ``(6, 6)``, as :class:`.Solution` has it: radians and metres.
    """

    frame: int
    marker: str
    corners: Floats
    points: Floats
    poses: Floats
    covariance: Floats
    quality: Quality = field(default_factory=Quality)

    @property
    def pose(self) -> Floats:
        """``T_cam_marker`` ``(4, 4)``."""
        return np.asarray(self.poses[0])


@dataclass(frozen=True)
class Footage:
    """A whole recording.

    Attributes:
        source: the file that describes it.
        frames: in the order of time, those of one camera after those of another.
        clock_offset: seconds to be added to the frames' times for those of the joint log; it is contained in the
            frames' positions. None where there are no times.
        estimate_clock: whether it is to be estimated from the images.
        log: the robot's joints over time, where frames have times.
    """

    source: Path
    robot: Robot
    cameras: tuple[Camera, ...]
    markers: tuple[Marker, ...]
    frames: tuple[Frame, ...]
    clock_offset: float | None = None
    estimate_clock: bool = False
    log: JointLog | None = None

    def camera(self, name: str) -> Camera:
        """The camera of that name."""
        return next(c for c in self.cameras if c.name == name)

    def marker(self, name: str) -> Marker:
        """The marker of that name."""
        return next(m for m in self.markers if m.name == name)

    def of_camera(self, name: str) -> Sequence[int]:
        """Places of the frames that a camera took, in the order of time."""
        return [i for i, f in enumerate(self.frames) if f.camera == name]
