# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of models that come along tells what lies there, and nothing else."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from robot_keypoints.core import builtin_models
from robot_keypoints.core.messages.model_document import read_header
from robot_keypoints.trainer.networks import model_file

MODELS = builtin_models.models()
LARGEST = 5_000_000
"""Bytes of a model; the extension's zip carries them all."""


def test_there_are_models_and_every_file_of_the_folder_is_one_of_them() -> None:
    assert {"ur10", "ur3e", "panda"} <= set(MODELS)
    listed = {p for m in MODELS.values() for p in (m.file, m.page, m.picture, m.file.with_suffix(".toml"))}
    assert listed == set(builtin_models.FOLDER.iterdir()), "a file of no model, or one that is missing"


@pytest.mark.parametrize("name", MODELS)
def test_a_card_tells_what_the_model_is(name: str) -> None:
    model = MODELS[name]
    assert hashlib.sha256(model.file.read_bytes()).hexdigest() == model.sha256
    header = read_header(model.file)
    assert header.checksum is not None, "damage would not be told"
    _, info = model_file.load_model(model.file, torch.device("cpu"))
    assert info.keypoints == model.keypoints and info.robot is not None and info.robot["name"] == model.robot
    assert model.file.stat().st_size < LARGEST
    assert model.errors and all(0.0 < e.median <= e.mean < 100.0 for e in model.errors)
    assert "BSD" in model.source and model.source.split(" (")[0]


@pytest.mark.parametrize("name", MODELS)
def test_page_and_picture(name: str) -> None:
    model = MODELS[name]
    page = model.page.read_text(encoding="utf-8")
    assert (
        page.startswith(f"# {model.file.name}\n") and "/work" not in page and "/home" not in page and "/tmp" not in page
    )
    for errors in model.errors:
        assert f"{errors.mean:.2f}" in page and f"{errors.median:.2f}" in page, f"the page has other figures: {errors}"
    with Image.open(model.picture) as picture:
        assert picture.size == (640, 480)
    assert model.picture.stat().st_size < 75_000


def test_adding_a_model_is_adding_its_files(tmp_path: Path) -> None:
    ur10 = MODELS["ur10"]
    text = ur10.file.with_suffix(".toml").read_text(encoding="utf-8")
    (tmp_path / "panda.toml").write_text(text.replace('"UR10"', '"Panda"'), encoding="utf-8")
    assert builtin_models.models.__wrapped__(tmp_path) == {}, "what is not there is not listed"
    shutil.copy(ur10.file, tmp_path / "panda.safetensors")
    (panda,) = builtin_models.models.__wrapped__(tmp_path).values()
    assert (panda.name, panda.label, panda.file) == ("panda", "Panda", tmp_path / "panda.safetensors")


def test_a_word_is_a_file_or_the_name_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert builtin_models.resolve("ur3e") == builtin_models.resolve("UR3e") == MODELS["ur3e"].file
    (tmp_path / "ur3e").mkdir()
    assert builtin_models.resolve("ur3e") == MODELS["ur3e"].file, "a folder is no model"
    (tmp_path / "ur10").write_bytes(b"a file of the user's")
    assert builtin_models.resolve("ur10") == Path("ur10")
    assert builtin_models.resolve("no/ur10") == Path("no/ur10") and builtin_models.resolve("ur5") == Path("ur5")
    assert builtin_models.names().endswith(" or ur3e") and "ur10" in builtin_models.names()
