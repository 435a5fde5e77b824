# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings: rendered from settings by several workers, gone on with, packed and read."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fake_blender
import numpy as np
import pytest
import synthetic
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.processes.programs import Programs
from robot_keypoints.trainer.datasets import recording_maker
from robot_keypoints.trainer.datasets.recording import Recording
from robot_keypoints.trainer.datasets.render_workers import StoppedError

COUNT = 20


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_blender.make_importable(monkeypatch)


def record(folder: Path, count: int = COUNT, interrupted: Callable[[], bool] = lambda: False) -> None:
    settings = synthetic.settings()
    settings = replace(settings, workers=replace(settings.workers, adaptive=0))
    recording_maker.record(
        folder, settings, Programs.with_python(sys.executable, fake_blender.COMMAND), count, interrupted, print
    )


def test_a_recording_holds_the_draws_that_were_asked_for_each_once(tmp_path: Path) -> None:
    record(tmp_path)
    found, model = Recording.load(tmp_path), synthetic.settings().scene_model()
    draws = np.load(tmp_path / "draws.npy")
    assert sorted(draws) == list(range(COUNT)) and len(found.images) == COUNT
    for place, number in enumerate(draws):
        expected = synthetic.sample(model, np.random.default_rng([0, number]))
        assert np.array_equal(found.images[place], expected.image)
        assert np.allclose(found.keypoints[place], expected.keypoints)
        assert np.allclose(found.values[place], [expected.latents.values[v.name] for v in model.variables])
        assert found.latents([place])[0].values == pytest.approx(expected.latents.values)


def test_what_was_stopped_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = iter([False] * 12)
    with pytest.raises(StoppedError):
        record(tmp_path, interrupted=lambda: next(asked, True))
    record(tmp_path)
    assert sorted(np.load(tmp_path / "draws.npy")) == list(range(COUNT))
    capsys.readouterr()
    record(tmp_path)
    assert capsys.readouterr().out == "", "nothing was left to do"
    with pytest.raises(UserError, match="give the same number of renderings"):
        record(tmp_path, COUNT + 1)


def test_a_packed_recording_has_the_same_labels_and_alpha(tmp_path: Path) -> None:
    record(tmp_path / "whole", 6)
    whole = Recording.load(tmp_path / "whole")
    whole.pack(tmp_path / "packed.zip", 80)
    packed = Recording.load(tmp_path / "packed.zip")
    assert packed.settings == whole.settings
    for name in ("keypoints", "visibility", "values"):
        assert np.array_equal(getattr(packed, name), getattr(whole, name))
    assert np.array_equal(packed.images[..., 3], whole.images[..., 3])
    solid = whole.images[..., 3] == 255
    assert np.abs(packed.images[solid].astype(int) - whole.images[solid]).mean() < 20


def test_what_is_no_recording_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no archive", encoding="utf-8")
    with pytest.raises(UserError, match=r"text\.zip is no packed recording"):
        Recording.load(tmp_path / "text.zip")
    with pytest.raises(UserError, match="give a recording's folder"):
        Recording.load(tmp_path)
    (tmp_path / "count.json").write_text("3", encoding="utf-8")
    with pytest.raises(UserError, match="is damaged"):
        Recording.load(tmp_path)
