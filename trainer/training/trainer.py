# SPDX-License-Identifier: GPL-3.0-or-later
"""The training of one run, from the first sample to the last report; read :meth:`Trainer.run` from top to bottom."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core import files, run_folder
from ...core.errors import UserError
from ...core.messages.events import Metrics, Posterior, Progress
from ...core.scene.scene_model import SceneModel
from ...core.settings.schema import Settings
from ..evaluation import keypoint_metrics
from ..evaluation.evaluate import Evaluation, evaluate, learn_calibration
from ..networks import device, factory, model_file, two_passes
from ..networks.model_file import ModelInfo
from . import checkpoint, distributed, feedback, run_state, uncertainty
from .batch_pipeline import Pipeline, Prepared
from .control_server import Switchboard
from .engine import LONGEST_COMPUTATION, Engine, Step
from .held_out_sets import HeldOut
from .progress_news import Clock, News
from .replay_store import ReplayStore
from .run_state import RunState
from .sample_stream import SampleStream
from .schedule import exhausted, learning_rate, pose_share
from .setup import make_batch_augmenter, versions

COLLECTING_SHARE = 0.4
"""Share of a run's minutes that may go by before the first step; the sets are smaller where that is too short."""

PICTURES_SECONDS = 4.0
"""Set aside for the reports at the end of a run limited in minutes, besides the last validation and the test."""

STOP_SECONDS = 2.0
"""After a stop, saving and testing may take this long; the pictures then still fit into the session's patience."""

CURVES_EVERY = 20
"""Steps between two points of the curves of training losses."""


