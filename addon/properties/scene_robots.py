# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes armatures as the scene's robots: their joints and keypoints fill the settings, beside the scene's variables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import bpy

from ...core.errors import UserError
from ...core.names import free_name
from ...core.robot import keypoints as core_keypoints
from ...core.robot.keypoints import Keypoint
from ...core.scene import catalogue
from ..robot import rig
from ..robot.rig import reach
from . import choice_names, scene_check_report, scenery, variable_list
from .from_dataclass import quietly
from .variable_list import Default


@dataclass(frozen=True)
class Parts:
    """What one robot brings along: keypoints, links of the skeleton, joints by variable name."""

    keypoints: tuple[Keypoint, ...]
    skeleton: tuple[tuple[str, str], ...]
    joints: Mapping[str, Default]


def parts(armature: bpy.types.Object, name: str = "") -> Parts:
    """What an armature brings along.

    Args:
        name: of a further robot; it goes before the names of joints and keypoints.

    Raises:
        UserError: if the armature has no joint.
    """
    joints = joint_defaults(armature, name)
    robot = rig.robot_of(armature)
    if robot is not None:
        keypoints = core_keypoints.joint_keypoints(robot)
        edges = core_keypoints.skeleton(robot, keypoints)
    else:
        keypoints, edges = _bones(armature, {j.bone for j in rig.joints(armature)})
    prefix = f"{name}/" if name else ""
    return Parts(
        tuple(replace(k, name=prefix + k.name, robot=name) for k in keypoints),
        tuple((prefix + a, prefix + b) for a, b in edges),
        joints,
    )


def joint_defaults(armature: bpy.types.Object, name: str = "") -> dict[str, Default]:
    """The joints of an armature by variable name; see :func:`parts`.

    Raises:
        UserError: if it has none.
    """
    joints = rig.joints(armature)
    if not joints:
        raise UserError(f"{armature.name} has no bone that can turn or slide: choose another armature")
    prefix = f"{name}/" if name else ""
    defaults = {}
    for joint in joints:
        limits = None if joint.circular else (joint.lower, joint.upper)
        defaults[f"joint/{prefix}{joint.name}"] = variable_list.joint_default(
            prefix + joint.name, limits, joint.linear, joint.fixed
        )
    return defaults


def _bones(armature: bpy.types.Object, names: set[str]) -> tuple[tuple[Keypoint, ...], tuple[tuple[str, str], ...]]:
    """A keypoint at the head of every bone that is a joint, linked along the armature."""
    keypoints = tuple(Keypoint(bone.name, bone.name) for bone in armature.data.bones if bone.name in names)
    edges = []
    for bone in armature.data.bones:
        parent = bone.parent
        while parent is not None and parent.name not in names:
            parent = parent.parent
        if bone.name in names and parent is not None:
            edges.append((parent.name, bone.name))
    return keypoints, tuple(edges)


def take_armature(scene: bpy.types.Scene, armature: bpy.types.Object | None) -> None:
    """Take ``armature`` as the scene's first robot: keypoints, skeleton and variables are filled in anew.

    Further robots, variables of the user's own, folders and the preset stay; groups of links stay if the new robots
    have any of their links.
    """
    props = scene.robot_keypoints
    props.notes = ""
    scene_check_report.forget()
    own = [variable_list.read(v) for v in props.variables if v.path]
    with quietly():
        for index in reversed(range(len(props.others))):
            if props.others[index].armature in (armature, None):
                props.others.remove(index)
    props.variables.clear()
    props.keypoints.clear()
    props.skeleton.clear()
    props.keypoint_index = props.variable_index = props.joint_index = 0
    if armature is None:
        return
    try:
        parts(armature)
    except UserError as problem:
        props.notes = str(problem)
        return
    bones = {b.name for robot in robots(props).values() for b in robot.data.bones}
    for index in reversed(range(len(props.links))):
        if not any(link.name in bones for link in props.links[index].links):
            props.links.remove(index)
    refresh(scene, new=robots(props))
    for settings in own:
        variable_list.write(props.variables.add(), settings)
    props.group = "joint"
    scenery.leave_out_startup(scene, scenery.named(settings.path for settings in own))


