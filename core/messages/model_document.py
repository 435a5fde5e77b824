# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model file says of itself: the JSON document in its header, read before any of its numbers is.

It is a safetensors file, which begins with the length of its header (8 bytes, the lowest first); the header is JSON
that lists the tensors, and their numbers follow. A run's checkpoint is such a file, too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..input_files import open_regular

KEY = "robot_keypoints"
"""Under which the document is in the file's metadata."""

CHECKSUM = "checksum"
"""Under which the checksum is in the document; files of earlier versions have none."""

LONGEST_HEADER = 8 << 20
"""Bytes; a robot of a thousand joints takes half a megabyte."""

LARGEST = 16 << 30
"""Bytes of a whole file; the largest network that settings allow has less than a gigabyte of weights as a rule."""


class NotOursError(Exception):
    """The file is of another kind altogether."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its numbers are read.

    Attributes:
        document: without its checksum.
        shapes: of the tensors, by name.
        checksum: of everything; None in files of earlier versions.
    """

    path: Path
    document: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    checksum: str | None


@dataclass(frozen=True)
class ModelDescription:
    """What a document tells those who show a model without its network; what is not as it should be counts as missing.

    Attributes:
        robot: its kinematics, as :meth:`.Robot.from_dict` reads them.
        keypoints: their names.
        skeleton: pairs of names.
        input_size: width and height of the images that it was trained on, pixels.
        figures: the numbers of its training's summary, such as ``median_error_percent``.
    """

    robot: Mapping[str, Any] | None = None
    keypoints: tuple[str, ...] = ()
    skeleton: tuple[tuple[str, str], ...] = ()
    input_size: tuple[int, int] | None = None
    figures: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> ModelDescription:
        """Read a document. Never raises."""
        robot, names, edges = document.get("robot"), document.get("keypoints"), document.get("skeleton")
        size, training = document.get("input"), document.get("training")
        width, height = (size.get("width"), size.get("height")) if isinstance(size, dict) else (None, None)
        return cls(
            robot if isinstance(robot, dict) else None,
            tuple(map(str, names)) if isinstance(names, list) else (),
            tuple((str(e[0]), str(e[1])) for e in edges if isinstance(e, (list, tuple)) and len(e) == 2)
            if isinstance(edges, list) else (),
            (width, height) if type(width) is int and type(height) is int and min(width, height) > 0 else None,
            {str(k): float(v) for k, v in training.items() if type(v) in (int, float)}
            if isinstance(training, dict) else {},
        )  # fmt: skip

    @property
    def robot_name(self) -> str:
        """What the robot is called; empty if that is not known."""
        return str((self.robot or {}).get("name") or "")


def read_header(path: Path) -> Header:
    """Look at a file without reading its numbers.

    Raises:
        UserError: if it is cut off, or asks for more than it has or than is sensible.
        NotOursError: if it is no such file.
        OSError: if it can't be read.
    """
    with open_regular(path) as stream:
        there = os.fstat(stream.fileno()).st_size
        first = stream.read(8)
        length = int.from_bytes(first, "little")
        if len(first) < 8 or not 2 <= length <= LONGEST_HEADER or stream.read(1) != b"{":
            raise NotOursError
        text = b"{" + stream.read(length - 1)
    if len(text) < length:
        raise UserError(_cut_off(path, there))
    try:
        entries: dict[str, Any] = json.loads(text)
        metadata = entries.pop("__metadata__", {})
        shapes = {name: tuple(_size(n) for n in entry["shape"]) for name, entry in entries.items()}
        ends = [_size(entry["data_offsets"][1]) for entry in entries.values()]
        document = json.loads(metadata[KEY], parse_constant=_refuse)
        if not isinstance(document, dict):
            raise NotOursError
        checksum = document.pop(CHECKSUM, None)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as problem:
        raise NotOursError from problem
    needed = 8 + length + max(ends, default=0)
    if there < needed:
        raise UserError(_cut_off(path, there))
    if there > LARGEST:
        raise UserError(f"{path} has {there / 2**30:.0f} GiB, which no network of ours has: choose another file")
    return Header(path, document, shapes, checksum if checksum is None else str(checksum))


def knows_robot(path: Path) -> bool:
    """Whether a model file brings its robot's kinematics; true of one that is none, which the server refuses."""
    try:
        return ModelDescription.of(read_header(path).document).robot is not None
    except (NotOursError, OSError, UserError):
        return True


def _cut_off(path: Path, there: int) -> str:
    return f"{path} is cut off after {there:,} bytes: copy it again from where it is whole"


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError(f"a size of {value!r}")
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")
