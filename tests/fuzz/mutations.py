# SPDX-License-Identifier: GPL-3.0-or-later
"""Damages files: bytes, words and numbers of a text, and the trees of JSON, TOML, XML, glTF and safetensors files.

Everything follows from the generator that is given, so that a case can be made again from its seed.
"""

from __future__ import annotations

import copy
import json
import re
import struct
import tomllib
from collections.abc import Callable
from pathlib import PurePath
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tomli_w

Rng = np.random.Generator

LONGEST = 1 << 20
"""Bytes to which a file may grow here: what a few bytes ask for is the question, not what a large file does."""

WORDS = (
    "", " ", "0", "-1", "1", "nan", "inf", "-inf", "1e308", "-1e308", "1e999", "1e-320", "2147483648", "-2147483649",
    "18446744073709551616", "1" + "0" * 5000, "0x1F", "1_000", "1,5", "true", "null", "None", "NaN", "é", "\u202e日本",
    "\U0001f916", "\x1b[2J", "\x00", "\n", "a" * 5000, "../../../../etc/passwd", "/dev/zero", "/proc/self/mem", "/",
    ".", "~", "~nobody/a", "file:///dev/zero", "package://a/b.stl", "http://example.invalid/a", "C:\\a", "%s%n",
    "${1/0}", "${9**9**9}", "$(find a)", "__class__", "[" * 5000, "<a>" * 500, "&a;", "]]>", "#",
)  # fmt: skip
"""What may stand in the place of a word or a number."""

NUMBER = re.compile(rb"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")
WORD = re.compile(rb"[\w.\-+/:$]+")


def nested(depth: int) -> Any:
    """A list in a list in a list …"""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 255, 256, 65535, 2**31 - 1, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, 0.5, -0.0,
    1e308, -1e308, 1e-320, float("nan"), float("inf"), float("-inf"), "", "x", "é\u202e", "\x1b[2J", "a" * 5000,
    "/dev/zero", "../..", [], {}, [[]], [None], [1, 2, 3], {"": None}, {"a": {"b": []}}, nested(300), [0] * 2000,
)  # fmt: skip
"""What may stand in the place of a value in a tree."""


def mutated(rng: Rng, name: str, data: bytes) -> bytes:
    """A file, damaged in one of the ways that its kind allows.

    Args:
        name: by its ending the kind is known.
    """
    kind = KINDS.get(PurePath(name).suffix.lower())
    ways: list[Callable[[Rng, bytes], bytes]] = [of_bytes]
    if kind is not None:
        ways += [kind, kind, kind]
    if kind in TEXTS:
        ways += [of_text, of_text]
    way = ways[int(rng.integers(len(ways)))]
    try:
        result = way(rng, data)
    except (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        RecursionError,
        StopIteration,
        ElementTree.ParseError,
        struct.error,
    ):
        result = of_bytes(rng, data)  # damaged before, and no tree of its kind any more
    return result[:LONGEST]


# ------------------------------------------------------------------------------------------------- bytes and texts


