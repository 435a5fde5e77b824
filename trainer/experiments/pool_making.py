# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes of a recording the pool that an experiment's trainings draw from: see :mod:`.pool`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core import files
from ...core.errors import UserError
from ...core.settings import asset_folders
from ...core.settings.schema import Settings
from ..datasets.recording import Recording
from ..images import sensor_effects
from ..images.backgrounds import source
from ..images.fixed_compositor import FixedCompositor
from ..images.procedural import Dice, mixed, procedural, shapes
from ..images.sensor_effects import premultiply
from . import pool

FEWEST = 48
"""Renderings that a recording needs."""

AT_ONCE = 256
"""Images that are made smaller at a time."""


def make(recording: Recording, shrink: int, folder: Path) -> None:
    """Write the pool's folder; the recording's last renderings are kept for tests, those before for validation.

    Args:
        shrink: images become this many times smaller in width and height.

    Raises:
        UserError: if the recording is too small for that.
    """
    count, height, width, _ = recording.images.shape
    if count < FEWEST:
        raise UserError(f"The recording has {count} renderings: an experiment needs {FEWEST} at least")
    if min(height, width) // shrink < 32:
        raise UserError(f"--shrink {shrink} leaves too little of {width}x{height} pixels: give a smaller one")
    torch.set_num_threads(1)  # several images are made at a time
    folder.mkdir(parents=True, exist_ok=True)
    tests = min(pool.MOST_TESTS, round(count * pool.TESTS))
    validations = min(pool.MOST_VALIDATIONS, round(count * pool.VALIDATIONS))
    kept = count - tests - validations
    settings = smaller_settings(recording.settings, width // shrink, height // shrink)
    model = settings.scene_model()
    names = [v.name for v in model.variables]
    keypoints = (np.array(recording.keypoints) + 0.5) / shrink - 0.5
    bins = np.stack([v.prior.bin_of(recording.values[:, i]) for i, v in enumerate(model.variables)], 1)
    rows = [dict(zip(names, row, strict=True)) for row in recording.values[:kept].tolist()]
    _save_images(recording, kept, shrink, folder / "images.npy")
    _save(folder, keypoints=keypoints[:kept], bins=bins[:kept], effects=sensor_effects.table(rows))
    for name, chosen in (("validation", range(kept, kept + validations)), ("test", range(kept + validations, count))):
        finished = _composited(recording, settings, chosen, shrink)
        parts = {f"{name}_images": finished, f"{name}_keypoints": keypoints[chosen]}
        _save(folder, **parts, **{f"{name}_values": np.array(recording.values[chosen])})
    _save(folder, backgrounds=_backgrounds(settings), shapes=_shapes(settings))
    files.write_json(folder / pool.DOCUMENT, pool.document_of(model))


def smaller_settings(settings: Settings, width: int, height: int) -> Settings:
    """The settings for images of another size."""
    return replace(settings, render=replace(settings.render, width=width, height=height))


def smaller(images: Tensor, factor: int) -> NDArray[np.uint8]:
    """Straight RGBA ``(B, H, W, 4)`` averaged over squares of ``factor`` pixels."""
    if factor == 1:
        return np.asarray(images.numpy())
    mean = torch.nn.functional.avg_pool2d(premultiply(images), factor)
    alpha = mean[:, 3:].clamp_min(1e-6)
    straight = torch.cat([mean[:, :3] / alpha, mean[:, 3:]], 1).clamp(0, 1) * 255
    return np.asarray(straight.round().byte().permute(0, 2, 3, 1).numpy())


def _smaller(recording: Recording, chosen: Sequence[int], shrink: int) -> NDArray[np.uint8]:
    return smaller(torch.from_numpy(np.array(recording.images[chosen])), shrink)


def _save_images(recording: Recording, count: int, shrink: int, path: Path) -> None:
    _, height, width, channels = recording.images.shape
    shape = (count, height // shrink, width // shrink, channels)
    images = np.lib.format.open_memmap(path, "w+", np.uint8, shape)  # type: ignore[no-untyped-call]
    for i in range(0, count, AT_ONCE):
        images[i : i + AT_ONCE] = _smaller(recording, range(i, min(i + AT_ONCE, count)), shrink)
    images.flush()


def _save(folder: Path, **arrays: NDArray[np.generic]) -> None:
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)


def _composited(
    recording: Recording, settings: Settings, chosen: Sequence[int], shrink: int
) -> NDArray[np.uint8]:  # fmt: skip
    """Finished images ``(N, 3, H, W)``, each always the same."""
    fixed = FixedCompositor.of(settings, validation=True)

    def finished(number: int) -> NDArray[np.uint8]:
        image, latents = torch.from_numpy(_smaller(recording, [number], shrink)), recording.latents([number])[0]
        return np.asarray(fixed.composite(image, [latents.values], [latents.seed])[0].numpy())

    with ThreadPoolExecutor() as threads:
        return np.stack(list(threads.map(finished, chosen)))


def _backgrounds(settings: Settings) -> NDArray[np.uint8]:
    """``(themes, pictures, 3, h, w)``: pictures drawn by program, and those of each theme to train on."""
    width, height = (math.ceil(n * pool.MARGIN) for n in (settings.render.width, settings.render.height))
    themes = asset_folders.training_themes(settings)
    result = np.empty((1 + len(themes), pool.PICTURES, 3, height, width), np.uint8)
    sources = [source(settings.augmentation.backgrounds, theme) for theme in themes]

    def draw(number: int, place: int) -> None:
        dice = Dice(torch.Generator().manual_seed(mixed(number, place)))
        drawn = procedural(dice, width, height) if number == 0 else sources[number - 1].sample(dice, width, height)
        result[number, place] = drawn.numpy()

    with ThreadPoolExecutor() as threads:
        places = [(number, place) for number in range(len(result)) for place in range(pool.PICTURES)]
        list(threads.map(draw, *zip(*places, strict=True)))
    return result


def _shapes(settings: Settings) -> NDArray[np.uint8]:
    """``(numbers, pictures, 4, H, W)``."""
    width, height = settings.render.width, settings.render.height
    most = max([0, *(int(v.high) for v in settings.variables if v.name == "objects/drawn")])
    result = np.zeros((most, pool.OVERLAYS if most else 1, 4, height, width), np.uint8)
    for number, pictures in enumerate(result, 1):
        for place in range(pool.OVERLAYS):
            dice = Dice(torch.Generator().manual_seed(mixed(number, place, 1)))
            pictures[place] = shapes(dice, width, height, number).numpy()
    return result
