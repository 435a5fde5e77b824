# SPDX-License-Identifier: GPL-3.0-or-later
"""Headless Blenders that build a scene and render given draws from it, each as often as it takes.

Sample i is drawn with ``default_rng([seed, i])`` and shows what its latent values say, so it does not matter which
worker renders it, nor how often one has died meanwhile.
"""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ...core import files, run_folder
from ...core.errors import UserError
from ...core.messages.run_sockets import Hub, SampleReceiver
from ...core.messages.samples import Sample, SampleContract, largest_sample
from ...core.processes import own_programs
from ...core.processes.child_process import Child
from ...core.processes.programs import Programs
from ...core.processes.session import RESTARTS, SCENE_DEADLINE, WORKER_DEADLINE
from ...core.settings.schema import Settings

SLOWEST = 20_000.0
"""Samples per pixel times pixels that a worker renders in a second at the very least; slower ones count as hung."""

FAREWELL = 3.0
"""Seconds that workers have to end by themselves: then they take their scratch files along."""


class RenderingError(Exception):
    """A process went wrong through no mistake of the user's; the message holds the end of its log."""


class StoppedError(Exception):
    """The caller was asked to stop."""


def chosen_blender(settings: Settings, given: str) -> str:
    """The command of the Blender that renders; empty takes the bpy wheel.

    Args:
        given: on the command line; else the settings name it.

    Raises:
        UserError: if only the settings do.
    """
    if given:
        own_programs.remember(given)
        return given
    command = settings.workers.blender
    own_programs.check(command, f"give --blender {shlex.quote(command)} once")
    return command


def build_scene(folder: Path, programs: Programs, interrupted: Callable[[], bool]) -> list[str]:
    """Have ``scene.blend`` built from ``settings.toml`` in the folder ``run``; what these lack is filled in there.

    Returns:
        the builder's warnings.

    Raises:
        UserError: if the settings can't be followed.
        RenderingError: if Blender fails or takes too long.
        StoppedError: as soon as ``interrupted()``.
    """
    command = [*programs.blender, "scene", "--run", str(folder), "--complete"]
    child = Child("scene", command, run_folder.log(folder, "scene"), programs.environment)
    try:
        while not child.wait(0.1):
            if interrupted():
                raise StoppedError
            if child.age > SCENE_DEADLINE:
                raise RenderingError(_with_log(f"the scene was not built within {SCENE_DEADLINE:.0f} s", child))
        if child.exit_code != 0 or not (folder / run_folder.SCENE).exists():
            _blame(child, "the scene could not be built")
        return child.warnings()
    finally:
        child.kill()


