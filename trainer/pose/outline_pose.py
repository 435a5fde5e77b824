# SPDX-License-Identifier: GPL-3.0-or-later
"""The pose of a robot with known joints by its outline in a single image, from where its keypoints have it.

A few keypoints, some of them hidden, place a camera badly: errors of a percent of the image become decimetres. The
outline has hundreds of points. Which of an image's edges is the robot's can't be told from one pose that is some twenty
pixels off, so many poses are tried that the keypoints allow, and then some around the best of them. Points along the
silhouette look for edges across it [Harris1990], further at first, and every edge within reach counts, nearer ones for
more, until those at the silhouette are left. The pose on whose silhouette most edges lie wins.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import Intrinsics
from ...core.errors import UserError
from ...core.messages.robot_shapes import RobotShapes
from ...core.robot.robot import Robot
from .silhouette import Border, Shapes, moved, smaller_pinhole

Floats = NDArray[np.float64]

WIDTH = 640
"""Pixels to which the longer side of images is reduced."""
CUBE = 0.012
"""Metres within which vertices are one while many poses are tried."""
POSES, FINALISTS = 16, 4
"""That are tried, and so many of them to the end."""
ROUNDS, CLOSER = 3, 4
"""In each round but the first, so many poses around each of the best ones of before are tried, half as far away."""
WIDER = 1.5
"""Times its standard deviations a pose by keypoints is trusted to be off: a model is surer of itself than right."""
COARSE, FINE = (8.0, 5.0, 3.0), (3.0, 2.0, 1.4, 1.4)
"""Standard deviations in pixels by which edges count for less, step by step: of all poses, and of the finalists."""
COARSE_POINTS, POINTS = 120, 250
"""Along the silhouette, of the same."""
REACH = 2.5
"""Standard deviations within which edges are looked for."""
DOUBT = 0.25
"""What counts against there being an edge, as much as one of that strength for it."""
BLUR = 1.0
"""Standard deviation of the smoothing before edges are looked for, pixels."""
FAINT = 1.0
"""A change of colour by pixel (of L*, a*, b* from 0 to 255) that is common even where an image shows nothing."""
CLEAR = 0.2
"""Strength of an edge on the silhouette from which on it tells how well the pose is known."""
ALIKE = 17.0
"""So many neighbours along a silhouette err together, by a pixel."""
SHARPEST = 1e-12
"""Variance, radians² or metres², that nothing is surer than."""
LEAST = 12
"""Clear edges, without which it isn't."""
MOST_OVERDRAW = 64.0
"""Times the image's pixels that may have to be looked at to draw the robot once: more would take minutes."""
SURE = 0.42
"""Support from which on an outline is believed."""


@dataclass(frozen=True)
class OutlinePose:
    """Where a robot is by its outline.

    Attributes:
        pose: ``T_cam_base``.
        covariance: of the small motion (ω, v) of the camera frame, ``(6, 6)``, radians and metres.
        support: how much of the silhouette has edges on it, 0 … 1.
        before: the same of the pose that it started from.
    """

    pose: Floats
    covariance: Floats
    support: float
    before: float

    @property
    def sure(self) -> bool:
        """Whether the outline is to be believed rather than the keypoints."""
        return self.support >= max(SURE, self.before)

    def to_dict(self) -> dict[str, Any]:
        """How it went, as plain JSON values."""
        return {"used": self.sure, "support": round(self.support, 4), "before": round(self.before, 4)}


