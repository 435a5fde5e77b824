# SPDX-License-Identifier: GPL-3.0-or-later
"""``robot-keypoints render``: a labelled data set on disk, and a contact sheet of its first pictures.

Read :func:`render` from top to bottom.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...core import blend_file, files, run_folder
from ...core.errors import UserError
from ...core.input_files import read_json
from ...core.messages.job_progress import ProgressWriter
from ...core.messages.obstruction import Obstruction
from ...core.messages.samples import Sample
from ...core.processes.folder_lock import FolderLock
from ...core.processes.lifeline import end_with_parent
from ...core.processes.programs import Programs
from ...core.processes.run_status import Status
from ...core.scene import catalogue
from ...core.settings import toml_file
from ...core.settings.schema import Settings
from ..datasets import contact_sheet, sample_label
from ..datasets.coco_writer import CocoDataSet
from ..datasets.ndds_writer import NddsDataSet
from ..datasets.render_workers import RenderingError, RenderWorkers, StoppedError, build_scene, chosen_blender
from ..datasets.sample_label import Body
from ..datasets.writer import MANIFEST, MOST, DataSet, Finished, Manifest
from .endings import noted
from .run_display import Display

FORMATS: dict[str, type[DataSet]] = {"coco": CocoDataSet, "ndds": NddsDataSet}

LIFELINE_GRACE = 8.0
"""Seconds to end in order once the process that started this one is gone."""


Composite = Callable[[Sample], NDArray[np.uint8]]
"""Makes the picture that is written from a sample."""


@dataclass(frozen=True)
class RenderOptions:
    """What was asked for on the command line.

    Attributes:
        source: a settings file, or the folder of a run.
        count: samples; None takes as many as a sheet shows.
        format: ``coco`` or ``ndds``; None where only a sheet is wanted.
        out: the data set's folder.
        workers: how many; None leaves it to the settings.
        preset: varies what this preset varies instead of what the settings say.
        sheet: picture file of the contact sheet.
        transparent: leave the background and the camera's own faults away, and write RGBA.
        blender: command of the Blender that renders; empty leaves it to the settings.
    """

    source: Path
    count: int | None = None
    format: str | None = None
    out: Path | None = None
    seed: int = 0
    workers: int | None = None
    preset: str | None = None
    sheet: Path | None = None
    transparent: bool = False
    blender: str = ""

    def check(self) -> None:
        """Refuse what can't be done.

        Raises:
            UserError: in one sentence.
        """
        if self.count is not None and not 1 <= self.count <= MOST:
            raise UserError(f"--count is {self.count}: it must be between 1 and {MOST:,}".replace(",", " "))
        if self.seed < 0:
            raise UserError(f"--seed is {self.seed}: it must not be negative")
        if self.workers is not None and not 1 <= self.workers <= 256:
            raise UserError(f"--workers is {self.workers}: it must be between 1 and 256")
        if self.format is not None and self.out is None:
            raise UserError("A data set needs a folder: give --out DIR")
        if self.out is not None and self.format is None:
            raise UserError(f"A data set needs a format: give --format {' or '.join(FORMATS)}")
        if self.out is None and self.sheet is None:
            raise UserError("There is nothing to write: give --format and --out for a data set, or --sheet FILE")
        if self.out is not None and self.count is None:
            raise UserError("A data set needs a number of samples: give --count N")
        if self.sheet is not None:
            contact_sheet.check_path(self.sheet)
        if self.out is None and self.count is not None and self.count > contact_sheet.MOST:
            raise UserError(f"--count is {self.count}: a contact sheet shows at most {contact_sheet.MOST} pictures")


def render(options: RenderOptions, *, as_json: bool = False, progress: bool = False, lifeline: bool = False) -> int:
    """Render what is asked for, until it is done, Ctrl-C or SIGTERM.

    Args:
        progress: whether to say how far it is in lines of JSON, too: see :mod:`.job_progress`.
        lifeline: whether to end when stdin closes.

    Returns:
        the exit code.

    Raises:
        UserError: if what they ask for can't be done.
    """
    options.check()
    begun = time.monotonic()
    display = Display()
    with noted() as received:
        if lifeline:
            end_with_parent(lambda: received.append(signal.SIGTERM), LIFELINE_GRACE)
        writer = ProgressWriter(as_json=True) if progress else None
        job = _Job(options, display, writer, lambda: bool(received))
        try:
            job.run()
        except StoppedError:
            display.say(f"stopped; {job.progress()}" + ("" if options.out is None else ", the same command goes on"))
            return 128 + received[0]
        except RenderingError as problem:
            display.say(f"error: {problem}")
            return 1
        except (files.WriteError, OSError) as problem:
            raise job.explain(problem) from problem
    seconds = time.monotonic() - begun
    display.say(f"{job.progress()}, {job.rendered} of them now, in {seconds:.0f} s")
    for path in (options.out, options.sheet):
        if path is not None:
            display.say(f"            {path}")
    if as_json:
        paths = {name: None if p is None else str(p) for name, p in (("out", options.out), ("sheet", options.sheet))}
        summary = {
            **paths, "format": options.format, "samples": job.count, "rendered": job.rendered, "seconds": seconds,
            "obstruction": job.obstruction.to_dict(),
        }  # fmt: skip
        print(json.dumps(summary))
    return 0


class _Job:
    """One rendering while it goes on."""

    def __init__(
        self, options: RenderOptions, display: Display, writer: ProgressWriter | None, interrupted: Callable[[], bool]
    ) -> None:
        self.options = options
        self.display = display
        self.writer = writer
        self.interrupted = interrupted
        self.count = options.count or contact_sheet.USUAL
        self.whole = 0
        self.rendered = 0
        self.data: DataSet | None = None
        self.obstruction = Obstruction()
        self._status = Status()
        self._kept: dict[int, Finished] = {}
        self._lock = threading.Lock()

    def progress(self) -> str:
        """How far it is, for example ``57 of 100 samples``."""
        return f"{self.whole} of {self.count} samples"

    def explain(self, problem: files.WriteError | OSError) -> UserError:
        """A full disk, or a folder that can't be written, in one sentence."""
        if isinstance(problem, OSError):
            problem = files.WriteError(self.options.out or problem.filename or tempfile.gettempdir(), problem)
        if problem.full and self.options.out is not None:
            return UserError(
                f"There is no room for {self.options.out} ({problem.why}): free some and give the same command again "
                f"({self.progress()} are there, each of them whole)"
            )
        return problem

    def run(self) -> None:
        """Everything, from the settings to the last file."""
        options = self.options
        settings = load_source(options)
        programs = find_programs(settings)
        with self._folder(settings) as folder:
            settings, robots = self._prepare(folder, settings, programs)
            bodies = sample_label.bodies(settings, [str(r["name"]) for r in robots])
            done: set[int] = set()
            if options.format is not None:
                self.data = FORMATS[options.format](folder, bodies, settings.render.masks)
                files.sweep(folder, *(p for p in folder.iterdir() if p.is_dir()))
                self.data.begin()
                done = set(self.data)
            missing = [i for i in range(self.count) if i not in done]
            self.whole = self.count - len(missing)
            if missing:
                self._render(folder, settings, programs, bodies, missing)
            if self.data is not None:
                self.data.finish()
            if options.sheet is not None:
                self._show("sheet", "drawing the contact sheet", done=self.count)
                contact_sheet.save(options.sheet, self._sheet_pictures(), bodies)

    @contextmanager
    def _folder(self, settings: Settings) -> Iterator[Path]:
        """The data set's folder; one that is thrown away where only a sheet is wanted."""
        options = self.options
        if options.out is None or options.format is None:
            with tempfile.TemporaryDirectory(prefix="robot_keypoints_") as scratch:
                yield Path(scratch)
            return
        manifest = Manifest.of(options.format, options.seed, options.transparent, settings, options.preset)
        with ExitStack() as locks:
            if (options.out / MANIFEST).exists():
                locks.callback(FolderLock(options.out).release)
                manifest.claim(options.out)
            else:
                manifest.claim(options.out)  # a folder of other files is left as it is
                locks.callback(FolderLock(options.out).release)
            yield options.out

    def _prepare(self, folder: Path, settings: Settings, programs: Programs) -> tuple[Settings, list[dict[str, Any]]]:
        """Complete settings and the robots' descriptions; with the scene, they are made where the folder lacks them."""
        (folder / run_folder.LOGS).mkdir(exist_ok=True)
        if (folder / run_folder.SCENE).exists() and not blend_file.is_whole(folder / run_folder.SCENE):
            self.display.say(f"warning: {folder / run_folder.SCENE} is cut off or damaged; it is built again")
            (folder / run_folder.SCENE).unlink()
        if not (folder / run_folder.SCENE).exists():
            self._show("scene", "building the scene")
            toml_file.save(settings, folder / run_folder.SETTINGS)
            for warning in build_scene(folder, programs, self.interrupted):
                self.display.say(f"warning: {warning}")
            self.obstruction = Obstruction.read(folder)
        # As the scene's builder has completed them, but with today's workers.
        settings = replace(toml_file.load(folder / run_folder.SETTINGS), workers=settings.workers)
        remedy = f"remove {folder / run_folder.SCENE}, and it is written again with the scene"
        robots = read_json(folder / run_folder.ROBOTS, remedy)
        if not isinstance(robots, list) or not all(
            isinstance(r, dict) and isinstance(r.get("name"), str) for r in robots
        ):
            raise UserError(f"{folder / run_folder.ROBOTS} does not tell the robots' names: {remedy}")
        return settings, robots

    def _render(
        self, folder: Path, settings: Settings, programs: Programs, bodies: Sequence[Body], missing: Sequence[int]
    ) -> None:
        first = 0.0
        with RenderWorkers(folder, settings, programs, self.options.seed, missing) as workers:
            self._show("workers", "starting the workers")
            composite = compositor(settings, self.options.transparent)  # torch is loaded meanwhile
            with Writers() as writers:
                while workers.left:
                    if self.interrupted():
                        raise StoppedError
                    sample = workers.receive(0.2)
                    self._status.notices = workers.notices
                    if sample is not None:
                        writers.add(partial(self._write, sample, bodies, composite))
                    if self.rendered:
                        first = first or time.monotonic()
                        self._show_rendering(self._pace(first, len(missing)))
            self._show_rendering()

    def _pace(self, first: float, count: int) -> str:
        """Samples per second since the first one came, and how long ``count`` of them still take."""
        seconds = time.monotonic() - first
        if self.rendered < 3 or seconds < 0.5:
            return ""
        rate = (self.rendered - 1) / seconds
        left = round((count - self.rendered) / rate)
        return f" · {rate:.1f}/s · {left // 60}:{left % 60:02d} left"

    def _write(self, sample: Sample, bodies: Sequence[Body], composite: Composite) -> None:
        """Composite, label and write one sample; called from the writers' threads."""
        index = sample.sequence
        finished = Finished(index, composite(sample), sample_label.label(sample, index, bodies), sample.mask)
        if self.data is not None:
            self.data.write(finished)
        with self._lock:
            if self.data is None:
                self._kept[index] = finished
            self.whole += 1
            self.rendered += 1

    def _sheet_pictures(self) -> list[tuple[Image.Image, dict[str, Any]]]:
        if self.data is None:
            return [(Image.fromarray(s.image), dict(s.label)) for _, s in sorted(self._kept.items())]
        return [self.data.read(i) for i in range(min(self.count, contact_sheet.USUAL))]

    def _show_rendering(self, pace: str = "") -> None:
        whole = self.whole  # which the writers' threads count on
        self._show("render", f"rendering: {whole} of {self.count} samples", pace, done=whole)

    def _show(self, stage: str, text: str, pace: str = "", *, done: int | None = None) -> None:
        """Say what is being done.

        Args:
            done: so many of the samples; None where they don't tell how far it is.
        """
        self._status.message = text + pace
        self.display.show(self._status)
        if self.writer is not None:
            self.writer(stage, text, done or 0, 0 if done is None else self.count)


