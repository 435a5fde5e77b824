# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of a recording as a numbered sequence, which is all that Blender shows one after another. Without Blender."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from ...core.errors import UserError

FOLDER = "background"


def sequence(files: Sequence[Path], data: Path, camera: str) -> Path:
    """The first file of a numbered sequence with these images: themselves, or else links or copies in the data set.

    Args:
        data: folder of the data set.
        camera: whose they are.

    Raises:
        UserError: if one is missing, or the copies can't be written.
    """
    missing = [f for f in files if not f.is_file()]
    if missing:
        raise UserError(f"There is no image at {missing[0]}: put the recording back, or label it again")
    if is_sequence(files):
        return files[0]
    folder = data / FOLDER / "".join(c if c.isalnum() or c in "-_." else "_" for c in camera)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        copies = [folder / f"{k:06d}{files[0].suffix.lower()}" for k in range(1, len(files) + 1)]
        for file, copy in zip(files, copies, strict=True):
            try:
                os.link(file, copy)
            except OSError:
                shutil.copyfile(file, copy)
    except OSError as problem:
        raise UserError(f"The folder {folder} can't be written ({problem.strerror}): free some room there") from problem
    return copies[0]


def is_sequence(files: Sequence[Path]) -> bool:
    """Whether the files are numbered one after another, with nothing else about their names that differs."""
    parts = [re.fullmatch(r"(.*?)(\d+)(\D*)", f.name) for f in files]
    if any(p is None for p in parts):
        return False
    found = [p.groups() for p in parts if p is not None]
    first = int(found[0][1])
    alike = {(f.parent, before, after, len(digits)) for f, (before, digits, after) in zip(files, found, strict=True)}
    return len(alike) == 1 and all(int(digits) == first + k for k, (_, digits, _) in enumerate(found))
