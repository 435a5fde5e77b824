# SPDX-License-Identifier: GPL-3.0-or-later
"""Words go to pipes that close, terminals of any alphabet and full disks: no traceback, and nothing half."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import synthetic
from PIL import Image
from robot_keypoints.core.processes.programs import LAUNCHER
from robot_keypoints.trainer.commands import main as cli
from robot_keypoints.trainer.networks import factory, model_file
from robot_keypoints.trainer.networks.model_file import ModelInfo


@pytest.fixture
def model(tmp_path: Path) -> Path:
    config = factory.NetworkConfig("light", 3, 1.0, width=8)
    info = ModelInfo(config, 64, 48, synthetic.NAMES, (("foot", "knee"), ("knee", "hand")))
    path = tmp_path / "model.safetensors"
    model_file.save_model(path, factory.build(config).state_dict(), info)
    for name in ("a", "b", "c"):
        Image.new("RGB", (70, 50), (90, 90, 90)).save(tmp_path / f"{name}.jpg")
    return path


def start(words: list[Any], stdout: Any, **variables: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **variables}
    command = [sys.executable, str(LAUNCHER), "cli", *map(str, words)]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, env=environment)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_enough_ends_the_command_quietly(tmp_path: Path, model: Path, unbuffered: str) -> None:
    files = [tmp_path / "a.jpg"] * 8
    process = start(["predict", model, *files], subprocess.PIPE, PYTHONUNBUFFERED=unbuffered)
    assert process.stdout is not None and process.stderr is not None
    assert b"a.jpg" in process.stdout.readline()
    process.stdout.close()
    assert (process.stderr.read(), process.wait(60)) == (b"", 141)


@pytest.mark.parametrize("words", [["predict", "{0}/model.safetensors", "{0}/a.jpg"], ["doctor"]])
def test_an_output_without_room_is_one_sentence(tmp_path: Path, model: Path, words: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        process = start([w.format(tmp_path) for w in words], full)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    (line,) = said.decode().splitlines()
    assert line.startswith("error: The output can't be written (No space left on device)")


@pytest.mark.parametrize("encoding", ["ascii:strict", "utf-8:strict", "latin-1"])
def test_any_name_can_be_told_in_any_alphabet(tmp_path: Path, model: Path, encoding: str) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    name = os.fsencode(folder) + b"/caf\xe9 \x1b[31m.jpg"
    with open(name, "wb") as stream:
        stream.write((tmp_path / "a.jpg").read_bytes())
    for more in ([], ["--json", "--out", tmp_path / "lines.jsonl"]):
        process = start(["predict", model, folder, *more], subprocess.PIPE, PYTHONIOENCODING=encoding)
        printed, said = process.communicate(timeout=120)
        assert (process.returncode, said) == (0, b"") and b"\x1b" not in printed
        assert rb"caf\udce9" in printed and printed.isascii() == (encoding == "ascii:strict" or bool(more))
    # Python's own escapes: the name's bytes come back.
    assert os.fsencode(json.loads(printed)["images"][0]["image"]) == name
    (line,) = (tmp_path / "lines.jsonl").read_text(encoding="utf-8").splitlines()
    assert os.fsencode(json.loads(line)["image"]) == name


def test_places_that_may_not_be_used_are_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied", "/some/place")

    monkeypatch.setattr(cli, "_doctor", denied)
    assert cli.main(["doctor"]) == 2
    assert capsys.readouterr().err == "error: /some/place can't be used (Permission denied): choose another place\n"
