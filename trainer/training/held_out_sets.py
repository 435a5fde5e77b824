# SPDX-License-Identifier: GPL-3.0-or-later
"""The validation and test images of a run: taken before anything is learned, from the initial priors; or, where data
sets hold any out, from these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core import run_folder
from ...core.errors import UserError
from ...core.messages.samples import Sample
from ...core.scene.scene_model import SceneDraw
from ...core.settings.schema import Settings
from ..evaluation.evaluate import EvaluationSet
from ..evaluation.sample_set import SampleSet
from ..images.fixed_compositor import FixedCompositor
from ..run_data.data_sets import Partition
from .data_images import DecodedImages, show, whole_view
from .sample_stream import SampleStream

Floats = NDArray[np.float64]

SMALL = 1 << 20
"""Bytes of all that a sample has besides its image, at most."""

LEAST = 16
"""Images of both sets together that a run can't do without."""


class HeldOut:
    """Both sets; neither is there before it was collected or loaded.

    Attributes:
        latents: values of the validation images; none of a data set's images.
    """

    def __init__(self, folder: Path, settings: Settings, data: Sequence[Partition] = ()) -> None:
        """Find the backgrounds; no images are collected yet.

        Args:
            data: the run's data sets; where these hold images out, no renderings are taken.

        Raises:
            UserError: if a theme of backgrounds holds no photographs.
        """
        self._folder = folder
        self._settings = settings
        self._data = [p for p in data if p.held_out]
        self._compositor = FixedCompositor.of(settings, validation=True)
        self.validation: EvaluationSet | None = None
        self.test: EvaluationSet | None = None
        self.latents: tuple[SceneDraw, ...] = ()

    def __len__(self) -> int:
        """Images of both sets."""
        return sum(len(data) for data in (self.validation, self.test) if data is not None)

    @property
    def measured_on(self) -> str:
        """What the test images are, in words."""
        kind = "images held out of the data sets" if self._data else "test images, drawn from the initial priors"
        return f"{kind} and never trained on"

    @property
    def images_at_the_end(self) -> int:
        """Images that a run goes through at its end: those of the validation twice, for the last time and to
        calibrate."""
        return len(self) + (len(self.validation) if self.validation is not None else 0)

    def collect(self, stream: SampleStream, enough: Callable[[], bool], waiting: Callable[[str], bool]) -> bool:
        """Take the images from the stream and keep them on disk; False where that was broken off.

        Args:
            enough: whether to make do with what is there.
            waiting: is told how it goes, again and again, and answers whether to go on.

        Raises:
            UserError: if an image that a data set holds out can't be read.
        """
        t = self._settings.training
        if self._data:
            return self._read_data(waiting)
        wanted = t.validation_images + t.test_images
        samples: list[Sample] = []
        while len(samples) < wanted and not (len(samples) >= LEAST and enough()):
            if not waiting(f"collecting {len(samples)} of {wanted} validation and test images"):
                return False
            if stream.wait(0.1):
                samples += [s for s in stream.take(wanted - len(samples)) if s.version == 0]
        count = min(max(round(t.validation_images / wanted * len(samples)), LEAST // 2), len(samples) - LEAST // 2)
        # Samples come from the workers in turn; mixing them keeps any pattern of turns out of the sets.
        order = np.random.default_rng(t.seed).permutation(len(samples)).tolist()
        self._keep("validation", samples, order[:count])
        self._keep("test", samples, order[count:])
        return True

    def _read_data(self, waiting: Callable[[str], bool]) -> bool:
        """Take the images that the data sets hold out, half of each for the test."""
        render, names = self._settings.render, [k.name for k in self._settings.keypoints]
        size = render.width, render.height
        found: list[tuple[NDArray[np.uint8], Floats, NDArray[np.int64]]] = []
        wanted = sum(len(p.held_out) for p in self._data)
        for part in self._data:
            images = DecodedImages(part.held_out, names, size, complete=part.complete[1], memory=0)
            for index in range(len(images)):
                if not waiting(f"reading {len(found)} of {wanted} validation and test images"):
                    return False
                image = images.read(index)
                found.append((*show(image, whole_view(image, size), size), image.visibility))
        # Those of several data sets come in turn to both sets.
        self._keep_set("validation", _data_set(found[0::2]))
        self._keep_set("test", _data_set(found[1::2]))
        return True

    def load(self) -> None:
        """The sets of a run that is resumed.

        Raises:
            UserError: if they can't be read, or are not of the run's settings.
        """
        t, render = self._settings.training, self._settings.render
        most = (t.validation_images + t.test_images) * (4 * render.width * render.height + SMALL)
        for name in ("validation", "test"):
            self._use(name, SampleSet.load(run_folder.samples(self._folder, name), most))

    def _keep(self, name: str, samples: Sequence[Sample], indices: Sequence[int]) -> None:
        self._keep_set(name, SampleSet.of([samples[i] for i in indices]))

    def _keep_set(self, name: str, chosen: SampleSet) -> None:
        (self._folder / run_folder.CHECKPOINTS).mkdir(exist_ok=True)
        chosen.save(run_folder.samples(self._folder, name))
        self._use(name, chosen)

    def _use(self, name: str, samples: SampleSet) -> None:
        render = self._settings.render
        expected = (render.height, render.width, 4)
        drawn = any(latents.values for latents in samples.latents)
        lacking = {v.name for v in self._settings.variables} - samples.latents[0].values.keys() if drawn else set()
        joints = (len(self._settings.keypoints), 2)
        if samples.images.shape[1:] != expected or samples.keypoints.shape[1:] != joints or lacking:
            raise UserError(
                f"The {name} images in {self._folder} do not fit its settings.toml: undo the change or start a new run"
            )
        data = EvaluationSet.of(samples, self._compositor)
        if name == "test":
            self.test = data
        else:
            self.validation = data
            self.latents = samples.latents if drawn else ()


def _data_set(images: Sequence[tuple[NDArray[np.uint8], Floats, NDArray[np.int64]]]) -> SampleSet:
    """Images of data sets, of which no camera, pose or latent value is known."""
    pixels, points, visibility = (np.stack(column) for column in zip(*images, strict=True))
    unknown = np.zeros((len(images), 3, 3)), np.tile(np.eye(4), (len(images), 1, 1))
    return SampleSet(pixels, points, visibility, *unknown, (SceneDraw({}, {}),) * len(images))