@dataclass(frozen=True)
class OutlineSolver:
    """A robot's shapes, whole and coarser.

    Attributes:
        posed: whether the shapes lie in the base frame as the joints stand, and not in the links' frames.
    """

    robot: Robot
    shapes: Shapes
    coarse: Shapes
    posed: bool = False

    @classmethod
    def of(cls, robot: Robot) -> OutlineSolver:
        """The solver of a robot.

        Raises:
            UserError: if it has no shapes that can be read.
        """
        shapes = Shapes.of(robot)
        if not shapes.links:
            raise UserError(
                f"The robot {robot.name} brings no shapes that can be read, and --outline goes by them: give its URDF "
                "with its meshes by --robot FILE"
            )
        return cls(robot, shapes, shapes.coarser(CUBE))

    @classmethod
    def of_posed(cls, robot: Robot, posed: RobotShapes) -> OutlineSolver:
        """The solver of a robot whose shapes somebody tells as they stand, such as those of a rig in Blender."""
        shapes = Shapes(
            tuple(str(number) for number in range(len(posed.parts))),
            tuple(part.vertices.astype(np.float64) for part in posed.parts),
            tuple(part.triangles.astype(np.int64) for part in posed.parts),
        )
        return cls(robot, shapes, shapes.coarser(CUBE), posed=True)

    def check(self, joints: Collection[str]) -> None:
        """Whether all joints are known.

        Raises:
            UserError: naming one that isn't.
        """
        missing = [j.name for j in self.robot.moving_joints if not j.fixed and j.name not in joints]
        if missing:
            raise UserError(
                f"A pose by the outline is of the whole robot, and nothing tells its joint {missing[0]}: give the "
                "positions of all joints"
            )

    def solve(
        self, image: NDArray[np.uint8], camera: Sequence[float], joints: Mapping[str, float], start: Floats,
        covariance: Floats, others: Sequence[Floats] = (),
    ) -> OutlinePose | None:  # fmt: skip
        """Move the camera until the robot's silhouette lies on edges of the image.

        Args:
            image: RGB or RGBA ``(H, W, 3 or 4)``.
            camera: fx, fy, cx, cy, k1, k2, p1, p2, k3, pixels of the image.
            joints: positions of all joints, radians or metres.
            start: ``T_cam_base`` ``(4, 4)`` by keypoints.
            covariance: of the small motion (ω, v) of the camera frame by which that may be wrong, ``(6, 6)``.
            others: further poses that explain the keypoints about as well.

        Returns:
            None where too little of the silhouette has edges on it, or drawing it would take too long.
        """
        if not np.isfinite(covariance).all():
            return None
        variances, axes = np.linalg.eigh(WIDER**2 * covariance)
        variances = np.maximum(variances, SHARPEST)
        deviations, random = axes * np.sqrt(variances), np.random.default_rng(0)
        frames, picture = self._frames(joints), _Picture.of(image, camera)
        if self.shapes.overdraw(frames, start, picture.pinhole) > MOST_OVERDRAW:
            return None
        search = _Search(picture, frames, (axes / variances) @ axes.T)
        anchors = [start, *others]
        tries = [_Try(anchor, np.zeros(6)) for anchor in anchors]
        while len(tries) < POSES:
            tries.append(_Try(anchors[len(tries) % len(anchors)], deviations @ random.normal(size=6)))
        best: list[tuple[float, _Try]] = []
        for number in range(ROUNDS):
            if number:
                near = deviations / 2**number
                tries = [
                    _Try(t.anchor, t.motion + near @ random.normal(size=6)) for _, t in best for _ in range(CLOSER)
                ]
            settled = [search.settled(self.coarse, t, COARSE, COARSE_POINTS) for t in tries]
            found = [(search.support(self.coarse, t, COARSE[-1]), t) for t in settled]
            best = sorted([*best, *found], key=lambda pair: -pair[0])[:FINALISTS]
        ends = [search.settled(self.shapes, t, FINE, POINTS) for _, t in best]
        supports = [search.support(self.shapes, t, FINE[-1]) for t in ends]
        end = ends[int(np.argmax(supports))]
        spread = search.covariance(self.shapes, end)
        if spread is None:
            return None
        before = search.support(self.shapes, _Try(start, np.zeros(6)), FINE[-1])
        return OutlinePose(end.pose, spread, max(supports), before)

    def lines(self, camera: Intrinsics, joints: Mapping[str, float], pose: Floats) -> list[Floats]:
        """The outline as closed lines of pixels ``(N, 2)``, as a camera with a lens shows it.

        Args:
            joints: positions of all joints, radians or metres.
            pose: ``T_cam_base``.
        """
        pinhole = smaller_pinhole(camera, WIDTH)
        shown = self.shapes.drawn(self._frames(joints), pose, pinhole).shown
        found, _ = cv2.findContours((shown > 0).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        lines = []
        for contour in found:
            u, v = contour.reshape(-1, 2).T
            rays = np.stack([(u - pinhole.cx) / pinhole.fx, (v - pinhole.cy) / pinhole.fy, np.ones(len(u))], 1)
            pixels = camera.project(rays)[0]
            lines.append(pixels[np.isfinite(pixels).all(1)])
        return lines

    def _frames(self, joints: Mapping[str, float]) -> Mapping[str, Floats]:
        """``T_base_link`` of what has a shape."""
        return dict.fromkeys(self.shapes.links, np.eye(4)) if self.posed else self.robot.link_frames(joints)


@dataclass(frozen=True)
class _Picture:
    """An image as edges are looked for in it.

    Attributes:
        right, down: how colours change by pixel, ``(H, W, 3)``.
        common: how large a change is common.
        pinhole: its camera, without distortion.
    """

    right: NDArray[np.float32]
    down: NDArray[np.float32]
    common: float
    pinhole: Intrinsics

    @classmethod
    def of(cls, image: NDArray[np.uint8], camera: Sequence[float]) -> _Picture:
        height, width = image.shape[:2]
        fx, fy, cx, cy, *lens = camera
        whole = Intrinsics(width, height, fx, fy, cx, cy)
        pinhole = smaller_pinhole(whole, WIDTH)
        if any(lens):
            matrix = whole.matrix
            maps = cv2.initUndistortRectifyMap(matrix, np.array(lens), np.eye(3), matrix, (width, height), cv2.CV_32FC1)
            image = np.asarray(cv2.remap(image, *maps, cv2.INTER_LINEAR))
        small = cv2.resize(image, (pinhole.width, pinhole.height), interpolation=cv2.INTER_AREA)
        colours = cv2.GaussianBlur(cv2.cvtColor(small[..., :3], cv2.COLOR_RGB2LAB).astype(np.float32), (0, 0), BLUR)
        right = cv2.Sobel(colours, cv2.CV_32F, 1, 0, scale=1 / 8)
        down = cv2.Sobel(colours, cv2.CV_32F, 0, 1, scale=1 / 8)
        common = FAINT + 2 * float(np.median(np.sqrt(np.square(right).sum(-1) + np.square(down).sum(-1))))
        return cls(right, down, common, pinhole)

    def edges(self, border: Border, width: float) -> tuple[NDArray[np.int64], Floats]:
        """Pixels outside a border ``(A,)``, and how strong the edges there are ``(N, A)``, 0 … 1, those that many
        standard deviations ``width`` away less."""
        reach = int(np.ceil(REACH * width))
        along = np.arange(-reach - 1, reach + 2)
        right, down = border.across(self.right, along), border.across(self.down, along)
        change = right * border.normals[:, :1, None] + down * border.normals[:, 1:, None]
        size = np.sqrt(np.square(change).sum(-1))
        middle = size[:, 1:-1]
        peak = (middle >= size[:, :-2]) & (middle > size[:, 2:]) & (middle > self.common / 2)
        strength = np.where(peak, middle / (middle + self.common), 0.0)
        return along[1:-1], strength * np.exp(-np.square(along[1:-1] / width) / 2)


@dataclass(frozen=True)
class _Try:
    """The pose by a small motion (ω, v) of the camera's frame ``(6,)`` from one that keypoints have."""

    anchor: Floats
    motion: Floats

    @property
    def pose(self) -> Floats:
        """``T_cam_base``."""
        return moved(self.anchor, self.motion)


@dataclass(frozen=True)
class _Search:
    """One image, ``T_base_link`` of the links, and the inverse of the covariance of the keypoints' pose ``(6, 6)``."""

    picture: _Picture
    frames: Mapping[str, Floats]
    information: Floats

    def settled(self, shapes: Shapes, at: _Try, widths: Sequence[float], most: int) -> _Try:
        """A try after a step for each of ``widths``, pixels, by at most so many points."""
        for width in widths:
            border = self._border(shapes, at, most)
            along, near = self.picture.edges(border, width)
            total = near.sum(1)
            off = (near @ along) / np.maximum(total, np.finfo(float).tiny)
            # One point knows the place of its edge by the width and a pixel.
            rows = border.rows * (total / (total + DOUBT) / (width**2 + 1))[:, None]
            step = np.linalg.solve(rows.T @ border.rows + self.information, rows.T @ off - self.information @ at.motion)
            at = _Try(at.anchor, at.motion + step)
        return at

    def support(self, shapes: Shapes, at: _Try, width: float) -> float:
        """How much of the silhouette has edges on it, 0 … 1, by a standard deviation of ``width`` pixels."""
        _, near = self.picture.edges(self._border(shapes, at, POINTS), width)
        return float(near.max(1).mean()) if len(near) else 0.0

    def covariance(self, shapes: Shapes, at: _Try) -> Floats | None:
        """Of the camera frame's small motion (ω, v), ``(6, 6)``; None of too few clear edges."""
        border = self._border(shapes, at, POINTS)
        _, near = self.picture.edges(border, FINE[-1])
        if (near.max(1, initial=0.0) > CLEAR).sum() < LEAST:
            return None
        total = near.sum(1)
        rows = border.rows * (total / (total + DOUBT) / ALIKE)[:, None]
        return np.asarray(np.linalg.inv(rows.T @ border.rows + self.information))

    def _border(self, shapes: Shapes, at: _Try, most: int) -> Border:
        pinhole = self.picture.pinhole
        return Border.of(shapes.drawn(self.frames, at.pose, pinhole), pinhole, most)
