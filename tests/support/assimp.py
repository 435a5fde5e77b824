# SPDX-License-Identifier: GPL-3.0-or-later
"""Area and bounds of mesh files by assimp, the library of ROS's viewer, which pinocchio brings along."""

from __future__ import annotations

import ctypes
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

LIBRARY = Path(sysconfig.get_path("purelib")) / "cmeel.prefix/lib/libassimp.so"
TRIANGULATE = 0x8
SETS = 8


class _Node(ctypes.Structure):
    pass


_Node._fields_ = [
    ("length", ctypes.c_uint32), ("name", ctypes.c_char * 1024), ("transformation", ctypes.c_float * 16),
    ("parent", ctypes.POINTER(_Node)), ("children", ctypes.c_uint), ("child", ctypes.POINTER(ctypes.POINTER(_Node))),
    ("meshes", ctypes.c_uint), ("mesh", ctypes.POINTER(ctypes.c_uint)),
]  # fmt: skip


class _Mesh(ctypes.Structure):
    _fields_ = [
        ("kinds", ctypes.c_uint), ("vertices", ctypes.c_uint), ("faces", ctypes.c_uint),
        ("vertex", ctypes.POINTER(ctypes.c_float)), ("directions", ctypes.c_void_p * 3),
        ("colours", ctypes.c_void_p * SETS), ("coordinates", ctypes.c_void_p * SETS), ("widths", ctypes.c_uint * SETS),
        ("face", ctypes.c_void_p),
    ]  # fmt: skip


class _Scene(ctypes.Structure):
    _fields_ = [
        ("flags", ctypes.c_uint), ("root", ctypes.POINTER(_Node)), ("meshes", ctypes.c_uint),
        ("mesh", ctypes.POINTER(ctypes.POINTER(_Mesh))),
    ]  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """What two readers of one mesh must agree about.

    Attributes:
        area: of all triangles.
        low: the least coordinates of their corners, and ``high`` the greatest.
    """

    area: float
    low: np.ndarray
    high: np.ndarray


def measured(corners: np.ndarray) -> Measured:
    """Area and bounds of triangles ``(F, 3, 3)``."""
    edges = corners[:, 1:] - corners[:, :1]
    area = float(np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1).sum() / 2)
    return Measured(area, corners.min(axis=(0, 1)), corners.max(axis=(0, 1)))


def triangles(path: Path) -> np.ndarray:
    """Corners ``(F, 3, 3)`` of everything in a file's scene, with Collada's unit but without its upward axis.

    Raises:
        ValueError: if assimp refuses it.
    """
    library = _library()
    properties = library.aiCreatePropertyStore()
    library.aiSetImportPropertyInteger(properties, b"IMPORT_COLLADA_IGNORE_UP_DIRECTION", 1)
    scene = library.aiImportFileExWithProperties(str(path).encode(), TRIANGULATE, None, properties)
    library.aiReleasePropertyStore(properties)
    if not scene:
        raise ValueError(library.aiGetErrorString().decode())
    try:
        meshes = [_corners(scene.contents.mesh[i].contents) for i in range(scene.contents.meshes)]
        parts = []
        waiting = [(scene.contents.root.contents, np.eye(4))]
        while waiting:
            node, above = waiting.pop()
            matrix = above @ np.array(node.transformation, dtype=np.float64).reshape(4, 4)
            waiting += [(node.child[i].contents, matrix) for i in range(node.children)]
            parts += [meshes[node.mesh[i]] @ matrix[:3, :3].T + matrix[:3, 3] for i in range(node.meshes)]
    finally:
        library.aiReleaseImport(scene)
    return np.concatenate(parts) if parts else np.empty((0, 3, 3))


def _corners(mesh: _Mesh) -> np.ndarray:
    vertices = np.ctypeslib.as_array(mesh.vertex, (mesh.vertices, 3)).astype(np.float64)
    record = np.dtype([("count", "u4"), ("", "u4"), ("indices", "u8")])
    faces = np.frombuffer((ctypes.c_char * (mesh.faces * record.itemsize)).from_address(mesh.face), record)
    at = faces["indices"][faces["count"] == 3]
    if not len(at):
        return np.empty((0, 3, 3))
    # All faces' indices as one array, of which only those are touched that are some face's.
    size = int(at.max() - at.min()) // 4 + 3
    whole = np.frombuffer((ctypes.c_uint32 * size).from_address(int(at.min())), np.uint32)
    return vertices[whole[((at - at.min()) // 4)[:, None].astype(np.int64) + np.arange(3)]]


@cache
def _library() -> Any:
    library = ctypes.CDLL(str(LIBRARY))
    library.aiCreatePropertyStore.restype = ctypes.c_void_p
    library.aiSetImportPropertyInteger.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    library.aiReleasePropertyStore.argtypes = [ctypes.c_void_p]
    library.aiImportFileExWithProperties.argtypes = [ctypes.c_char_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p]
    library.aiImportFileExWithProperties.restype = ctypes.POINTER(_Scene)
    library.aiReleaseImport.argtypes = [ctypes.POINTER(_Scene)]
    library.aiGetErrorString.restype = ctypes.c_char_p
    return library
