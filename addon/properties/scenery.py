# SPDX-License-Identifier: GPL-3.0-or-later
"""What else stands in the scene: which of it is left out of the renderings, and which stays on purpose.

What is left out is disabled in renders, and in the viewport unless it is a light, by Blender's own switches, so that
every Blender sees it alike. A custom property of the object keeps the user's decision; it needs no registered class, so
workers can read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import bpy
import numpy as np

from ...core.errors import UserError
from . import scene_check_report

KEY = "robot_keypoints_scenery"
LEFT_OUT = "left out"
STAYS = "stays"

CUBE = "Cube"
LIGHT = "Light"
GREY = 0.8
WATTS = 1000.0
NAMED = re.compile(r"^(?:objects|lights|meshes|materials)\[[\"'](.*?)[\"']\]")
"""The name in the data path of a variable of the user's own."""
PLACE = (4.0762, 1.0055, 5.9039)
"""Where the light of Blender's start-up file stands."""


def leave_out(obj: bpy.types.Object) -> None:
    """Show an object neither in renderings nor, unless it is a light, in the viewport.

    Raises:
        UserError: if it can't be changed.
    """
    if obj.library is not None:
        raise UserError(f"{obj.name} is linked from another file: make a library override of it, or leave it out there")
    obj.hide_render = True
    obj.hide_viewport = obj.type != "LIGHT"  # which stands in nobody's way there
    obj[KEY] = LEFT_OUT


def keep(obj: bpy.types.Object) -> None:
    """Show an object, and never warn of it again.

    Raises:
        UserError: if it can't be changed.
    """
    if obj.library is not None:
        raise UserError(f"{obj.name} is linked from another file: make a library override of it, and keep that")
    obj.hide_render = obj.hide_viewport = False
    obj[KEY] = STAYS


def stays(obj: bpy.types.Object) -> bool:
    """Whether the user wants it there, whatever it hides."""
    return bool(obj.get(KEY) == STAYS)


def left_out(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """What is left out by us or at the user's word, as long as it is."""
    return [o for o in scene.objects if KEY in o and o[KEY] == LEFT_OUT and o.hide_render]


def in_the_way(scene: bpy.types.Scene) -> list[tuple[bpy.types.Object, str]]:
    """The objects about which the user has yet to decide, and what each does."""
    report = scene_check_report.obstruction()
    found = []
    for name in report.often:
        obj = scene.objects.get(name)
        if obj is not None and not obj.hide_render and not stays(obj):
            found.append((obj, report.sentence(name)))
    return found


def leave_out_startup(scene: bpy.types.Scene, needed: Iterable[str] = ()) -> tuple[str, ...]:
    """Leave out the cube and the light of Blender's start-up file that nobody has touched or decided about.

    The cube would stand around the robot's base, and the light would shine on every picture from the same side.

    Args:
        needed: names of what must stay, of the objects themselves or of what they consist of.

    Returns:
        the names of those that are left out now.
    """
    found, kept = [], {*needed}
    for obj in scene.objects:
        undecided = obj.library is None and KEY not in obj and not obj.hide_render and not {*_names(obj)} & kept
        if undecided and (is_startup_cube(obj) or is_startup_light(obj)):
            leave_out(obj)
            found.append(str(obj.name))
    return tuple(found)


def named(paths: Iterable[str]) -> list[str]:
    """Names of what the data paths of the user's own variables lead to: an object, or what it consists of."""
    return [name for path in paths for name in NAMED.findall(path)]


def bring_back(scene: bpy.types.Scene, path: str) -> None:
    """Show again what a variable of the user's own changes; nothing of it could be seen otherwise."""
    for obj in left_out(scene):
        if {*_names(obj)} & {*named([path])}:
            keep(obj)


def is_startup_cube(obj: bpy.types.Object) -> bool:
    """Whether it is the cube of Blender's start-up file, as that has it."""
    if obj.name != CUBE or obj.type != "MESH" or not _plain(obj):
        return False
    if not np.allclose(np.array(obj.matrix_basis), np.eye(4)):
        return False
    mesh = obj.data
    corners = {tuple(v.co) for v in mesh.vertices}
    whole = len(mesh.vertices) == 8 == len(corners) and len(mesh.polygons) == 6
    return whole and all(abs(x) == 1.0 for corner in corners for x in corner) and _startup_material(obj)


def is_startup_light(obj: bpy.types.Object) -> bool:
    """Whether it is the light of Blender's start-up file, as that has it."""
    if obj.name != LIGHT or obj.type != "LIGHT" or obj.data.type != "POINT" or not _plain(obj):
        return False
    data = obj.data
    plain = data.energy == WATTS and tuple(data.color) == (1.0, 1.0, 1.0) and data.animation_data is None
    return plain and np.allclose(obj.location, PLACE, atol=1e-3)


def _plain(obj: bpy.types.Object) -> bool:
    """Whether nothing hangs on it, moves it or changes its shape."""
    moved = obj.parent is not None or obj.animation_data is not None or len(obj.constraints) > 0
    return not moved and not obj.modifiers and not obj.children and obj.data.animation_data is None


def _names(obj: bpy.types.Object) -> list[str]:
    """The names of an object, its data and its materials."""
    blocks = [obj, obj.data, *(slot.material for slot in obj.material_slots)]
    return [str(b.name) for b in blocks if b is not None]


def _startup_material(obj: bpy.types.Object) -> bool:
    materials = list(obj.data.materials)
    if len(materials) != 1 or materials[0] is None or materials[0].node_tree is None:
        return False
    nodes = {n.type: n for n in materials[0].node_tree.nodes}
    if set(nodes) != {"OUTPUT_MATERIAL", "BSDF_PRINCIPLED"}:
        return False
    return bool(np.allclose(nodes["BSDF_PRINCIPLED"].inputs["Base Color"].default_value, (GREY, GREY, GREY, 1.0)))
