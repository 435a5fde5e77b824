# SPDX-License-Identifier: GPL-3.0-or-later
"""The training of one run, from the first sample to the last report; read :meth:`Trainer.run` from top to bottom."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from ...core import files, run_folder
from ...core.settings.schema import Settings
from ..evaluation import hardest_sheet
from ..evaluation.evaluate import Evaluation
from ..networks.model_file import ModelInfo
from . import best_model, feedback, resuming, run_state, uncertainty
from .batch_pipeline import Prepared
from .control_server import Switchboard
from .engine import Step
from .parts import Parts
from .priors import Priors
from .progress_news import Clock, News, Rates, training_progress
from .run_length import RunLength
from .run_state import RunState
from .run_summary import summary
from .run_times import TimeRecord
from .sample_stream import SampleStream
from .schedule import exhausted, learning_rate, pose_share
from .tensorboard_log import Journal, Pace
from .validation import validate

COLLECTING_SHARE = 0.4
"""Share of a run's minutes that may go by before the first step; the sets are smaller where that is too short."""

CURVES_EVERY = 20
"""Steps between two points of the curves of training losses."""


class Trainer:
    """One run, which learns as in [Heindl2019], section III-C: an epoch of steps, a validation on images drawn from the
    initial priors, posteriors of the hardest of these for the adaptive workers, and again."""

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
        self.folder, self.settings, self.info = folder, settings, info
        self.stream, self.switchboard = stream, switchboard
        self.clock, self.news = Clock(started), News(switchboard)
        self.priors = Priors(folder, settings.scene_model(), settings.feedback, switchboard)
        run_state.clean(folder)
        saved = run_state.find(folder) if resume else None
        self.parts = Parts.set_up(
            folder, switchboard.run_id, settings, info.network, stream, run_state.known_precision(saved),
            resumed=saved is not None,
        )  # fmt: skip
        self.engine, self.held_out = self.parts.engine, self.parts.held_out
        if saved is None:
            self.state = RunState()
        else:
            self.state = resuming.restore(folder, saved, self.parts, self.priors)
            self.clock.add(self.state.counters.seconds)
        self.counters = self.state.counters
        self.earlier = replace(self.counters)  # of earlier sittings
        self.parts.draws.model = self.priors.model
        self.parts.begin(settings)
        t, speed = settings.training, self.engine.precision.seconds_per_image
        self.length = RunLength(t, self.clock, self.counters, self.held_out, speed)
        self.rates = Rates(self.counters)
        self.journal = Journal(folder, self.counters.step)
        self.times = TimeRecord(folder, stream, self.engine, resumed=saved is not None)

    def close(self) -> None:
        """End the threads and the other processes."""
        self.parts.close()

    def run(self) -> None:
        """Collect, train and validate in turn, report.

        Raises:
            UserError: if the training can't go on; the last good state is on disk.
        """
        t = self.settings.training
        if self.held_out.validation is None:
            self.collect()
            if t.start_from and len(self.held_out):
                self.validate()  # nothing worse than the model that it starts from is kept
        while self.settings.renders and not self.switchboard.ending and not self.stream.wait(0.1):
            self._report("waiting for the workers")  # to begin, which is not counted as waiting
        self.news.say("training")
        while self.held_out.validation is not None and self._goes_on():
            begin, waited = time.monotonic(), self.parts.pipeline.waited
            prepared = self.parts.pipeline.next(self._interrupted)
            found = None if prepared is None else self.step(prepared)
            self.counters.trained += time.monotonic() - begin
            self.counters.waited += self.parts.pipeline.waited - waited
            self._report()
            if found is not None and self.counters.ends_epoch(t.epoch_images, t.batch_size):
                self.validate()
        if not self.switchboard.ending and self.counters.step > self.state.latest.get("step", 0):
            self.validate()  # the last weights are the best ones as a rule
        if self.parts.followers is not None:
            self.parts.followers.dismiss()
        if not self.switchboard.abandoned.is_set():
            self.finish()

    def collect(self) -> None:
        """Take the validation and test images; only then there is something to go back to."""
        minutes = self.settings.training.minutes
        patience = 60 * minutes * COLLECTING_SHARE if minutes else math.inf

        def waiting(message: str) -> bool:
            self._report(message)
            return self._wait_while_paused()

        if not self.held_out.collect(self.stream, lambda: self.clock.seconds > patience, waiting):
            return
        self.counters.collected = self.clock.seconds
        for name in run_state.LOGS:
            files.write_text(self.folder / name, "")
        self.priors.write(self.counters.step)
        self.journal.priors(self.counters.step, self.priors.model)
        self.save_checkpoint()

    def step(self, prepared: Prepared) -> Step | None:
        """One step of the optimiser; None if a request to stop came meanwhile."""
        begin, followers = time.monotonic(), self.parts.followers
        fraction = self.length.fraction
        rate = learning_rate(self.settings.training, self.counters.step, fraction)
        pose, total = pose_share(self.settings.training, fraction), len(prepared.numbers)
        message = {"rate": rate, "total": total, "pose": pose}
        with nullcontext() if followers is None else followers.share(message, prepared.others):
            found = self.engine.step(prepared.batch, rate, total, self._is_ending, pose)
        if found is None:
            return None
        self.parts.pipeline.done(prepared, found.losses)
        first = self.parts.draws.first_uses(prepared.numbers)
        self.priors.note_losses(first, found.losses)
        self.counters.note_uses(len(first.places), int((prepared.numbers >= 0).sum()))
        self.state.note_step(found.loss, total)
        self.length.note_step(time.monotonic() - begin, total)
        if self.counters.step % CURVES_EVERY == 1:
            self.journal.losses(self.counters.step, rate, found)
        return found

    def validate(self) -> None:
        """Measure, move the priors, keep the best model, write a checkpoint."""
        assert self.held_out.validation is not None
        self.news.say("validating")
        with self.times.measure("validation"):
            found = validate(self.engine, self.held_out, self.priors.initial, self.settings, self._is_ending)
        if found is None:
            return
        self.length.note_validation(found.result.seconds, len(self.held_out.validation))
        content = found.metrics(self.state, self.clock.seconds)
        self.state.latest = dict(content)
        files.append_json_line(self.folder / run_folder.METRICS, content)
        counters = self.counters
        pace = Pace(
            self.stream.rates(), *self.rates.since(counters), counters.stall_fraction, counters.fresh_fraction
        )  # fmt: skip
        self.journal.validation(content, self.held_out.validation, found.result, self.info, pace)
        if self._moves_priors:
            with self.times.measure("feedback"):
                self.move_priors(found.result)
        sheet = self.folder / run_folder.HARDEST_PICTURE
        hardest_sheet.write(sheet, self.held_out.validation, found.result, self.info.keypoints)
        self.journal.times(self.counters.step, self.times.write(self.counters.stall_fraction))
        self.switchboard.publish(("metrics", content))
        if self.counters.judge(found.score, doubtful=self.engine.watch.doubtful):
            best_model.save(self.folder, self.engine.average, self.info, content)
        self.save_checkpoint()
        self.news.say("training")

    @property
    def _moves_priors(self) -> bool:
        """Whether there is anything to move them by; images of data sets tell of no latent values."""
        settings = self.settings
        known = settings.feedback.rule == "evidence" or bool(self.held_out.latents)
        return settings.feedback.enabled and settings.renders and known

    def move_priors(self, result: Evaluation) -> None:
        """Move the posteriors that adaptive workers draw from, by the losses of fresh images or by the hardest ones of
        the validation."""
        settings, priors = self.settings.feedback, self.priors
        if settings.rule == "evidence":
            priors.follow_evidence(self.counters.step)
        elif (update := self._selection(result)) is not None:
            priors.move(update.model, self.counters.step, "selection", update.record(settings))
        else:
            return
        self.parts.draws.model = priors.model
        self.journal.priors(self.counters.step, priors.model)

    def _selection(self, result: Evaluation) -> feedback.Update | None:
        """The hardest validation images counted into the posteriors; None if a request to stop came meanwhile."""
        assert self.held_out.validation is not None
        scores = uncertainty.scores(
            result, self.engine.average, self.held_out.validation, self.engine.precision, self.settings, self._is_ending
        )
        if scores is None:
            return None
        priors = self.priors
        return feedback.update(
            priors.model, priors.initial, self.held_out.latents, scores, self.settings.feedback
        )  # fmt: skip

    def finish(self) -> None:
        """Keep everything, test the best model, write the reports."""
        board, stopped = self.switchboard, self.switchboard.stop.is_set()
        effort = best_model.TestEffort.of(self.settings, self.engine.precision, self.length.test_seconds, board)
        self.news.say("writing the reports", "finishing")
        if self.held_out.validation is not None:
            self.save_checkpoint()
        if self.counters.step and self.counters.best is None:
            known = {"step": self.counters.step, "images": self.counters.images, "seconds": self.clock.seconds}
            best_model.save(self.folder, self.engine.average, self.info, known)
        tested = best_model.calibrate_and_test(self.folder, self.held_out, effort)
        if board.abandoned.is_set():
            return
        self._count()
        times = self.times.write(self.counters.stall_fraction)
        document = summary(self.counters, self.engine, self.held_out, tested, self.priors, times, stopped=stopped)
        files.write_json(self.folder / run_folder.SUMMARY, document)
        shown = best_model.results(tested, self.held_out.test, effort)
        self.journal.finish(shown, self.priors.initial, self.priors.model)

    def save_checkpoint(self) -> None:
        """Write down all that a resumed run goes on from."""
        self._count()
        resuming.save(self.folder, self.state, self.parts, self.priors)

    def _count(self) -> None:
        self.counters.seconds = self.clock.seconds
        self.counters.rendered = self.earlier.rendered + self.stream.received
        self.counters.dropped = self.earlier.dropped + self.stream.dropped

    def _is_ending(self) -> bool:
        return self.switchboard.ending

    def _goes_on(self) -> bool:
        """Whether there is another step, after a pause if there is one."""
        over = self.length.done or exhausted(self.settings.training, self.counters.stale)
        return not self.switchboard.ending and not over and self._wait_while_paused()

    def _wait_while_paused(self) -> bool:
        """Whether to go on afterwards."""
        self.news.wait_while_paused(self.clock, self.counters, self._report)
        return not self.switchboard.ending

    def _interrupted(self) -> bool:
        """Whether to stop waiting for samples; keeps the news going meanwhile."""
        self._report()
        return self.switchboard.ending or self.switchboard.paused.is_set() or self.length.done

    def _report(self, message: str | None = None) -> None:
        """About once a second: where the run stands."""
        if not self.news.due(message):
            return
        self._count()
        fraction = min(1.0, self.length.fraction) if self.held_out.validation is not None else 0.0
        content = training_progress(self.state, self.settings.training, fraction, self.clock.seconds)
        device, workers = str(self.engine.precision), self.stream.rates()
        self.news.progress(self.counters, {**content, "device": device, "workers": workers})
