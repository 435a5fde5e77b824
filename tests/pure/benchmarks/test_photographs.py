# SPDX-License-Identifier: GPL-3.0-or-later
"""``benchmarks/photographs.py``: which robot is meant, what may not be learned from, and what the table says."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import synthetic
from robot_keypoints.core.errors import UserError

FILE = Path(__file__).resolve().parents[3] / "benchmarks" / "photographs.py"


@pytest.fixture(scope="module")
def photographs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("photographs", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def put(path: Path, text: str = "<robot/>") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_robot_lies_with_the_photographs_or_the_readme_names_it(photographs: ModuleType, tmp_path: Path) -> None:
    data, robot = tmp_path / "photographs" / "arm", put(tmp_path / "robots" / "arm" / "arm.urdf")
    put(data / "README.md", "See https://example.org/arm (MIT).\nThe robot is in `../../robots/arm`; images/a.jpg")
    assert photographs.find_robot(data) == robot.resolve()
    annotations = put(data / "annotations.json", "{}")
    assert photographs.find_robot(annotations) == robot.resolve()
    own = put(data / "model" / "own.urdf")
    assert photographs.find_robot(data) == own.resolve()
    other = put(data / "other.urdf")
    with pytest.raises(UserError, match=r"2 robots .*give one with --robot"):
        photographs.find_robot(data)
    other.unlink()
    own.unlink()
    (data / "README.md").unlink()
    with pytest.raises(UserError, match=r"0 robots \(none\): give one with --robot"):
        photographs.find_robot(data)


@pytest.mark.parametrize(
    ("backgrounds", "apart"),
    [("", True), ("elsewhere", True), (".", False), ("data", False), ("data/images", False), ("data2", True)],
)
def test_the_photographs_may_not_lie_behind_renderings(
    photographs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backgrounds: str, apart: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "images").mkdir(parents=True)
    file = put(tmp_path / "data" / "annotations.json", "{}")
    settings = synthetic.settings()
    settings = replace(settings, augmentation=replace(settings.augmentation, backgrounds=backgrounds))
    for data in (Path("data"), file):
        if apart:
            photographs.check_apart(data, settings)
        else:
            with pytest.raises(UserError, match="nothing may be learned from these"):
                photographs.check_apart(data, settings)


def test_the_table_has_a_row_for_each_seed_and_their_spread(photographs: ModuleType) -> None:
    rows: dict[str, Any] = {"1": {"median": 1.0, "mean": 2.0, "images": 1200}, "2": {"median": 3.0, "mean": None}}
    lines = photographs.table({"data": "D", "source": "S", "seeds": rows})
    cells = {line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in lines[2:]}
    heads = cells["seed"]
    assert cells["1"][heads.index("images")] == "1,200" and cells["2"][heads.index("mean %")] == "–"
    assert cells["all"][heads.index("median %")] == "2 ± 1.4" and cells["all"][heads.index("mean %")] == "2"
    failed = photographs.table({"data": "D", "source": "S", "seeds": {"1": {"failed": "no room"}}})
    assert failed[-1] == "| 1 | failed: no room |"


def test_what_evaluate_refuses_is_told(photographs: ModuleType, tmp_path: Path) -> None:
    found = photographs.errors_on(tmp_path / "none.safetensors", tmp_path)
    assert list(found) == ["failed"] and str(tmp_path / "none.safetensors") in found["failed"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{0}/nowhere"], "There is no"),
        (["{0}", "--minutes", "0"], "--minutes is 0"),
        (["{0}"], "names? 0 robots|name 0"),
    ],
)
def test_bad_input_is_one_sentence(
    photographs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    out = tmp_path / "out"
    (tmp_path / "data").mkdir()
    arguments = [w.format(tmp_path / "data") for w in words]
    monkeypatch.setattr(sys, "argv", ["photographs.py", *arguments, "--out", str(out)])
    with pytest.raises(SystemExit, match=f"^error: .*({message})"):
        photographs.main()
    assert not out.exists()