def of_bytes(rng: Rng, data: bytes) -> bytes:
    """Bytes changed, cut off, left out, doubled, exchanged or put in, in up to four places."""
    result = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if not result:
            return bytes(rng.bytes(int(rng.integers(0, 64))))
        at = int(rng.integers(len(result)))
        length = int(min(len(result) - at, 2 ** rng.integers(0, 10)))
        way = int(rng.integers(9))
        if way == 0:
            result[at] ^= 1 << int(rng.integers(8))
        elif way == 1:
            result[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF]))
        elif way == 2:
            number = int(rng.choice([0, 1, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
            result[at : at + 4] = struct.pack(rng.choice(["<I", ">I"]), number)
        elif way == 3:
            del result[at:]
        elif way == 4:
            del result[at : at + length]
        elif way == 5:
            result[at:at] = result[at : at + length] * int(rng.integers(1, 9))
        elif way == 6:
            result[at:at] = rng.bytes(length)
        elif way == 7:
            other = int(rng.integers(len(result)))
            result[at : at + length], result[other : other + length] = (
                result[other : other + length], result[at : at + length],
            )  # fmt: skip
        else:
            result[at : at + length] = bytes([int(rng.integers(256))]) * length
    return bytes(result)


def of_text(rng: Rng, data: bytes) -> bytes:
    """Words or numbers replaced by strange ones, or lines doubled, left out or exchanged."""
    way = int(rng.integers(6))
    if way < 4:
        places = list((NUMBER if way < 2 else WORD).finditer(data))
        for place in sorted((places[i] for i in _some(rng, len(places))), key=lambda m: -m.start()):
            word = WORDS[int(rng.integers(len(WORDS)))].encode("utf-8", "surrogatepass")
            data = data[: place.start()] + word + data[place.end() :]
        return data
    lines = data.splitlines(keepends=True)
    at, other = (int(i) for i in rng.integers(0, len(lines), 2))
    if way == 4:
        lines[at:at] = [lines[other]] * int(rng.choice([1, 2, 1000]))
    else:
        lines[at], lines[other] = lines[other], b""
    return b"".join(lines)


def _some(rng: Rng, count: int) -> set[int]:
    return {int(rng.integers(count)) for _ in range(int(rng.integers(1, 4)))}


# ------------------------------------------------------------------------------------------------------------ trees


def of_tree(rng: Rng, tree: Any) -> Any:
    """A tree of lists and dictionaries with one to three nodes changed; ``tree`` itself may be."""
    for _ in range(int(rng.integers(1, 4))):
        places = list(_places(tree))
        if not places or rng.random() < 0.01:
            return _strange(rng)
        parent, key = places[int(rng.integers(len(places)))]
        way = int(rng.integers(8))
        if way < 4:
            parent[key] = _strange(rng)
        elif way == 4:
            del parent[key]
        elif way == 5 and isinstance(parent, dict):
            parent[WORDS[int(rng.integers(len(WORDS)))]] = parent.pop(key)
        elif way == 5:
            parent[key:key] = [parent[key]] * int(rng.choice([1, 2, 500]))
        elif way == 6:
            other, name = places[int(rng.integers(len(places)))]
            # A copy, or a tree could come to hold itself.
            parent[key] = json.loads(json.dumps(other[name], default=str))
        else:
            parent[key] = _like(rng, parent[key])
    return tree


def _strange(rng: Rng) -> Any:
    """One of VALUES, as a copy: it may be changed in its turn."""
    return copy.deepcopy(VALUES[int(rng.integers(len(VALUES)))])


def _like(rng: Rng, value: Any) -> Any:
    """Something of the same type."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, (int, float)):
        numbers = [v for v in VALUES if isinstance(v, (int, float)) and not isinstance(v, bool)]
        change = rng.choice([-1, 1, 0.5, 2, -value])
        return numbers[int(rng.integers(len(numbers)))] if rng.random() < 0.5 else type(value)(value + change)
    if isinstance(value, str):
        return WORDS[int(rng.integers(len(WORDS)))]
    if isinstance(value, list):
        return value * int(rng.choice([0, 2, 3]))
    return {}


def _places(tree: Any) -> Any:
    """Every (container, key) below a node."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            keys: Any = list(node)
        elif isinstance(node, list):
            keys = range(len(node))
        else:
            continue
        for key in keys:
            yield node, key
            waiting.append(node[key])


def of_json(rng: Rng, data: bytes) -> bytes:
    """A JSON document's tree changed."""
    return json.dumps(of_tree(rng, json.loads(data))).encode()


def of_toml(rng: Rng, data: bytes) -> bytes:
    """A TOML document's tree changed."""
    return tomli_w.dumps(_without_none(of_tree(rng, tomllib.loads(data.decode())))).encode()


def _without_none(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {k: _without_none(v) for k, v in tree.items() if v is not None}
    if isinstance(tree, list):
        return [_without_none(v) for v in tree if v is not None]
    return tree


def of_xml(rng: Rng, data: bytes) -> bytes:
    """An XML document's tree changed: elements left out, doubled, moved, renamed, nested; attributes and texts."""
    root = ElementTree.fromstring(data)
    if root.tag.startswith("{"):
        ElementTree.register_namespace("", root.tag[1:].partition("}")[0])
    ElementTree.register_namespace("xacro", "http://www.ros.org/wiki/xacro")
    for _ in range(int(rng.integers(1, 4))):
        parents = [e for e in root.iter() if len(e)]
        if not parents:
            break
        parent = parents[int(rng.integers(len(parents)))]
        at = int(rng.integers(len(parent)))
        child = parent[at]
        way = int(rng.integers(9))
        if way == 0:
            parent.remove(child)
        elif way == 1:
            for _ in range(int(rng.choice([1, 2, 40]))):
                parent.insert(at, child)
        elif way == 2:
            parents[int(rng.integers(len(parents)))].append(ElementTree.fromstring(ElementTree.tostring(child)))
        elif way == 3:
            others = [e.tag for e in root.iter()]
            child.tag = others[int(rng.integers(len(others)))]
        elif way == 4:
            inner = ElementTree.Element(child.tag, child.attrib)
            inner.extend(list(child))
            for _ in range(int(rng.choice([1, 3, 200]))):
                outer = ElementTree.Element(child.tag, child.attrib)
                outer.append(inner)
                inner = outer
            parent[at] = inner
        elif way == 5 and child.text and child.text.strip():
            child.text = _numbers(rng, child.text)
        elif child.attrib:
            name = list(child.attrib)[int(rng.integers(len(child.attrib)))]
            if way == 6:
                del child.attrib[name]
            elif way == 7:
                child.attrib[name] = _numbers(rng, child.attrib[name])
            else:
                child.attrib[name] = WORDS[int(rng.integers(len(WORDS)))]
    return ElementTree.tostring(root, encoding="utf-8")


def _numbers(rng: Rng, text: str) -> str:
    """A list of numbers or words with one of them replaced, left out or doubled."""
    words = text.split() or [""]
    at = int(rng.integers(len(words)))
    words[at : at + 1] = [[], [words[at]] * 2, [WORDS[int(rng.integers(len(WORDS)))]]][int(rng.integers(3))]
    return " ".join(words)


# ------------------------------------------------------------------------------- trees with numbers in bytes beside


def of_glb(rng: Rng, data: bytes) -> bytes:
    """A binary glTF file with its JSON changed, and its lengths right."""
    length = struct.unpack_from("<I", data, 12)[0]
    text, rest = of_json(rng, data[20 : 20 + length]), data[20 + length :]
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + rest
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def of_safetensors(rng: Rng, data: bytes) -> bytes:
    """A safetensors file with its header, the document in it, or its numbers changed, and its lengths right."""
    length = struct.unpack_from("<Q", data)[0]
    header, numbers = json.loads(data[8 : 8 + length]), data[8 + length :]
    name, text = next(iter(header["__metadata__"].items()))
    document = json.loads(text)
    if rng.random() < 0.8:
        del document["checksum"]  # which would tell of any change: whoever means harm leaves it out
    way = int(rng.integers(4))
    if way < 2:
        document = of_tree(rng, document)
    elif way == 2:
        numbers = of_bytes(rng, numbers)[: len(numbers)].ljust(len(numbers), b"\x7f")
    header["__metadata__"][name] = json.dumps(document)
    if way == 3:
        header = of_tree(rng, header)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + numbers


KINDS: dict[str, Callable[[Rng, bytes], bytes]] = {
    ".json": of_json, ".jsonl": of_text, ".gltf": of_json, ".toml": of_toml, ".urdf": of_xml, ".xacro": of_xml,
    ".dae": of_xml, ".xml": of_xml, ".obj": of_text, ".mtl": of_text, ".yaml": of_text, ".glb": of_glb,
    ".safetensors": of_safetensors,
}  # fmt: skip
TEXTS = (of_json, of_toml, of_xml, of_text)
