# SPDX-License-Identifier: GPL-3.0-or-later
"""``robot-keypoints experiment feedback`` from a recording to the table and the figure, small."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.settings import toml_file
from robot_keypoints.trainer.commands.main import main
from robot_keypoints.trainer.datasets import recording as recordings
from robot_keypoints.trainer.datasets.recording import Recording
from robot_keypoints.trainer.experiments import feedback_experiment, pool_making, results
from robot_keypoints.trainer.experiments.paired_training import PairedTraining
from robot_keypoints.trainer.experiments.pool import Pool
from robot_keypoints.trainer.experiments.settings import FeedbackExperiment

COUNT = 96
SMALL = ("--pairs", "2", "--images", "64", "--every", "16", "--batch", "8", "--device", "cpu")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording's folder."""
    folder, settings, rng = tmp_path_factory.mktemp("recording"), synthetic.settings(), np.random.default_rng(5)
    model = settings.scene_model()
    samples = [synthetic.sample(model, rng, sequence=i) for i in range(COUNT)]
    names = [v.name for v in settings.variables]
    arrays = {
        "images": np.stack([s.image for s in samples]), "keypoints": np.stack([s.keypoints for s in samples]),
        "visibility": np.stack([s.visibility for s in samples]),
        "values": np.array([[s.latents.values[n] for n in names] for s in samples]),
    }  # fmt: skip
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    toml_file.save(settings, folder / recordings.SETTINGS)
    (folder / recordings.COUNT).write_text(str(COUNT), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def pool(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("experiment") / "pool"
    pool_making.make(Recording.load(recording), 1, folder)
    return Pool.load(folder)


@pytest.mark.parametrize("rule", ["evidence", "selection", "renderings"])
def test_a_pair_begins_alike_and_goes_on_alike_until_the_first_update(pool: Pool, rule: str) -> None:
    torch.set_num_threads(1)
    experiment = FeedbackExperiment(pairs=2, images=96, every=32, batch=8, rule=rule, exponent=5.0, strength=5.0)
    training = PairedTraining(pool, experiment, torch.device("cpu"))
    weights = [training.begin(seed).network.state_dict() for seed in (7, 7, 8)]
    first = next(iter(weights[0]))
    assert all(torch.equal(a, b) for a, b in zip(weights[0].values(), weights[1].values(), strict=True))
    assert not torch.equal(weights[0][first], weights[2][first])
    with_, without = (training.train(7, feedback=f) for f in (True, False))
    assert with_.images == without.images == [32, 64, 96]
    assert with_.mean[0] == without.mean[0]
    assert len(with_.effective_share) == 2 and without.effective_share == []
    assert set(with_.priors) == {"joint/lower", "joint/upper"} and without.priors == {}
    if rule != "evidence":  # of so few images it moves nothing
        assert with_.mean[2] != without.mean[2] and with_.effective_share[1] < 1
    again = training.train(7, feedback=True)
    assert again == with_


def test_the_command_writes_a_table_and_a_figure_and_goes_on_where_it_was(
    recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "experiment"
    line = ["experiment", "feedback", str(recording), "--out", str(out), *SMALL, "--jobs", "2"]
    assert main(line) == 0
    shown = capfd.readouterr()
    assert "2 pairs; errors in percent" in shown.out and "the least error that both reach" in shown.out
    assert shown.out == (out / results.TABLE).read_text(encoding="utf-8")
    assert (out / "feedback.png").read_bytes().startswith(b"\x89PNG")
    assert b"</svg>" in (out / "feedback.svg").read_bytes()
    document = json.loads((out / results.SUMMARY).read_text(encoding="utf-8"))
    assert document["pairs"] == 2 and len(document["difference"]) == 4 and len(document["reached"]) >= 2

    trainings = sorted((out / results.COURSES).iterdir())
    assert len(trainings) == 4
    before = {path: path.stat().st_mtime_ns for path in trainings}
    trainings[1].unlink()
    (out / "feedback.png").unlink()
    assert main(["experiment", "feedback", str(out), "--device", "cpu", "--json"]) == 0
    shown = capfd.readouterr()
    assert "1 of 4 trainings to make" in shown.err
    assert json.loads(shown.out) == document, "the training that was made again is the same"
    assert (out / "feedback.png").exists()
    after = {path: path.stat().st_mtime_ns for path in trainings}
    assert [path.name for path in trainings if before[path] != after[path]] == [trainings[1].name]

    other = tmp_path / "other"
    assert main(["experiment", "feedback", str(out), "--out", str(other), *SMALL, "--rule", "selection"]) == 0
    shown = capfd.readouterr()
    assert "taking the pool of" in shown.err and "taking 2 trainings without feedback of" in shown.err
    assert "2 of 4 trainings to make" in shown.err
    for path in trainings:
        if "without" in path.name:
            assert (other / results.COURSES / path.name).read_bytes() == path.read_bytes()
    narrow = tmp_path / "narrow"
    assert main(["experiment", "feedback", str(out), "--out", str(narrow), *SMALL, "--width", "4"]) == 0
    assert "taking 0 trainings" in capfd.readouterr().err
    images = other / "pool" / "images.npy"
    assert images.read_bytes() == (out / "pool" / "images.npy").read_bytes()

    assert main([*line, "--exponent", "2"]) == 2
    assert "--exponent was 3.0 when" in capfd.readouterr().err


def test_what_can_not_be_done_is_said(recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def refused(*words: str) -> str:
        assert main(["experiment", "feedback", *words]) == 2
        return capfd.readouterr().err

    assert "There is no experiment in" in refused(str(tmp_path))
    assert "--pairs is 1: it must be between" in refused(str(recording), "--out", str(tmp_path / "a"), "--pairs", "1")
    assert "--images is 100: it must be twice" in refused(
        str(recording), "--out", str(tmp_path / "a"), "--images", "100"
    )
    assert "--jobs is 0" in refused(str(recording), "--out", str(tmp_path / "a"), "--jobs", "0")
    assert not (tmp_path / "a").exists()
    assert "give a recording's folder" in refused(str(tmp_path), "--out", str(tmp_path / "b"))
    assert "leaves too little" in refused(str(recording), "--out", str(tmp_path / "c"), "--shrink", "4")


def test_a_damaged_training_is_named(recording: Path, pool: Pool, tmp_path: Path) -> None:
    experiment = FeedbackExperiment(pairs=2, images=64, every=32, batch=8)
    (tmp_path / results.COURSES).mkdir()
    (tmp_path / results.COURSES / "000001-with.json").write_text('{"seed": 1}', encoding="utf-8")
    assert len(results.missing(tmp_path, experiment)) == 3
    with pytest.raises(UserError, match=r"000001-with\.json is damaged .*: remove it"):
        results.load(tmp_path / results.COURSES / "000001-with.json")
    with pytest.raises(UserError, match=r"Only 0 pairs .* complete"):
        results.comparison(tmp_path, experiment)
    with pytest.raises(UserError, match=r"pool\.json"):
        feedback_experiment.run_share(tmp_path, experiment, "cpu", [0])


def test_processes_share_what_is_missing(tmp_path: Path) -> None:
    experiment = FeedbackExperiment(pairs=3, images=64, every=32, batch=8)
    assert feedback_experiment.shares_of_missing(tmp_path, experiment, 4) == [[0, 4], [1, 5], [2], [3]]
    (tmp_path / results.COURSES).mkdir()
    for seed in (1, 2, 3):
        results.path_of(tmp_path, seed, feedback=False).touch()
    assert feedback_experiment.shares_of_missing(tmp_path, experiment, 2) == [[1, 5], [3]]
    assert feedback_experiment.shares_of_missing(tmp_path, experiment, 8) == [[1], [3], [5]]
