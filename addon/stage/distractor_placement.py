# SPDX-License-Identifier: GPL-3.0-or-later
"""Where distractors, occluders and cables go, given the robots' boxes and the camera. Metres, in the world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import invert, transform
from ..robot.link_boxes import Boxes
from . import distractor_meshes

Floats = NDArray[np.float64]

CANDIDATES = 12
"""Places that are tried for each solid; if none will do, it is left out."""
LARGEST_IN_VIEW = 0.35
"""A distractor is at most this large, as radius over distance from the camera."""
COVER = 0.4
"""An occluder is at most this large in the picture, in diameters of the robot's part of it; several share it."""


@dataclass(frozen=True)
class View:
    """A camera: ``T_world_cam`` ``(4, 4)``, half the picture's width and height at distance one, and the distance at
    which it begins to see."""

    pose: Floats
    half: tuple[float, float]
    near: float

    @property
    def position(self) -> Floats:
        """The camera's place in the world, ``(3,)``."""
        return self.pose[:3, 3]


@dataclass(frozen=True)
class Site:
    """What a draw is to fit in: the robots, the camera, the first robot's base ``(4, 4)``, its reach and the floor's
    height above the base."""

    boxes: Boxes
    view: View
    base: Floats
    reach: float
    floor: float

    def blocks(self, centres: Floats, radii: Floats) -> NDArray[np.bool_]:
        """Whether a ball hides any corner or middle of a box from the camera, ``(N,)``."""
        eye = self.view.position
        points = np.concatenate([self.boxes.corners, self.boxes.centres]) - eye
        length = np.linalg.norm(points, axis=1)
        along = (centres - eye) @ (points / length[:, None]).T
        beside = ((centres - eye) ** 2).sum(axis=1)[:, None] - along**2
        return np.asarray(((beside < radii[:, None] ** 2) & (along > 0) & (along < length)).any(axis=1))


def around(u: Floats, radii: Floats, lifts: Floats, site: Site) -> list[Floats | None]:
    """Centres of solids around the robots: clear of them, not between them and the camera, and not huge in the picture.

    Args:
        u: numbers in [0, 1), ``(N, CANDIDATES, 3)``.
        radii: of balls that hold the solids, ``(N,)``.
        lifts: height of each centre above what it stands on, ``(N,)``; NaN for one that hangs in the air.
    """
    angle, away = 2 * np.pi * u[..., 0], site.reach * (0.25 + 0.95 * u[..., 1])
    height = np.where(np.isnan(lifts)[:, None], radii[:, None] + site.reach * u[..., 2], lifts[:, None])
    local = np.stack([away * np.cos(angle), away * np.sin(angle), site.floor + height], axis=-1)
    centres = transform(site.base, local.reshape(-1, 3))
    size = np.repeat(radii, CANDIDATES)
    distance = np.linalg.norm(centres - site.view.position, axis=1)
    good = (site.boxes.distance(centres) > size + 0.01 * site.reach) & (size < LARGEST_IN_VIEW * distance)
    good &= distance - size > site.view.near
    good[good] = ~site.blocks(centres[good], size[good])
    return _first(good.reshape(-1, CANDIDATES), centres.reshape(-1, CANDIDATES, 3))


def front(u: Floats, sizes: Floats, site: Site) -> tuple[list[Floats | None], Floats]:
    """Centres of occluders between the camera and the robots, and the radii that they may have, ``(N,)``.

    Args:
        u: numbers in [0, 1), ``(N, CANDIDATES, 4)``.
        sizes: the radii that they should have, ``(N,)``.
    """
    number = len(sizes)
    picture = _picture(site)
    # A box that the picture shows, and a place in it.
    shown = np.flatnonzero(_inside(transform(invert(site.view.pose), site.boxes.centres), site.view))
    if not shown.size:
        shown = np.arange(len(site.boxes.centres))
    chosen = shown[(u[..., 0] * shown.size).astype(int)]
    corners = site.boxes.corners.reshape(-1, 8, 3)
    low, high = corners.min(axis=1)[chosen], corners.max(axis=1)[chosen]
    target = low + (0.25 + 0.5 * u[..., 1:2]) * (high - low)
    share = 0.25 + 0.5 * u[..., 2]
    eye = site.view.position
    centres = eye + share[..., None] * (target - eye)
    distance = np.linalg.norm(centres - eye, axis=-1)
    allowed = COVER / number**0.7 * picture / 2 * distance
    radii = np.minimum(allowed, (sizes * 1.0)[:, None])
    flat = centres.reshape(-1, 3)
    good = site.boxes.distance(flat) > radii.ravel() + 0.01 * site.reach
    good &= distance.ravel() - radii.ravel() > 1.2 * site.view.near
    good = good.reshape(number, CANDIDATES)
    first = good.argmax(axis=1)
    return _first(good, centres), radii[np.arange(number), first]


