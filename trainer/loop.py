# SPDX-License-Identifier: GPL-3.0-or-later
"""The training of one run, from the first sample to the last report; read :meth:`Trainer.run` from top to bottom."""

from __future__ import annotations

import copy
import json
import math
import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core import files
from ..core.errors import UserError
from ..core.messages import Posterior, Sample
from ..core.randomization import Hidden, SceneModel
from ..core.scene_assets import training_themes
from ..core.session import ROBOT_FILE
from ..core.settings import Settings
from . import checkpoint, device, feedback, metrics, network
from .augmentation import Augmentation
from .checkpoint import Checkpoint, ModelInfo
from .control import Switchboard
from .device import Precision
from .evaluation import Evaluation, EvaluationSet, evaluate
from .finishing import Finisher
from .sample_set import SampleSet
from .stream import RawBatch, ReplayStore, SampleStream

WARM_UP = 60
"""Steps over which the learning rate rises."""

AVERAGING = 0.995
"""Share of the running average of the weights that a step keeps, once there have been many steps."""

LARGEST_GRADIENT = 5.0
WEIGHT_DECAY = 1e-4

COLLECTING_SHARE = 0.4
"""Share of a run's minutes that may go by before the first step; the sets are smaller where that is too short."""

PICTURES_SECONDS = 4.0
"""Set aside for the reports at the end of a run limited in minutes, besides the last validation and the test."""

STOP_SECONDS = 2.0
"""After a stop, saving and testing may take this long; the pictures then still fit into the session's patience."""

LONGEST_COMPUTATION = 1.0
"""A batch is computed in parts where it would keep a request to stop waiting longer than this, seconds."""


@dataclass
class Counters:
    """What adds up over a run, resumed ones included.

    Attributes:
        rendered: samples received.
        images: images trained on, reused ones counted again.
        seconds: since the run began, without pauses and without the time between two sittings.
        collected: the value of ``seconds`` when training began.
        trained, waited: seconds of training, and those of them spent waiting for samples.
        best: lowest mean validation error so far, percent; the loss where no keypoint is inside.
    """

    step: int = 0
    rendered: int = 0
    images: int = 0
    seconds: float = 0.0
    collected: float = 0.0
    trained: float = 0.0
    waited: float = 0.0
    dropped: int = 0
    best: float | None = None


@dataclass(frozen=True)
class Results:
    """What the reports at the end are made of; the test is None where there was nothing to test."""

    model: ModelInfo
    test: Evaluation | None
    images: Tensor
    keypoints: np.ndarray[Any, np.dtype[np.float64]]
    beliefs: Tensor | None


