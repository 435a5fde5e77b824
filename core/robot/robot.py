# SPDX-License-Identifier: GPL-3.0-or-later
"""A robot as a tree of links and joints, posed by forward kinematics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Matrix = tuple[tuple[float, ...], ...]

MOST = 1e9
"""Metres, radians or a factor: more than any robot has, and little enough to be multiplied."""

MOVING = ("revolute", "continuous", "prismatic")
IDENTITY: Matrix = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Mimic:
    """A joint that follows another: ``multiplier · leader + offset``."""

    joint: str
    multiplier: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Joint:
    """One joint.

    Attributes:
        kind: ``revolute``, ``continuous``, ``prismatic`` or ``fixed``.
        origin: ``T_parent_joint`` at position zero.
        axis: unit vector in the joint's own frame.
        lower, upper: limits, radians or metres; ``-π … π`` for continuous joints.
        fixed: whether it stays at zero unless the user lets it vary: a part of a floating or planar joint.
    """

    name: str
    kind: str
    parent: str
    child: str
    origin: Matrix = IDENTITY
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0)
    lower: float = 0.0
    upper: float = 0.0
    mimic: Mimic | None = None
    fixed: bool = False

    @property
    def moving(self) -> bool:
        """Whether the joint has a position at all."""
        return self.kind in MOVING

    @property
    def circular(self) -> bool:
        """Whether the joint can turn through a full circle."""
        return self.kind == "continuous" or (self.kind == "revolute" and self.upper - self.lower >= 2 * math.pi - 1e-6)

    def motion(self, position: float) -> Floats:
        """The joint's own displacement ``(4, 4)`` at ``position`` (radians or metres)."""
        result = np.eye(4)
        if self.kind == "prismatic":
            result[:3, 3] = np.asarray(self.axis) * position
        elif self.moving:
            result[:3, :3] = rotation_about(self.axis, position)
        return result


@dataclass(frozen=True)
class Visual:
    """One visible shape of a link.

    Attributes:
        shape: ``mesh``, ``box``, ``cylinder``, ``capsule`` or ``sphere``, or ``placeholder``: a box where a mesh is
            missing.
        origin: ``T_link_visual``.
        size: box edge lengths, or (radius, length, 0) of a cylinder or of the straight part of a capsule, both along
            z, or (radius, 0, 0) of a sphere, metres; for a mesh its scale.
        path: the mesh file, ``""`` for the other shapes.
        colour: display-sRGB RGBA from the robot's file, or None where it gives none; what a mesh file says about its
            own colours goes first.
        texture: image file from the robot's file, or ``""``.
    """

    link: str
    shape: str
    origin: Matrix
    size: tuple[float, float, float]
    path: str = ""
    colour: tuple[float, float, float, float] | None = None
    texture: str = ""


