# SPDX-License-Identifier: GPL-3.0-or-later
"""A robot as a tree of links and joints: read from URDF, posed by forward kinematics."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from .errors import UserError

Floats = NDArray[np.float64]
Matrix = tuple[tuple[float, ...], ...]

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
        shape: ``mesh``, ``box``, ``cylinder`` or ``sphere``.
        origin: ``T_link_visual``.
        size: box edge lengths, or (radius, length, 0) of a cylinder, or (radius, 0, 0) of a sphere, metres; for a
            mesh its scale.
        path: the mesh file, ``""`` for the other shapes.
        colour: display-sRGB RGBA from the URDF's material, or None where the file's own colours stand.
    """

    link: str
    shape: str
    origin: Matrix
    size: tuple[float, float, float]
    path: str = ""
    colour: tuple[float, float, float, float] | None = None


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
        """Joints with a position of their own: neither fixed nor following another."""
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
            travel = max(abs(joint.lower), abs(joint.upper)) if joint.kind == "prismatic" else 0.0
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
            joints.append(entry)
        return {"name": self.name, "root": self.root, "joints": joints}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Robot:
        """Inverse of :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: if the document is not one that ``to_dict`` made.
        """
        joints = [
            Joint(
                name=str(j["name"]), kind=str(j["kind"]), parent=str(j["parent"]), child=str(j["child"]),
                origin=as_matrix(j["origin"]), axis=_triple(j["axis"]),
                lower=float(j["limits"][0]), upper=float(j["limits"][1]),
                mimic=Mimic(str(j["mimic"][0]), float(j["mimic"][1]), float(j["mimic"][2])) if "mimic" in j else None,
            )
            for j in data["joints"]
        ]  # fmt: skip
        return cls(str(data["name"]), str(data["root"]), tuple(joints))


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


def load_urdf(path: str | os.PathLike[str], packages: Mapping[str, str] | None = None) -> Robot:
    """Read links, joints and visual shapes; meshes are located but not loaded.

    Args:
        path: the URDF file.
        packages: where packages named in ``package://NAME/…`` lie, besides ``ROS_PACKAGE_PATH`` and the folders
            above the file.

    Raises:
        UserError: if the file is missing or not a robot that can be built.
    """
    import yourdfpy  # here, because it takes a quarter of a second and the workers never need it

    file = Path(path)
    if not file.is_file():
        raise UserError(f"There is no URDF file at {file}: choose another file")
    _check_xml(file)
    try:
        document = yourdfpy.URDF.load(
            str(file), build_scene_graph=False, build_collision_scene_graph=False, load_meshes=False,
            load_collision_meshes=False,
        ).robot  # fmt: skip
    except UserError:
        raise
    except Exception as problem:  # the parsers under yourdfpy raise whatever they like on bad input
        raise UserError(f"{file.name} could not be read as a URDF ({_one_line(problem)}): check the file") from problem

    warnings: list[str] = []
    links = [link.name for link in document.links]
    joints = [_joint(j, file.name, warnings) for j in document.joints]
    root, ordered = _order(links, joints, file.name)
    named = {m.name: m for m in document.materials if m.color is not None}
    resolve = MeshFinder(file.resolve(), packages or {})
    visuals: list[Visual] = []
    for link in document.links:
        for visual in link.visuals:
            shape = _visual(link.name, visual, named, resolve, warnings)
            if shape is not None:
                visuals.append(shape)
    if resolve.missing and not visuals:
        raise UserError(
            f"None of the {len(resolve.missing)} meshes of {file.name} was found, such as {resolve.missing[0]}: "
            "say where its package lies (robot.packages, or ROS_PACKAGE_PATH)"
        )
    return Robot(document.name or file.stem, root, ordered, tuple(visuals), tuple(warnings))


