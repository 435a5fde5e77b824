# SPDX-License-Identifier: GPL-3.0-or-later
"""The trainer's process from end to end, fed by workers without Blender."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch
from PIL import Image
from robot_keypoints.core.processes import programs
from robot_keypoints.core.processes.child_process import Child
from robot_keypoints.core.settings.toml_file import save
from robot_keypoints.trainer.networks.model_file import load_model
from robot_keypoints.trainer.training.checkpoint import Checkpoint
from run_folders import ENVIRONMENT, folder, lines, running


def test_a_run_is_paused_stopped_resumed_and_finished(tmp_path: Path) -> None:
    run_folder = folder(tmp_path, synthetic.settings(epochs=40))
    with running(run_folder) as trainer:
        welcome = trainer.ask("hello")
        assert (welcome["type"], welcome["version"], welcome["paused"]) == ("welcome", 0, False)
        assert trainer.ask("hello", run_id="another")["type"] == "refused"
        assert trainer.ask("nonsense")["type"] == "refused"
        trainer.feed()
        trainer.until(lambda: len(trainer.posteriors) >= 2)
        assert trainer.posteriors[-1].version == 2
        assert set(trainer.posteriors[-1].concentrations) == {v.name for v in synthetic.settings().variables}
        trainer.until(lambda: trainer.workers[1].model.version >= 2)
        assert trainer.workers[0].model.version == 0
        assert int(str(trainer.ask("hello")["version"])) >= 2

        assert trainer.ask("pause")["type"] == "ok"
        trainer.until(lambda: any(s["phase"] == "paused" for s in trainer.heard("state")))
        time.sleep(0.5)
        sent = [w.sent for w in trainer.workers]
        time.sleep(1.0)
        still = [w.sent for w in trainer.workers]
        assert sent == still  # the workers wait
        trainer.ask("resume")
        trainer.until(lambda: [w.sent for w in trainer.workers] > still)

        progress = trainer.heard("progress")[-1]
        assert progress["step"] > 0 and set(progress["workers"]) == {"0", "1"} and 0 < progress["fraction"] < 1
        trainer.ask("stop")
        assert trainer.child.wait(60)
        assert trainer.child.exit_code == 0, trainer.child.last_words(20)
    first = json.loads((run_folder / "summary.json").read_text(encoding="utf-8"))
    assert first["stopped"] and first["validation_images"] == 24
    saved = Checkpoint.load(run_folder / "checkpoints" / "latest.safetensors").state
    assert saved["counters"]["step"] == first["steps"] > 0
    validation = (run_folder / "checkpoints" / "validation.npz").read_bytes()
    versions = [line["version"] for line in lines(run_folder / "priors.jsonl")]
    assert versions == list(range(len(versions))) and len(versions) >= 3
    initial, *moved = lines(run_folder / "priors.jsonl")
    assert "rule" not in initial and {line["rule"] for line in moved} == {"evidence"}
    counts = [sum(line["evidence"]["counts"]["joint/lower"]) for line in moved]
    assert min(counts) > 0 and sum(counts) <= first["images_rendered"] - 24 - 16  # each rendering once at most

    settings = synthetic.settings(epochs=first["images_trained"] // 64 + 2)
    save(settings, run_folder / "settings.toml")
    with running(run_folder, resume=True) as trainer:
        assert trainer.ask("hello")["version"] == saved["version"]
        trainer.feed()
        trainer.until(lambda: trainer.child.exit_code is not None)
        assert trainer.child.exit_code == 0, trainer.child.last_words(20)
    second = json.loads((run_folder / "summary.json").read_text(encoding="utf-8"))
    assert second["steps"] > first["steps"] and second["images_rendered"] > first["images_rendered"]
    assert second["seconds"] > first["seconds"] and not second["stopped"]
    assert (run_folder / "checkpoints" / "validation.npz").read_bytes() == validation
    metrics = lines(run_folder / "metrics.jsonl")
    assert [m["step"] for m in metrics] == sorted(m["step"] for m in metrics)
    assert metrics[-1]["step"] == second["steps"]
    versions = [line["version"] for line in lines(run_folder / "priors.jsonl")]
    assert versions == list(range(len(versions)))
    for name in ("predictions.png", "errors.png", "priors.png"):
        with Image.open(run_folder / name) as picture:
            assert np.asarray(picture.convert("L")).std() > 5
    assert list((run_folder / "tensorboard").iterdir())
    assert second["test_images"] == 16 and set(second["per_keypoint"]) == set(synthetic.NAMES)
    assert second["mean_error_percent"] > 0 and 0 <= second["stall_fraction"] <= 1
    assert 1 / settings.training.reuse <= second["fresh_fraction"] <= 1
    assert {"images_trained", "median_error_percent", "device", "versions"} <= set(second)


def test_it_learns(tmp_path: Path) -> None:
    """On figures as simple as these a minute's learning shows: what a constant guess gets is about 18 %."""
    settings = synthetic.settings(epochs=6, epoch_images=240, reuse=20, target_sigma=1.5)
    run_folder = folder(tmp_path, settings)
    with running(run_folder) as trainer:
        trainer.feed()
        trainer.until(lambda: trainer.child.exit_code is not None, 300)
    summary = json.loads((run_folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["median_error_percent"] < 4
    measured = [m["mean_error_percent"] for m in lines(run_folder / "metrics.jsonl")]
    assert measured[-1] < 0.6 * measured[0]
    _, info = load_model(run_folder / "model.safetensors", torch.device("cpu"))
    assert info.training["mean_error_percent"] == min(measured)
    # It has learned how far off it is, on all of the validation images.
    assert info.calibration is not None and info.calibration.images == summary["validation_images"]


def test_it_ends_when_its_parent_does(tmp_path: Path) -> None:
    run_folder = folder(tmp_path, synthetic.settings(epochs=0))
    with running(run_folder) as trainer:
        trainer.feed()
        trainer.until(lambda: trainer.heard("metrics"))
        trainer.child.let_go()
        assert trainer.child.wait(20)
    assert (run_folder / "checkpoints" / "latest.safetensors").exists()
    assert not (run_folder / "summary.json").exists()


def test_a_loss_that_is_no_number_is_a_sentence_and_the_last_good_state_is_kept(tmp_path: Path) -> None:
    """Weights just below the largest number stand for a training that has run away."""
    settings = synthetic.settings(epochs=0)
    run_folder = folder(tmp_path, settings)
    with running(run_folder) as trainer:
        trainer.feed()
        trainer.until(lambda: (run_folder / "checkpoints" / "latest.safetensors").exists())
        trainer.ask("stop")
        assert trainer.child.wait(60)
    state = Checkpoint.load(run_folder / "checkpoints" / "latest.safetensors")
    poisoned = {k: v.sign() * 3e38 if k == "network.head.weight" else v for k, v in state.tensors.items()}
    Checkpoint(poisoned, state.state, state.generators).save(run_folder / "checkpoints" / "latest.safetensors")
    kept = (run_folder / "checkpoints" / "latest.safetensors").read_bytes()
    with running(run_folder, resume=True) as trainer:
        trainer.feed()
        assert trainer.child.wait(90)
        assert trainer.child.exit_code == 2
        words = trainer.child.last_words(1)
    assert words[0].startswith("error: The loss is no longer a number at step")
    assert (run_folder / "checkpoints" / "latest.safetensors").read_bytes() == kept


@pytest.mark.parametrize(
    ("damage", "words"),
    [("settings", "is not valid TOML"), ("checkpoint", "can't be read: start a new run"), ("port", "is in use")],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, damage: str, words: str) -> None:
    import socket

    settings = synthetic.settings()
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    if damage == "port":
        settings = replace(settings, stream=replace(settings.stream, port=taken.getsockname()[1]))
    run_folder = folder(tmp_path, settings)
    if damage == "settings":
        (run_folder / "settings.toml").write_text("= nonsense", encoding="utf-8")
    if damage == "checkpoint":
        (run_folder / "checkpoints").mkdir()
        (run_folder / "checkpoints" / "latest.safetensors").write_bytes(b"damaged")
    arguments = ["--run", str(run_folder), "--identity", "test", "--resume"]
    command = [sys.executable, str(programs.LAUNCHER), "trainer", *arguments]
    child = Child("trainer", command, run_folder / "trainer.log", ENVIRONMENT)
    try:
        assert child.wait(90)
        assert child.exit_code == 2
        last = child.last_words(1)[0]
        assert last.startswith("error: ") and words in last
    finally:
        child.kill()
        taken.close()
