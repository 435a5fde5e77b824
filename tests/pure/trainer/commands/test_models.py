# SPDX-License-Identifier: GPL-3.0-or-later
"""Built-in models on the command line: listed, named in place of a file, and missed in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from robot_keypoints.core import builtin_models
from robot_keypoints.trainer.commands import main as cli

MODELS = builtin_models.models()


def test_they_are_listed_with_their_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    text = capsys.readouterr().out
    for model in MODELS.values():
        assert f"{model.name} " in text and str(model.page) in text and str(model.errors[0]) in text
    assert cli.main(["models", "--json"]) == 0
    told = {m["name"]: m for m in json.loads(capsys.readouterr().out)["models"]}
    assert set(told) == set(MODELS)
    assert (
        told["ur3e"]["keypoints"] == list(MODELS["ur3e"].keypoints) and told["ur3e"]["sha256"] == MODELS["ur3e"].sha256
    )


@pytest.mark.parametrize("words", [["--model", "ur10"], ["--model=ur10"], ["UR10"]])
@pytest.mark.parametrize("last", [False, True])
def test_predict_takes_a_name(words: list[str], last: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """The example picture of each, by either way of naming a model; the option may come last."""
    model = MODELS["ur10"]
    picture = [str(model.picture), "--json"]
    option = words[0].startswith("--")
    line = ["predict", *picture, *words] if last and option else ["predict", *words, *picture]
    assert cli.main(line) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == str(model.file)
    (image,) = told["images"]
    assert [k["name"] for k in image["keypoints"]] == list(model.keypoints)
    assert min(k["confidence"] for k in image["keypoints"]) > 0.5, "the example shows the robot to its own model"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["predict", "ur5", "a.png"], "There is no model file at ur5, and no built-in model of that name"),
        (["predict", "--model", "ur5", "a.png"], "There is no model file at ur5, and no built-in model of that name"),
        (["serve", "--model", "ur5"], "There is no model file at ur5, and no built-in model of that name"),
        (["export", "ur5", "--half", "b.safetensors"], "There is no model file at ur5, and no built-in model"),
    ],
)
def test_a_name_that_is_neither_is_missed_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: list[str], words: str
) -> None:
    from robot_keypoints.trainer.inference import server

    monkeypatch.setattr(server, "end_with_parent", lambda _: None)  # it would read the tests' own stdin
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(MODELS["ur10"].picture.read_bytes())
    assert cli.main(line) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: ") and words in said and all(name in said for name in MODELS)


def test_evaluate_takes_a_name_beside_other_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--data", str(tmp_path / "none"), "ur3e"], ["--data", str(tmp_path / "none"), "--model", "ur3e"]):
        assert cli.main(["evaluate", *words]) == 2
        assert str(tmp_path / "none") in capsys.readouterr().err, "the folder is missed, not the model"
