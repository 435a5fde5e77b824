# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a robot from URDF or xacro.

The reading is done here and not by a library because a user's mistake must be told in one sentence: those that there
are go on with half a robot where the XML is broken, and leave out shapes that they do not know.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from ..errors import UserError, one_line
from . import xml_files
from .package_paths import FileFinder
from .robot import MOST, MOVING, Floats, Joint, Matrix, Mimic, Robot, Visual, as_matrix, triple

Colour = tuple[float, float, float, float]

LONGEST_NAME = 63
"""Bytes of a bone's name in Blender."""
OTHERS = {
    "COLLADA": "a Collada mesh", "mujoco": "an MJCF model of MuJoCo", "sdf": "an SDF model of Gazebo",
    "srdf": "an SRDF file of MoveIt",
}  # fmt: skip
"""What else people take for a URDF, by the root element."""
MOST_LINKS, MOST_SHAPES = 2_000, 10_000
"""More than any robot has; each costs time."""
FARTHEST = 1e6
"""Metres of an offset or a size."""
NO_LIMIT_AT_ALL = 1000.0
"""A limit beyond this, in radians or metres, stands for none in the files of some robots."""
PLACEHOLDER = 0.04
"""Edge of the box that stands for a missing mesh, as a share of the robot's reach."""


def load_urdf(
    path: str | os.PathLike[str],
    packages: Mapping[str, str] | None = None,
    arguments: Mapping[str, str] | None = None,
) -> Robot:
    """Read links, joints and visual shapes; meshes are located but not loaded.

    Planar and floating joints become chains of joints with one axis each, fixed at zero; the links between them are
    called ``JOINT/x``, ``JOINT/y`` and so on.

    Args:
        path: a URDF file, or a ``.xacro`` file, which is expanded first.
        packages: where packages named in ``package://NAME/…`` lie, besides those of :class:`.FileFinder`.
        arguments: values of a xacro file's arguments.

    Raises:
        UserError: if the file is missing or not a robot that can be built.
    """
    file = Path(path)
    if not os.path.isfile(file):  # which takes any name
        raise UserError(f"There is no URDF file at {file}: choose another file")
    finder = FileFinder(file.resolve(), packages)
    if file.suffix.lower() == ".xacro":
        from .xacro import expand  # here, because most robots do without it

        data = expand(file, finder, arguments or {})
    else:
        data = xml_files.read_file(file)
    return _Reader(file, finder).robot(parse(data, file.name))


def builtin_urdf() -> Path:
    """The robot that ships with the package: a UR10 of simple shapes."""
    return Path(__file__).resolve().parent.parent.parent / "assets" / "ur10_simple.urdf"


def parse(data: bytes, file: str) -> Element:
    """The root element ``<robot>``; prefixes that xacro left behind do no harm.

    Raises:
        UserError: if it is broken, declares entities (which could grow without bound or name other files), or is
            something else.
    """
    root = xml_files.parse(data, file)
    if root.tag != "robot":
        other = f" ({OTHERS[root.tag]})" if root.tag in OTHERS else ""
        raise UserError(
            f"{file} is not a URDF: it describes <{root.tag[:40]}>{other}, not <robot>; "
            "convert it, or choose another file"
        )
    return root


