# SPDX-License-Identifier: GPL-3.0-or-later
"""Material slots of the robots: materials that must differ from group to group are split, and put back again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import bpy

from ..base import blender_versions
from . import object_pool

SOURCE = "robot_keypoints_source"
"""Custom property of a copy: the user's material behind it, which stays in the file for that."""
PLAIN = "robot_keypoints_plain"
"""Custom property of a material that stands in where there was none: whether its slot is ours, too."""

Objects = Iterable[bpy.types.Object]


def restore(objects: Objects) -> None:
    """Put the user's own materials back into every slot."""
    for obj in objects:
        for number in reversed(range(len(obj.material_slots))):
            material = obj.material_slots[number].material
            if material is None:
                continue
            if PLAIN in material:
                if material[PLAIN]:
                    obj.data.materials.pop(index=number)
                else:
                    obj.material_slots[number].material = None
            elif SOURCE in material:
                _put_back(obj, number, material[SOURCE])
    for material in list(bpy.data.materials):
        if (SOURCE in material or PLAIN in material) and not material.users:
            bpy.data.materials.remove(material)


def _put_back(obj: bpy.types.Object, number: int, source: bpy.types.Material | None) -> None:
    slot = obj.material_slots[number]
    if slot.link == "OBJECT" and obj.data.materials[number] == source:
        slot.material = None
        slot.link = "DATA"
    else:
        slot.material = source


def split(groups: Mapping[bpy.types.Object, int]) -> dict[int, dict[bpy.types.Material, bpy.types.Object]]:
    """Give every group materials that nothing else uses, with nodes.

    Args:
        groups: the robots' meshes, each with the number of its group.

    Returns:
        by group, its materials, each with one object that has it.
    """
    # What an object of ours shares with the robot, it shares on purpose.
    others = [o for o in bpy.data.objects if o.type == "MESH" and o not in groups and not object_pool.is_ours(o)]
    users: dict[bpy.types.Material, set[int]] = {}
    for obj, link_group in groups.items():
        for slot in obj.material_slots:
            users.setdefault(slot.material, set()).add(link_group)
    elsewhere = {slot.material for obj in others for slot in obj.material_slots}
    copies: dict[tuple[bpy.types.Material | None, int, bool], bpy.types.Material] = {}
    result: dict[int, dict[bpy.types.Material, bpy.types.Object]] = {g: {} for g in groups.values()}
    for obj, link_group in groups.items():
        if obj.library is not None:
            continue  # nothing of a linked object can be changed
        if not obj.material_slots and obj.data.library is None:
            obj.data.materials.append(_copy(None, link_group, copies, own_slot=True))
        for number, slot in enumerate(obj.material_slots):
            material = slot.material
            if material is None or not _editable(material) or len(users.get(material, ())) > 1 or material in elsewhere:
                material = (
                    material if material is not None and PLAIN in material else _copy(material, link_group, copies)
                )
                _assign(obj, number, material, groups, others)
            result[link_group].setdefault(material, obj)
    return result


def _editable(material: bpy.types.Material) -> bool:
    return material.library is None and blender_versions.has_nodes(material)


def _copy(
    material: bpy.types.Material | None, link_group: int, copies: dict[Any, bpy.types.Material], own_slot: bool = False
) -> bpy.types.Material:
    key = (material, link_group, own_slot)
    if key in copies:
        return copies[key]
    if material is None:
        result = bpy.data.materials.new("Keypoints plain")
        if not result.use_nodes:
            result.use_nodes = True
        result[PLAIN] = own_slot
    else:
        result = material.copy()
        result.name = f"Keypoints {material.name}"[:60]
        result[SOURCE] = material
        if not _editable(result):
            _add_nodes(result)
    copies[key] = result
    return result


def _add_nodes(material: bpy.types.Material) -> None:
    """What Cycles makes of a material without nodes, as nodes."""
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    shader, output = tree.nodes.new("ShaderNodeBsdfDiffuse"), tree.nodes.new("ShaderNodeOutputMaterial")
    shader.inputs["Color"].default_value = material.diffuse_color
    tree.links.new(shader.outputs[0], output.inputs["Surface"])


def _assign(
    obj: bpy.types.Object, number: int, material: bpy.types.Material, groups: Mapping[bpy.types.Object, int],
    others: list[bpy.types.Object],
) -> None:  # fmt: skip
    """Into the mesh where that serves all its users, else into the object."""
    slot = obj.material_slots[number]
    if slot.link == "DATA":
        alike = all(g == groups[obj] for o, g in groups.items() if o.data == obj.data)
        if not alike or obj.data.library is not None or any(o.data == obj.data for o in others):
            slot.link = "OBJECT"
    slot.material = material
