# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies behind the robot: pictures drawn by program, photographs in themes, or views of places.

Choice 0 of ``background/theme`` are the drawn pictures; the themes of photographs follow in order, and places.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ...core.errors import UserError
from ...core.settings.asset_folders import PLACES, is_photograph
from . import image_file
from .places import Places
from .procedural import Dice, mixed, procedural, to_tensor

MARGIN = 1.3
"""Size of a bank's pictures over that of the crops."""

PICTURES = 96
"""Pictures that a bank keeps."""

BANKS_BYTES = 256 << 20
"""All banks together stay below this, however many themes there are."""

REFRESH = 16
"""Crops that a bank gives, as a rule, before one of its pictures is replaced."""

LARGEST_PIXELS = 64_000_000
"""A photograph that has more when it is decoded is left out. JPEGs are decoded smaller where they are large."""


class Photos:
    """The photographs of one theme, decoded one at a time; what can't be read is left out with a warning.

    Several threads may sample.
    """

    def __init__(self, folder: str, theme: str) -> None:
        """List the files, those in folders below included, but for the theme ``.``, which is the folder itself.

        Raises:
            UserError: if there is none.
        """
        self.place = f"The folder of backgrounds {folder}" if theme == "." else f"The theme {theme!r} in {folder}"
        top = Path(folder) if theme == "." else Path(folder, theme)
        self._files: list[Path] = []
        for parent, folders, names in os.walk(top):
            folders[:] = [] if theme == "." else sorted(f for f in folders if not f.startswith("."))
            paths = (Path(parent, name) for name in sorted(names) if not name.startswith("."))
            self._files += [p for p in paths if is_photograph(p)]
        self._unreadable: set[int] = set()
        self._lock = threading.Lock()
        if not self._files:
            raise UserError(f"{self.place} holds no photographs: put some there, or remove it")

    def sample(self, dice: Dice, width: int, height: int) -> Tensor:
        """A crop ``(3, height, width)`` uint8 of a random photograph.

        Which one, and which part of it, follows from the dice alone, whatever was sampled before.

        Raises:
            UserError: if none can be read.
        """
        while len(self._unreadable) < len(self._files):
            index = dice.below(len(self._files))
            if index in self._unreadable:
                continue
            picture = self._open(index, width, height)
            if picture is None:
                continue
            return _crop(picture, dice, width, height)
        raise UserError(f"{self.place} holds no photograph that can be read: put others there, or remove it")

    def _open(self, index: int, width: int, height: int) -> Image.Image | None:
        file = self._files[index]
        try:
            found = image_file.read(file, enough=(2 * width, 2 * height), most=LARGEST_PIXELS)
            return Image.fromarray(found.pixels[..., :3])
        except UserError as problem:
            with self._lock:
                if index not in self._unreadable:
                    print(f"warning: a background is left out: {problem}", file=sys.stderr)
                    self._unreadable.add(index)
            return None


def _crop(picture: Image.Image, dice: Dice, width: int, height: int) -> Tensor:
    """A random part of the photograph, at least half as large as can be, scaled to ``(3, height, width)`` uint8."""
    least = min(picture.width / width, picture.height / height)  # photograph's pixels per pixel, where all is seen
    step = least / dice.uniform(1.0, max(1.0, min(2.0, least)))
    w, h = step * width, step * height
    x, y = dice.uniform(0, picture.width - w), dice.uniform(0, picture.height - h)
    box = (x, y, min(x + w, picture.width), min(y + h, picture.height))
    return to_tensor(picture.resize((width, height), Image.Resampling.BILINEAR, box, reducing_gap=2.0))


def source(folder: str, theme: str) -> Photos | Places:
    """Where the pictures of a theme come from.

    Raises:
        UserError: if there are none.
    """
    return Places() if theme == PLACES else Photos(folder, theme)


