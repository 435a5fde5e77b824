# SPDX-License-Identifier: GPL-3.0-or-later
"""A graphics card that is asked for and not there is missed in a sentence."""

from __future__ import annotations

import subprocess
import sys

import bpy
import pytest
from robot_keypoints.addon.worker import graphics_cards
from robot_keypoints.addon.worker.renderer import Renderer
from robot_keypoints.core.processes.programs import LAUNCHER
from robot_keypoints.core.settings.schema import RenderSettings


@pytest.mark.parametrize("found", [(), ("Card (CUDA)",)])
def test_rendering_on_the_processor_instead_is_said(
    found: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    bpy.ops.wm.read_homefile(use_empty=True)
    monkeypatch.setattr(graphics_cards, "enable", lambda: found)
    for device in ("cpu", "gpu"):
        Renderer(bpy.context.scene, RenderSettings("cycles", 32, 32, 1, device), 1).close()
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning: ")]
    if found:
        assert not said and bpy.context.scene.cycles.device == "GPU"
        return
    (line,) = said
    assert "Cycles finds no graphics card here" in line and "rendered on the processor" in line
    assert bpy.context.scene.cycles.device == "CPU"


def test_the_cards_are_named_by_a_process_of_its_own() -> None:
    line = [sys.executable, str(LAUNCHER), "devices"]
    done = subprocess.run(line, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    named = [words for words in done.stdout.splitlines() if words.startswith("graphics card: ")]
    assert named == [f"graphics card: {card}" for card in graphics_cards.enable()]