def carried(u: Floats, site: Site) -> tuple[Floats, Floats, Floats] | None:
    """A thing at a robot's tip, as boards, tools and grippers are: its centre ``(3,)``, how it is turned ``(3, 3)``,
    and half of each of its edges ``(3,)``.

    Half of them are boards, whose normal is their first axis, up to 50° away from where the tip points; the others are
    long in the direction of the tip.

    Args:
        u: numbers in [0, 1), ``(10,)``.

    Returns:
        None if no robot has a tip, or if the thing would come too close to the camera.
    """
    boxes, reach = site.boxes, site.reach
    if not boxes.tips:
        return None
    tip, out = boxes.tips[int(u[0] * len(boxes.tips))]
    scale = np.linalg.norm(boxes.frames[tip, :3, :3], axis=0)
    low, high = boxes.bounds[tip] * scale
    along, across, _ = _frame(out, 2 * np.pi * u[1])
    is_board = u[2] < 0.5
    lean = np.radians(50.0 if is_board else 15.0) * u[3]
    turn = np.stack(_frame(np.cos(lean) * along + np.sin(lean) * across, 2 * np.pi * u[4]), axis=1)
    end = np.abs(out) @ (high - low) / 2
    if is_board:
        half = reach * np.array([0.004, 0.07 + 0.16 * u[5], 0.07 + 0.16 * u[6]])
        beyond = half[0] + 0.05 * reach * u[9]
        aside = turn[:, 1:] @ (0.6 * half[1:] * (2 * u[7:9] - 1))
    else:
        half = reach * np.array([0.03 + 0.14 * u[5], 0.02 + 0.05 * u[6], 0.02 + 0.05 * u[7]])
        beyond, aside = np.abs(out @ turn) @ half, np.zeros(3)
    world = boxes.frames[tip, :3, :3] / scale
    centre = boxes.frames[tip, :3, 3] + world @ ((low + high) / 2 + (end + beyond) * out + aside)
    near = np.linalg.norm(centre - site.view.position) - np.linalg.norm(half)
    return (centre, world @ turn, half) if near > 1.2 * site.view.near else None


def _frame(direction: Floats, angle: float) -> tuple[Floats, Floats, Floats]:
    """A right-handed frame of unit vectors whose first is ``direction``, turned about it by an angle, radians."""
    least = np.eye(3)[int(np.abs(direction).argmin())]
    side = np.cross(direction, least)
    side /= np.linalg.norm(side)
    other = np.cross(direction, side)
    second = np.cos(angle) * side + np.sin(angle) * other
    return direction, second, np.cross(direction, second)


def cable(u: Floats, radius: float, site: Site) -> Floats | None:
    """The course ``(RINGS, 3)`` of a cable: along a robot, from it to the floor or to above, or on the floor.

    Args:
        u: numbers in [0, 1), ``(24,)``.

    Returns:
        None if it would come too close to the camera.
    """
    boxes, reach = site.boxes, site.reach
    kind = u[0]
    count = len(boxes.centres)
    if kind < 0.4 and count > 2:
        steps = 3 if u[1] < 0.5 else 4
        start = int(u[2] * max(1, count - steps + 1))
        chosen = np.arange(start, min(start + steps, count))
        out = transform(site.base, (_direction(u[3], u[4])))[0] - site.base[:3, 3]
        points = boxes.centres[chosen] + (boxes.thickness[chosen] + 0.6 * radius)[:, None] * out
    elif kind < 0.8:
        part = int(u[1] * count)
        out = transform(site.base, _direction(u[3], u[4]))[0] - site.base[:3, 3]
        start_point = boxes.centres[part] + (boxes.thickness[part] - radius) * out
        angle, away = 2 * np.pi * u[5], reach * (0.2 + 0.6 * u[6])
        height = site.floor + radius if kind < 0.65 else site.floor + reach * (1.1 + 0.5 * u[7])
        end = transform(site.base, (away * np.cos(angle), away * np.sin(angle), height))[0]
        between = start_point + np.array([[0.35], [0.7]]) * (end - start_point)
        between += reach * 0.12 * (u[8:14].reshape(2, 3) - 0.5)
        between -= site.base[:3, 2] * reach * 0.15 * u[14]
        points = np.concatenate([start_point[None], between, end[None]])
    else:
        angle = 2 * np.pi * (u[1] + (0.2 + 0.5 * u[2]) * np.linspace(0, 1, 5))
        away = reach * (0.15 + 0.5 * u[3] + 0.25 * (u[4:9] - 0.5))
        local = np.stack([away * np.cos(angle), away * np.sin(angle), np.full(5, site.floor + radius)], axis=1)
        points = transform(site.base, local)
    course = distractor_meshes.through(points)
    near = np.linalg.norm(course - site.view.position, axis=1).min()
    return course if near > 1.2 * site.view.near + 0.1 * reach else None


def _direction(a: float, b: float) -> Floats:
    """A unit vector ``(1, 3)``, every direction alike, from two numbers in [0, 1)."""
    z, angle = 2 * a - 1, 2 * np.pi * b
    r = np.sqrt(max(0.0, 1 - z * z))
    return np.array([[r * np.cos(angle), r * np.sin(angle), z]])


def _picture(site: Site) -> float:
    """Diagonal of the robots' part of the picture, at distance one."""
    points = transform(invert(site.view.pose), np.concatenate([site.boxes.corners, site.boxes.centres]))
    points = points[points[:, 2] > 0]
    if not len(points):
        return 0.0
    seen = np.clip(points[:, :2] / points[:, 2:], np.negative(site.view.half), site.view.half)
    return float(np.linalg.norm(seen.max(axis=0) - seen.min(axis=0)))


def _inside(points: Floats, view: View) -> NDArray[np.bool_]:
    """Whether points in the camera's frame ``(N, 3)`` are in the picture."""
    return np.asarray((points[:, 2] > 0) & (abs(points[:, :2]) < np.array(view.half) * points[:, 2:]).all(axis=1))


def _first(good: NDArray[np.bool_], centres: Floats) -> list[Floats | None]:
    return [c[g.argmax()] if g.any() else None for g, c in zip(good, centres, strict=True)]