@dataclass(frozen=True)
class Robot:
    """Links and joints of one robot; ``joints`` come parents first."""

    name: str
    root: str
    joints: tuple[Joint, ...]
    visuals: tuple[Visual, ...] = ()
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def moving_joints(self) -> tuple[Joint, ...]:
        """Joints with a position of their own: neither of kind ``fixed`` nor following another."""
        return tuple(j for j in self.joints if j.moving and j.mimic is None)

    @property
    def links(self) -> tuple[str, ...]:
        """All links, parents first."""
        return (self.root, *(j.child for j in self.joints))

    def link_frames(self, positions: Mapping[str, float]) -> dict[str, Floats]:
        """Forward kinematics: ``T_base_link`` ``(4, 4)`` of every link.

        Joints that are not named stand at zero, or inside their limits where those exclude zero.
        """
        frames = {self.root: np.eye(4)}
        values: dict[str, float] = {}
        for joint in self.joints:
            if joint.moving and joint.mimic is None:
                values[joint.name] = positions.get(joint.name, min(max(0.0, joint.lower), joint.upper))
        for joint in self.joints:
            if joint.mimic is not None:
                leader = values.get(joint.mimic.joint, 0.0)
                values[joint.name] = joint.mimic.multiplier * leader + joint.mimic.offset
            motion = joint.motion(values.get(joint.name, 0.0))
            frames[joint.child] = frames[joint.parent] @ np.asarray(joint.origin) @ motion
        return frames

    def rest_frames(self) -> dict[str, Floats]:
        """``T_base_link`` with every joint at zero, followers and joints whose limits exclude it included."""
        frames = {self.root: np.eye(4)}
        for joint in self.joints:
            frames[joint.child] = frames[joint.parent] @ np.asarray(joint.origin)
        return frames

    def reach(self) -> float:
        """Longest chain of joint offsets from the root, metres: a radius that holds the robot."""
        extent = {self.root: 0.0}
        for joint in self.joints:
            step = float(np.linalg.norm(np.asarray(joint.origin)[:3, 3]))
            slides = joint.kind == "prismatic" and not joint.fixed
            travel = max(abs(joint.lower), abs(joint.upper)) if slides else 0.0
            extent[joint.child] = extent[joint.parent] + step + travel
        return max(extent.values()) or 1.0

    def to_dict(self) -> dict[str, Any]:
        """Kinematics alone, without shapes, as plain JSON values."""
        joints = []
        for j in self.joints:
            entry: dict[str, Any] = {
                "name": j.name, "kind": j.kind, "parent": j.parent, "child": j.child,
                "origin": [list(row) for row in j.origin], "axis": list(j.axis), "limits": [j.lower, j.upper],
            }  # fmt: skip
            if j.mimic:
                entry["mimic"] = [j.mimic.joint, j.mimic.multiplier, j.mimic.offset]
            if j.fixed:
                entry["held"] = True
            joints.append(entry)
        return {"name": self.name, "root": self.root, "joints": joints}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Robot:
        """Inverse of :meth:`to_dict`.

        Raises:
            KeyError, IndexError, TypeError, ValueError: if the document is not one that ``to_dict`` made.
        """
        joints = [
            Joint(
                name=str(j["name"]), kind=str(j["kind"]), parent=str(j["parent"]), child=str(j["child"]),
                origin=as_matrix(j["origin"]), axis=triple(j["axis"]),
                lower=float(j["limits"][0]), upper=float(j["limits"][1]),
                mimic=Mimic(str(j["mimic"][0]), float(j["mimic"][1]), float(j["mimic"][2])) if "mimic" in j else None,
                fixed=bool(j.get("held", False)),
            )
            for j in data["joints"]
        ]  # fmt: skip
        root = str(data["root"])
        links = {root}
        for j in joints:
            if j.kind not in (*MOVING, "fixed") or j.parent not in links or j.child in links:
                raise ValueError(f"the joint {j.name!r} does not hang on the robot's tree")
            links.add(j.child)
            numbers = [*sum(j.origin, ()), *j.axis]
            numbers += [j.mimic.multiplier, j.mimic.offset] if j.mimic is not None else []
            if not all(abs(n) <= MOST for n in numbers) or not math.isfinite(j.lower) or not math.isfinite(j.upper):
                raise ValueError(f"the joint {j.name!r} has what is no sensible number")
        if len({j.name for j in joints}) < len(joints):
            raise ValueError("two joints have the same name")
        return cls(str(data["name"]), root, tuple(joints))


def rotation_about(axis: Sequence[float], angle: float) -> Floats:
    """Rotation matrix ``(3, 3)`` by ``angle`` radians about a unit ``axis`` (Rodrigues)."""
    x, y, z = axis
    c, s = math.cos(angle), math.sin(angle)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + s * cross + (1 - c) * (cross @ cross))


def as_matrix(values: Any) -> Matrix:
    """A ``(4, 4)`` array-like as nested tuples."""
    m = np.asarray(values, dtype=np.float64)
    if m.shape != (4, 4):
        raise ValueError(f"a transform must be 4 × 4, not {m.shape}")
    return tuple(tuple(float(x) for x in row) for row in m)


def triple(values: Any) -> tuple[float, float, float]:
    """Three numbers."""
    x, y, z = (float(v) for v in values)
    return (x, y, z)
