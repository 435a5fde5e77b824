# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts, watches and stops the processes of one training run.

Nothing here waits: :meth:`Session.poll` is called again and again by the panel's timer or the command line's loop,
does what is due, and leaves the state in :attr:`Session.status`.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from .. import blend_file, files, run_folder
from ..errors import UserError, one_line
from ..messages.events import Event, Posterior, Progress, State
from ..messages.obstruction import Obstruction
from ..messages.run_sockets import Endpoints, Link
from ..robot.robot import Robot
from ..settings.schema import Settings
from ..settings.toml_file import save
from .child_process import Child
from .folder_lock import FolderLock
from .programs import Programs
from .run_status import Phase, ProcessStatus, Status

SCENE_DEADLINE = 240.0
TRAINER_DEADLINE = 180.0
WORKER_DEADLINE = 240.0
STOP_DEADLINE = 8.0
RESTARTS = 5
"""A worker that dies this often without having delivered a sample ends the run."""


class Session:
    """One run, from its settings to its end."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        programs: Programs,
        *,
        robot: Robot | None = None,
        resume: bool = False,
        rewrite: bool = False,
    ) -> None:
        """Prepare the run's folder; :meth:`start` begins.

        Args:
            robot: its kinematics, where they are known, are kept in the run's folder for the model.
            resume: whether to go on with the run that the folder holds.
            rewrite: whether ``settings`` replace those that a resumed run has in its folder.

        Raises:
            UserError: if the folder can't be used, or another process is using it.
        """
        self.folder = folder
        self.settings = settings
        self.programs = programs
        self.resume = resume
        self.run_id = secrets.token_hex(8)
        self.status = Status()
        self._children: dict[str, Child] = {}
        self._failures: dict[str, int] = {}
        self._link: Link | None = None
        self._endpoints: Endpoints | None = None
        self._deadline = 0.0
        self._outcome = Phase.STOPPED
        try:
            (folder / run_folder.LOGS).mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise UserError(
                f"The run's folder {folder} can't be written ({problem.strerror}): choose another"
            ) from problem
        self._lock = FolderLock(folder)
        try:
            if rewrite or not resume:
                save(settings, folder / run_folder.SETTINGS)
            if not resume and robot is not None:
                files.write_json(folder / run_folder.ROBOT, robot.to_dict())
        except UserError:
            self._lock.release()
            raise

    def start(self) -> None:
        """Start the trainer, and the scene builder where the run has no scene yet, or one that nobody has looked at.

        Raises:
            UserError: if a program can't be started.
        """
        run_folder.ready(self.folder).unlink(missing_ok=True)
        try:
            scene = self.folder / run_folder.SCENE
            if scene.exists() and not blend_file.is_whole(scene):
                raise UserError(
                    f"The scene {scene} is cut off or damaged: put a whole one in its place, or remove it to have "
                    "another one built from settings.toml"
                )
            missing = not scene.exists()
            needed = missing or (self.settings.robot.kind == "armature" and not self.resume)
            if needed and self.settings.renders:
                self._say("building the scene" if missing else "looking at the scene")
                arguments = ["scene", "--run", str(self.folder)]
                self._spawn("scene", [*self.programs.blender, *arguments])
            arguments = ["trainer", "--run", str(self.folder), "--identity", self.run_id]
            self._spawn("trainer", [*self.programs.trainer, *arguments, *(["--resume"] if self.resume else [])])
        except UserError:
            self.abandon()
            raise

    def poll(self) -> Status:
        """Do what is due, without waiting."""
        if not self.status.phase.over:
            self._listen()
            if self.status.phase is Phase.STOPPING:
                self._watch_stop()
            else:
                self._watch_scene()
                self._watch_trainer()
                self._watch_workers()
        return self.status

    def pause(self) -> None:
        """Ask the trainer to take no more samples; the workers then wait."""
        self._command("pause")

    def resume_training(self) -> None:
        """Undo :meth:`pause`."""
        self._command("resume")

    def stop(self) -> None:
        """Ask everything to end: the trainer keeps its best model and writes its reports, the workers go at once."""
        if self._ending():
            return
        self._begin_stopping(Phase.STOPPED, "stopping")

    def abandon(self) -> None:
        """End every process at once and without reports; for when the front end itself goes."""
        for child in self._children.values():
            child.kill()
        self._children.clear()
        self._close_link()
        self._lock.release()
        if not self.status.phase.over:
            self.status.phase = Phase.STOPPED

    def _spawn(self, name: str, command: Sequence[str], adapts: bool = False) -> None:
        # A trainer whose parent was killed goes on writing for a moment.
        inherited = [self._lock.descriptor] if name == "trainer" else []
        child = Child(name, command, run_folder.log(self.folder, name), self.programs.environment, inherited)
        self._children[name] = child
        status = self.status.processes.setdefault(name, ProcessStatus(name, adapts=adapts))
        status.state, status.pid, status.rate = "starting", child.pid, 0.0

    def _ending(self) -> bool:
        return self.status.phase is Phase.STOPPING or self.status.phase.over

    def _say(self, message: str) -> None:
        self.status.message = message

    def _watch_scene(self) -> None:
        child = self._children.get("scene")
        if child is None or self._ending():
            return
        code = child.exit_code
        if code is None:
            if child.age > SCENE_DEADLINE:
                self._fail(child, f"the scene was not built within {SCENE_DEADLINE:.0f} s")
            return
        self._children.pop("scene")
        self.status.processes.pop("scene")
        if code != 0 or not (self.folder / run_folder.SCENE).exists():
            self._fail(child, "the scene could not be built")
            return
        if self.settings.robot.kind != "armature":  # of others' scenes the obstruction tells
            self.status.warnings = child.warnings()
        self._note_obstruction()

    def _note_obstruction(self) -> None:
        """Say what stands in the way; a training that would never see its robot does not go on."""
        try:
            found = self.status.obstruction = Obstruction.read(self.folder)
        except (OSError, KeyError, TypeError, ValueError) as problem:
            self._begin_stopping(Phase.FAILED, "stopping", f"what the look at the scene found can't be read: {problem}")
            return
        if found.hopeless:
            self._begin_stopping(Phase.FAILED, "stopping", f"error: {found.refusal()}")

    def _watch_trainer(self) -> None:
        child = self._children.get("trainer")
        if child is None or self._ending():
            return
        if child.exit_code is not None:
            if child.exit_code == 0 and (self.folder / run_folder.SUMMARY).exists():
                self._begin_stopping(Phase.DONE, "finishing")
            else:
                self._fail(
                    child, "the trainer ended unexpectedly" if child.exit_code != 2 else "the trainer could not go on"
                )
            return
        if self._endpoints is not None:
            return
        ready = run_folder.ready(self.folder)
        if ready.exists():
            document = json.loads(ready.read_text(encoding="utf-8"))
            if document.get("run") == self.run_id:
                self._endpoints = Endpoints(document["host"], *document["ports"])
                self._link = Link(self._endpoints, self.run_id, self.settings.stream.keys)
                self._link.subscribe(b"posterior")
                self._link.subscribe(b"event")
                self.status.processes["trainer"].state = "ready"
        elif child.age > TRAINER_DEADLINE:
            self._fail(child, f"the trainer was not ready within {TRAINER_DEADLINE:.0f} s")

    def _watch_workers(self) -> None:
        if self._endpoints is None or "scene" in self._children or self._ending():
            return
        for index in range(self.settings.rendering_workers):
            name = f"worker {index + 1}"
            child = self._children.get(name)
            if child is None:
                self._start_worker(index)
            elif child.exit_code is not None:
                self._mend_worker(index, child, f"ended with exit code {child.exit_code}")
            elif self.status.processes[name].state == "starting" and child.age > WORKER_DEADLINE:
                child.kill()
                self._mend_worker(index, child, f"sent no sample within {WORKER_DEADLINE:.0f} s")
            if self._ending():
                return

    def _start_worker(self, index: int) -> None:
        assert self._endpoints is not None
        name = f"worker {index + 1}"
        e = self._endpoints
        adapts = (
            self.settings.feedback.enabled and index >= self.settings.workers.count - self.settings.workers.adaptive
        )
        restarts = self.status.processes[name].restarts if name in self.status.processes else 0
        command = [
            *self.programs.worker(self.settings.workers.threads), "worker", "--run", str(self.folder),
            "--identity", self.run_id, "--endpoints", f"{e.samples},{e.news},{e.control}", "--host", e.host,
            "--index", str(index), "--restarts", str(restarts), *(["--adaptive"] if adapts else []),
        ]  # fmt: skip
        try:
            self._spawn(name, command, adapts)
        except UserError as problem:
            self._begin_stopping(Phase.FAILED, "stopping", str(problem))

    def _mend_worker(self, index: int, child: Child, what: str) -> None:
        status = self.status.processes[child.name]
        delivered = status.state == "rendering"
        self._failures[child.name] = 0 if delivered else self._failures.get(child.name, 0) + 1
        if self._failures[child.name] >= RESTARTS or child.exit_code == 2:
            self._fail(child, f"{child.name} {what}")
            return
        status.restarts += 1
        self.status.notices.append(f"{child.name} {what} and was started again ({status.restarts}×)")
        self._start_worker(index)

    def _watch_stop(self) -> None:
        late = time.monotonic() > self._deadline
        for name, child in list(self._children.items()):
            if late:
                child.kill()
            if child.exit_code is not None:
                child.let_go()
                self._children.pop(name)
                self.status.processes[name].state = "ended"
                self.status.processes[name].rate = 0.0
        if not self._children:
            self._close_link()
            self._lock.release()
            self.status.phase = self._outcome
            self._say({Phase.DONE: "done", Phase.STOPPED: "stopped"}.get(self._outcome, "failed"))

    def _begin_stopping(self, outcome: Phase, message: str, reason: str = "") -> None:
        self._outcome = outcome
        self.status.phase = Phase.STOPPING
        self.status.reason = reason
        self._say(message)
        self._deadline = time.monotonic() + STOP_DEADLINE
        was_sent = outcome is Phase.STOPPED and self._command("stop")
        for name, child in self._children.items():
            if name != "trainer" or not was_sent:
                child.let_go()

    def _fail(self, child: Child, what: str) -> None:
        words = child.last_words()
        lines = "".join(f"\n    {line}" for line in words)
        self._begin_stopping(
            Phase.FAILED, "stopping", f"{what}; its log {child.log} ends with:{lines}" if words else what
        )

    def _command(self, kind: str) -> bool:
        if self._link is None or self.status.phase.over:
            return False
        self._link.command(kind)
        return True

    def _close_link(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _listen(self) -> None:
        if self._link is None:
            return
        for news in self._link.news():
            self._hear(news)

    def _hear(self, news: Posterior | Event) -> None:
        if isinstance(news, Posterior):
            self.status.concentrations = dict(news.concentrations)
            self.status.pairs = news.pairs
            self.status.version = news.version
            self.status.explained = dict(news.explained)
        elif news[0] == "progress":
            self.status.progress = news[1]
            self._note_rates(news[1])
        elif news[0] == "metrics":
            self.status.metrics.append(news[1])
        else:
            self._note_state(news[1])

    def _note_state(self, state: State) -> None:
        is_training = state["phase"] in (Phase.TRAINING.value, Phase.PAUSED.value)
        if is_training and self.status.phase is not Phase.STOPPING:
            self.status.phase = Phase(state["phase"])
        self._say(one_line(state["message"]))

    def _note_rates(self, progress: Progress) -> None:
        trainer = self.status.processes.get("trainer")
        if trainer is not None:
            trainer.rate = progress.get("steps_per_second", 0.0)
            trainer.state = "training"
        rates = progress.get("workers", {})
        for index in range(self.settings.rendering_workers):
            status = self.status.processes.get(f"worker {index + 1}")
            if status is not None and str(index) in rates and status.name in self._children:
                status.rate = rates[str(index)]
                if status.rate > 0 and status.state != "rendering":
                    status.state = "rendering"
                    said = self._children[status.name].warnings()
                    self.status.notices += [w for w in dict.fromkeys(said) if w not in self.status.notices]