def _check_xml(file: Path) -> None:
    """Refuse broken XML: yourdfpy would go on with the part of a robot that it could read."""
    try:
        tag = ElementTree.parse(file).getroot().tag
    except ElementTree.ParseError as problem:
        if problem.code == expat.errors.codes[expat.errors.XML_ERROR_UNBOUND_PREFIX]:
            return  # left behind by xacro, and harmless
        raise UserError(f"{file.name} could not be read as a URDF ({_one_line(problem)}): check the file") from problem
    except (OSError, ValueError) as problem:
        raise UserError(f"{file.name} could not be read as a URDF ({_one_line(problem)}): check the file") from problem
    if tag != "robot":
        raise UserError(f"{file.name} is not a URDF: it describes <{tag[:40]}>, not <robot>; choose another file")


class MeshFinder:
    """Turns the mesh names of one URDF into paths."""

    def __init__(self, urdf: Path, packages: Mapping[str, str]) -> None:
        self.urdf = urdf
        self.packages = dict(packages)
        self.missing: list[str] = []
        self.roots = [Path(p) for p in os.environ.get("ROS_PACKAGE_PATH", "").split(os.pathsep) if p]

    def __call__(self, name: str) -> Path | None:
        """The file behind ``name`` (``package://``, ``file://``, absolute, or relative to the URDF), or None."""
        match = re.match(r"(?:package|model):/{2,}([^/]+)/(.*)", name)
        if match:
            return self._in_package(match[1], match[2])
        plain = Path(re.sub(r"^file://", "", name))
        candidate = plain if plain.is_absolute() else self.urdf.parent / plain
        return candidate if candidate.is_file() else None

    def _in_package(self, package: str, rest: str) -> Path | None:
        folders = [Path(self.packages[package])] if package in self.packages else []
        for root in [*self.roots, *self.urdf.parents]:
            folders.append(root / package)
            if root.name == package:
                folders.append(root)
        for folder in folders:
            if (folder / rest).is_file():
                return folder / rest
        return None


def _joint(j: Any, file: str, warnings: list[str]) -> Joint:
    kind = j.type
    if kind in ("floating", "planar"):
        warnings.append(f"joint {j.name} is {kind}; it is kept fixed")
        kind = "fixed"
    if kind not in (*MOVING, "fixed"):
        raise UserError(f"{file}: joint {j.name} has the unknown type {j.type!r}: use a URDF joint type")
    axis = np.asarray(j.axis if j.axis is not None else (1.0, 0.0, 0.0), dtype=np.float64)
    length = float(np.linalg.norm(axis))
    if kind in MOVING and not (math.isfinite(length) and length > 1e-9):
        raise UserError(f"{file}: joint {j.name} has the axis {axis.tolist()}: give it a direction")
    lower, upper = -math.pi, math.pi
    if kind in ("revolute", "prismatic"):
        if j.limit is None or j.limit.lower is None or j.limit.upper is None:
            warnings.append(f"joint {j.name} has no limits; it gets {'±1 m' if kind == 'prismatic' else '±180°'}")
            if kind == "prismatic":
                lower, upper = -1.0, 1.0
        else:
            lower, upper = float(j.limit.lower), float(j.limit.upper)
        if not (math.isfinite(lower) and math.isfinite(upper) and lower <= upper):
            raise UserError(f"{file}: joint {j.name} has the limits {lower} … {upper}: give it a finite range")
    mimic = None
    if j.mimic is not None:
        multiplier = 1.0 if j.mimic.multiplier is None else float(j.mimic.multiplier)
        mimic = Mimic(j.mimic.joint, multiplier, float(j.mimic.offset or 0.0))
    axis = axis / length if kind in MOVING else np.array([0.0, 0.0, 1.0])
    origin = as_matrix(j.origin if j.origin is not None else np.eye(4))
    if not np.isfinite(origin).all():
        raise UserError(f"{file}: joint {j.name} has an origin that is not finite: correct its xyz and rpy")
    return Joint(j.name, kind, j.parent, j.child, origin, _triple(axis), lower, upper, mimic)


