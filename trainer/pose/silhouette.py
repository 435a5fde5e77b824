# SPDX-License-Identifier: GPL-3.0-or-later
"""A robot's silhouette in an image: points along it, and how they move across it with the camera [Harris1990]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import Intrinsics, transform
from ...core.camera.rasterizer import numbers, pairs
from ...core.errors import UserError
from ...core.meshes import reader
from ...core.meshes.mesh import MeshData, joined
from ...core.meshes.vertex_clustering import clustered
from ...core.robot.robot import Robot

Floats = NDArray[np.float64]

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
"""A pixel and its four neighbours."""
FLAT = 1e-6
"""Where a blurred silhouette rises by less a pixel, it has no direction."""


@dataclass(frozen=True)
class Drawn:
    """What an image shows with the camera at ``T_cam_base``.

    Attributes:
        pose: ``T_cam_base``.
        shown: the number of the link from 1 on at each pixel ``(H, W)``, 0 for none.
        depths: how far the middle of each link is from the camera's plane, metres ``(L,)``.
        turns: how links are turned before the camera ``(L, 3, 3)``.
    """

    pose: Floats
    shown: NDArray[np.uint16]
    depths: Floats
    turns: Floats


@dataclass(frozen=True)
class Shapes:
    """The shapes of those L links that have one, in the links' frames.

    Attributes:
        links: their names.
        vertices: of each, metres ``(V, 3)``.
        faces: of each, indices of its vertices ``(F, 3)``.
    """

    links: tuple[str, ...]
    vertices: tuple[Floats, ...]
    faces: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, robot: Robot) -> Shapes:
        """The shapes of a robot; those that can't be read are left out, of which is told when a robot is loaded."""
        files: dict[str, MeshData] = {}
        parts: dict[str, list[MeshData]] = {}
        for visual in robot.visuals:
            if visual.shape == "placeholder":
                continue
            try:
                parts.setdefault(visual.link, []).append(reader.shape(visual, files))
            except UserError:
                continue
        whole = {n: joined(p) for n, p in parts.items() if p}
        return cls(tuple(whole), tuple(m.vertices for m in whole.values()), tuple(m.faces for m in whole.values()))

    def coarser(self, size: float) -> Shapes:
        """The same with the vertices of each cube of this size, metres, in one place."""
        pairs = [clustered(v, f, size) for v, f in zip(self.vertices, self.faces, strict=True)]
        return replace(self, vertices=tuple(v for v, _ in pairs), faces=tuple(f for _, f in pairs))

    def drawn(self, frames: Mapping[str, Floats], pose: Floats, k: Intrinsics) -> Drawn:
        """What a pinhole camera sees of the robot.

        Args:
            frames: ``T_base_link`` of the links.
            pose: ``T_cam_base``.
        """
        placed, triangles = self._placed(frames, pose)
        values = np.repeat(np.arange(1, len(placed) + 1, dtype=np.uint16), [len(f) for f in self.faces])
        depths = np.array([p[:, 2].mean() for p in placed])
        turns = np.array([(pose @ frames[n])[:3, :3] for n in self.links])
        return Drawn(pose, numbers(np.concatenate(placed), triangles, values, k), np.maximum(depths, 1e-3), turns)

    def overdraw(self, frames: Mapping[str, Floats], pose: Floats, k: Intrinsics) -> float:
        """How many times as many pixels as the image has :meth:`drawn` looks at."""
        placed, triangles = self._placed(frames, pose)
        return pairs(np.concatenate(placed), triangles, k) / (k.width * k.height)

    def _placed(self, frames: Mapping[str, Floats], pose: Floats) -> tuple[list[Floats], NDArray[np.int64]]:
        """The links' vertices in the camera's frame, and the triangles of all of them together."""
        placed = [transform(pose @ frames[n], v) for n, v in zip(self.links, self.vertices, strict=True)]
        counts = np.cumsum([0, *(len(p) for p in placed)])
        return placed, np.concatenate([f + c for f, c in zip(self.faces, counts, strict=False)])


