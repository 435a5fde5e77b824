# SPDX-License-Identifier: GPL-3.0-or-later
"""The headless worker as a process: its samples, its posterior, its end, and what it says when it can't work."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from robot_keypoints.core.messages.envelope import encode_request, parse
from robot_keypoints.core.messages.events import Posterior
from robot_keypoints.core.messages.run_sockets import Hub, SampleReceiver
from robot_keypoints.core.messages.samples import SampleContract
from robot_keypoints.core.processes.programs import LAUNCHER
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.core.scene.pair import Pair
from robot_keypoints.core.settings import toml_file
from robot_keypoints.core.settings.completion import complete
from robot_keypoints.core.settings.schema import RenderSettings, Settings
from robot_keypoints.core.step_times import BESIDE, SIMULATION

RUN = "0123456789abcdef"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Settings]:
    """A run's folder with its scene."""
    folder = tmp_path_factory.mktemp("run")
    robot = load_urdf(builtin_urdf())
    settings = complete(Settings(render=RenderSettings(width=64, height=48, samples=1)), robot)
    toml_file.save(settings, folder / "settings.toml")
    code, errors = finish([sys.executable, str(LAUNCHER), "scene", "--run", str(folder)])
    assert code == 0, errors
    return folder, settings


def finish(command: list[str]) -> tuple[int, str]:
    """Exit code and error output of a child whose lifeline stays open."""
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    code = child.wait(120)
    assert child.stderr is not None
    return code, child.stderr.read()


class Trainer:
    """Just enough of a trainer: a hub that welcomes workers with a given posterior."""

    def __init__(self, settings: Settings, posterior: Posterior) -> None:
        self.hub = Hub("127.0.0.1", 0)
        size, model = settings.render, settings.scene_model()
        contract = SampleContract.of(RUN, size.width, size.height, len(settings.keypoints), model)
        self.dropped: list[str] = []
        self.receiver = SampleReceiver(self.hub.samples, contract, self.dropped.append)
        self.posterior = posterior
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._welcome)
        self._thread.start()

    def _welcome(self) -> None:
        while not self._stop.is_set():
            if self.hub.control.poll(50):
                identity, empty, request = self.hub.control.recv_multipart()
                assert parse(request, "hello")["run"] == RUN
                tables = {k: list(v) for k, v in self.posterior.concentrations.items()}
                answer = encode_request("welcome", version=self.posterior.version, concentrations=tables, paused=False)
                self.hub.control.send_multipart([identity, empty, answer])

    def command(self, folder: Path, *extra: str) -> list[str]:
        e = self.hub.endpoints
        ports = f"{e.samples},{e.news},{e.control}"
        return [
            sys.executable, str(LAUNCHER), "worker", "--run", str(folder), "--identity", RUN, "--host", e.host,
            "--endpoints", ports, "--index", "0", *extra,
        ]  # fmt: skip

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.hub.close()


@pytest.fixture
def trainer(run: tuple[Path, Settings]) -> Iterator[Trainer]:
    settings = run[1]
    model = settings.scene_model()
    tables = model.concentrations()
    name = "joint/elbow_joint"
    tables[name] = tuple(1000.0 if k == 3 else 1e-3 for k in range(len(tables[name])))
    trainer = Trainer(settings, Posterior(7, tables))
    yield trainer
    trainer.close()


def start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_a_uniform_worker_streams_valid_samples_and_ends_with_its_parent(run, trainer) -> None:
    worker = start(trainer.command(run[0]))
    samples = [trainer.receiver.receive(60) for _ in range(40)]
    assert all(s is not None for s in samples) and not trainer.dropped
    assert [s.sequence for s in samples] == list(range(40))
    assert {s.version for s in samples} == {0}
    assert len({s.latents.bins["joint/elbow_joint"] for s in samples}) > 5
    assert len({s.image.tobytes() for s in samples}) == 40
    assert any((s.visibility > 0).all() and (s.image[..., 3] > 0).any() for s in samples)
    # How long it took comes with each sample, and how long the one before took to send.
    assert all(set(SIMULATION) <= set(s.seconds) and s.seconds["render"] > 0 for s in samples)
    assert not set(BESIDE) & set(samples[0].seconds) and all(set(BESIDE) <= set(s.seconds) for s in samples[1:])
    assert worker.stdin is not None
    worker.stdin.close()
    assert worker.wait(5) == 0