class Trainer:
    """One run."""

    def __init__(
        self, folder: Path, settings: Settings, info: ModelInfo, stream: SampleStream, switchboard: Switchboard,
        started: float, *, resume: bool,
    ) -> None:  # fmt: skip
        """Build everything that the run needs; :meth:`run` trains.

        Args:
            info: what the model file will say; its network is built here.
            started: ``time.monotonic()`` when the process began, from which the minutes are counted.

        Raises:
            UserError: if the settings can't be followed on this machine, or the checkpoint not be read.
        """
        from .tensorboard_log import (
            Journal,  # here, because matplotlib and TensorBoard take seconds the workers can use
        )

        t, render = settings.training, settings.render
        self.folder = folder
        self.settings = settings
        self.info = info
        self.stream = stream
        self.switchboard = switchboard
        self.initial: SceneModel = settings.scene_model()
        self.model: SceneModel = self.initial
        self.state = RunState()
        self.clock = Clock(started)
        self.news = News(switchboard)
        run_state.clean(folder)
        saved = run_state.find(folder) if resume else None

        where = device.choose(t.device)
        count = distributed.processes(t, where)
        torch.set_num_threads(device.threads_beside(settings.workers.count * settings.workers.threads, count))
        torch.manual_seed(t.seed)
        net = factory.build(info.network, pretrained=t.pretrained and saved is None, weights=t.weights)
        net = net.to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
        known = run_state.known_precision(saved)
        self.precision = device.decide(net, t.precision, t.batch_size, *settings.input_size, known)
        self.followers = None
        if count > 1:
            self.followers = distributed.Followers(folder, switchboard.run, count, where, resume=saved is not None)
            self.followers.group.tell(self.precision.to_dict())
        self.group = self.followers.group if self.followers is not None else None
        self.engine = Engine(net, t, self.precision, self.group, [k.robot for k in settings.keypoints])
        self.sets = HeldOut(folder, settings)
        with device.enough_memory(t.batch_size):
            store = ReplayStore(
                render.width, render.height, len(settings.keypoints), self.initial, batch=t.batch_size,
                memory=t.store_mb << 20, reuse=t.reuse, fresh_share=t.fresh_share, seed=t.seed,
                hard_share=t.hard_share,
            )  # fmt: skip
        # A thread that finishes the next batch needs a core, or a graphics card that leaves one.
        ahead = where.type == "cuda" or (os.cpu_count() or 1) > torch.get_num_threads()
        self.pipeline = Pipeline(
            store, stream, make_batch_augmenter(settings, where, t.seed), where, ahead=ahead, shares=count
        )
        torch.manual_seed(t.seed)  # the measurement may have drawn numbers
        if saved is not None:
            self._restore(saved)
        width, height = settings.input_size
        self.engine.begin((t.batch_size, height, width))
        self.journal = Journal(folder, self.counters.step)
        self._test_seconds = self.precision.seconds_per_image / 2  # per image, until it has been measured
        self._received_before, self._dropped_before = self.counters.rendered, self.counters.dropped
        self._mark = (time.monotonic(), self.counters.step, self.counters.images)

    @property
    def counters(self) -> run_state.Counters:
        """What adds up."""
        return self.state.counters

    def close(self) -> None:
        """End the threads and the other processes."""
        self.pipeline.close()
        if self.followers is not None:
            self.followers.close()

    # ---------------------------------------------------------------------------------------------- the training

    def run(self) -> None:
        """Collect, train and validate in turn, report.

        Raises:
            UserError: if the training can't go on; the last good state is on disk.
        """
        t = self.settings.training
        if self.sets.validation is None:
            self._collect()
        while not self.switchboard.ending and not self.stream.wait(0.1):
            self._tell("waiting for the workers")  # to begin, which is not counted as waiting
        self.news.say("training")
        while not self.switchboard.ending and self.sets.validation is not None and not self._done():
            if not self._wait_while_paused():
                break
            begin, waited = time.monotonic(), self.pipeline.waited
            prepared = self.pipeline.next(self._interrupted)
            found = None if prepared is None else self._step(prepared)
            self.counters.trained += time.monotonic() - begin
            self.counters.waited += self.pipeline.waited - waited
            self._tell()
            if found is not None and self._epoch_ends(t.batch_size):
                self._validate()
        if not self.switchboard.ending and self.counters.step > self.state.latest.get("step", 0):
            self._validate()  # the last weights are the best ones as a rule
        if self.followers is not None:
            self.followers.dismiss()
        if self.switchboard.abandoned.is_set():
            return
        self._finish()

    def _step(self, prepared: Prepared) -> Step | None:
        """One step of the optimiser; None if a request to stop came meanwhile."""
        begin = time.monotonic()
        fraction = self._fraction()
        rate = learning_rate(self.settings.training, self.counters.step, fraction)
        pose = pose_share(self.settings.training, fraction)
        total = len(prepared.numbers)
        with nullcontext() if self.followers is None else self.followers.together():
            if self.group is not None:
                self.group.tell({"rate": rate, "total": total, "pose": pose}, prepared.others)
            found = self.engine.step(prepared.batch, rate, total, lambda: self.switchboard.ending, pose)
        if found is None:
            return None
        self.pipeline.done(prepared, found.losses)
        self.counters.step += 1
        self.counters.images += total
        mean = self.state.train_loss
        self.state.train_loss = found.loss if mean is None else mean + 0.05 * (found.loss - mean)
        # The measurement at the start may have been disturbed; testing an image costs about a third of a step.
        self._test_seconds = min(self._test_seconds, (time.monotonic() - begin) / total / 2)
        if self.counters.step % CURVES_EVERY == 1:
            self.journal.losses(self.counters.step, rate, found)
        return found

    def _done(self) -> bool:
        return self._fraction() >= 1.0 or exhausted(self.settings.training, self.counters.stale)

    def _fraction(self) -> float:
        """How much of the run is done, by images or by time, whichever is further; 0 for a run without end."""
        t = self.settings.training
        shares = [0.0]
        if t.epochs:
            shares.append(self.counters.images / (t.epochs * t.epoch_images))
        if t.minutes:
            begin = self.counters.collected
            # The validation images are gone through twice: to validate for the last time, and to calibrate.
            again = len(self.sets.validation) if self.sets.validation is not None else 0
            reserve = PICTURES_SECONDS + self._test_seconds * (len(self.sets) + again)
            shares.append((self.clock.seconds - begin) / max(60 * t.minutes - reserve - begin, 1.0))
        return max(shares)

    def _epoch_ends(self, batch: int) -> bool:
        per_epoch = self.settings.training.epoch_images
        return self.counters.images // per_epoch > (self.counters.images - batch) // per_epoch

    # ------------------------------------------------------------------------------------- validation and feedback

    def _validate(self) -> None:
        """Measure, move the priors, keep the best model, write a checkpoint."""
        assert self.sets.validation is not None
        t, latents = self.settings.training, self.sets.latents
        self.news.say("validating")
        tested = self.engine.average
        result = evaluate(
            tested, self.sets.validation, self.precision, t.batch_size, lambda: self.switchboard.ending,
            view=self.settings.input_size,
        )  # fmt: skip
        if result is None:
            return
        self._test_seconds = 1.2 * result.seconds / len(self.sets.validation)
        found = keypoint_metrics.localisation(result.errors, self.info.keypoints)
        hard = feedback.hardest(self.initial, latents, result.losses, self.settings.feedback.share)
        content: Metrics = {
            "step": self.counters.step, "images": self.counters.images, "seconds": self.clock.seconds,
            "loss": float(result.losses.mean()),
        }  # fmt: skip
        content.update(found.to_dict())
        content["hardest"] = [h.to_dict() for h in hard]
        if self.state.train_loss is not None:
            content["train_loss"] = self.state.train_loss
        self.state.latest = dict(content)
        files.append_json_line(self.folder / run_folder.METRICS, content)
        self.journal.validation(content, self.sets.validation, result, self.info, self._pace())
        if self.settings.feedback.enabled:
            self._move_priors(result)
        self.switchboard.publish(("metrics", content))
        score = found.mean if found.mean is not None else float(result.losses.mean())
        best = (self.counters.best is None or score < self.counters.best) and not self.engine.watch.doubtful
        self.counters.stale = 0 if best else self.counters.stale + 1
        if best:
            self.counters.best = score
            self._save_model(content)
        self._save_checkpoint()
        self.news.say("training")

    def _move_priors(self, result: Evaluation) -> None:
        assert self.sets.validation is not None
        scores = uncertainty.scores(
            result, self.engine.average, self.sets.validation, self.precision, self.settings,
            lambda: self.switchboard.ending,
        )  # fmt: skip
        if scores is not None:
            update = feedback.update(self.model, self.initial, self.sets.latents, scores, self.settings.feedback)
            self.model = update.model
            self.switchboard.publish_posterior(Posterior(self.model.version, self.model.concentrations()))
            self._append_prior(update.record(self.settings.feedback))

    def _append_prior(self, selection: dict[str, Any] | None = None) -> None:
        self.journal.priors(self.counters.step, self.model)
        line: dict[str, Any] = {
            "step": self.counters.step, "version": self.model.version,
            "concentrations": {k: list(v) for k, v in self.model.concentrations().items()},
        }  # fmt: skip
        if selection is not None:
            line["selection"] = selection
        files.append_json_line(self.folder / run_folder.PRIORS, line)

    # --------------------------------------------------------------------------------------- before the first step

    def _collect(self) -> None:
        """Take the validation and test images; only then there is something to go back to."""
        t = self.settings.training
        patience = 60 * t.minutes * COLLECTING_SHARE if t.minutes else math.inf

        def waiting(message: str) -> bool:
            self._tell(message)
            return self._wait_while_paused()

        if not self.sets.collect(self.stream, lambda: self.clock.seconds > patience, waiting):
            return
        self.counters.collected = self.clock.seconds
        for name in run_state.LOGS:
            files.write_text(self.folder / name, "")
        self._append_prior()
        self._save_checkpoint()

    # ------------------------------------------------------------------------------------------- saving, resuming

    def _save_model(self, content: Mapping[str, Any]) -> None:
        known: dict[str, Any] = {k: content[k] for k in ("step", "images", "seconds", "loss") if k in content}
        errors = {k: v for k, v in content.items() if k.endswith("_error_percent")}
        training: dict[str, Any] = {**known, **errors, "measured_on": "validation", "versions": versions()}
        info = replace(self.info, training=training)
        model_file.save_model(self.folder / run_folder.MODEL, self.engine.average.state_dict(), info)

    def _save_checkpoint(self) -> None:
        if self.engine.watch.doubtful:
            return  # what was kept before is better
        self._count()
        self.state.version, self.state.concentrations = self.model.version, self.model.concentrations()
        self.state.data = self.pipeline.state
        run_state.save(self.folder, self.state, self.engine)

    def _restore(self, saved: checkpoint.Checkpoint) -> None:
        self.sets.load()
        self.state = run_state.restore(self.folder, saved, self.engine)
        try:
            self.model = self.initial.with_concentrations(self.state.concentrations, self.state.version)
            self.pipeline.state = self.state.data
        except (LookupError, TypeError, ValueError) as problem:
            raise UserError(run_state.unfit(self.folder)) from problem
        self.clock.add(self.counters.seconds)
        self.switchboard.publish_posterior(Posterior(self.model.version, self.model.concentrations()))

    # -------------------------------------------------------------------------------------------------- the end

    def _finish(self) -> None:
        """Keep everything, test the best model, write the reports."""
        from .tensorboard_log import Results

        stopped = self.switchboard.stop.is_set()
        deadline = time.monotonic() + STOP_SECONDS if stopped else None
        self.news.say("writing the reports", "finishing")
        if self.sets.validation is not None:
            self._save_checkpoint()
        path = self.folder / run_folder.MODEL
        best = self.engine.average
        if self.counters.step and self.counters.best is None:
            self._save_model(
                {"step": self.counters.step, "images": self.counters.images, "seconds": self.clock.seconds}
            )
        test, results = self.sets.test, None
        if path.exists() and test is not None and self.sets.validation is not None:
            best, info = model_file.load_model(path, self.precision.device)
            abandoned = self.switchboard.abandoned.is_set
            batch = self.settings.training.batch_size
            size = max(1, min(batch, int(LONGEST_COMPUTATION / max(self._test_seconds, 1e-9))))
            info = self._calibrate(best, info, size)
            found = evaluate(best, test, self.precision, size, abandoned, deadline, self.settings.input_size)
            results = Results(info, found, test.images, test.keypoints, None, test.visibility)
        if self.switchboard.abandoned.is_set():
            return
        tested = results.test if results is not None else None
        step = results.model.training.get("step") if results is not None else None
        files.write_json(self.folder / run_folder.SUMMARY, self._summary(tested, step, stopped))
        if results is not None:
            results = replace(results, beliefs=self._beliefs(best, deadline))
        self.journal.finish(results, self.initial, self.model)

    def _calibrate(self, best: factory.KeypointNetwork, info: ModelInfo, batch: int) -> ModelInfo:
        """Let the best model learn from the validation images how far off it is, and keep that in its file."""
        assert self.sets.validation is not None
        # A run that was stopped ends soon; a part of the images serves, too.
        deadline = time.monotonic() + STOP_SECONDS / 4 if self.switchboard.stop.is_set() else None
        learned = learn_calibration(
            best, self.sets.validation, self.precision, batch, self.switchboard.abandoned.is_set, deadline,
            self.settings.input_size,
        )  # fmt: skip
        if learned is None:
            return info
        info = replace(info, calibration=learned)
        model_file.save_model(self.folder / run_folder.MODEL, best.state_dict(), info)
        return info

    def _beliefs(self, best: factory.KeypointNetwork, deadline: float | None) -> Tensor:
        """Belief maps of the images that the reports show; with a ``deadline`` of as many as fit, at least one."""
        from ..evaluation.run_pictures import PICTURES

        assert self.sets.test is not None
        maps: list[Tensor] = []
        for image in torch.split(self.sets.test.images[:PICTURES], 1):
            if maps and deadline is not None and time.monotonic() > deadline:
                break
            shown = image.to(self.precision.device).float() / 255.0
            _, (first, *_) = two_passes.find_keypoints(best, shown, self.settings.input_size, closer=False)
            maps.append(first.beliefs.maps.float().cpu())
        return torch.cat(maps)

    def _summary(self, test: Evaluation | None, step: int | None, stopped: bool) -> dict[str, Any]:
        self._count()
        c = self.counters
        found = keypoint_metrics.localisation(test.errors, self.info.keypoints) if test is not None else None
        return {
            "images_rendered": c.rendered,
            "images_trained": c.images,
            "steps": c.step,
            "seconds": round(c.seconds, 2),
            "stall_fraction": self._stall_fraction(),
            "messages_dropped": c.dropped,
            "validation_images": len(self.sets.validation) if self.sets.validation is not None else 0,
            "test_images": len(test) if test is not None else 0,
            "mean_error_percent": found.mean if found is not None else None,
            "median_error_percent": found.median if found is not None else None,
            "pck": found.pck if found is not None else {},
            "per_keypoint": found.per_keypoint if found is not None else {},
            "measured_on": "test images, drawn from the initial priors and never trained on",
            "model_step": step,
            "priors_version": self.model.version,
            "stopped": stopped,
            "device": str(self.precision),
            "processes": self.group.size if self.group is not None else 1,
            "threads": torch.get_num_threads(),
            "versions": versions(),
        }

    # ---------------------------------------------------------------------------------------------- news and time

    def _stall_fraction(self) -> float:
        return self.counters.waited / self.counters.trained if self.counters.trained > 0 else 0.0

    def _count(self) -> None:
        self.counters.seconds = self.clock.seconds
        self.counters.rendered = self._received_before + self.stream.received
        self.counters.dropped = self._dropped_before + self.stream.dropped

    def _pace(self) -> Any:
        """Since the last time."""
        from .tensorboard_log import Pace

        (then, steps, images), now = self._mark, time.monotonic()
        self._mark = (now, self.counters.step, self.counters.images)
        seconds = max(now - then, 1e-9)
        return Pace(
            self.stream.rates(), (self.counters.step - steps) / seconds, (self.counters.images - images) / seconds,
            self._stall_fraction(),
        )  # fmt: skip

    def _interrupted(self) -> bool:
        """Whether to stop waiting for samples; keeps the news going meanwhile."""
        self._tell()
        return self.switchboard.ending or self.switchboard.paused.is_set() or self._fraction() >= 1.0

    def _wait_while_paused(self) -> bool:
        """Whether to go on afterwards."""
        if self.switchboard.paused.is_set() and not self.switchboard.ending:
            mark = time.monotonic()
            self.news.say("paused", "paused")
            while self.switchboard.paused.is_set() and not self.switchboard.ending:
                time.sleep(0.05)
                now = time.monotonic()
                self.clock.leave_out(now - mark)
                mark = now
                self._tell()
            self.news.restart_rates(self.counters)
            self.news.say("training")
        return not self.switchboard.ending

    def _tell(self, message: str | None = None) -> None:
        """About once a second: where the run stands."""
        if not self.news.due(message):
            return
        self._count()
        t = self.settings.training
        fraction = min(1.0, self._fraction()) if self.sets.validation is not None else 0.0
        content: Progress = {
            "epoch": self.counters.images // t.epoch_images, "workers": self.stream.rates(), "fraction": fraction,
            "stall_fraction": self._stall_fraction(), "dropped": self.counters.dropped, "device": str(self.precision),
        }  # fmt: skip
        if self.state.train_loss is not None:
            content["loss"] = self.state.train_loss
        if "mean_error_percent" in self.state.latest:
            content["error_percent"] = self.state.latest["mean_error_percent"]
            content["median_error_percent"] = self.state.latest["median_error_percent"]
        if t.minutes and not t.epochs:
            content["seconds_left"] = max(0.0, 60 * t.minutes - self.clock.seconds)
        elif fraction > 0.01:
            content["seconds_left"] = (self.clock.seconds - self.counters.collected) * (1 / fraction - 1)
        self.news.progress(self.counters, content)