@dataclass(frozen=True)
class Border:
    """N points along a silhouette.

    Attributes:
        places: pixels ``(N, 2)``.
        normals: across the silhouette, outwards ``(N, 2)``.
        links: numbers of their links, from 1 on ``(N,)``.
        points: in the camera's frame, metres ``(N, 3)``, as far from it as the middle of their link, which is near
            enough for derivatives.
        slopes: pixels across the silhouette by the point's motion in that frame ``(N, 3)``.
        sides: number of the side of the link on which each is ``(N,)``.
        pose: ``T_cam_base``.
    """

    places: Floats
    normals: Floats
    links: NDArray[np.int64]
    points: Floats
    slopes: Floats
    sides: NDArray[np.int64]
    pose: Floats

    @classmethod
    def of(cls, drawn: Drawn, k: Intrinsics, most: int, among: NDArray[np.bool_] | None = None, rim: int = 1) -> Border:
        """At most so many points of a silhouette.

        Args:
            among: pixels of the robot that are wanted ``(H, W)``; None is all.
            rim: pixels at the image's edge where none are.
        """
        inside = (drawn.shown > 0).astype(np.float32)
        soft = cv2.GaussianBlur(inside, (0, 0), 2.0)
        du, dv = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
        edge = (inside > 0) & (cv2.erode(inside, CROSS) == 0)
        if among is not None:
            edge &= among
        edge[:rim], edge[-rim:], edge[:, :rim], edge[:, -rim:] = False, False, False, False
        v, u = np.nonzero(edge)
        chosen = np.unique(np.linspace(0, max(len(u) - 1, 0), most).astype(int))[: len(u)]
        u, v = u[chosen], v[chosen]
        rise = -np.stack([du[v, u], dv[v, u]], 1).astype(np.float64)
        steep = np.linalg.norm(rise, axis=1)
        u, v, normal = (a[steep > FLAT] for a in (u, v, rise / np.maximum(steep, FLAT)[:, None]))
        # The border's pixels lie half a pixel inside the silhouette, along the axis that it crosses more steeply.
        place = np.stack([u, v], 1) + 0.5 * np.abs(normal).max(1, keepdims=True, initial=0.0) * normal
        link = drawn.shown[v, u].astype(np.int64)
        depth = drawn.depths[link - 1]
        points = np.stack([(place[:, 0] - k.cx) / k.fx * depth, (place[:, 1] - k.cy) / k.fy * depth, depth], 1)
        slope = np.zeros((len(points), 3))
        slope[:, 0] = normal[:, 0] * k.fx / depth
        slope[:, 1] = normal[:, 1] * k.fy / depth
        slope[:, 2] = -(slope[:, 0] * points[:, 0] + slope[:, 1] * points[:, 1]) / depth
        # A shape that isn't the robot's is so on one side of a link.
        level = np.concatenate([normal, np.zeros((len(normal), 1))], 1)
        towards = np.einsum("nij,ni->nj", drawn.turns[link - 1], level)
        axis = np.abs(towards).argmax(1)
        side = 6 * link + 2 * axis + (towards[np.arange(len(axis)), axis] > 0)
        return cls(place, normal, link, points, slope, side, drawn.pose)

    @property
    def rows(self) -> Floats:
        """Derivatives ``(N, 6)`` of the points across the silhouette by the camera frame's small motion (ω, v)."""
        return np.concatenate([np.cross(self.points, self.slopes), self.slopes], 1)

    def take(self, chosen: NDArray[np.bool_]) -> Border:
        """Those of the points that are ``chosen``, ``(N,)``."""
        return Border(
            self.places[chosen], self.normals[chosen], self.links[chosen], self.points[chosen], self.slopes[chosen],
            self.sides[chosen], self.pose,
        )  # fmt: skip

    def across(self, image: NDArray[np.float32], along: NDArray[np.int64]) -> NDArray[np.float32]:
        """The values ``(N, A, …)`` that an image ``(H, W, …)`` has so many pixels ``(A,)`` outside each point."""
        at = (self.places[:, None] + along[None, :, None] * self.normals[:, None]).astype(np.float32)
        found = cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_LINEAR) if len(at) else np.empty(0)
        return np.asarray(found, np.float32).reshape(len(self.places), len(along), *image.shape[2:])


def smaller_pinhole(camera: Intrinsics, longest: int) -> Intrinsics:
    """A camera without its distortion, of pictures reduced to at most so many pixels along the longer side."""
    scale = min(1.0, longest / max(camera.width, camera.height))
    return Intrinsics(
        max(1, round(camera.width * scale)), max(1, round(camera.height * scale)), camera.fx * scale, camera.fy * scale,
        (camera.cx + 0.5) * scale - 0.5, (camera.cy + 0.5) * scale - 0.5,
    )  # fmt: skip


def moved(pose: Floats, motion: Floats) -> Floats:
    """``T_cam_base`` after the small motion (ω, v) of the camera's frame."""
    step = np.eye(4)
    step[:3, :3] = cv2.Rodrigues(motion[:3])[0]
    step[:3, 3] = motion[3:]
    return np.asarray(step @ pose)
