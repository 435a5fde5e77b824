# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of a training, and its trainer as a process."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import synthetic
from robot_keypoints.core.messages.envelope import encode_request
from robot_keypoints.core.messages.events import Posterior
from robot_keypoints.core.messages.run_sockets import Endpoints, Link
from robot_keypoints.core.processes import programs
from robot_keypoints.core.processes.child_process import Child
from robot_keypoints.core.settings.schema import Settings
from robot_keypoints.core.settings.toml_file import save

ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


class Running:
    """A trainer's process, its two workers, and somebody who listens."""

    def __init__(self, run_folder: Path, *, resume: bool = False) -> None:
        self.run_folder = run_folder
        (run_folder / "logs" / "trainer.json").unlink(missing_ok=True)
        command = [sys.executable, str(programs.LAUNCHER), "trainer", "--run", str(run_folder), "--identity", "test"]
        self.child = Child(
            "trainer", [*command, *(["--resume"] if resume else [])], run_folder / "trainer.log", ENVIRONMENT
        )
        self.workers: list[synthetic.Worker] = []
        self.posteriors: list[Posterior] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.link: Link | None = None
        ready = run_folder / "logs" / "trainer.json"
        self.until(lambda: ready.exists())
        document = json.loads(ready.read_text(encoding="utf-8"))
        assert document["run"] == "test"
        self.endpoints = Endpoints(document["host"], *document["ports"])
        self.link = Link(self.endpoints, "test")
        self.link.subscribe(b"posterior")
        self.link.subscribe(b"event")

    def feed(self) -> None:
        """Let both workers begin."""
        self.workers = [synthetic.Worker(self.run_folder, "test", self.endpoints, i, adaptive=i == 1) for i in range(2)]

    def until(self, condition: Callable[[], object], seconds: float = 120.0) -> None:
        """Listen until something is so."""
        end = time.monotonic() + seconds
        while not condition():
            self.listen()
            words = "\n".join(self.child.last_words(20))
            assert self.child.exit_code is None or condition(), f"the trainer ended:\n{words}"
            assert time.monotonic() < end, f"it never happened:\n{words}"
            time.sleep(0.02)

    def listen(self) -> None:
        for news in self.link.news() if self.link else []:
            if isinstance(news, Posterior):
                self.posteriors.append(news)
            else:
                self.events.append(news)

    def heard(self, kind: str) -> list[dict[str, Any]]:
        """What events of one kind said."""
        return [content for k, content in self.events if k == kind]

    def ask(self, kind: str, run_id: str = "test") -> dict[str, object]:
        assert self.link is not None
        answer = self.link.request([encode_request(kind, run=run_id)], 30.0)
        assert answer is not None
        return answer

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        if self.link:
            self.link.close()
        self.child.kill()


@contextmanager
def running(run_folder: Path, *, resume: bool = False) -> Iterator[Running]:
    process = Running(run_folder, resume=resume)
    try:
        yield process
    finally:
        process.close()


def folder(tmp_path: Path, settings: Settings) -> Path:
    (tmp_path / "logs").mkdir()
    save(settings, tmp_path / "settings.toml")
    return tmp_path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