def robots(props: Any) -> dict[str, bpy.types.Object]:
    """The robots' armatures by name; the first robot's name is empty."""
    found = {"": props.armature, **{o.name: o.armature for o in props.others}}
    return {name: armature for name, armature in found.items() if armature is not None}


def refresh(scene: bpy.types.Scene, new: Collection[str] = ()) -> None:
    """Bring variables and keypoints up to date with the robots, the groups of links and the folders' themes and worlds.

    What the user has set stays. Keypoints are removed with their robot.

    Args:
        new: names of the robots whose keypoints are to be added.
    """
    props = scene.robot_keypoints
    if props.armature is None:
        return
    props.reach = reach(props.armature)
    joints: dict[str, Default] = {}
    there = robots(props)
    _drop_keypoints(props, set(there))
    for name, armature in there.items():
        try:
            joints.update(joint_defaults(armature, name))
        except UserError as problem:
            props.notes = str(problem)
            continue
        if name in new:
            found = parts(armature, name)
            write_keypoints(props, found.keypoints, found.skeleton)
    variable_list.synchronise(props, joints)
    scene_check_report.outdate()


def refresh_bones(scene: bpy.types.Scene, armature: bpy.types.Object) -> None:
    """Bring variables, keypoints and skeleton up to date after the user said which bones of ``armature`` are joints.

    Keypoints that came with a bone go with it; those that the user made or changed stay.
    """
    props = scene.robot_keypoints
    name = next(n for n, a in robots(props).items() if a == armature)
    props.notes = ""
    refresh(scene)
    try:
        found = parts(armature, name)
    except UserError:  # which the notes say already
        found = Parts((), (), {})
    wanted = {k.name for k in found.keypoints}
    for index in reversed(range(len(props.keypoints))):
        k = props.keypoints[index]
        came = k.robot == name and k.name.endswith(k.frame) and k.frame in armature.data.bones and not any(k.offset)
        if came and k.name not in wanted:
            props.keypoints.remove(index)
    there = {k.frame for k in props.keypoints if k.robot == name}
    added = tuple(k for k in found.keypoints if k.frame not in there)
    write_keypoints(props, added, ())
    _drop_keypoints(props, set(robots(props)))
    _open_links(props, {k.name for k in added}, {b: a for a, b in found.skeleton})
    names, led = {k.name for k in props.keypoints}, {e.second for e in props.skeleton}
    write_keypoints(props, (), tuple(e for e in found.skeleton if {*e} <= names and e[1] not in led))


def _open_links(props: Any, added: set[str], above: Mapping[str, str]) -> None:
    """Remove links that led past keypoints which are there again; ``above`` tells what leads to each keypoint."""
    for index in reversed(range(len(props.skeleton))):
        edge = props.skeleton[index]
        start = above.get(edge.second, "")
        while start in added:
            start = above.get(start, "")
        if start == edge.first != above.get(edge.second):
            props.skeleton.remove(index)


def reread_folders(scene: bpy.types.Scene) -> None:
    """Look into the folders of worlds and of photographs again."""
    props = scene.robot_keypoints
    with quietly():
        choice_names.read_worlds(props)
        choice_names.read_themes(props)
    refresh(scene)


def write_keypoints(props: Any, keypoints: tuple[Keypoint, ...], skeleton: tuple[tuple[str, str], ...]) -> None:
    """Append keypoints and links of the skeleton."""
    for keypoint in keypoints:
        item = props.keypoints.add()
        item.known_as = keypoint.name
        item.name, item.frame, item.offset, item.robot = keypoint.name, keypoint.frame, keypoint.offset, keypoint.robot
    for first, second in skeleton:
        edge = props.skeleton.add()
        edge.first, edge.second = first, second


