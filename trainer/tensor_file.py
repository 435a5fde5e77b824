# SPDX-License-Identifier: GPL-3.0-or-later
"""Tensors and a JSON document in one safetensors file: written whole or not at all, with a checksum, and looked at
before anything is believed. Nothing in such a file is executed.

A safetensors file begins with the length of its header (8 bytes, the lowest first); the header is JSON that lists the
tensors, and their numbers follow.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ..core import files
from ..core.errors import UserError
from ..core.input_files import open_regular

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


def write(path: Path, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> None:
    """Write a file.

    Args:
        document: plain JSON values.

    Raises:
        UserError: if a tensor holds what is no finite number, or the file can't be written.
    """
    kept = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    strange = _not_finite(kept)
    if strange is not None:
        raise UserError(
            f"{path} is not written, because {strange} is no longer made of numbers: lower training.learning_rate and "
            "resume the run, its last good state is kept"
        )
    text = json.dumps(dict(document), allow_nan=False)
    whole = json.dumps({**json.loads(text), CHECKSUM: _digest(json.loads(text), kept)})
    files.write_bytes(path, safetensors.torch.save(kept, {KEY: whole}))


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
        told = entries.pop("__metadata__", {})
        shapes = {name: tuple(_size(n) for n in entry["shape"]) for name, entry in entries.items()}
        ends = [_size(entry["data_offsets"][1]) for entry in entries.values()]
        document = json.loads(told[KEY], parse_constant=_refuse)
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


def read_tensors(header: Header) -> dict[str, Tensor]:
    """The tensors of a file whose header was looked at.

    Raises:
        UserError: if what the file holds is not what was written, or not made of numbers.
        NotOursError: if it is no such file after all.
        OSError: if it can't be read.
    """
    path = header.path
    try:
        with safetensors.safe_open(path, "pt") as stream:
            tensors = {k: stream.get_tensor(k) for k in stream.keys()}  # noqa: SIM118 - it is no mapping
    except OSError:
        raise
    except Exception as problem:  # a foreign file can break it in its own way
        raise NotOursError from problem
    if header.checksum is not None and header.checksum != _digest(header.document, tensors):
        raise UserError(f"{path} is damaged, its checksum tells: copy it again from where it is whole")
    strange = _not_finite(tensors)
    if strange is not None:
        raise UserError(f"{path} is damaged, {strange} is not made of numbers: choose another")
    return tensors


def _cut_off(path: Path, there: int) -> str:
    return f"{path} is cut off after {there:,} bytes: copy it again from where it is whole"


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError(f"a size of {value!r}")
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The first tensor that holds NaN or infinity."""
    return next(
        (k for k, v in tensors.items() if v.is_floating_point() and not math.isfinite(float(v.float().sum()))
         and not bool(torch.isfinite(v).all())), None
    )  # fmt: skip


def _digest(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Of a document as JSON gives it back, and of every tensor's name, kind, shape and numbers."""
    found = hashlib.blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
