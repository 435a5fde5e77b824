# SPDX-License-Identifier: GPL-3.0-or-later
"""Collada files, by pycollada."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from .mesh_data import MeshData, Surface, locate_image, part
from .robot import Floats


def read(path: Path) -> list[MeshData]:
    """The triangles of a file, with its unit applied; whatever its parser raises comes through."""
    import collada

    document = collada.Collada(str(path), ignore=[collada.common.DaeError])
    if document.errors:
        document = collada.Collada(_without_broken_materials(document, path), ignore=[collada.common.DaeError])
    unit = 1.0 if document.assetInfo.unitmeter is None else float(document.assetInfo.unitmeter)
    if not (np.isfinite(unit) and unit > 0):
        raise ValueError(f"its unit is {unit} m")
    surfaces: dict[Any, tuple[Surface, str]] = {None: (Surface(), "")}
    parts = []
    for bound in document.scene.objects("geometry") if document.scene is not None else ():
        placement = np.array(bound.matrix, dtype=np.float64)
        placement[:3] *= unit
        for primitive in bound.original.primitives:
            triangles = primitive.triangleset() if hasattr(primitive, "triangleset") else primitive
            if not isinstance(triangles, collada.triangleset.TriangleSet) or not len(triangles):
                continue
            node = bound.materialnodebysymbol.get(primitive.material)
            material = node.target if node is not None else None
            if material not in surfaces:
                surfaces[material] = _surface(material, path)
            surface, channel = surfaces[material]
            uv = _uv(triangles, node, channel)
            parts.append(part(triangles.vertex, triangles.vertex_index, surface, uv).placed(placement))
    return parts


def _without_broken_materials(document: Any, path: Path) -> BytesIO:
    """The file without references to materials that could not be read, with which whole shapes would be left out."""
    known = {f"#{material.id}" for material in document.materials}
    tree = ElementTree.parse(path)
    for technique in tree.iter():
        for element in [e for e in technique if e.tag.endswith("}instance_material") and e.get("target") not in known]:
            technique.remove(element)
    stream = BytesIO()
    tree.write(stream)
    stream.seek(0)
    return stream


def _surface(material: Any, path: Path) -> tuple[Surface, str]:
    """A material, and the name of its texture coordinates."""
    effect = material.effect
    diffuse = effect.diffuse if effect.diffuse is not None else effect.emission
    if diffuse is None:
        return Surface(material.id), ""
    if hasattr(diffuse, "sampler"):
        texture, missing = locate_image(diffuse.sampler.surface.image.path, path)
        return Surface(
            material.id, None if missing else (1.0, 1.0, 1.0, 1.0), texture, missing=missing
        ), diffuse.texcoord
    r, g, b = (float(c) for c in diffuse[:3])
    # What transparency means differs from one exporter to the next, so that many robots would vanish.
    return Surface(material.id, (r, g, b, 1.0)), ""


def _uv(triangles: Any, node: Any, channel: str) -> Floats | None:
    if not triangles.texcoordset:
        return None
    sets = [given[3] for given in triangles.sources["TEXCOORD"]]
    inputs = node.inputs if node is not None else ()
    wanted = next((number for semantic, _, number in inputs if semantic == channel), None)
    index = sets.index(wanted) if wanted in sets else 0
    uv: Floats = np.asarray(triangles.texcoordset[index])[triangles.texcoord_indexset[index]][..., :2]
    return uv