class RenderWorkers:
    """Several workers that share the draws among them. Use as a context manager: leaving it ends them at once."""

    def __init__(self, folder: Path, settings: Settings, programs: Programs, seed: int, draws: Sequence[int]) -> None:
        """Nothing is started yet.

        Args:
            folder: the one with ``settings.toml`` and ``scene.blend``.
            settings: as in ``settings.toml``; ``settings.workers.count`` workers at most are started.
            draws: numbers of the samples to render; worker w takes every one at a position p with p % N = w.
        """
        self.folder = folder
        self._program = programs.worker(settings.workers.threads)
        self._environment = programs.environment
        self.notices: list[str] = []
        self._seed = seed
        count = min(settings.workers.count, len(draws))
        # In the order of rendering; a dictionary is an ordered set.
        self._left = [dict.fromkeys(draws[w::count]) for w in range(count)]
        self._run_id = secrets.token_hex(8)
        render = settings.render
        self._patience = WORKER_DEADLINE + render.width * render.height * render.samples / SLOWEST
        contract = SampleContract.of(
            self._run_id, render.width, render.height, len(settings.keypoints), settings.scene_model()
        )
        self._contract = replace(contract, details=True, masks=render.masks)
        self._largest = largest_sample(render.width, render.height)
        self._children: list[Child | None] = [None] * count
        self._heard = [0.0] * count
        self._failures = [0] * count
        self._next_check = 0.0
        self._heard_of = False

    def __enter__(self) -> RenderWorkers:
        """Bind the socket and start the workers."""
        self._hub = Hub("127.0.0.1", 0, largest=self._largest, workers=len(self._children))
        self._receiver = SampleReceiver(self._hub.samples, self._contract, self._note_drop)
        try:
            for w in range(len(self._left)):
                self._start(w)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            if child is not None:
                child.let_go()
        deadline = time.monotonic() + FAREWELL
        for child in self._children:
            if child is not None:
                child.wait(max(0.0, deadline - time.monotonic()))
                child.kill()
        self._hub.close()

    @property
    def left(self) -> int:
        """Draws that have not come yet."""
        return sum(map(len, self._left))

    def receive(self, timeout: float) -> Sample | None:
        """The next sample, its ``sequence`` being the draw's number; None after ``timeout`` seconds.

        Raises:
            UserError: if a worker reports a user's mistake.
            RenderingError: if a worker dies again and again.
        """
        sample = self._receiver.receive(timeout)
        if time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + 0.2
            self._watch()
        if sample is None:
            return None
        if not self._heard_of:
            self._note_warnings()
        if sample.worker >= len(self._left) or sample.sequence not in self._left[sample.worker]:
            return None  # rendered twice around a restart, or not asked for
        del self._left[sample.worker][sample.sequence]
        self._heard[sample.worker] = time.monotonic()
        self._failures[sample.worker] = 0
        return sample

    def _note_warnings(self) -> None:
        """What the workers had to say before they began; the first one that renders tells for all."""
        self._heard_of = True
        said = (w for child in self._children if child is not None for w in child.warnings())
        self.notices += [w for w in dict.fromkeys(said) if w not in self.notices]

    def _start(self, worker: int) -> None:
        task = run_folder.task(self.folder, worker)
        files.write_json(task, {"seed": self._seed, "draws": list(self._left[worker])})
        e = self._hub.endpoints
        command = [
            *self._program, "worker", "--run", str(self.folder), "--identity", self._run_id,
            "--endpoints", f"{e.samples},{e.news},{e.control}", "--host", e.host, "--index", str(worker),
            "--draws", str(task),
        ]  # fmt: skip
        name = f"worker {worker + 1}"
        self._children[worker] = Child(name, command, run_folder.log(self.folder, name), self._environment)
        self._heard[worker] = time.monotonic()

    def _watch(self) -> None:
        for worker, child in enumerate(self._children):
            if child is None:
                continue
            if not self._left[worker]:
                child.let_go()
            elif child.exit_code is not None:
                self._mend(worker, child, f"ended with exit code {child.exit_code}")
            elif time.monotonic() - self._heard[worker] > self._patience:
                child.kill()
                self._mend(worker, child, f"sent no sample within {self._patience:.0f} s")

    def _mend(self, worker: int, child: Child, what: str) -> None:
        self._failures[worker] += 1
        if self._failures[worker] >= RESTARTS or child.exit_code == 2:
            _blame(child, f"{child.name} {what}")
        self.notices.append(f"{child.name} {what} and was started again")
        self._start(worker)

    def _note_drop(self, reason: str) -> None:
        # Once is enough: a worker that sends nothing else is soon known by its silence.
        if self._receiver.dropped == 1:
            self.notices.append(f"a message was dropped because {reason}")


def _blame(child: Child, what: str) -> None:
    for line in reversed(child.last_words(20)):
        if child.exit_code == 2 and line.startswith("error: "):
            raise UserError(line.removeprefix("error: "))
    raise RenderingError(_with_log(what, child))


def _with_log(what: str, child: Child) -> str:
    words = child.last_words()
    return f"{what}; its log ends with:" + "".join(f"\n    {w}" for w in words) if words else what
