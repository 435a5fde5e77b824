# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the visual shapes of a robot: mesh files with their materials, and simple solids.

Coordinates are taken as they stand in the file, as ROS's viewer and trimesh do: Collada's ``up_axis`` and the upward y
of OBJ and glTF turn nothing, because robots' makers place their meshes with that in mind. Collada's unit does count.

The readers are the project's own: libraries leave out, without a word, what they can't read. Whatever these can't read
is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..robot.robot import Visual
from . import collada, gltf, obj, stl
from .file_source import read_bytes
from .mesh import MeshData, joined
from .solids import solid

LARGEST = {".stl": 512, ".glb": 512}
"""Megabytes of the largest file that is read, by ending; text takes longer and many times the memory."""
LARGEST_TEXT = 160

MOST_SURFACES = 4096
"""How many materials one mesh may have."""

READERS: dict[str, Callable[[Path, bytes], list[MeshData]]] = {
    ".dae": collada.read, ".obj": obj.read, ".glb": gltf.read, ".gltf": gltf.read,
    ".stl": stl.read,
}  # fmt: skip


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


def read(path: Path) -> MeshData:
    """A mesh file: Collada, STL, OBJ or glTF; all its parts as one.

    Raises:
        UserError: if it can't be read, is too large to, or holds no triangles.
    """
    ending = path.suffix.lower()
    if ending not in READERS:
        raise UserError(f"The mesh {path} can't be read: convert it to GLB, OBJ, STL or Collada")
    data = read_bytes(path, LARGEST.get(ending, LARGEST_TEXT))
    try:
        parts = READERS[ending](path, data)
    except UserError:
        raise
    except Exception as problem:  # there are more ways for a file to be broken than can be listed
        raise UserError(f"The mesh {path} can't be read ({_said(problem)}): check the file") from problem
    if not parts:
        raise UserError(f"The mesh {path} holds no triangles: check the file")
    mesh = joined(parts)
    if (~np.isfinite(mesh.vertices).all(axis=1))[mesh.faces].any():
        raise UserError(f"The mesh {path} has coordinates that are not finite: export it again")
    if len(mesh.surfaces) > MOST_SURFACES:
        raise UserError(f"The mesh {path} has {len(mesh.surfaces):,} materials: export it with fewer")
    return mesh


def _said(problem: Exception) -> str:
    text = " ".join(str(problem).split())[:120]
    if isinstance(problem, KeyError):
        return f"it lacks {text}"
    if isinstance(problem, RecursionError):
        return "its parts lie too deep within one another"
    ours = text and isinstance(problem, (ValueError, SyntaxError))
    return text if ours else f"{type(problem).__name__} {text}".strip()
