# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders a recording from a settings file, and goes on with one that was begun."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core import blend_file, files, run_folder
from ...core.errors import UserError
from ...core.input_files import read_json
from ...core.messages.samples import Sample
from ...core.processes.programs import Programs
from ...core.settings import toml_file
from ...core.settings.schema import Settings
from .recording import COUNT, ROBOT, SETTINGS
from .render_workers import RenderWorkers, StoppedError, build_scene

DRAWS = "draws"
"""The array of the draws' numbers, in the order in which they came."""

AT_ONCE = 200
"""Renderings between two notes of how many there are."""


@dataclass(frozen=True)
class _Arrays:
    """A recording's arrays in the making, on disk, with room for all renderings."""

    images: NDArray[np.uint8]
    keypoints: NDArray[np.float64]
    visibility: NDArray[np.int64]
    values: NDArray[np.float64]
    draws: NDArray[np.int64]

    @classmethod
    def opened(cls, folder: Path, settings: Settings, count: int, *, new: bool) -> _Arrays:
        """New ones, or those that are there.

        Raises:
            UserError: if those that are there have another size.
        """
        render, joints = settings.render, len(settings.keypoints)

        def array(name: str, shape: tuple[int, ...], kind: type) -> Any:
            path = folder / f"{name}.npy"
            if new:
                return np.lib.format.open_memmap(path, "w+", kind, (count, *shape))  # type: ignore[no-untyped-call]
            try:
                found = np.lib.format.open_memmap(path, "r+")  # type: ignore[no-untyped-call]
            except (OSError, ValueError) as problem:
                raise UserError(
                    f"{path} is damaged ({problem}): remove {folder}, and it is rendered again"
                ) from problem
            if found.shape != (count, *shape) or found.dtype != kind:
                raise UserError(f"{path} is of another size: give the same number of renderings, or another folder")
            return found

        return cls(
            array("images", (render.height, render.width, 4), np.uint8), array("keypoints", (joints, 2), np.float64),
            array("visibility", (joints,), np.int64), array("values", (len(settings.variables),), np.float64),
            array(DRAWS, (), np.int64),
        )  # fmt: skip

    def put(self, place: int, sample: Sample, names: list[str]) -> None:
        """One rendering."""
        self.images[place] = sample.image
        self.keypoints[place] = sample.keypoints
        self.visibility[place] = sample.visibility
        self.values[place] = [sample.latents.values[n] for n in names]
        self.draws[place] = sample.sequence

    def flush(self) -> None:
        """Have all of it on the disk."""
        for values in (self.images, self.keypoints, self.visibility, self.values, self.draws):
            if isinstance(values, np.memmap):
                values.flush()


def record(
    folder: Path, settings: Settings, programs: Programs, count: int, interrupted: Callable[[], bool],
    say: Callable[[str], None], seed: int = 0,
) -> None:  # fmt: skip
    """Render from the initial priors until there are ``count``; what is there already stays.

    Args:
        settings: ``workers.count`` workers are started.

    Raises:
        UserError: if the settings can't be followed, or another number was begun.
        RenderingError: if Blender fails again and again.
        StoppedError: as soon as ``interrupted()``; the same call goes on.
    """
    (folder / run_folder.LOGS).mkdir(parents=True, exist_ok=True)
    done = int(read_json(folder / COUNT, f"remove {folder}")) if (folder / COUNT).exists() else 0
    scene = folder / run_folder.SCENE
    if not done or not scene.exists() or not blend_file.is_whole(scene):
        say("building the scene")
        toml_file.save(settings, folder / SETTINGS)
        for warning in build_scene(folder, programs, interrupted):
            say(f"warning: {warning}")
        robots = read_json(folder / run_folder.ROBOTS, f"remove {folder}")
        files.write_json(folder / ROBOT, robots[0] if robots else None)
    settings = replace(toml_file.load(folder / SETTINGS), workers=settings.workers)
    names = [v.name for v in settings.variables]
    arrays = _Arrays.opened(folder, settings, count, new=not done)
    came = set(arrays.draws[:done].tolist())
    missing = [i for i in range(count) if i not in came]
    if not missing:
        return
    begun, before = time.monotonic(), done
    with RenderWorkers(folder, settings, programs, seed, missing) as workers:
        while workers.left:
            sample = workers.receive(0.2)
            if sample is not None:
                arrays.put(done, sample, names)
                done += 1
            if (sample is not None and done % AT_ONCE == 0) or interrupted() or not workers.left:
                arrays.flush()
                files.write_json(folder / COUNT, done)
                left = (count - done) * (time.monotonic() - begun) / max(done - before, 1)
                say(f"{done} of {count} renderings" + (f", {left:.0f} s left" if done < count else ""))
            if interrupted():
                raise StoppedError