class Trainer:
    """One run."""

    def __init__(
        self, folder: Path, settings: Settings, info: ModelInfo, stream: SampleStream, switchboard: Switchboard,
        started: float, *, resume: bool,
    ) -> None:  # fmt: skip
        """
        Args:
            info: what the model file will say; its network is built here.
            started: ``time.monotonic()`` when the process began, from which the minutes are counted.

        Raises:
            UserError: if the settings can't be followed on this machine, or the checkpoint not be read.
        """
        from .reports import Journal  # here, because matplotlib and TensorBoard take seconds the workers can use

        t, render = settings.training, settings.render
        self.folder = folder
        self.settings = settings
        self.info = info
        self.stream = stream
        self.switchboard = switchboard
        self.counters = Counters()
        self.initial: SceneModel = settings.scene_model()
        self.model: SceneModel = self.initial

        saved = self._find_checkpoint() if resume else None
        torch.set_num_threads(threads_beside(settings.workers.count * settings.workers.threads))
        torch.manual_seed(t.seed)
        where = device.choose(t.device)
        net = network.build(info.network, pretrained=t.pretrained and saved is None)
        self.network = net.to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=t.learning_rate, weight_decay=WEIGHT_DECAY)
        self.precision: Precision = device.measure(self.network, t.batch_size, render.width, render.height)
        themes = training_themes(settings)
        self.augmentation = Augmentation(settings.augmentation, render.width, render.height, t.seed, where, themes)
        self.finisher = Finisher.of(settings, validation=True)
        self.store = ReplayStore(
            render.width, render.height, len(settings.keypoints), self.initial, batch=t.batch_size,
            memory=t.store_mb << 20, reuse=t.reuse, fresh_share=t.fresh_share, seed=t.seed,
        )  # fmt: skip
        self.journal = Journal(folder)
        self.hidden: tuple[Hidden, ...] = ()
        self.validation: EvaluationSet | None = None
        self.test: EvaluationSet | None = None
        self.latest: dict[str, Any] = {}
        self.train_loss: float | None = None
        self._began = started
        self._paused_seconds = 0.0
        self._test_seconds = self.precision.seconds_per_image / 2  # per image, until it has been measured
        self._received_before = 0
        self._dropped_before = 0
        self._next_news = 0.0
        self._state = {"phase": "training", "message": "starting"}
        self._rate_mark = (time.monotonic(), 0, 0)
        if saved is not None:
            self._restore(saved)

    # ---------------------------------------------------------------------------------------------- the training

    def run(self) -> None:
        """Collect, train and validate in turn, report.

        Raises:
            UserError: if the training can't go on; the last good state is on disk.
        """
        t = self.settings.training
        if self.validation is None:
            self._collect()
        while not self.switchboard.ending and not self.stream.wait(0.1):
            self._tell("waiting for the workers")  # to begin, which is not held against them
        self._say("training")
        while not self.switchboard.ending and self.validation is not None and self._fraction() < 1.0:
            if not self._wait_while_paused():
                break
            begin, waited = time.monotonic(), self.store.waited
            batch = self.store.next_batch(self.stream, self._interrupted)
            if batch is not None:
                computing = time.monotonic()
                loss = self._step(batch)
                # The measurement at the start may have been disturbed; testing an image costs about a third of a step.
                seconds = (time.monotonic() - computing) / len(batch.images)
                self._test_seconds = min(self._test_seconds, seconds / 2)
                self.train_loss = loss if self.train_loss is None else self.train_loss + 0.05 * (loss - self.train_loss)
            self.counters.trained += time.monotonic() - begin
            self.counters.waited += self.store.waited - waited
            self._tell()
            if batch is not None and self._epoch_ends(t.batch_size):
                self._validate()
        if not self.switchboard.ending and self.counters.step > self.latest.get("step", 0):
            self._validate()  # the last weights are the best ones as a rule
        if self.switchboard.abandoned.is_set():
            return
        self._finish()

    def _step(self, batch: RawBatch) -> float:
        """One step of the optimiser; returns the loss."""
        renderings, labels = torch.from_numpy(batch.images), torch.from_numpy(batch.keypoints)
        images, keypoints = self.augmentation(renderings, labels, batch.values)
        images = network.normalise(images).contiguous(memory_format=torch.channels_last)
        width, height = images.shape[-1], images.shape[-2]
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        part = max(1, int(LONGEST_COMPUTATION / max(self.precision.seconds_per_image, 1e-9)))
        for some, points in zip(torch.split(images, part), torch.split(keypoints, part), strict=True):
            with self.precision.autocast():
                output = self.network(some)
            loss = self.network.loss(output, points, width, height).sum() / len(images)
            loss.backward()
            total += float(loss.item())
            if len(some) < len(images) and self.switchboard.ending:
                return total
        norm = float(torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT))
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise UserError(
                f"The loss is no longer a number at step {self.counters.step}: lower training.learning_rate "
                "and resume the run, its last good state is kept"
            )
        self.optimiser.step()
        self.counters.step += 1
        self.counters.images += len(images)
        self._update_average()
        return total

    def _update_average(self) -> None:
        step = self.counters.step
        keep = min(AVERAGING, (1 + step) / (10 + step))
        with torch.no_grad():
            average, present = list(self.average.state_dict().values()), list(self.network.state_dict().values())
            torch._foreach_lerp_(
                [a for a in average if a.is_floating_point()],
                [p for p in present if p.is_floating_point()],
                1.0 - keep,
            )
            for a, p in zip(average, present, strict=True):
                if not a.is_floating_point():
                    a.copy_(p)

    def _learning_rate(self) -> float:
        """Rises over the first steps, then falls along a cosine to a hundredth at the run's end."""
        warm = min(1.0, (self.counters.step + 1) / WARM_UP)
        fall = 0.5 * (1.0 + math.cos(math.pi * min(1.0, self._fraction())))
        return self.settings.training.learning_rate * warm * (0.01 + 0.99 * fall)

    def _fraction(self) -> float:
        """How much of the run is done, by images or by time, whichever is further; 0 for a run without end."""
        t = self.settings.training
        shares = [0.0]
        if t.epochs:
            shares.append(self.counters.images / (t.epochs * t.epoch_images))
        if t.minutes:
            begin = self.counters.collected
            images = sum(len(data) for data in (self.validation, self.test) if data is not None)
            reserve = PICTURES_SECONDS + self._test_seconds * images
            shares.append((self._seconds() - begin) / max(60 * t.minutes - reserve - begin, 1.0))
        return max(shares)

    def _epoch_ends(self, batch: int) -> bool:
        per_epoch = self.settings.training.epoch_images
        return self.counters.images // per_epoch > (self.counters.images - batch) // per_epoch

    # ------------------------------------------------------------------------------------- validation and feedback

    def _validate(self) -> None:
        """Measure, move the priors, keep the best model, write a checkpoint."""
        assert self.validation is not None
        t = self.settings.training
        self._say("validating")
        result = evaluate(self.average, self.validation, self.precision, t.batch_size, self._ending_now)
        if result is None:
            return
        self._test_seconds = 1.2 * result.seconds / len(self.validation)
        found = metrics.localisation(result.errors, self.info.keypoints)
        hard = feedback.hardest(self.initial, self.hidden, result.losses, self.settings.feedback.share)
        content: dict[str, Any] = {
            "step": self.counters.step, "images": self.counters.images, "seconds": self._seconds(),
            "loss": float(result.losses.mean()), **found.to_dict(), "hardest": [h.to_dict() for h in hard],
        }  # fmt: skip
        if self.train_loss is not None:
            content["train_loss"] = self.train_loss
        self.latest = content
        files.append_json_line(self.folder / "metrics.jsonl", content)
        self.journal.validation(content, self.validation, result, self.info, self.stream.rates(), self._learning_rate())
        if self.settings.feedback.enabled:
            self.model = feedback.update(self.model, self.initial, self.hidden, result.losses, self.settings.feedback)
            self.switchboard.publish_posterior(Posterior(self.model.version, self.model.concentrations()))
            self._append_prior()
        self.switchboard.publish("metrics", content)
        score = found.mean if found.mean is not None else float(result.losses.mean())
        if self.counters.best is None or score < self.counters.best:
            self.counters.best = score
            self._save_model(content)
        self._save_checkpoint()
        self._say("training")

    def _append_prior(self) -> None:
        line = {
            "step": self.counters.step, "version": self.model.version,
            "concentrations": {k: list(v) for k, v in self.model.concentrations().items()},
        }  # fmt: skip
        files.append_json_line(self.folder / "priors.jsonl", line)

    # --------------------------------------------------------------------------------------- before the first step

    def _collect(self) -> None:
        """Take the validation and test images, before anything is learned and from the initial priors."""
        t = self.settings.training
        wanted = t.validation_images + t.test_images
        patience = 60 * t.minutes * COLLECTING_SHARE if t.minutes else math.inf
        samples: list[Sample] = []
        least = 16
        while len(samples) < wanted and not self.switchboard.ending:
            if not self._wait_while_paused():
                return
            if len(samples) >= least and self._seconds() > patience:
                break
            if self.stream.wait(0.1):
                samples += [s for s in self.stream.take(wanted - len(samples)) if s.version == 0]
            self._tell(f"collecting {len(samples)} of {wanted} validation and test images")
        if self.switchboard.ending:
            return
        share = t.validation_images / wanted
        count = min(max(round(share * len(samples)), 8), len(samples) - 8)
        # Samples come from the workers in turn; mixing them keeps any pattern of turns out of the sets.
        order = np.random.default_rng(t.seed).permutation(len(samples)).tolist()
        checkpoints = self.folder / "checkpoints"
        checkpoints.mkdir(exist_ok=True)
        for name, indices in (("validation", order[:count]), ("test", order[count:])):
            chosen = SampleSet.of([samples[i] for i in indices])
            chosen.save(checkpoints / f"{name}.npz")
            self._use_set(name, chosen)
        self.counters.collected = self._seconds()
        self._write_first_lines()
        self._save_checkpoint()

    def _use_set(self, name: str, samples: SampleSet) -> None:
        render = self.settings.render
        expected = (render.height, render.width, 4)
        if samples.images.shape[1:] != expected or samples.keypoints.shape[1:] != (len(self.info.keypoints), 2):
            raise UserError(
                f"The {name} images in {self.folder} do not fit its settings.toml: undo the change or start a new run"
            )
        data = EvaluationSet.of(samples, self.finisher)
        if name == "test":
            self.test = data
        else:
            self.validation = data
            self.hidden = samples.hidden

    def _write_first_lines(self) -> None:
        for name in ("metrics.jsonl", "priors.jsonl"):
            (self.folder / name).unlink(missing_ok=True)
        (self.folder / "metrics.jsonl").touch()
        self._append_prior()

    # ------------------------------------------------------------------------------------------- saving, resuming

    def _save_model(self, content: dict[str, Any]) -> None:
        known: dict[str, Any] = {k: content[k] for k in ("step", "images", "seconds", "loss") if k in content}
        errors = {k: v for k, v in content.items() if k.endswith("_error_percent")}
        training: dict[str, Any] = {**known, **errors, "measured_on": "validation", "versions": versions()}
        info = replace(self.info, training=training)
        checkpoint.save_model(self.folder / "model.safetensors", self.average.state_dict(), info)

    def _save_checkpoint(self) -> None:
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        tensors |= {f"optimiser.{k}": v for k, v in checkpoint.flatten_optimiser(self.optimiser).items()}
        self._count()
        state = {
            "counters": asdict(self.counters), "latest": self.latest, "train_loss": self.train_loss,
            "version": self.model.version, "concentrations": self.model.concentrations(),
            "store": self.store.random_state,
        }  # fmt: skip
        generators = {"torch": torch.get_rng_state(), "augmentation": self.augmentation.generator.get_state()}
        Checkpoint(tensors, state, generators).save(self.folder / "checkpoints" / "latest.safetensors")

    def _find_checkpoint(self) -> Checkpoint | None:
        path = self.folder / "checkpoints" / "latest.safetensors"
        if not path.exists():
            print("the run ended before its first checkpoint; it begins anew", file=sys.stderr)
            return None
        return Checkpoint.load(path)

    def _restore(self, saved: Checkpoint) -> None:
        path = self.folder / "checkpoints"
        for name in ("validation", "test"):
            self._use_set(name, SampleSet.load(path / f"{name}.npz"))
        try:
            self.network.load_state_dict(checkpoint.part(saved.tensors, "network"))
            self.average.load_state_dict(checkpoint.part(saved.tensors, "average"))
            checkpoint.restore_optimiser(self.optimiser, checkpoint.part(saved.tensors, "optimiser"))
            self.counters = Counters(**saved.state["counters"])
            self.latest = dict(saved.state["latest"])
            self.train_loss = saved.state["train_loss"]
            self.model = self.initial.with_concentrations(saved.state["concentrations"], saved.state["version"])
            self.store.random_state = saved.state["store"]
            torch.set_rng_state(saved.generators["torch"])
            self.augmentation.generator.set_state(saved.generators["augmentation"])
        except (KeyError, TypeError, ValueError, RuntimeError) as problem:
            raise UserError(
                f"The checkpoint in {path} does not fit the run's settings.toml: undo the change or start a new run"
            ) from problem
        self._began -= self.counters.seconds
        self._received_before, self._dropped_before = self.counters.rendered, self.counters.dropped
        for name in ("metrics.jsonl", "priors.jsonl"):
            _keep_lines(self.folder / name, self.counters.step)
        self.switchboard.publish_posterior(Posterior(self.model.version, self.model.concentrations()))

    # -------------------------------------------------------------------------------------------------- the end

    def _finish(self) -> None:
        """Keep everything, test the best model, write the reports."""
        stopped = self.switchboard.stop.is_set()
        deadline = time.monotonic() + STOP_SECONDS if stopped else None
        self._say("writing the reports", "finishing")
        if self.validation is not None:
            self._save_checkpoint()
        path = self.folder / "model.safetensors"
        best = self.average
        if self.counters.step and self.counters.best is None:
            self._save_model({"step": self.counters.step, "images": self.counters.images, "seconds": self._seconds()})
        results = None
        if path.exists() and self.test is not None:
            best, info = checkpoint.load_model(path, self.precision.device)
            batch = self.settings.training.batch_size
            abandoned = self.switchboard.abandoned.is_set
            size = max(1, min(batch, int(LONGEST_COMPUTATION / max(self._test_seconds, 1e-9))))
            test = evaluate(best, self.test, self.precision, size, abandoned, deadline)
            results = Results(info, test, self.test.images, self.test.keypoints, None)
        if self.switchboard.abandoned.is_set():
            return
        files.write_json(self.folder / "summary.json", self._summary(results, stopped))
        if results is not None:
            results = replace(results, beliefs=self._beliefs(best, deadline))
        self.journal.finish(results, self.initial, self.model)

    def _beliefs(self, best: network.KeypointNetwork, deadline: float | None) -> Tensor:
        """Belief maps of the images that the reports show; with a ``deadline`` of as many as fit, at least one."""
        from .reports import PICTURES

        assert self.test is not None
        maps: list[Tensor] = []
        with torch.no_grad(), self.precision.autocast():
            for image in torch.split(self.test.images[:PICTURES], 1):
                if maps and deadline is not None and time.monotonic() > deadline:
                    break
                shown = network.normalise(image.to(self.precision.device).float() / 255.0)
                maps.append(best.beliefs(best(shown)).maps.float().cpu())
        return torch.cat(maps)

    def _summary(self, results: Results | None, stopped: bool) -> dict[str, Any]:
        self._count()
        c = self.counters
        test = results.test if results is not None else None
        found = metrics.localisation(test.errors, self.info.keypoints) if test is not None else None
        return {
            "images_rendered": c.rendered,
            "images_trained": c.images,
            "steps": c.step,
            "seconds": round(c.seconds, 2),
            "stall_fraction": self._stall_fraction(),
            "messages_dropped": c.dropped,
            "validation_images": len(self.validation) if self.validation is not None else 0,
            "test_images": len(test) if test is not None else 0,
            "mean_error_percent": found.mean if found is not None else None,
            "median_error_percent": found.median if found is not None else None,
            "pck": found.pck if found is not None else {},
            "per_keypoint": found.per_keypoint if found is not None else {},
            "measured_on": "test images, drawn from the initial priors and never trained on",
            "model_step": results.model.training.get("step") if results is not None else None,
            "priors_version": self.model.version,
            "stopped": stopped,
            "device": str(self.precision),
            "threads": torch.get_num_threads(),
            "versions": versions(),
        }

    # ---------------------------------------------------------------------------------------------- news and time

    def _seconds(self) -> float:
        return time.monotonic() - self._began - self._paused_seconds

    def _stall_fraction(self) -> float:
        return self.counters.waited / self.counters.trained if self.counters.trained > 0 else 0.0

    def _count(self) -> None:
        self.counters.seconds = self._seconds()
        self.counters.rendered = self._received_before + self.stream.received
        self.counters.dropped = self._dropped_before + self.stream.dropped

    def _ending_now(self) -> bool:
        return self.switchboard.ending

    def _interrupted(self) -> bool:
        """Whether to stop waiting for samples; keeps the news going meanwhile."""
        self._tell()
        return self.switchboard.ending or self.switchboard.paused.is_set() or self._fraction() >= 1.0

    def _wait_while_paused(self) -> bool:
        """Whether to go on afterwards."""
        if self.switchboard.paused.is_set() and not self.switchboard.ending:
            mark = time.monotonic()
            self._say("paused", "paused")
            while self.switchboard.paused.is_set() and not self.switchboard.ending:
                time.sleep(0.05)
                now = time.monotonic()
                self._paused_seconds, mark = self._paused_seconds + now - mark, now
                self._tell()
            self._rate_mark = (time.monotonic(), self.counters.step, self.counters.images)
            self._say("training")
        return not self.switchboard.ending

    def _say(self, message: str, phase: str = "training") -> None:
        self._state = {"phase": phase, "message": message}
        self.switchboard.publish("state", self._state)

    def _tell(self, message: str | None = None) -> None:
        """About once a second: where the run stands."""
        now = time.monotonic()
        if now < self._next_news:
            return
        self._next_news = now + 1.0
        # Said again and again, because news sent before somebody listens is lost.
        self._say(message if message is not None else self._state["message"], self._state["phase"])
        self._count()
        then, steps, images = self._rate_mark
        seconds = max(now - then, 1e-9)
        self._rate_mark = (now, self.counters.step, self.counters.images)
        t = self.settings.training
        fraction = min(1.0, self._fraction()) if self.validation is not None else 0.0
        content: dict[str, Any] = {
            "step": self.counters.step, "images": self.counters.images,
            "epoch": self.counters.images // t.epoch_images,
            "steps_per_second": (self.counters.step - steps) / seconds,
            "images_per_second": (self.counters.images - images) / seconds,
            "workers": self.stream.rates(), "fraction": fraction, "stall_fraction": self._stall_fraction(),
            "dropped": self.counters.dropped, "device": str(self.precision),
        }  # fmt: skip
        if self.train_loss is not None:
            content["loss"] = self.train_loss
        if "mean_error_percent" in self.latest:
            content["error_percent"] = self.latest["mean_error_percent"]
            content["median_error_percent"] = self.latest["median_error_percent"]
        if t.minutes and not t.epochs:
            content["seconds_left"] = max(0.0, 60 * t.minutes - self._seconds())
        elif fraction > 0.01:
            content["seconds_left"] = (self._seconds() - self.counters.collected) * (1 / fraction - 1)
        self.switchboard.publish("progress", content)


