# SPDX-License-Identifier: GPL-3.0-or-later
"""Shapes of a robot's links as Blender meshes with their materials."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from ...core import srgb
from ...core.meshes import reader as mesh_reader
from ...core.meshes.mesh import Colour, MeshData, Surface
from ...core.meshes.textures import problem
from ...core.robot.robot import Visual

DEFAULT_COLOUR = (0.75, 0.75, 0.75, 1.0)
MISSING_COLOUR = (0.8, 0.2, 0.6, 1.0)
DEFAULT_ROUGHNESS = 0.5
SMOOTH_BELOW = 0.6
"""Edges flatter than this, in radians, are shaded smooth."""


class Builder:
    """Makes the meshes of one robot; files, images and materials that several of them share are taken in once.

    Attributes:
        notes: what could not be shown, in sentences.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._files: dict[str, MeshData] = {}
        self._materials: dict[tuple[Colour, str | bytes, float, float], bpy.types.Material] = {}
        self._images: dict[str | bytes, bpy.types.Image | None] = {}

    def __call__(self, visual: Visual) -> bpy.types.Object:
        """Mesh object of one shape, in the link's frame (its own transform is the identity), not yet in a scene.

        Raises:
            UserError: if a mesh file can't be read.
        """
        data = mesh_reader.shape(visual, self._files)
        appearances = [self._appearance(visual, surface, data) for surface in data.surfaces]
        textured = any(texture for _, texture, _, _ in appearances)
        mesh = _mesh(visual.link, data, textured, smooth=visual.shape not in ("box", "placeholder"))
        slots = {appearance: number for number, appearance in enumerate(dict.fromkeys(appearances))}
        for appearance in slots:
            mesh.materials.append(self._material(appearance))
        if len(slots) > 1:
            number = np.array([slots[appearance] for appearance in appearances], dtype=np.int32)
            mesh.polygons.foreach_set("material_index", number[data.surface_of])
        # Takes away what no renderer can use, such as a face twice; only now, when every face has all its properties.
        mesh.validate()
        return bpy.data.objects.new(visual.link, mesh)

    def _appearance(self, visual: Visual, surface: Surface, data: MeshData) -> tuple[Colour, str | bytes, float, float]:
        """Colour, texture, roughness and metalness: of the file if it says anything, else of the robot's description,
        as ROS's viewer does it."""
        colour, texture = surface.colour, surface.texture
        if surface.missing:
            self._note(f"the texture {surface.missing} {surface.why}; the surface of link {visual.link} stays plain")
        if colour is None and not texture:
            texture = visual.texture
            fallback = MISSING_COLOUR if visual.shape == "placeholder" else DEFAULT_COLOUR
            colour = visual.colour or ((1.0, 1.0, 1.0, 1.0) if texture else fallback)
        if texture and data.uv is None:
            self._note(f"link {visual.link} has a texture but no coordinates to lay it by; the surface stays plain")
            texture = ""
        roughness = DEFAULT_ROUGHNESS if surface.roughness is None else surface.roughness
        red, green, blue, alpha = (min(max(c, 0.0), 1.0) for c in colour or DEFAULT_COLOUR)
        return (red, green, blue, alpha), texture, roughness, surface.metallic or 0.0

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _material(self, appearance: tuple[Colour, str | bytes, float, float]) -> bpy.types.Material:
        if appearance in self._materials:
            return self._materials[appearance]
        (red, green, blue, alpha), texture, roughness, metallic = appearance
        image = self._image(texture) if texture else None
        name = Path(image.name).stem if image else "".join(f"{round(255 * c):02x}" for c in (red, green, blue))
        material = bpy.data.materials.new(f"robot {name}")
        if not material.use_nodes:
            material.use_nodes = True
        nodes, links = material.node_tree.nodes, material.node_tree.links
        shader = nodes["Principled BSDF"]
        linear = (*(float(c) for c in srgb.linear((red, green, blue))), 1.0)
        shader.inputs["Base Color"].default_value = linear
        shader.inputs["Roughness"].default_value = roughness
        shader.inputs["Metallic"].default_value = metallic
        material.diffuse_color = linear
        if image is not None:
            picture = nodes.new("ShaderNodeTexImage")
            picture.image = image
            picture.location = (-300, 300)
            links.new(picture.outputs["Color"], shader.inputs["Base Color"])
        if alpha < 1:
            shader.inputs["Alpha"].default_value = alpha
            material.surface_render_method = "BLENDED"
        self._materials[appearance] = material
        return material

    def _image(self, texture: str | bytes) -> bpy.types.Image | None:
        if texture not in self._images:
            self._images[texture] = self._loaded(texture)
        return self._images[texture]

    def _loaded(self, texture: str | bytes) -> bpy.types.Image | None:
        wrong = "" if isinstance(texture, bytes) else problem(Path(texture))
        if wrong:
            self._note(f"the texture {Path(str(texture)).name} {wrong}; the surface stays plain")
            return None
        if isinstance(texture, bytes):
            image = bpy.data.images.new("embedded", 1, 1)
            image.pack(data=texture, data_len=len(texture))
            image.source = "FILE"
        else:
            image = bpy.data.images.load(texture)
        if not image.size[0]:
            self._note(f"the texture {image.name} can't be read as an image; the surface stays plain")
            bpy.data.images.remove(image)
            return None
        return image


def _mesh(name: str, data: MeshData, textured: bool, smooth: bool) -> bpy.types.Mesh:
    vertices, faces = data.vertices, data.faces
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", vertices.astype(np.float32).ravel())
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", faces.astype(np.int32).ravel())
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    if textured and data.uv is not None:
        layer = mesh.uv_layers.new(name="UVMap")
        layer.uv.foreach_set("vector", data.uv.astype(np.float32).ravel())
    mesh.update(calc_edges=True)
    if smooth:
        mesh.shade_smooth()
        mesh.set_sharp_from_angle(angle=SMOOTH_BELOW)
    return mesh


def reduce_triangles(objects: list[bpy.types.Object], budget: int) -> None:
    """Decimate meshes in place so that together they have about ``budget`` triangles; small ones stay whole.

    What is reduced loses its split normals: Cycles takes a quarter less time for a small frame without them.
    """
    meshes = {o.data: o for o in objects if o.type == "MESH" and o.data.users == 1 and not o.data.shape_keys}
    counts = {mesh: len(mesh.loop_triangles) or _triangles(mesh) for mesh in meshes}
    total = sum(counts.values())
    if total <= budget:
        return
    view_layer = bpy.context.view_layer
    for mesh, obj in meshes.items():
        if counts[mesh] < 64 or obj.modifiers:
            continue
        modifier = obj.modifiers.new("reduce", "DECIMATE")
        modifier.ratio = max(budget / total, 32 / counts[mesh])
        view_layer.update()
        evaluated = obj.evaluated_get(bpy.context.evaluated_depsgraph_get())
        reduced = bpy.data.meshes.new_from_object(evaluated)
        obj.modifiers.remove(modifier)
        obj.data = reduced
        for name in ("sharp_edge", "custom_normal"):
            if name in reduced.attributes:
                reduced.attributes.remove(reduced.attributes[name])


def _triangles(mesh: bpy.types.Mesh) -> int:
    mesh.calc_loop_triangles()
    return len(mesh.loop_triangles)


def as_matrix(values: NDArray[np.float64]) -> Matrix:
    """A numpy ``(4, 4)`` as Blender's matrix."""
    return Matrix([list(map(float, row)) for row in values])