class Bank:
    """Pictures to take random crops from; each is made when it is first wanted and replaced in its turn.

    A picture follows from the seed, its place and how often it was replaced, so that :attr:`state` is two numbers.
    """

    def __init__(self, make: Callable[[Dice], Tensor], count: int, seed: int, *, natural: bool) -> None:
        """Make the bank's first picture.

        Args:
            make: one picture ``(3, h, w)`` uint8.
            natural: whether the pictures have an up and a down and colours of their own.
        """
        self._picture = make
        self._seed = seed
        self._natural = natural
        self._refreshes = 0
        self.taken = 0
        first = self._make(0, count)  # now, so that a theme that can't be used is found out at the start
        self._pictures = first.new_empty((count, *first.shape))
        self._pictures[0] = first
        self._made = [True] + [False] * (count - 1)

    def _make(self, place: int, count: int) -> Tensor:
        turns = (self._refreshes - place + count - 1) // count  # how often it was replaced
        return self._picture(Dice(torch.Generator().manual_seed(mixed(self._seed, place, turns))))

    @property
    def state(self) -> list[int]:
        """How many pictures were replaced, and how many crops taken since."""
        return [self._refreshes, self.taken]

    @state.setter
    def state(self, value: Sequence[int]) -> None:
        self._refreshes, self.taken = value
        self._made = [False] * len(self._made)

    def refresh(self) -> None:
        """Have the oldest picture made again, when it is next wanted."""
        self._made[self._refreshes % len(self._made)] = False
        self._refreshes += 1
        self.taken = 0

    def crop_into(self, out: Tensor, picks: Sequence[int]) -> None:
        """Fill ``out`` ``(3, H, W)`` from a picture and a place, flipped and its colours reordered, by random numbers.

        Args:
            picks: five whole numbers, each large compared with the choices it is for.
        """
        picture, x, y, flips, order = picks
        _, height, width = out.shape
        n, _, h, w = self._pictures.shape
        picture, x, y = picture % n, x % (w - width + 1), y % (h - height + 1)
        if not self._made[picture]:
            self._pictures[picture] = self._make(picture, n)
            self._made[picture] = True
        self.taken += 1
        crop = self._pictures[picture, :, y : y + height, x : x + width]
        axes = [axis for axis, bit in ((1, 0 if self._natural else 1), (2, 2)) if flips & bit]
        crop = crop.flip(axes) if axes else crop
        out.copy_(crop)
        if order & 1 and not self._natural:
            a, b = ((0, 1), (0, 2), (1, 2))[order % 3]
            out[a], out[b] = crop[b], crop[a]


class Backgrounds:
    """The backgrounds of training: one bank for the drawn pictures and one for each theme."""

    def __init__(self, folder: str, themes: Sequence[str], width: int, height: int, seed: int) -> None:
        """Draws a picture of each.

        Raises:
            UserError: if a theme holds no photograph that can be read.
        """
        w, h = math.ceil(width * MARGIN), math.ceil(height * MARGIN)
        count = min(PICTURES, max(1, BANKS_BYTES // (3 * w * h * (1 + len(themes)))))

        def pictures(number: int, theme: str) -> Bank:
            found = source(folder, theme)
            return Bank(lambda dice: found.sample(dice, w, h), count, mixed(seed, number), natural=True)

        drawn = Bank(lambda dice: procedural(dice, w, h), count, mixed(seed, 0), natural=False)
        self._banks = [drawn, *(pictures(i, theme) for i, theme in enumerate(themes, 1))]

    @property
    def state(self) -> list[list[int]]:
        """The state of each bank, as plain JSON values."""
        return [bank.state for bank in self._banks]

    @state.setter
    def state(self, value: Sequence[Sequence[int]]) -> None:
        if len(value) not in (len(self), len(self) - 1):  # an earlier version had no places, which come last
            raise ValueError(f"{len(value)} banks of backgrounds instead of {len(self)}")
        for bank, own in zip(self._banks, value, strict=False):
            bank.state = list(own)

    def __len__(self) -> int:
        return len(self._banks)

    def crops(self, choices: Sequence[int], width: int, height: int, generator: torch.Generator) -> Tensor:
        """One background each ``(B, 3, height, width)`` uint8, of the given choices of ``background/theme``."""
        stale = max(self._banks, key=lambda bank: bank.taken)
        if stale.taken >= REFRESH:
            stale.refresh()
        picks = torch.randint(0, 1 << 30, (len(choices), 5), generator=generator).tolist()
        result = torch.empty(len(choices), 3, height, width, dtype=torch.uint8)
        for out, choice, some in zip(result, choices, picks, strict=True):
            self._banks[choice].crop_into(out, some)
        return result
