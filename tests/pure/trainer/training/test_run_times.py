# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run's steps take is measured without slowing a graphics card, and kept over sittings."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from robot_keypoints.core.settings.schema import TrainingSettings
from robot_keypoints.core.step_times import SIMULATION, TRAINING, StepTimes
from robot_keypoints.trainer.networks import factory
from robot_keypoints.trainer.networks.device import Precision
from robot_keypoints.trainer.training.engine import MEASURED_EVERY, Engine
from robot_keypoints.trainer.training.run_times import TimeRecord


def test_a_graphics_card_is_waited_for_in_few_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[object] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    net = factory.build(factory.NetworkConfig("light", 3, 1.0, width=8))
    engine = Engine(net, TrainingSettings(pretrained=False), Precision(torch.device("cpu"), False, 1e-4))
    engine.precision = Precision(torch.device("cuda"), False, 1e-4)
    measured = []
    for engine.steps in range(2 * MEASURED_EVERY):
        watch = engine._stopwatch()
        for part in TRAINING:
            watch.lap(part)
        if watch.seconds:
            measured.append(engine.steps)
    assert measured == [0, MEASURED_EVERY]
    assert len(waits) == 2 * (1 + len(TRAINING)), "once at the beginning, and after each part"


def sitting(folder: Path, renders: list[float], *, resumed: bool) -> TimeRecord:
    """A record of some samples and one step."""
    stream, engine = StepTimes(), StepTimes()
    for seconds in renders:
        stream.add({"draw": 0.0, "pose": 0.0, "label": 0.0, "render": seconds}, SIMULATION)
    engine.add({"forward": 0.1, "backward": 0.2, "optimiser": 0.3}, TRAINING)
    made: Any = SimpleNamespace(times=lambda: stream)
    return TimeRecord(folder, made, SimpleNamespace(times=engine), resumed=resumed)  # type: ignore[arg-type]


def test_times_of_earlier_sittings_count(tmp_path: Path) -> None:
    first = sitting(tmp_path, [1.0, 3.0], resumed=False)
    with first.measure("feedback"):
        pass
    first.write(0.5)
    first.write(0.5)  # as at each validation: nothing is counted twice
    second = sitting(tmp_path, [5.0], resumed=True).write(0.25)
    found = second.to_dict()
    assert found["simulation_step"]["render"]["mean_ms"] == 3000 and second.simulation.parts["render"].count == 3
    assert found["train_step"]["step"]["mean_ms"] == pytest.approx(600) and second.stall_fraction == 0.25
    assert second.training.parts["step"].count == 2 and second.training.parts["feedback"].count == 1
    assert sitting(tmp_path, [7.0], resumed=False).now(0.0).simulation.parts["render"].count == 1


def test_a_damaged_record_begins_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "timings.json").write_text(json.dumps({"simulation": 3, "training": {}, "stall_fraction": 0}), "utf-8")
    assert sitting(tmp_path, [1.0], resumed=True).now(0.0).simulation.parts["render"].count == 1
    assert "begin anew" in capsys.readouterr().err
