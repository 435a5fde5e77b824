# SPDX-License-Identifier: GPL-3.0-or-later
"""What a glTF file holds: its JSON and the numbers in its buffers, each checked before memory is taken for it."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .file_source import beside, read_bytes

UNDERSTOOD = {
    "KHR_mesh_quantization", "KHR_texture_transform", "KHR_lights_punctual", "KHR_xmp_json_ld", "KHR_animation_pointer",
    "EXT_mesh_gpu_instancing", "EXT_texture_webp", "KHR_texture_basisu", "MSFT_texture_dds",
}  # fmt: skip
"""Extensions that a file may require. Beyond them those of materials, without which a surface looks plainer."""
MATERIALS = ("KHR_materials_", "EXT_materials_", "ADOBE_materials_")

COMPRESSED = {"KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression"}

LARGEST_BUFFER = 512
"""Megabytes of the largest buffer in a file of its own."""

MOST_JSON = 5_000_000
"""Brackets and commas outside of numbers' text: each may become an object of Python's."""

MOST_ITEMS = 36_000_000
"""Elements of the largest accessor: three for each triangle of the largest mesh."""

MOST_NUMBERS = 200_000_000
"""Numbers of all accessors that are read: eight bytes each."""

JSON, BINARY = 0x4E4F534A, 0x004E4942
KINDS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}

Item = dict[str, Any]


class Document:
    """One file.

    Attributes:
        header: the JSON.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        """``data``: glTF's JSON, or GLB.

        Raises:
            ValueError: if it is neither.
            UserError: if it requires what is not understood here.
        """
        self.path = path
        self._chunk = b""
        text = data
        if data[:4] == b"glTF":
            text, self._chunk = _chunks(data)
        if sum(text.count(sign) for sign in (b"[", b"{", b",")) > MOST_JSON:
            raise ValueError("its description is too long")
        self.header = json.loads(text)
        if not isinstance(self.header, dict):
            raise ValueError("it describes nothing")
        version = str(_item(self.header.get("asset", {})).get("version", "2.0"))
        if not version.startswith("2."):
            raise ValueError(f"it is glTF {version[:10]}, and only glTF 2 is read")
        self._check_extensions()
        self._items: dict[str, list[Item]] = {}
        self._read = 0
        self._buffers: dict[int, bytes] = {}
        self._accessors: dict[int, NDArray[Any]] = {}

    def _check_extensions(self) -> None:
        required = {str(name) for name in self.header.get("extensionsRequired", ())}
        if required & COMPRESSED:
            raise UserError(
                f"The mesh {self.path} is compressed ({min(required & COMPRESSED)}): export it without compression"
            )
        unknown = sorted(name for name in required - UNDERSTOOD if not name.startswith(MATERIALS))
        if unknown:
            raise UserError(
                f"The mesh {self.path} requires glTF's extension {unknown[0][:60]}, which is not read: export it "
                "without that"
            )

    def items(self, kind: str) -> list[Item]:
        """All of ``nodes``, ``meshes``, …"""
        if kind not in self._items:
            found = self.header.get(kind, [])
            if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
                raise ValueError(f"its {kind} are no list of objects")
            self._items[kind] = found
        return self._items[kind]

    def item(self, kind: str, index: Any) -> Item:
        """One of them by its number."""
        found = self.items(kind)
        if not isinstance(index, int) or not 0 <= index < len(found):
            raise ValueError(f"it names one of its {kind} that it has not")
        return found[index]

    def accessor(self, index: Any) -> NDArray[Any]:
        """``(count, width)``: floats where they are, or stand for, fractions; else integers."""
        item = self.item("accessors", index)
        if index not in self._accessors:
            self._accessors[index] = self._numbers(item)
        return self._accessors[index]

    def _numbers(self, item: Item) -> NDArray[Any]:
        kind, width = np.dtype(KINDS[item["componentType"]]), WIDTHS[item["type"]]
        count = _whole(item, "count")
        if not 1 <= count <= MOST_ITEMS:
            raise ValueError(f"an accessor has {count} elements")
        self._read += count * width
        if self._read > MOST_NUMBERS:
            raise ValueError(f"its accessors have more than {MOST_NUMBERS // 1_000_000} million numbers")
        if "bufferView" in item:
            found = self._strided(item, kind, width, count).copy()
        else:
            found = np.zeros((count, width), dtype=kind)
        if "sparse" in item:
            sparse = _item(item["sparse"])
            changed = _whole(sparse, "count")
            if not 1 <= changed <= count:
                raise ValueError("a sparse accessor replaces more than it has")
            places, values = _item(sparse["indices"]), _item(sparse["values"])
            where = self._strided(places, np.dtype(KINDS[places["componentType"]]), 1, changed)[:, 0]
            if where.dtype.kind != "u" or where.max() >= count:
                raise ValueError("a sparse accessor replaces what it has not")
            found[where] = self._strided(values, kind, width, changed)
        if item.get("normalized") and kind.kind in "iu":
            return np.maximum(found / np.iinfo(kind).max, -1.0)
        return found.astype(np.float64) if kind.kind == "f" else found

    def _strided(self, item: Item, kind: np.dtype[Any], width: int, count: int) -> NDArray[Any]:
        view, stride = self.view(item["bufferView"])
        offset, size = _whole(item, "byteOffset", 0), kind.itemsize * width
        stride = stride or size
        if stride < size or offset + stride * (count - 1) + size > len(view):
            raise ValueError("an accessor reaches beyond its buffer: it is cut or damaged")
        return np.ndarray((count, width), kind, view, offset, (stride, kind.itemsize))

    def view(self, index: Any) -> tuple[bytes, int]:
        """A part of a buffer, and its stride or 0."""
        item = self.item("bufferViews", index)
        compressed = COMPRESSED & set(_item(item.get("extensions", {})))
        if compressed:
            raise UserError(f"The mesh {self.path} is compressed ({min(compressed)}): export it without compression")
        buffer = self._buffer(item["buffer"])
        begin, length = _whole(item, "byteOffset", 0), _whole(item, "byteLength")
        if begin + length > len(buffer):
            raise ValueError("a view reaches beyond its buffer: it is cut or damaged")
        return buffer[begin : begin + length], _whole(item, "byteStride", 0)

    def _buffer(self, index: Any) -> bytes:
        item = self.item("buffers", index)
        if index not in self._buffers:
            self._buffers[index] = self._chunk if "uri" not in item else self._from_uri(str(item["uri"]))
            if len(self._buffers[index]) < _whole(item, "byteLength"):
                raise ValueError("a buffer is shorter than it says: it is cut or damaged")
        return self._buffers[index]

    def _from_uri(self, uri: str) -> bytes:
        if uri.startswith("data:"):
            return embedded(uri)
        file = beside(uri, self.path)
        if file is None:
            raise UserError(
                f"The mesh {self.path} needs the file {uri[:120]}, which is not in its package: put it there"
            )
        return read_bytes(file, LARGEST_BUFFER)


def embedded(uri: str) -> bytes:
    """What a ``data:`` URI holds."""
    kind, comma, text = uri.partition(",")
    if not comma:
        raise ValueError("a data URI holds nothing")
    if kind.endswith(";base64"):
        return base64.b64decode(unquote_to_bytes(text) if "%" in text else text)
    return unquote_to_bytes(text)


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    """JSON and binary chunk of a GLB."""
    version, length = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise ValueError(f"it is GLB {version}, and only GLB 2 is read")
    if length > len(data):
        raise ValueError("it is shorter than it says: it is cut or damaged")
    found: dict[int, bytes] = {}
    at = 12
    while at + 8 <= length:
        size, kind = struct.unpack_from("<II", data, at)
        if at + 8 + size > length:
            raise ValueError("a chunk reaches beyond its end: it is cut or damaged")
        if kind in (JSON, BINARY):
            found.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 8 + size
    return found[JSON], found.get(BINARY, b"")


def _item(value: Any) -> Item:
    if not isinstance(value, dict):
        raise ValueError("something in its description is no object")
    return value


def _whole(item: Item, name: str, default: int | None = None) -> int:
    """A whole number that is not negative."""
    value = item.get(name, default)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"its {name} is {str(value)[:40]}")
    return value
