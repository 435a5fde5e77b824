# SPDX-License-Identifier: GPL-3.0-or-later
"""Sums of times: what they say, and what is refused of a file that somebody else wrote."""

from __future__ import annotations

import json
import statistics
from typing import Any

import pytest
from robot_keypoints.core.step_times import RunTimes, StepTimes, Stopwatch


def test_mean_and_deviation_are_those_of_the_measurements() -> None:
    draws, renders = [0.010, 0.013, 0.011, 0.018], [0.30, 0.25, 0.41, 0.33]
    first, second = StepTimes(), StepTimes()
    for i, (draw, render) in enumerate(zip(draws, renders, strict=True)):
        (first if i < 2 else second).add({"draw": draw, "render": render, "send": 1.0}, ("draw", "render"))
    found = (first + second).to_dict()
    wholes = [d + r for d, r in zip(draws, renders, strict=True)]
    for part, values in (("draw", draws), ("render", renders), ("step", wholes)):
        assert found[part]["measured"] == 4
        assert found[part]["mean_ms"] == pytest.approx(1000 * statistics.mean(values), abs=1e-3)
        assert found[part]["standard_deviation_ms"] == pytest.approx(1000 * statistics.stdev(values), abs=1e-3)


def test_a_step_of_which_a_part_is_missing_has_no_whole() -> None:
    times = StepTimes()
    times.add({"draw": 1.0}, ("draw", "render"))
    assert set(times.parts) == {"draw"}


def test_a_stopwatch_adds_up_and_one_that_does_not_run_measures_nothing() -> None:
    waits: list[int] = []
    watch = Stopwatch(lambda: waits.append(1))
    for part in ("forward", "backward", "forward"):
        watch.lap(part)
    assert set(watch.seconds) == {"forward", "backward"} and len(waits) == 4
    idle = Stopwatch(lambda: waits.append(1), running=False)
    idle.lap("forward")
    assert not idle.seconds and len(waits) == 4


def test_the_sums_are_read_again() -> None:
    times = RunTimes(stall_fraction=0.25)
    times.simulation.add({"render": 0.5, "wait": 0.0})
    times.training.add({"forward": 0.1}, ("forward",))
    assert RunTimes.read(json.loads(json.dumps(times.sums()))) == times


@pytest.mark.parametrize("value", [
    None, [], {}, {"stall_fraction": 2.0, "simulation": {}, "training": {}},
    *({"stall_fraction": 0.0, "simulation": {"render": sums}, "training": {}} for sums in (
        None, 3, [1, 2.0], [1, 2.0, "3"], [True, 1.0, 1.0], [0, 0.0, 0.0], [1.5, 1.0, 1.0], [1, -1.0, 1.0],
        [1, float("nan"), 1.0], [1, 1e300, 1.0], [10**400, 1.0, 1.0],
    )),
])  # fmt: skip
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="the"):
        RunTimes.read(value)


def test_parts_that_nobody_knows_are_left_out() -> None:
    read = StepTimes.read({"render": [2, 1.0, 0.5], "<script>": [1, 1.0, 1.0]})
    assert set(read.parts) == {"render"}
