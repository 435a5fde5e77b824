# SPDX-License-Identifier: GPL-3.0-or-later
"""A run goes on from its checkpoint as if it had never been broken off, whenever that was."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import synthetic
import torch
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.messages.run_sockets import Endpoints
from robot_keypoints.core.settings.toml_file import save
from robot_keypoints.trainer.networks.model_file import load_model
from robot_keypoints.trainer.pose import loss as pose_loss
from robot_keypoints.trainer.training.checkpoint import Checkpoint
from trainings import lines, run_whole, train, trainer_of

STEPS = 50
FIRST = 7
"""Steps before the checkpoint."""


@pytest.mark.parametrize(("ahead", "precision", "pose"), [(False, "float32", 0.0), (True, "bfloat16", 0.5)])
def test_the_next_fifty_steps_give_the_same_losses_bit_for_bit(
    tmp_path: Path, ahead: bool, precision: str, pose: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under augmentation, dropout and a schedule, and a loss on the pose that begins after the checkpoint; whatever was
    made ahead of the checkpoint is made again."""
    monkeypatch.setattr(pose_loss, "LEAST", 3)  # all that the stick figure has
    settings = synthetic.settings(
        dropout=0.2, width=8, precision=precision, epochs=20, pose_weight=pose, pose_from=0.1, width_weight=pose
    )
    (tmp_path / "logs").mkdir()
    save(settings, tmp_path / "settings.toml")
    before = torch.get_num_threads()
    first = trainer_of(tmp_path, settings, resume=False, ahead=ahead)
    try:
        first.collect()
        first.counters.collected = 0.0
        train(first, FIRST)
        first.save_checkpoint()
        expected = train(first, STEPS)
        again = trainer_of(tmp_path, settings, resume=True, ahead=ahead)
        try:
            assert again.counters.step == FIRST and again.engine.precision == first.engine.precision
            assert train(again, STEPS) == expected
            mine, theirs = again.engine.tensors, first.engine.tensors
            assert mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)
        finally:
            again.close()
    finally:
        first.close()
        torch.set_num_threads(before)
    assert len(set(expected)) > 0.9 * len(expected)
    assert not pose or expected[-1] > 0.0  # the last step's loss of the pose


def test_a_run_ends_by_itself_when_it_gets_no_better(tmp_path: Path) -> None:
    settings = synthetic.settings(
        epochs=0, patience=2, learning_rate=1e-8, width=8, precision="float32", epoch_images=8
    )
    trainer = run_whole(tmp_path, settings, ahead=True)
    errors = [json.loads(line)["mean_error_percent"] for line in lines(tmp_path / "metrics.jsonl")]
    assert min(errors[-2:]) >= min(errors[:-2]) and len(errors) == trainer.counters.step >= 3
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["stopped"] is False


def test_what_runs_away_leaves_the_last_good_state(tmp_path: Path) -> None:
    settings = synthetic.settings(epochs=0, width=8, precision="float32", epoch_images=16)
    (tmp_path / "logs").mkdir()
    save(settings, tmp_path / "settings.toml")
    before = torch.get_num_threads()
    trainer = trainer_of(tmp_path, settings, resume=False, ahead=True)
    try:
        trainer.collect()
        train(trainer, 8)
        trainer.validate()
        kept = {
            p: p.read_bytes() for p in (tmp_path / "checkpoints" / "latest.safetensors", tmp_path / "model.safetensors")
        }
        trainer.engine.watch.state = {"mean": 1e-6, "high": 5}  # as if the loss had been far lower
        with pytest.raises(UserError, match="has risen from 1e-06"):
            trainer.run()
        assert len(lines(tmp_path / "metrics.jsonl")) > 5  # it went on for a while, in doubt
    finally:
        trainer.close()
        torch.set_num_threads(before)
    for path, content in kept.items():
        assert path.read_bytes() == content


# ------------------------------------------------------------------------------------------------------- being killed

KILLS = 8


def _process(run_folder: str, resume: bool) -> None:
    """The trainer's process, with a lifeline that this process holds itself."""
    ours, _theirs = os.pipe()
    os.dup2(ours, 0)
    log = os.open(Path(run_folder, "trainer.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.setpgrp()
    from robot_keypoints.trainer.training import process

    torch.set_num_threads(1)
    os._exit(process.main(["--run", run_folder, "--identity", "test", *(["--resume"] if resume else [])]))


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked from one that has loaded torch")
def test_a_run_that_is_killed_at_any_moment_resumes(tmp_path: Path) -> None:
    """Killed anywhere, and every other time while a file is being written: no checkpoint is ever lost or torn."""
    settings = synthetic.settings(epochs=0, epoch_images=8, width=8, precision="float32", reuse=50, averaging=0.9)
    run_folder = tmp_path
    (run_folder / "logs").mkdir()
    save(settings, run_folder / "settings.toml")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["robot_keypoints.trainer.training.trainer", "robot_keypoints.trainer.training.tensorboard_log"]
    )
    rng = random.Random(1)
    ready, latest = run_folder / "logs" / "trainer.json", run_folder / "checkpoints" / "latest.safetensors"
    reached, torn = [], 0
    for kill in range(KILLS + 1):
        ready.unlink(missing_ok=True)
        process = context.Process(target=_process, args=(str(run_folder), kill > 0), daemon=True)
        process.start()
        workers: list[synthetic.Worker] = []
        try:
            until(process, ready.exists)
            document = json.loads(ready.read_text(encoding="utf-8"))
            endpoints = Endpoints(document["host"], *document["ports"])
            workers = [synthetic.Worker(run_folder, "test", endpoints, i, adaptive=i == 1) for i in range(2)]
            if kill % 2 and kill < KILLS:
                until(process, lambda: [*run_folder.glob("checkpoints/.*.part*"), *run_folder.glob(".*.part*")])
            elif kill < KILLS:
                mark = len(lines(run_folder / "metrics.jsonl"))
                until(process, lambda: len(lines(run_folder / "metrics.jsonl")) > mark + 2)  # noqa: B023
                time.sleep(rng.uniform(0.0, 0.3))
            else:
                mark = len(lines(run_folder / "metrics.jsonl"))
                until(process, lambda: len(lines(run_folder / "metrics.jsonl")) > mark + 3)  # noqa: B023
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        finally:
            process.kill()
            for worker in workers:
                worker.close()
        torn += bool(list(run_folder.glob("checkpoints/.*.part*")) or list(run_folder.glob(".*.part*")))
        if latest.exists():
            reached.append(Checkpoint.load(latest).state["counters"]["step"])
        if (run_folder / "model.safetensors").exists():
            load_model(run_folder / "model.safetensors", torch.device("cpu"))
    assert len(reached) >= KILLS and reached == sorted(reached) and reached[-1] > reached[0] > 0
    assert torn >= 2  # or the test would not have hit what it aims at
    steps = [json.loads(line)["step"] for line in lines(run_folder / "metrics.jsonl")]
    assert steps == sorted(set(steps))
    versions = [json.loads(line)["version"] for line in lines(run_folder / "priors.jsonl")]
    assert versions == list(range(len(versions)))


def until(process: multiprocessing.process.BaseProcess, condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.is_alive(), "the trainer ended by itself"
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.001)
