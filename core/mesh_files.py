# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the visual shapes of a robot: mesh files with their materials, and simple solids.

Coordinates are taken as they stand in the file, as ROS's viewer and trimesh do: Collada's ``up_axis`` and the upward y
of OBJ and glTF turn nothing, because robots' makers place their meshes with that in mind. Collada's unit does count
(trimesh leaves it to its caller).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import mesh_collada, mesh_trimesh
from .errors import UserError
from .mesh_data import MeshData, Surface, joined
from .robot import Visual

LARGEST = {".stl": 512, ".glb": 512}
"""Megabytes of the largest file that is read, by ending; text takes longer and many times the memory."""
LARGEST_TEXT = 160


def shape(visual: Visual, files: dict[str, MeshData] | None = None) -> MeshData:
    """A visual's shape in its link's frame, welded.

    Args:
        files: meshes that were read before, by path; what is read is added.

    Raises:
        UserError: if a mesh file can't be read.
    """
    placement = np.asarray(visual.origin, dtype=np.float64)
    if visual.shape != "mesh":
        return solid(visual).placed(placement)
    files = {} if files is None else files
    if visual.path not in files:
        files[visual.path] = read(Path(visual.path))
    return files[visual.path].placed(placement @ np.diag([*visual.size, 1.0])).welded()


def solid(visual: Visual) -> MeshData:
    """A box, cylinder, capsule or sphere about the origin."""
    import trimesh  # here, because it takes a quarter of a second

    radius, length, _ = visual.size
    if visual.shape in ("box", "placeholder"):
        made = trimesh.creation.box(extents=visual.size)
    elif visual.shape == "cylinder":
        made = trimesh.creation.cylinder(radius=radius, height=length, sections=48)
    elif visual.shape == "capsule":
        made = trimesh.creation.capsule(radius=radius, height=length, count=(24, 48))
    else:
        made = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    vertices = np.array(made.vertices, dtype=np.float64)
    vertices -= (vertices.max(axis=0) + vertices.min(axis=0)) / 2
    faces = np.asarray(made.faces, dtype=np.int64)
    return MeshData(vertices, faces, (Surface(),), np.zeros(len(faces), dtype=np.int64))


def read(path: Path) -> MeshData:
    """A mesh file: Collada, STL, OBJ or glTF, or what else trimesh knows; all its parts as one.

    Raises:
        UserError: if it can't be read, is too large to, or holds no triangles.
    """
    ending = path.suffix.lower()
    readers = {
        ".dae": mesh_collada.read, ".obj": mesh_trimesh.read_obj, ".glb": mesh_trimesh.read_gltf,
        ".gltf": mesh_trimesh.read_gltf,
    }  # fmt: skip
    try:
        megabytes = path.stat().st_size / 1e6
        if megabytes > LARGEST.get(ending, LARGEST_TEXT):
            raise UserError(
                f"The mesh {path} has {megabytes:.0f} MB, and more than {LARGEST.get(ending, LARGEST_TEXT)} MB are not "
                "read: export it with fewer triangles"
            )
        parts = readers.get(ending, mesh_trimesh.read)(path)
    except UserError:
        raise
    except Exception as problem:  # each format's parser raises its own kinds
        text = " ".join(str(problem).split())[:120] or type(problem).__name__
        raise UserError(f"The mesh {path} can't be read ({text}): check the file") from problem
    if not parts:
        raise UserError(f"The mesh {path} holds no triangles: check the file")
    mesh = joined(parts)
    if not np.isfinite(mesh.vertices).all():
        raise UserError(f"The mesh {path} has coordinates that are not finite: export it again")
    return mesh
