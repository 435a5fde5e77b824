# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Collada file holds: its elements by name and id, and the numbers of its sources."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from ..robot.robot import Floats
from .polygons import WorkBudget
from .text_tables import numbers

MOST_ELEMENTS = 2_000_000
"""How many elements are read; each takes a hundred times the memory of the shortest one's text."""

DEEPEST = 500
"""How far elements may lie within one another."""

TEXTUAL = ("Name_array", "IDREF_array", "SIDREF_array")


class _Builder(ElementTree.TreeBuilder):
    """Builds elements whose tags are without their namespace, as many as are read."""

    def __init__(self) -> None:
        super().__init__()
        self._count = self._depth = 0

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse what could declare entities, which grow without bound or name other files."""
        raise ValueError("it has a DOCTYPE")

    def start(self, tag: Any, attrs: Any) -> Element:
        """Open an element."""
        self._count += 1
        self._depth += 1
        if self._count > MOST_ELEMENTS or self._depth > DEEPEST:
            raise ValueError("it has too many elements")
        return super().start(tag.rpartition("}")[2], attrs)

    def end(self, tag: Any) -> Element:
        """Close it."""
        self._depth -= 1
        return super().end(tag.rpartition("}")[2])


class Document:
    """One file.

    Attributes:
        root: its outermost element.
        budget: what its polygons took so far.
    """

    def __init__(self, data: bytes) -> None:
        """Read it.

        Raises:
            ValueError, ElementTree.ParseError: if it is no Collada file.
        """
        parser = ElementTree.XMLParser(target=_Builder())
        parser.feed(data)
        self.root: Element = parser.close()
        if self.root.tag != "COLLADA":
            raise ValueError("it is no Collada file")
        self._ids: dict[str, Element] = {}
        for element in self.root.iter():
            if (name := element.get("id")) is not None:
                self._ids.setdefault(name, element)
        self._sources: dict[Element, Floats] = {}
        self.budget = WorkBudget()

    def target(self, reference: str | None, *tags: str) -> Element | None:
        """The element with one of these tags that ``#id`` refers to; None if there is none in this file."""
        found = self._ids.get((reference or "").removeprefix("#"))
        return found if found is not None and found.tag in tags else None

    def needed(self, element: Element, attribute: str, *tags: str) -> Element:
        """The element that another one's attribute refers to.

        Raises:
            ValueError: if there is none.
        """
        reference = element.get(attribute)
        found = self.target(reference, *tags)
        if found is None:
            raise ValueError(f"it refers to the {tags[0]} {str(reference)[:60]}, which it does not hold")
        return found

    def source(self, element: Element) -> Floats:
        """The numbers of a source, ``(count, parameters)``."""
        if element not in self._sources:
            values, count, stride, offset, columns = self._accessed(element)
            flat = numbers_of(values)
            if offset + count * stride > len(flat):
                raise ValueError("a source has fewer numbers than it says: it is cut or damaged")
            table = flat[offset : offset + count * stride].reshape(count, stride)
            self._sources[element] = table[:, columns] if columns else table
        return self._sources[element]

    def names(self, element: Element) -> list[str]:
        """The words of a source."""
        array = first(element, *TEXTUAL)
        if array is None:
            raise ValueError("a source has no names")
        return (array.text or "").split()

    def _accessed(self, element: Element) -> tuple[Element, int, int, int, list[int]]:
        """A source's array, and how it is laid out; a parameter without a name is to be skipped, unless all are."""
        array = first(element, "float_array", "int_array")
        accessor = element.find("technique_common/accessor")
        if accessor is not None and array is None:
            array = self.target(accessor.get("source"), "float_array", "int_array")
        if accessor is None or array is None:
            raise ValueError("a source has no numbers")
        stride = max(whole(accessor, "stride", 1), 1)
        params = accessor.findall("param")
        columns = [number for number, p in enumerate(params) if p.get("name") and number < stride]
        if any("x" in p.get("type", "") for p in params):  # one parameter for a whole matrix, as float4x4
            columns = []
        return array, whole(accessor, "count"), stride, whole(accessor, "offset", 0), columns

    def inputs(self, element: Element, within: Element) -> list[tuple[str, int, str, Element]]:
        """A primitive's inputs with those of its vertices: what for, place among the indices, set, source.

        Args:
            within: the mesh whose part it is; its own sources go before others of the same id.
        """
        own = {f"#{e.get('id')}": e for e in within if e.tag in ("source", "vertices")}
        found = []
        for entry in element.findall("input"):
            offset = whole(entry, "offset", 0)
            source = own.get(entry.get("source", ""))
            if source is None:
                source = self.needed(entry, "source", "source", "vertices")
            if source.tag == "source":
                found.append((entry.get("semantic", ""), offset, entry.get("set", ""), source))
            elif element.tag == "vertices":
                raise ValueError("its vertices refer to vertices")
            else:
                found += [(s, offset, n, given) for s, _, n, given in self.inputs(source, within)]
        return found


def first(element: Element, *tags: str) -> Element | None:
    """The first child with one of these tags."""
    return next((child for child in element if child.tag in tags), None)


def numbers_of(element: Element, kind: Any = np.float64) -> NDArray[Any]:
    """The numbers that are an element's text."""
    return numbers((element.text or "").encode("ascii", "replace"), kind)


def whole(element: Element, name: str, default: int | None = None) -> int:
    """An attribute that is a whole number and not negative.

    Raises:
        ValueError: if it isn't.
    """
    text = element.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.strip().isdecimal():
        raise ValueError(f"the {name} of a {element.tag} is {str(text)[:40]}")
    return int(text)


def matrix_of(element: Element) -> Floats:
    """``(4, 4)`` of an element's sixteen numbers."""
    return numbers_of(element).reshape(4, 4)


def placement(node: Element) -> Floats:
    """``(4, 4)`` of a node in the one above."""
    result = np.eye(4)
    for child in node:
        step = np.eye(4)
        if child.tag == "matrix":
            step = matrix_of(child)
        elif child.tag == "translate":
            step[:3, 3] = _few(child, 3)
        elif child.tag == "scale":
            step[:3, :3] = np.diag(_few(child, 3))
        elif child.tag == "rotate":
            *axis, angle = _few(child, 4)
            step[:3, :3] = _rotation(np.array(axis), np.radians(angle))
        elif child.tag == "lookat":
            step = _lookat(*_few(child, 9).reshape(3, 3))
        elif child.tag == "skew":
            raise ValueError("a node is skewed: export it with its transformations applied")
        else:
            continue
        result = result @ step
    return result


def _few(element: Element, count: int) -> Floats:
    values: Floats = numbers_of(element)
    if len(values) != count:
        raise ValueError(f"a {element.tag} has {len(values)} numbers where {count} must stand")
    return values


def _rotation(axis: Floats, angle: float) -> Floats:
    length = np.linalg.norm(axis)
    if not length:
        return np.eye(3)
    x, y, z = axis / length
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation: Floats = np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)
    return rotation


def _lookat(eye: Floats, target: Floats, up: Floats) -> Floats:
    back = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross(up, back)
    right /= np.linalg.norm(right)
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = np.stack([right, np.cross(back, right), back], axis=1), eye
    return result
