# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the pictures are that an annotation file names; annotation tools write down all kinds of places."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from ...core.errors import UserError

MOST = 200_000
"""Files that are looked at in a folder and those below it."""

SUBSET = re.compile(r"(?:person_keypoints|instances)_(.+)")
"""Names of annotation files whose pictures lie in a folder for the subset, as COCO's and CVAT's do."""

HASH = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before a name when a picture is uploaded."""


class PicturePlaces:
    """Finds pictures in a folder, in its ``images/``, and in those below by a name that is there once.

    A name may be a path of another machine, also of Windows, or an address; of these the end counts.
    """

    def __init__(self, folder: Path, annotations: Path) -> None:
        """Look where the pictures may be.

        Args:
            annotations: the file that names the pictures.
        """
        self._folder = folder
        found = SUBSET.fullmatch(annotations.stem)
        subset = [found[1]] if found is not None else []
        self._places = [folder / p for s in subset for p in (Path("images", s), Path(s))] + [folder, folder / "images"]

    def find(self, name: str) -> Path:
        """Where a picture is, or would be expected.

        Raises:
            UserError: if several places are as good.
        """
        names = _readings(name)
        names += [[*parts[:-1], HASH.sub("", parts[-1], count=1)] for parts in names if HASH.match(parts[-1])]
        for parts in names:
            for start in range(len(parts)):
                for place in self._places:
                    candidate = place.joinpath(*parts[start:])
                    if candidate.is_file():
                        return candidate
        for parts in names:
            found = self._below(parts)
            if len(found) > 1:
                raise UserError(
                    f"{self._folder} has several pictures called {parts[-1]} ({found[0]}, {found[1]}): keep the one "
                    "that was annotated, or write its folder into the annotations"
                )
            if found:
                return found[0]
        return self._folder.joinpath(*names[0])

    def _below(self, parts: list[str]) -> list[Path]:
        """Pictures whose paths end like ``parts``, with a folder if these have one."""
        wanted = tuple(parts[-2:])
        return [p for p in self._by_name.get(parts[-1], ()) if p.parts[-len(wanted) :] == wanted]

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        def walk() -> Iterator[Path]:
            for folder, folders, names in os.walk(self._folder):
                folders[:] = sorted(f for f in folders if not f.startswith("."))
                yield from (Path(folder, name) for name in sorted(names))

        result: dict[str, list[Path]] = {}
        for path in islice(walk(), MOST):
            result.setdefault(path.name, []).append(path)
        return result


def _readings(name: str) -> list[list[str]]:
    """Parts of the path that a name may mean: as it stands, and as an address."""
    text = re.sub(r"^[A-Za-z]:(?=[\\/])", "", name).replace("\\", "/")
    texts = [text]
    if "%" in text or "?" in text or "://" in text:
        address = urlsplit(text)
        texts += [*parse_qs(address.query).get("d", []), unquote(address.path)]
    # A way up would lead out of the folder.
    every = [[p for p in t.split("/") if p not in ("", ".", "..")] for t in texts]
    return [parts for parts in every if parts] or [["?"]]
