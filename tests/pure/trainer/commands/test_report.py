# SPDX-License-Identifier: GPL-3.0-or-later
"""``report``: the page of a finished run, of one without a summary, and of one whose files are damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import synthetic
from robot_keypoints.trainer.commands import main as cli
from trainings import run_whole


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs, with posteriors."""
    folder = tmp_path_factory.mktemp("runs") / "arm"
    settings = synthetic.settings(width=8, precision="float32", epochs=3, epoch_images=32)
    run_whole(folder, settings, ahead=False)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "arm"))


def test_a_finished_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(run)]) == 0
    said = capsys.readouterr()
    text = (run / "report.html").read_text(encoding="utf-8")
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert f"{summary['mean_error_percent']:.2f} %" in text
    assert text.count("data:image/jpeg;base64,") == 12  # the hardest images
    assert text.count("data:image/svg+xml;base64,") == 2  # curves, and priors over time
    assert "After 3 updates of the feedback" in text and "joint/lower" in text
    assert "There is no summary" not in text and "training.epoch_images" in text
    for part in ("forward", "backward", "optimiser"):
        numbers = summary["timings"]["train_step"][part]
        assert numbers["measured"] > 0 and f"{numbers['mean_ms']:,.2f}" in text and part in said.out
    assert summary["timings"]["train_step"]["feedback"]["measured"] == 3


def test_a_run_without_a_summary_tells_the_errors_on_the_validation_images(run: Path, tmp_path: Path) -> None:
    (run / "summary.json").unlink()
    page = tmp_path / "page.html"
    assert cli.main(["report", str(run), "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    last = json.loads((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert "There is no summary: the run is still going on, or was broken off" in text
    assert f"{last['mean_error_percent']:.2f} %" in text and "at the last validation" in text


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def nonsense(path: Path) -> None:
    path.write_text('{"step": 1e999, "concentrations": [[[]]], "simulation": 3, "steps": "<script>"}\n', "utf-8")


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(("name", "damage", "sentence"), [
    ("metrics.jsonl", cut, "metrics.jsonl is cut off or damaged after 2 lines"),
    ("metrics.jsonl", nonsense, "metrics.jsonl is cut off or damaged after 0 lines"),
    ("metrics.jsonl", remove, "There was no validation yet."),
    ("priors.jsonl", cut, "priors.jsonl is cut off or damaged after 3 lines"),
    ("priors.jsonl", nonsense, "priors.jsonl is cut off or damaged after 0 lines"),
    ("priors.jsonl", remove, "The priors have not moved yet."),
    ("timings.json", cut, "timings.json is not valid JSON"),
    ("timings.json", nonsense, "timings.json is damaged"),
    ("timings.json", remove, "Times are written down at each validation: there are none yet."),
    ("summary.json", cut, "summary.json is not valid JSON"),
    ("summary.json", nonsense, "summary.json is damaged"),
    ("model.safetensors", cut, "The hardest images can&#39;t be shown"),
    ("model.safetensors", remove, "The run has no model yet"),
    ("checkpoints/validation.npz", cut, "can&#39;t be read as a set of samples"),
    ("checkpoints/validation.npz", remove, "The run has no validation images yet"),
])  # fmt: skip
def test_what_is_missing_or_damaged_is_said_and_the_rest_is_shown(
    run: Path, name: str, damage: Callable[[Path], None], sentence: str
) -> None:
    damage(run / name)
    assert cli.main(["report", str(run)]) == 0
    text = (run / "report.html").read_text(encoding="utf-8")
    assert sentence in text and "<script>" not in text
    assert "training.epoch_images" in text  # the settings are there in any case


def test_a_run_that_has_only_just_begun(run: Path, tmp_path: Path) -> None:
    young = tmp_path / "young"
    young.mkdir()
    shutil.copy(run / "settings.toml", young)
    assert cli.main(["report", str(young)]) == 0
    text = (young / "report.html").read_text(encoding="utf-8")
    assert "There was no validation yet." in text and "The run has no model yet" in text


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["{}/nowhere"], "There is no run in"),
    (["{}/arm", "--out", "{}/page.txt"], "does not end with .html"),
    (["{}/arm", "--out", "{}/none/page.html"], "There is no folder"),
])  # fmt: skip
def test_mistakes(
    run: Path, tmp_path: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", *(a.format(tmp_path) for a in arguments)]) == 2
    assert sentence in capsys.readouterr().err


def test_what_explains_the_losses_is_shown(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "priors.jsonl").read_text(encoding="utf-8").splitlines()]
    lines[-1]["evidence"] = {"explained": {"joint/upper": 0.125}}
    (run / "priors.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert cli.main(["report", str(run)]) == 0
    assert "12.5 %" in (run / "report.html").read_text(encoding="utf-8")