@dataclass
class _Reader:
    """One file's reading: what it is called in messages, and what was noticed on the way."""

    path: Path
    find: FileFinder
    warnings: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def robot(self, root: Element) -> Robot:
        links = [self._attribute(e, "name", "a link") for e in root.findall("link")]
        if not links:
            raise UserError(
                f"{self.path.name} describes no links; perhaps it only defines xacro macros, or they were never "
                "expanded: choose another file"
            )
        for what, kind, most in (("link", "links", MOST_LINKS), ("joint", "joints", MOST_LINKS),
                                 ("link/visual", "visual shapes", MOST_SHAPES),
                                 ("link/collision", "collision shapes", MOST_SHAPES)):  # fmt: skip
            if (count := len(root.findall(what))) > most:
                raise UserError(f"{self.path.name} has {count:,} {kind}, and more than {most:,} are not read")
        joints = self._leaders([self._joint(e) for e in root.findall("joint")])
        renamed = _short_names([*links, *(link for j in joints for link in (j.parent, j.child))])
        self.warnings += [
            f"the link {old} is called {new}, as Blender's names are short" for old, new in renamed.items()
        ]
        links = [renamed.get(n, n) for n in links]
        links += [renamed.get(n, n) for n in _between(joints)]
        joints = [
            replace(j, parent=renamed.get(j.parent, j.parent), child=renamed.get(j.child, j.child)) for j in joints
        ]
        top, ordered = _order(links, joints, self.path.name)
        robot = Robot(root.get("name") or self.path.stem, top, ordered)
        palette = self._palette(root)
        visuals = self._shapes("visual", root, links, palette)
        if not visuals:
            visuals = self._shapes("collision", root, links, palette)
            if visuals:
                self.warnings.append("no link has a visible shape; the robot is shown with its collision shapes")
        if self.missing and all(v.shape == "placeholder" for v in visuals):
            advice = "say where its package lies (robot.packages, or ROS_PACKAGE_PATH)"
            if not re.match(r"(package|model):/+[^/]+/", self.missing[0], re.IGNORECASE):
                advice = "put them beside the file, or where it names them"
            raise UserError(
                f"None of the {len(self.missing)} meshes of {self.path.name} was found, such as {self.missing[0]}: "
                f"{advice}"
            )
        edge = PLACEHOLDER * robot.reach()
        visuals = [replace(v, size=(edge, edge, edge)) if v.shape == "placeholder" else v for v in visuals]
        return replace(robot, visuals=tuple(visuals), warnings=tuple(map(one_line, self.warnings)))

    def _shapes(
        self, kind: str, root: Element, links: Sequence[str], palette: Mapping[str, tuple[Colour | None, str]]
    ) -> list[Visual]:
        """The ``visual`` or ``collision`` shapes of all links."""
        return [
            shape
            for e, link in zip(root.findall("link"), links, strict=False)
            for given in e.findall(kind)
            if (shape := self._shape(link, given, kind, palette)) is not None
        ]

    def _attribute(self, element: Element | None, name: str, where: str) -> str:
        value = element.get(name) if element is not None else None
        if not value:
            raise UserError(f"{self.path.name}: {where} has no {name}: complete the file")
        return value

    def _numbers(self, text: str, count: int, where: str) -> tuple[float, ...]:
        try:
            values = tuple(float(word) for word in text.split())
        except ValueError:
            values = ()
        if "${" in text:
            raise UserError(f"{self.path.name}: {where} is {text!r}, so this is a xacro file: call it .xacro")
        if len(values) != count or "_" in text:
            wanted = "a number" if count == 1 else f"{count} numbers"
            raise UserError(f"{self.path.name}: {where} is {text!r} where {wanted} must stand: check the file")
        return values

    def _number(self, element: Element, name: str, default: float | None, where: str) -> float:
        text = element.get(name)
        if text is None and default is not None:
            return default
        return self._numbers(text or "", 1, f"the {name} of {where}")[0]

    def _origin(self, element: Element, where: str) -> Matrix:
        origin = element.find("origin")
        if origin is None:
            return as_matrix(np.eye(4))
        xyz = self._numbers(origin.get("xyz", "0 0 0"), 3, f"the xyz of {where}")
        rpy = self._numbers(origin.get("rpy", "0 0 0"), 3, f"the rpy of {where}")
        if not np.isfinite((*xyz, *rpy)).all():
            raise UserError(f"{self.path.name}: {where} has an origin that is not finite: correct its xyz and rpy")
        if max(map(abs, xyz)) > FARTHEST:
            raise UserError(f"{self.path.name}: {where} lies {max(map(abs, xyz)):g} m away: correct its xyz")
        placement = _placement(xyz, rpy)
        if (text := origin.get("quat_xyzw")) is not None:  # of URDF 1.1, in place of rpy
            quaternion = np.array(self._numbers(text, 4, f"the quat_xyzw of {where}"))
            length = float(np.linalg.norm(quaternion))
            if not (math.isfinite(length) and length > 1e-3):
                raise UserError(f"{self.path.name}: the quat_xyzw of {where} is {text!r}: give it a rotation")
            placement[:3, :3] = _turned(quaternion / length)
        return as_matrix(placement)

    # ------------------------------------------------------------------------------------------------------ joints

    def _joint(self, element: Element) -> Joint:
        name = self._attribute(element, "name", "a joint")
        where = f"joint {name}"
        kind = element.get("type", "")
        if kind not in (*MOVING, "fixed", "floating", "planar"):
            raise UserError(f"{self.path.name}: {where} has the unknown type {kind!r}: use a URDF joint type")
        parent = self._attribute(element.find("parent"), "link", f"the parent of {where}")
        child = self._attribute(element.find("child"), "link", f"the child of {where}")
        origin = self._origin(element, where)
        axis = (0.0, 0.0, 1.0)
        if kind in (*MOVING, "planar"):
            axis = self._axis(element, where)
        lower, upper = -math.pi, math.pi
        if kind in ("revolute", "prismatic"):
            lower, upper = self._limits(element, kind, where)
        return Joint(name, kind, parent, child, origin, axis, lower, upper, self._mimic(element, kind, where))

    def _axis(self, element: Element, where: str) -> tuple[float, float, float]:
        given = element.find("axis")
        text = "1 0 0" if given is None else given.get("xyz", "1 0 0")
        axis = np.array(self._numbers(text, 3, f"the axis of {where}"))
        length = float(np.linalg.norm(axis))
        if not (math.isfinite(length) and length > 1e-9):
            raise UserError(f"{self.path.name}: {where} has the axis {axis.tolist()}: give it a direction")
        return triple(axis / length)

    def _limits(self, element: Element, kind: str, where: str) -> tuple[float, float]:
        linear = kind == "prismatic"
        given = element.find("limit")
        if given is None or (given.get("lower") is None and given.get("upper") is None):
            self.warnings.append(f"{where} has no limits; it gets {'±1 m' if linear else '±180°'}")
            return (-1.0, 1.0) if linear else (-math.pi, math.pi)
        lower, upper = (self._number(given, end, 0.0, where) for end in ("lower", "upper"))
        if not (math.isfinite(lower) and math.isfinite(upper) and lower <= upper):
            raise UserError(f"{self.path.name}: {where} has the limits {lower} … {upper}: give it a finite range")
        if max(abs(lower), abs(upper)) > NO_LIMIT_AT_ALL:
            if linear:
                self.warnings.append(f"{where} has the limits {lower:g} … {upper:g}; it gets ±1 m")
            return (-1.0, 1.0) if linear else (-math.pi, math.pi)
        return lower, upper

    def _mimic(self, element: Element, kind: str, where: str) -> Mimic | None:
        given = element.find("mimic")
        if given is None or kind not in MOVING:
            return None
        leader = self._attribute(given, "joint", f"the mimic of {where}")
        multiplier = self._number(given, "multiplier", 1.0, f"the mimic of {where}")
        offset = self._number(given, "offset", 0.0, f"the mimic of {where}")
        if not (math.isfinite(multiplier) and math.isfinite(offset)):
            raise UserError(
                f"{self.path.name}: {where} mimics with the multiplier {multiplier} and the offset {offset}: "
                "give it finite ones"
            )
        return Mimic(leader, multiplier, offset)

    def _leaders(self, joints: list[Joint]) -> list[Joint]:
        """Followers follow a joint that moves by itself; planar and floating joints become chains."""
        by_name = {j.name: j for j in joints}
        result = []
        for joint in joints:
            if joint.mimic is not None:
                joint = replace(joint, mimic=self._leader(joint, by_name))
            result += _chain(joint) if joint.kind in ("planar", "floating") else [joint]
        return result

    def _leader(self, joint: Joint, by_name: Mapping[str, Joint]) -> Mimic | None:
        """What ``joint`` follows in the end; None with a warning where there is nothing to follow."""
        multiplier, offset, seen = 1.0, 0.0, {joint.name}
        follower = joint
        while follower.mimic is not None:
            offset += multiplier * follower.mimic.offset
            multiplier *= follower.mimic.multiplier
            leader = by_name.get(follower.mimic.joint)
            if leader is None or leader.kind not in MOVING:
                lack = "is not defined" if leader is None else f"is {leader.kind}"
                self.warnings.append(
                    f"joint {joint.name} mimics {follower.mimic.joint}, which {lack}; it moves by itself"
                )
                return None
            if leader.name in seen:
                raise UserError(
                    f"{self.path.name}: joint {joint.name} mimics {joint.mimic.joint!r}, "  # type: ignore[union-attr]
                    "and that mimics it in turn: let one of them move by itself"
                )
            seen.add(leader.name)
            follower = leader
        if not (abs(multiplier) <= MOST and abs(offset) <= MOST):
            raise UserError(
                f"{self.path.name}: joint {joint.name} mimics {follower.name} with the multiplier {multiplier:g} and "
                f"the offset {offset:g}: give it some below {MOST:g}"
            )
        return Mimic(follower.name, multiplier, offset)

    # ----------------------------------------------------------------------------------------------------- visuals

    def _palette(self, root: Element) -> dict[str, tuple[Colour | None, str]]:
        """Colour and texture of every named material; the first definition counts."""
        palette: dict[str, tuple[Colour | None, str]] = {}
        for element in [*root.findall("material"), *root.findall("link/visual/material")]:
            name = element.get("name", "")
            if name and name not in palette and (element.find("color") is not None or _texture_name(element)):
                palette[name] = self._material(element)
        return palette

    def _material(self, element: Element) -> tuple[Colour | None, str]:
        colour: Colour | None = None
        given = element.find("color")
        where = f"the colour of material {element.get('name', '')!r}"
        if given is not None:
            colour = _colour(given.get("rgba", ""))
            if colour is None:
                text = given.get("rgba", "")
                self._warn_once(f"{where} is {text!r} where red, green, blue and alpha must stand; it is left out")
        name = _texture_name(element)
        path = self.find(name) if name else None
        if name and path is None:
            self._warn_once(f"the texture {name} was not found; the surface stays plain")
        return colour, str(path) if path else ""

    def _warn_once(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _shape(
        self, link: str, element: Element, kind: str, palette: Mapping[str, tuple[Colour | None, str]]
    ) -> Visual | None:
        where = f"a {kind} of link {link}"
        colour: Colour | None = None
        texture = ""
        material = element.find("material")
        if material is not None:
            own = material.find("color") is not None or bool(_texture_name(material))
            colour, texture = self._material(material) if own else palette.get(material.get("name", ""), (None, ""))
        geometry = element.find("geometry")
        shape = next(iter(geometry), None) if geometry is not None else None
        if shape is None or shape.tag not in ("mesh", "box", "cylinder", "capsule", "sphere"):
            self._warn_once(f"link {link} has a shape of an unknown kind; it is left out")
            return None
        origin = self._origin(element, where)
        if shape.tag == "mesh":
            return self._mesh(link, shape, origin, colour, texture)
        if shape.tag == "box":
            size = self._numbers(shape.get("size", ""), 3, f"the size of {where}")
        else:
            length = 0.0 if shape.tag == "sphere" else self._number(shape, "length", None, where)
            size = (self._number(shape, "radius", None, where), length, 0.0)
        needed = size if shape.tag == "box" else size[:1] if shape.tag == "sphere" else size[:2]
        if not (np.isfinite(size).all() and min(needed) >= 0 and max(needed) <= FARTHEST):
            raise UserError(f"{self.path.name}: {where} is a {shape.tag} of the size {needed}: correct the file")
        if min(needed) == 0:
            self._warn_once(f"link {link} has a {shape.tag} without extent; it is left out")
            return None
        return Visual(link, shape.tag, origin, triple(size), colour=colour, texture=texture)

    def _mesh(self, link: str, shape: Element, origin: Matrix, colour: Colour | None, texture: str) -> Visual:
        name = self._attribute(shape, "filename", f"a mesh of link {link}")
        where = f"the scale of the mesh {name}"
        words = shape.get("scale", "1 1 1").split()
        scale = self._numbers(" ".join(words * 3 if len(words) == 1 else words), 3, where)
        if not (np.isfinite(scale).all() and min(map(abs, scale)) > 0 and max(map(abs, scale)) <= FARTHEST):
            raise UserError(f"{self.path.name}: {where} is {scale}: give it three numbers that are not zero")
        path = self.find(name)
        if path is None:
            self.missing.append(name)
            self._warn_once(f"the mesh {name} of link {link} was not found; a small box stands for it")
            return Visual(link, "placeholder", origin, (1.0, 1.0, 1.0), colour=colour)
        return Visual(link, "mesh", origin, triple(scale), str(path), colour, texture)


def _colour(text: str) -> Colour | None:
    """Red, green, blue and alpha; alpha is 1 where it is left out, and None stands for what is no colour."""
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        return None
    if len(values) not in (3, 4) or not np.isfinite(values).all():
        return None
    red, green, blue, alpha = (*values, 1.0)[:4]
    return red, green, blue, alpha


def _turned(quaternion: Floats) -> Floats:
    """``(3, 3)`` of a unit quaternion x, y, z, w."""
    x, y, z, w = quaternion
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + 2 * w * cross + 2 * cross @ cross)


