# SPDX-License-Identifier: GPL-3.0-or-later
"""What every program of ours listens on, while it works: this machine alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from listening import Listener, family, listeners
from robot_keypoints.core.processes.programs import LAUNCHER
from robot_keypoints.core.settings.schema import RenderSettings, Settings, TrainingSettings, WorkerSettings
from robot_keypoints.core.settings.toml_file import save

PATIENCE = 240.0
"""Seconds after which something that must happen is taken to have failed; no test measures time with it."""


def words(process: int) -> list[str]:
    """Its command line; empty where it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8").split("\0")
    except OSError:
        return []


class Watched:
    """A program and what it starts, looked at again and again."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, str(LAUNCHER), *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.roles: set[str] = set()
        self.seen: dict[str, set[Listener]] = {}

    def look(self) -> None:
        """Take note of everything that listens now."""
        for member in family(self.process.pid):
            line = words(member)
            role = next((r for r in ("worker", "scene", "trainer", "serve", "cli") if r in line), "other")
            if role == "trainer" and b"RANK=" in Path(f"/proc/{member}/environ").read_bytes():
                role = "second trainer"
            self.roles.add(role)
            self.seen.setdefault(role, set()).update(listeners(member))

    def until(self, there: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not there():
            assert self.process.poll() is None and time.monotonic() < end, "it never came to that"
            self.look()
            time.sleep(0.05)
        self.look()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture
def watched() -> Iterator[list[Watched]]:
    made: list[Watched] = []
    yield made
    for one in made:
        one.close()


def settings(folder: Path) -> Path:
    plain = Settings(
        render=RenderSettings(width=64, height=48, samples=1),
        workers=WorkerSettings(count=2, adaptive=1),
        training=TrainingSettings(
            epochs=0, processes=2, batch_size=8, width=8, network="light", pretrained=False, epoch_images=64,
            validation_images=16, device="cpu",
        ),
    )  # fmt: skip
    save(plain, folder / "settings.toml")
    return folder / "settings.toml"


def test_a_training_of_two_processes(tmp_path: Path, watched: list[Watched]) -> None:
    run = tmp_path / "run"
    watched.append(training := Watched("cli", "train", settings(tmp_path), "--out", run))
    metrics = run / "metrics.jsonl"
    training.until(lambda: metrics.exists() and metrics.stat().st_size > 0)
    assert {"cli", "trainer", "second trainer", "worker"} <= training.roles
    assert len(training.seen["trainer"]) >= 3, "the trainer's own sockets were not found"
    assert not training.seen["worker"] and not training.seen["cli"]
    assert all(one.loopback for found in training.seen.values() for one in found), training.seen


def test_a_model_server(tmp_path: Path, watched: list[Watched]) -> None:
    ready = tmp_path / "ready.json"
    watched.append(server := Watched("serve", "ur10", "--ready", ready, "--publish", "0"))
    server.until(ready.exists)
    assert len(server.seen["serve"]) == 2
    assert all(one.loopback for found in server.seen.values() for one in found), server.seen


def test_a_rendering_of_a_data_set(tmp_path: Path, watched: list[Watched]) -> None:
    command = ("cli", "render", settings(tmp_path), "--count", 2000, "--format", "coco", "--out", tmp_path / "set")
    watched.append(rendering := Watched(*command))
    rendering.until(lambda: "worker" in rendering.roles and len(rendering.seen["cli"]) >= 3)
    assert not rendering.seen["worker"]
    assert all(one.loopback for found in rendering.seen.values() for one in found), rendering.seen


def test_what_listens_is_found() -> None:
    """These tests would see it."""
    code = (
        "import socket, time\n"
        "held = [socket.create_server(('0.0.0.0', 0)), socket.create_server(('::', 0), family=socket.AF_INET6)]\n"
        "held.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)); held[-1].bind(('0.0.0.0', 0))\n"
        "print(flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = listeners(process.pid)
        assert process.pid in family(os.getpid())
        process.kill()
    assert {one.protocol for one in found} == {"tcp", "tcp6", "udp"} and not any(one.loopback for one in found)