def _drop_keypoints(props: Any, names: set[str]) -> None:
    for index in reversed(range(len(props.keypoints))):
        if props.keypoints[index].robot not in names:
            props.keypoints.remove(index)
    known = {k.name for k in props.keypoints}
    for index in reversed(range(len(props.skeleton))):
        edge = props.skeleton[index]
        if edge.first not in known or edge.second not in known:
            props.skeleton.remove(index)
    props.keypoint_index = max(0, min(props.keypoint_index, len(props.keypoints) - 1))


def add_robot(scene: bpy.types.Scene, armature: bpy.types.Object) -> Any:
    """Take an armature as a further robot, under a name of its own.

    Raises:
        UserError: if it has no joint or is a robot of the scene already.
    """
    props = scene.robot_keypoints
    if armature in robots(props).values():
        raise UserError(f"{armature.name} is a robot of this scene already: choose another armature")
    parts(armature)
    with quietly():
        item = props.others.add()
        item.name = item.known_as = free_name(
            armature.name.replace("/", " "), ({o.name for o in props.others} - {""}).__contains__
        )
        item.armature = armature
    props.other_index = len(props.others) - 1
    refresh(scene, new=[item.name])
    return item


def rename_robot(item: Any) -> None:
    """Carry a further robot's new name over to its joints and keypoints."""
    scene, before = item.id_data, item.known_as
    props = scene.robot_keypoints
    others = {o.known_as for o in props.others if o != item}
    with quietly():
        item.name = item.known_as = free_name(item.name.strip().replace("/", " ") or "robot", others.__contains__)
        for variable in props.variables:
            if variable.name.startswith(f"joint/{before}/"):
                variable.name = f"joint/{item.name}/" + variable.name.removeprefix(f"joint/{before}/")
    for keypoint in props.keypoints:
        if keypoint.robot == before:
            keypoint.robot = item.name
            if keypoint.name.startswith(f"{before}/"):
                keypoint.name = f"{item.name}/" + keypoint.name.removeprefix(f"{before}/")


def readopt(item: Any) -> None:
    """Another armature was chosen for a further robot: its keypoints and joints are filled in anew."""
    props = item.id_data.robot_keypoints
    if list(robots(props).values()).count(item.armature) > 1:
        with quietly():
            item.armature = None
    for index in reversed(range(len(props.keypoints))):
        if props.keypoints[index].robot == item.name:
            props.keypoints.remove(index)
    refresh(item.id_data, new=[item.name])


def rename_links(item: Any) -> None:
    """Carry the new name of a group of links over to its variables."""
    scene, before = item.id_data, item.known_as
    props = scene.robot_keypoints
    others = {g.known_as for g in props.links if g != item}
    with quietly():
        item.name = item.known_as = links_name(item.name, others)
        for variable in props.variables:
            if variable.name.startswith(f"material/{before}/"):
                variable.name = f"material/{item.name}/" + variable.name.removeprefix(f"material/{before}/")


def links_name(name: str, taken: set[str]) -> str:
    """A name that a group of links can have: without slashes, its own, and none of a material's variables."""
    reserved = {e.name.partition("/")[2] for e in catalogue.MATERIAL}
    return free_name(name.strip().replace("/", " ") or "links", (taken | reserved).__contains__)


def problem(scene: bpy.types.Scene) -> str:
    """Why the scene's robots can't be used, in one sentence; empty if they can."""
    props = scene.robot_keypoints
    if props.armature is None:
        return "There is no robot yet: load one"
    for name, armature in robots(props).items():
        if armature.name not in scene.objects:
            if name:
                return f"The robot {name} is no longer in this scene: remove it from the further robots"
            return f"The robot {armature.name} is no longer in this scene: load one again"
    if any(o.armature is None for o in props.others):
        missing = next(o.name for o in props.others if o.armature is None)
        return f"The further robot {missing} has no armature: choose one, or remove it"
    if not has_joints(props):
        return str(props.notes) or f"{props.armature.name} has no joints: choose another armature"
    return ""


def has_joints(props: Any) -> bool:
    """Whether the first robot has any joint; its joints stand first in the list."""
    others = tuple(f"joint/{o.name}/" for o in props.others)
    return any(v.name.startswith("joint/") and not v.name.startswith(others) for v in props.variables)