def _order(links: Sequence[str], joints: Sequence[Joint], file: str) -> tuple[str, tuple[Joint, ...]]:
    """The root link and the joints, parents first; refuses what is not one tree."""
    known = set(links)
    for what, of_kind in (("link", list(links)), ("joint", [j.name for j in joints])):
        twice = next((n for n in of_kind if of_kind.count(n) > 1), None)
        if twice is not None:
            raise UserError(f"{file}: the {what} {twice!r} is defined twice: rename one of them")
    for joint in joints:
        for link in (joint.parent, joint.child):
            if link not in known:
                raise UserError(f"{file}: joint {joint.name} refers to the link {link!r}, which is not defined")
    children = [j.child for j in joints]
    for child in children:
        if children.count(child) > 1:
            raise UserError(f"{file}: link {child} hangs on more than one joint: a robot must be a tree")
    by_name = {j.name: j for j in joints}
    for joint in joints:
        if joint.mimic and joint.mimic.joint not in by_name:
            raise UserError(f"{file}: joint {joint.name} mimics {joint.mimic.joint!r}, which is not defined")
        if joint.mimic and by_name[joint.mimic.joint].mimic is not None:
            raise UserError(
                f"{file}: joint {joint.name} mimics {joint.mimic.joint!r}, which itself mimics another: "
                "let it mimic a joint that moves by itself"
            )
    roots = [link for link in links if link not in set(children)]
    if len(roots) != 1:
        found = "no root link, so its joints form a circle" if not roots else f"several roots ({', '.join(roots[:3])})"
        raise UserError(f"{file}: the robot has {found}: it must have exactly one root link")
    by_parent: dict[str, list[Joint]] = {}
    for joint in joints:
        by_parent.setdefault(joint.parent, []).append(joint)
    ordered: list[Joint] = []
    waiting = [roots[0]]
    while waiting:
        for joint in by_parent.get(waiting.pop(0), ()):
            ordered.append(joint)
            waiting.append(joint.child)
    if len(ordered) != len(joints):
        stray = next(j.name for j in joints if j not in ordered)
        raise UserError(f"{file}: joint {stray} is part of a circle: a robot must be a tree")
    return roots[0], tuple(ordered)


def _visual(
    link: str, visual: Any, named: Mapping[str, Any], resolve: MeshFinder, warnings: list[str]
) -> Visual | None:
    origin = as_matrix(visual.origin if visual.origin is not None else np.eye(4))
    colour = None
    if visual.material is not None:
        material = visual.material if visual.material.color is not None else named.get(visual.material.name)
        if material is not None:
            r, g, b, a = (float(c) for c in material.color.rgba)
            colour = (r, g, b, a)
    geometry = visual.geometry
    if geometry.box is not None:
        return Visual(link, "box", origin, _triple(geometry.box.size), colour=colour)
    if geometry.cylinder is not None:
        size = (float(geometry.cylinder.radius), float(geometry.cylinder.length), 0.0)
        return Visual(link, "cylinder", origin, size, colour=colour)
    if geometry.sphere is not None:
        return Visual(link, "sphere", origin, (float(geometry.sphere.radius), 0.0, 0.0), colour=colour)
    if geometry.mesh is None:
        warnings.append(f"link {link} has a shape of an unknown kind; it is left out")
        return None
    path = resolve(geometry.mesh.filename)
    if path is None:
        resolve.missing.append(geometry.mesh.filename)
        warnings.append(f"the mesh {geometry.mesh.filename} of link {link} was not found; the link stays invisible")
        return None
    scale = geometry.mesh.scale
    size = (1.0, 1.0, 1.0) if scale is None else _triple(np.broadcast_to(np.asarray(scale, dtype=np.float64), (3,)))
    return Visual(link, "mesh", origin, size, str(path), colour)


def _triple(values: Any) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return (x, y, z)


def _one_line(problem: BaseException) -> str:
    return " ".join(str(problem).split())[:160] or type(problem).__name__


def builtin_urdf() -> Path:
    """The robot that ships with the package: a UR10 of simple shapes."""
    return Path(__file__).resolve().parent.parent / "assets" / "ur10_simple.urdf"