def threads_beside(busy: int) -> int:
    """Threads to compute with where ``busy`` threads of the workers share this machine.

    torch's threads wait for one another many hundred times a step. Where one of them has lost its core to a worker the
    others wait, too, so that two threads on two busy cores were seen to be ten times slower than one.
    """
    return max(1, (os.cpu_count() or 1) - busy)


def model_info(settings: Settings, folder: Path) -> ModelInfo:
    """What the model file of the run in ``folder`` says before anything is learned."""
    t, render = settings.training, settings.render
    sigma = t.target_sigma / 100 * math.hypot(render.width, render.height)
    config = network.NetworkConfig(t.network, len(settings.keypoints), sigma, t.stages)
    kinematics = folder / ROBOT_FILE
    document = json.loads(kinematics.read_text(encoding="utf-8")) if kinematics.exists() else None
    names = tuple(k.name for k in settings.keypoints)
    return ModelInfo(config, render.width, render.height, names, settings.skeleton, document)


def versions() -> dict[str, str]:
    """Versions of what computed a result."""
    from .. import __version__

    return {
        "robot_keypoints": __version__, "python": ".".join(map(str, sys.version_info[:3])),
        "torch": str(torch.__version__), "numpy": np.__version__,
    }  # fmt: skip


def _keep_lines(path: Path, step: int) -> None:
    """Leave out what was written after the checkpoint that is gone back to."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines()
        files.write_text(path, "".join(line + "\n" for line in lines if json.loads(line)["step"] <= step))