class Writers:
    """A few threads that composite and write; :meth:`add` waits while they are behind, and passes on their errors."""

    def __init__(self) -> None:
        threads = min(8, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(threads, "writer")
        self._waiting: deque[Future[None]] = deque()
        self._most = 2 * threads

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Everything that was added is written, or the first error raised."""
        self._pool.shutdown()
        while self._waiting and kind is None:
            self._waiting.popleft().result()

    def add(self, task: Callable[[], None]) -> None:
        """Have one sample written soon."""
        while self._waiting and (len(self._waiting) >= self._most or self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(task))


def load_source(options: RenderOptions) -> Settings:
    """The settings that a rendering starts from.

    Raises:
        UserError: if they can't be read, or name a Blender that the user has not named.
    """
    path = options.source / run_folder.SETTINGS if options.source.is_dir() else options.source
    settings = toml_file.load(path)
    if options.preset is not None:
        kept = tuple(v for v in settings.variables if catalogue.find(v.name) is None)
        settings = replace(settings, variables=kept, scene=replace(settings.scene, preset=options.preset))
    workers = settings.workers
    count = workers.count if options.workers is None else options.workers
    workers = replace(workers, count=count, adaptive=0, blender=chosen_blender(settings, options.blender))
    return replace(settings, workers=workers)


def find_programs(settings: Settings) -> Programs:
    """The Blender that renders.

    Raises:
        UserError: if there is none.
    """
    blender = settings.workers.blender
    if not blender and importlib.util.find_spec("bpy") is None:
        raise UserError("This Python has no bpy to render with: install bpy, or give --blender COMMAND")
    return Programs.with_python(sys.executable, blender)


def compositor(settings: Settings, transparent: bool) -> Composite:
    """What turns a sample into the picture that is written: its latent values decide, and nothing else."""
    if transparent:
        return lambda sample: sample.image
    import torch

    from ..images.fixed_compositor import FixedCompositor

    torch.set_num_threads(1)  # the workers need the processor more
    fixed = FixedCompositor.of(settings)

    def composite(sample: Sample) -> NDArray[np.uint8]:
        image = torch.from_numpy(sample.image[None].copy())
        finished = fixed.composite(image, [sample.latents.values], [sample.latents.seed])[0]
        return np.asarray(finished.permute(1, 2, 0).contiguous().numpy())

    return composite
