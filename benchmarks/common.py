# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks share."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from robot_keypoints.core import run_folder
from robot_keypoints.core.messages.run_sockets import Hub, SampleReceiver
from robot_keypoints.core.messages.samples import SampleContract
from robot_keypoints.core.processes.child_process import Child
from robot_keypoints.core.processes.programs import Programs
from robot_keypoints.core.settings import toml_file
from robot_keypoints.core.settings.completion import complete
from robot_keypoints.core.settings.schema import Settings
from robot_keypoints.trainer.commands import demo


def scratch() -> Path:
    """A new empty folder."""
    return Path(tempfile.mkdtemp(prefix="robot_keypoints_benchmark_"))


def ur10_settings(preset: str = "fast") -> Settings:
    """The demo's settings: the UR10 with its visual meshes under wide priors; the rest varies as ``preset`` says."""
    settings, robot = demo.settings(demo.MINUTES)
    if preset == settings.scene.preset:
        return settings
    joints = tuple(v for v in settings.variables if v.name.startswith("joint/"))
    return complete(replace(settings, variables=joints, scene=replace(settings.scene, preset=preset)), robot)


@contextmanager
def two_workers(folder: Path, settings: Settings, run_id: str) -> Iterator[tuple[SampleReceiver, list[Child]]]:
    """Two workers of one thread each, started as a run starts them, and what receives and checks their samples.

    A sample that has to be dropped ends the program.

    Args:
        folder: where the scene is made, and logs are written.
        run_id: what the workers call themselves part of.
    """
    from robot_keypoints.addon.worker import scene_builder

    toml_file.save(settings, folder / run_folder.SETTINGS)
    (folder / "logs").mkdir()
    scene_builder.build_scene(settings, folder)
    render = settings.render
    hub = Hub("127.0.0.1", 0)
    e = hub.endpoints
    contract = SampleContract.of(run_id, render.width, render.height, len(settings.keypoints), settings.scene_model())
    receiver = SampleReceiver(hub.samples, contract, lambda reason: sys.exit(f"a sample was dropped: {reason}"))
    command = Programs.with_python(sys.executable).worker(1)
    workers = [
        Child(f"worker {i}", [
            *command, "worker", "--run", str(folder), "--identity", run_id, "--host", e.host, "--endpoints",
            f"{e.samples},{e.news},{e.control}", "--index", str(i),
        ], folder / "logs" / f"{i}.log")
        for i in range(2)
    ]  # fmt: skip
    try:
        yield receiver, workers
    finally:
        for worker in workers:
            worker.kill()
        hub.close()
