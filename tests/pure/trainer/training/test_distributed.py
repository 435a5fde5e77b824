# SPDX-License-Identifier: GPL-3.0-or-later
"""Two processes that share each batch: the same numbers as one, and nothing left behind."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch
from listening import listeners
from robot_keypoints.core.processes.child_process import Child
from robot_keypoints.core.processes.programs import LAUNCHER
from robot_keypoints.trainer.training import distributed
from run_folders import folder, lines, running
from shared_batches import CPU, engine, finished, raw, weights

SHARE = """
import json, os, sys
sys.path.insert(0, os.environ["SUPPORT"])
import numpy as np, torch
import shared_batches as test
process_group = test.distributed.join(test.CPU)
engine = test.engine(process_group)
while True:
    message, share = process_group.hear()
    if share is None:
        break
    engine.step(test.finished(share), message["rate"], message["total"], lambda: False, message["pose"])
assert message == {"end": True}
np.save(sys.argv[1], test.weights(engine))
os._exit(0)
"""


def test_losses_and_weights_are_those_of_one_process(tmp_path: Path) -> None:
    """Of one that computes the batch in the same shares: a normalisation looks at the images it sees together."""
    before = torch.get_num_threads()
    (tmp_path / "meeting").mkdir()
    meeting = tmp_path / "meeting" / "store"
    shared = {"WORLD_SIZE": "2", distributed.STORE: str(meeting), "OMP_NUM_THREADS": "1"}
    os.environ.update({**shared, "SUPPORT": str(Path(__file__).parents[3] / "support")})
    command = [sys.executable, "-c", SHARE, str(tmp_path / "theirs.npy")]
    other = Child(
        "other",
        command,
        tmp_path / "other.log",
        {**shared, "RANK": "1", "SUPPORT": str(Path(__file__).parents[3] / "support")},
    )
    try:
        process_group = distributed.ProcessGroup(distributed.meet(meeting, 2), 0, 2, CPU)
        two, one = engine(process_group), engine(None, seconds=0.25)  # in parts of four images
        for step in range(4):
            mine, theirs = (whole := raw(8, step)).split(2)
            process_group.tell({"rate": 1e-3, "total": 8, "pose": 0.5}, [theirs])
            shared_step = two.step(finished(mine), 1e-3, 8, lambda: False, 0.5)
            alone = one.step(finished(whole), 1e-3, 8, lambda: False, 0.5)
            assert shared_step is not None and alone is not None
            assert np.allclose(shared_step.losses, alone.losses, rtol=1e-3, atol=1e-4)
            assert shared_step.gradient == pytest.approx(alone.gradient, rel=1e-3)
            assert shared_step.extras["pose"] == pytest.approx(alone.extras["pose"], rel=1e-2)
            assert alone.extras["pose"] > 0.1
        process_group.tell({"end": True})
        distributed.dist.destroy_process_group()
        assert other.wait(30) and other.exit_code == 0, other.last_words(20)
    finally:
        other.kill()
        torch.set_num_threads(before)
        for name in (*shared, "SUPPORT"):
            os.environ.pop(name, None)
    assert np.array_equal(np.load(tmp_path / "theirs.npy"), weights(two))
    start = weights(engine(None))
    moved = np.abs(weights(two) - start)
    assert moved.mean() > 1e-4
    assert np.abs(weights(two) - weights(one)).mean() < 0.02 * moved.mean()
    torch.set_num_threads(before)


def test_a_run_of_two_processes_trains_stops_and_leaves_nothing(tmp_path: Path) -> None:
    run_folder = folder(tmp_path, synthetic.settings(epochs=0, processes=2, width=8, precision="float32"))
    with running(run_folder) as trainer:
        trainer.feed()
        trainer.until(lambda: len(trainer.heard("metrics")) >= 2)
        others = _others(run_folder)
        assert len(others) == 1
        open_to = {p: listeners(p) for p in (trainer.child.pid, *others)}
        assert open_to[trainer.child.pid], "the trainer's own three sockets were not found"
        assert all(one.loopback for found in open_to.values() for one in found), open_to
        trainer.ask("stop")
        assert trainer.child.wait(30) and trainer.child.exit_code == 0, trainer.child.last_words(20)
    assert _gone(others)
    summary = json.loads((run_folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["processes"] == 2 and summary["images_trained"] == 8 * summary["steps"]
    with running(run_folder, resume=True) as trainer:
        trainer.feed()
        trainer.until(lambda: trainer.heard("metrics"))
        assert trainer.heard("metrics")[0]["step"] > summary["steps"]
        others = _others(run_folder)
        assert len(others) == 1
        meeting = Path(_environment(others[0])[distributed.STORE]).parent
        assert meeting.stat().st_mode & 0o777 == 0o700
        trainer.child.kill()  # at once, as by a crash
    assert _gone(others)
    assert not meeting.exists()
    steps = [m["step"] for m in lines(run_folder / "metrics.jsonl")]
    assert steps == sorted(steps)


def test_gloo_and_nccl_stay_on_loopback_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "chosen")
    distributed.stay_on_this_machine()
    assert os.environ["GLOO_SOCKET_IFNAME"] in ("lo", "lo0")
    assert os.environ["NCCL_SOCKET_IFNAME"] == "chosen"


def test_a_process_that_is_lost_is_a_sentence(tmp_path: Path) -> None:
    run_folder = folder(tmp_path, synthetic.settings(epochs=0, processes=2, width=8, precision="float32"))
    with running(run_folder) as trainer:
        trainer.feed()
        trainer.until(lambda: trainer.heard("metrics"))
        for process in _others(run_folder):
            os.kill(process, 9)
        assert trainer.child.wait(30)
        assert trainer.child.exit_code == 2
        assert trainer.child.last_words(1)[0].startswith("error: A process of the trainer has ended")


def _others(run_folder: Path) -> list[int]:
    """The processes of this run's trainer but for the first."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                command = (process / "cmdline").read_bytes().split(b"\0")
                ranks = [e for e in (process / "environ").read_bytes().split(b"\0") if e.startswith(b"RANK=")]
            except OSError:
                continue
            if str(run_folder).encode() in command and str(LAUNCHER).encode() in command and ranks:
                found.append(int(process.name))
    return found


def _environment(process: int) -> dict[str, str]:
    entries = Path(f"/proc/{process}/environ").read_text(encoding="utf-8").split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def _gone(processes: list[int]) -> bool:
    end = time.monotonic() + 10
    while any(Path(f"/proc/{p}").exists() for p in processes):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
