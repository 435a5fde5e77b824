# SPDX-License-Identifier: GPL-3.0-or-later
"""Skins and morphs of Collada files: where they put a geometry's vertices in the pose that the file stands in."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree.ElementTree import Element

import numpy as np

from ..robot.robot import Floats
from .collada_document import Document, first, matrix_of, numbers_of
from .collada_shapes import primitives
from .mesh import Indices

DEEPEST = 8
"""How many controllers may stand one upon the other."""


class Deformation:
    """What a controller makes of its geometry.

    Attributes:
        geometry: the one at its bottom.
        in_world: whether a skin puts the vertices where its joints are, whatever node shows it.
    """

    def __init__(self, document: Document, controller: Element) -> None:
        """Follow it down to its geometry.

        Raises:
            ValueError: if it refers to what isn't there.
        """
        self._document = document
        self._chain: list[Element] = []
        while controller.tag == "controller":
            inner = first(controller, "skin", "morph")
            if inner is None or len(self._chain) >= DEEPEST:
                raise ValueError("a controller holds neither a skin nor a morph, or stands upon too many others")
            self._chain.append(inner)
            controller = document.needed(inner, "source", "geometry", "controller")
        self.geometry = controller
        self.in_world = any(e.tag == "skin" for e in self._chain)

    def __call__(self, positions: Floats, joints: Mapping[str, Floats]) -> Floats:
        """Where the vertices ``(V, 3)`` come to lie.

        Args:
            joints: ``(4, 4)`` of the nodes that may be joints, by their sid, id and name.
        """
        for element in reversed(self._chain):
            positions = (self._morphed if element.tag == "morph" else self._skinned)(element, positions, joints)
        return positions

    def _morphed(self, morph: Element, positions: Floats, _joints: Mapping[str, Floats]) -> Floats:
        sources = self._inputs(morph.find("targets"), morph)
        names, weights = self._document.names(sources["MORPH_TARGET"]), self._document.source(sources["MORPH_WEIGHT"])
        if len(names) != len(weights):
            raise ValueError("a morph has not one weight for each target")
        result = positions.copy()
        for name, weight in zip(names, weights[:, 0], strict=True):
            if not weight:
                continue
            target = self._document.target(name, "geometry")
            shapes = primitives(self._document, target) if target is not None else []
            if not shapes or shapes[0].positions.shape != positions.shape:
                raise ValueError("a morph's target has not the vertices of its base")
            away = 0.0 if morph.get("method") == "RELATIVE" else positions
            result += float(weight) * (shapes[0].positions - away)
        return result

    def _skinned(self, skin: Element, positions: Floats, joints: Mapping[str, Floats]) -> Floats:
        shape = first(skin, "bind_shape_matrix")
        corners = np.pad(positions, ((0, 0), (0, 1)), constant_values=1.0)
        if shape is not None:
            corners = corners @ matrix_of(shape).T
        given = self._inputs(skin.find("joints"), skin)
        names = self._document.names(given["JOINT"])
        bind = self._document.source(given["INV_BIND_MATRIX"]).reshape(-1, 4, 4)
        unknown = [name for name in names if name not in joints]
        if unknown or len(bind) != len(names):
            raise ValueError(f"a skin hangs on the joint {(unknown or ['?'])[0][:60]}, which it does not hold")
        moved = np.stack([joints[name] @ m for name, m in zip(names, bind, strict=True)])
        vertex, joint, weight = self._weights(skin, len(positions), len(names))
        placed, total = np.zeros_like(corners), np.zeros(len(corners))
        np.add.at(placed, vertex, weight[:, None] * np.einsum("kij,kj->ki", moved[joint], corners[vertex]))
        np.add.at(total, vertex, weight)
        result: Floats = np.where(total[:, None] > 0, placed / np.where(total > 0, total, 1.0)[:, None], corners)
        return result[:, :3]

    def _weights(self, skin: Element, vertices: int, joints: int) -> tuple[Indices, Indices, Floats]:
        """Which vertex hangs on which joint, and how much; what hangs on joint -1 stays as it is bound."""
        element = skin.find("vertex_weights")
        if element is None or element.find("vcount") is None or element.find("v") is None:
            raise ValueError("a skin has no weights")
        offsets = {e.get("semantic", ""): int(e.get("offset", "0")) for e in element.findall("input")}
        source = self._inputs(element, skin)["WEIGHT"]
        values = self._document.source(source)[:, 0]
        counts = numbers_of(element.findall("vcount")[0], np.int64)
        flat = numbers_of(element.findall("v")[0], np.int64)
        stride = 1 + max(offsets.values())
        if len(counts) != vertices or (counts < 0).any() or len(flat) != counts.sum() * stride:
            raise ValueError("a skin has not the weights of each vertex: it is cut or damaged")
        rows = flat.reshape(-1, stride)
        joint, number = rows[:, offsets["JOINT"]], rows[:, offsets["WEIGHT"]]
        if len(rows) and (joint.max() >= joints or joint.min() < -1 or number.max() >= len(values) or number.min() < 0):
            raise ValueError("a skin's weights refer to what it has not")
        bound = joint >= 0
        return np.repeat(np.arange(vertices), counts)[bound], joint[bound], values[number[bound]]

    def _inputs(self, element: Element | None, within: Element) -> dict[str, Element]:
        if element is None:
            raise ValueError("a controller lacks a part")
        return {semantic: source for semantic, _, _, source in self._document.inputs(element, within)}