def _texture_name(material: Element) -> str:
    texture = material.find("texture")
    return "" if texture is None else texture.get("filename", "")


def _placement(xyz: Sequence[float], rpy: Sequence[float]) -> Floats:
    """``(4, 4)`` of a URDF origin: roll, pitch and yaw about fixed axes."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    result = np.eye(4)
    result[:3, :3] = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    result[:3, 3] = xyz
    return result


def _chain(joint: Joint) -> list[Joint]:
    """A floating joint as three slides and three turns (z, y, x), a planar one as two slides and the turn about its
    axis; all fixed at zero."""
    if joint.kind == "floating":
        frame = np.eye(3)
        steps = [("x", 0), ("y", 1), ("z", 2), ("rz", 2), ("ry", 1), ("rx", 0)]
    else:
        frame = _plane(np.asarray(joint.axis))
        steps = [("x", 0), ("y", 1), ("rz", 2)]
    links = [joint.parent, *(f"{joint.name}/{step}" for step, _ in steps[:-1]), joint.child]
    chain = []
    for (step, axis), parent, child in zip(steps, links, links[1:], strict=False):
        turns = step.startswith("r")
        reach = math.pi if turns else 1.0
        chain.append(
            Joint(
                f"{joint.name}/{step}", "continuous" if turns else "prismatic", parent, child,
                joint.origin if parent == joint.parent else as_matrix(np.eye(4)), triple(frame[:, axis]), -reach,
                reach, fixed=True,
            )
        )  # fmt: skip
    return chain


def _plane(normal: Floats) -> Floats:
    """A rotation ``(3, 3)`` whose third column is ``normal``: the shortest turn from z."""
    x, y, z = normal
    if z < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    return np.array([
        [1 - x * x / (1 + z), -x * y / (1 + z), x], [-x * y / (1 + z), 1 - y * y / (1 + z), y], [-x, -y, z],
    ])  # fmt: skip


def _between(joints: Sequence[Joint]) -> list[str]:
    """The links that chains have added, which the file does not name."""
    return [j.child for j in joints if j.fixed and j.child == j.name]


def _short_names(links: Sequence[str]) -> dict[str, str]:
    """Other names for links whose own are too long for a bone; a few letters of a hash keep them apart."""
    long = {n for n in links if len(n.encode()) > LONGEST_NAME}
    return {
        n: n.encode()[: LONGEST_NAME - 9].decode(errors="ignore") + "~" + hashlib.sha256(n.encode()).hexdigest()[:8]
        for n in sorted(long)
    }


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
