# SPDX-License-Identifier: GPL-3.0-or-later
"""The example that closes the loop, as its users run it: Blender renders, the model predicts, the controller moves."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "visual_servo.py"


def run(*options: str) -> tuple[int, list[str], str]:
    """Exit code, lines on stdout, and what is on stderr."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


def distances(lines: list[str]) -> list[float]:
    """The end effector's true distance from its goal before each step, millimetres."""
    return [float(m[1]) for line in lines if (m := re.fullmatch(r" +\d+ .* mm +([\d.]+) mm", line))]


def test_the_rig_arrives_on_predictions_alone(tmp_path: Path) -> None:
    code, lines, errors = run("--seed", "0", "--pictures", str(tmp_path), "--arrived", "0.1")
    assert code == 0, "\n".join(lines) + errors
    way = distances(lines)
    assert len(way) > 3 and way[0] > 250 and way[-1] < 100 and lines[-1].startswith("arrived: ")
    assert f"{way[-1]:.1f} mm from its goal" in lines[-1]
    assert {p.name for p in tmp_path.iterdir()} >= {"goal-1.png", "goal-2.png", "000-1.png", "001-2.png"}


def test_too_few_steps_are_told() -> None:
    code, lines, _ = run("--seed", "0", "--steps", "1")
    assert code == 1 and len(distances(lines)) == 1
    assert lines[-1].startswith("did not arrive: the pictures never agreed for long enough; ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", "wide"], "write WIDTHxHEIGHT"),
        (["--steps", "0"], "--steps is 0"),
        (["--sensors", "90"], "give between 0 and 30 degrees"),
        (["--model", "none.safetensors"], "There is no model file at none.safetensors"),
        (["--urdf", "none.urdf"], "There is no URDF file"),
    ],
)
def test_a_mistake_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE.parent))
    visual_servo = importlib.import_module("visual_servo")
    assert visual_servo.main(options) == 2
    out, errors = capfd.readouterr()
    assert out == "" and words in errors and len(errors.strip().splitlines()) == 1
