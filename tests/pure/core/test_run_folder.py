# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of a run's files are those of earlier versions, and stand in one place."""

from __future__ import annotations

import ast
from pathlib import Path

from robot_keypoints.core import run_folder

ROOT = Path(run_folder.__file__).resolve().parents[1]


def test_the_names_are_those_of_earlier_versions(tmp_path: Path) -> None:
    names = {name: value for name, value in vars(run_folder).items() if name.isupper() and isinstance(value, str)}
    assert names == {
        "SETTINGS": "settings.toml", "SCENE": "scene.blend", "ROBOT": "robot.json", "ROBOTS": "robots.json",
        "OBSTRUCTION": "obstruction.json", "MODEL": "model.safetensors", "METRICS": "metrics.jsonl",
        "PRIORS": "priors.jsonl", "SUMMARY": "summary.json", "PREDICTIONS_PICTURE": "predictions.png",
        "ERRORS_PICTURE": "errors.png", "PRIORS_PICTURE": "priors.png", "TENSORBOARD": "tensorboard",
        "CHECKPOINTS": "checkpoints", "LATEST": "latest.safetensors", "LOGS": "logs", "TIMINGS": "timings.json",
        "HARDEST_PICTURE": "hardest.jpg", "REPORT": "report.html",
    }  # fmt: skip
    assert run_folder.log(tmp_path, "worker 1") == tmp_path / "logs" / "worker 1.log"
    assert run_folder.ready(tmp_path) == tmp_path / "logs" / "trainer.json"
    assert run_folder.checkpoint(tmp_path) == tmp_path / "checkpoints" / "latest.safetensors"
    assert run_folder.samples(tmp_path, "test") == tmp_path / "checkpoints" / "test.npz"
    assert run_folder.task(tmp_path, 0) == tmp_path / "logs" / "worker 1.json"


def test_no_other_module_spells_them() -> None:
    names = {value for name, value in vars(run_folder).items() if name.isupper() and isinstance(value, str)}
    spelled = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.value}"
        for folder in ("core", "addon", "trainer")
        for path in (ROOT / folder).rglob("*.py")
        if path != Path(run_folder.__file__).resolve()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names - {"checkpoints", "logs", "tensorboard"}
    ]
    assert not spelled
