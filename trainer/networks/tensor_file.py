# SPDX-License-Identifier: GPL-3.0-or-later
"""Tensors and a JSON document in one safetensors file: written whole or not at all, with a checksum, and looked at
before anything is believed. Nothing in such a file is executed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ...core import files
from ...core.errors import UserError
from ...core.messages.model_document import CHECKSUM, KEY, Header, NotOursError


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


def _not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The first tensor that holds NaN or infinity."""
    return next(
        (k for k, v in tensors.items() if v.is_floating_point() and not math.isfinite(float(v.float().sum()))
         and not bool(torch.isfinite(v).all())), None
    )  # fmt: skip


def _digest(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """The checksum of a document as JSON gives it back, and of every tensor's name, kind, shape and numbers."""
    found = hashlib.blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