def test_an_adapting_worker_follows_the_posterior(run, trainer) -> None:
    worker = start(trainer.command(run[0], "--adaptive"))
    first = [trainer.receiver.receive(60) for _ in range(15)]
    assert {s.version for s in first} == {7}
    assert {s.latents.bins["joint/elbow_joint"] for s in first} == {3}
    tables = dict(trainer.posterior.concentrations)
    tables["joint/elbow_joint"] = tables["joint/elbow_joint"][::-1]
    trainer.hub.news.send_multipart([b"posterior", Posterior(8, tables).encode("another run")])
    same = np.full((4, 4), 1e-9) + (4.0 - 4e-9) * np.eye(4)
    pair = Pair("joint/shoulder_pan_joint", "joint/wrist_1_joint", tuple(tuple(row) for row in same.tolist()))
    trainer.hub.news.send_multipart([b"posterior", Posterior(8, tables, pairs=(pair,)).encode(RUN)])
    later = [trainer.receiver.receive(60) for _ in range(40)]
    worker.kill()
    assert later[-1].version == 8
    assert later[-1].latents.bins["joint/elbow_joint"] == len(tables["joint/elbow_joint"]) - 1 - 3
    following = [s.latents.bins for s in later if s.version == 8]
    assert all(b[pair.first] // 4 == b[pair.second] // 4 for b in following)


def test_a_killed_parent_takes_the_worker_along(run, trainer) -> None:
    """The parent is killed with SIGKILL (TerminateProcess on Windows); the worker must notice by itself."""
    code = (
        "import subprocess, sys, time\n"
        "worker = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\n"
        "print(worker.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, *trainer.command(run[0])], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    assert trainer.receiver.receive(60) is not None
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    heard = time.monotonic()
    while time.monotonic() < deadline:
        if trainer.receiver.receive(0.2) is not None:
            heard = time.monotonic()
    assert deadline - heard > 1, "the worker still sends five seconds after its parent was killed"


def test_mistakes_are_one_sentence(run, tmp_path) -> None:
    folder, settings = run
    no_scene = tmp_path / "settings.toml"
    toml_file.save(settings, no_scene)
    broken = replace(settings, keypoints=(replace(settings.keypoints[0], frame="nowhere"),), skeleton=())
    (tmp_path / "b").mkdir()
    toml_file.save(broken, tmp_path / "b" / "settings.toml")
    (tmp_path / "b" / "scene.blend").write_bytes((folder / "scene.blend").read_bytes())
    for place, word in ((tmp_path, "scene.blend"), (tmp_path / "b", "nowhere")):
        command = [
            sys.executable, str(LAUNCHER), "worker", "--run", str(place), "--identity", RUN, "--host", "127.0.0.1",
             "--endpoints", "1,2,3", "--index", "0",
        ]  # fmt: skip
        code, errors = finish(command)
        assert code == 2
        assert word in errors and "Traceback" not in errors
        assert len([line for line in errors.splitlines() if line.startswith("error:")]) == 1


def test_hidden_values_repeat_with_the_seed_but_not_after_a_restart(run, trainer) -> None:
    def first_values(*extra: str) -> np.ndarray:
        worker = start(trainer.command(run[0], *extra))
        sample = trainer.receiver.receive(60)
        while sample is not None and sample.sequence != 0:
            sample = trainer.receiver.receive(60)
        worker.kill()
        worker.wait()
        while trainer.receiver.receive(0.3) is not None:
            pass
        assert sample is not None
        return np.array(list(sample.latents.values.values()))

    base = first_values()
    np.testing.assert_array_equal(base, first_values())
    assert not np.allclose(base, first_values("--restarts", "1"))
