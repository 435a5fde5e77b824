# SPDX-License-Identifier: GPL-3.0-or-later
"""What the reports write beside their pictures."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from PIL import Image
from robot_keypoints.core.scene import presets
from robot_keypoints.core.scene.prior import Prior
from robot_keypoints.core.scene.scene_model import SceneModel, Variable
from robot_keypoints.trainer.evaluation import run_pictures


def test_choices_have_names_and_angles_degrees() -> None:
    model = SceneModel(presets.variables("everything", 1.0, worlds=10, themes=("lab", "street")))
    named = {v.name: [text for _, text in run_pictures.axis_labels(v)] for v in model.variables}
    assert named["light/type"] == ["sun", "point"]
    assert named["background/world"] == ["picture", "world"]
    assert named["light/world"] == ["plain", "10"]  # the user's own have no name that is known here
    assert named["camera/azimuth"] == ["−180°", "0°", "180°"]
    assert named["light/temperature"][0] == "2800 K"
    places = [place for place, _ in run_pictures.axis_labels(model["camera/azimuth"])]
    assert places == pytest.approx([-math.pi, 0, math.pi])
    one = Variable("light/world", Prior.symmetric(8.0, 9.0, 1))
    assert run_pictures.axis_labels(one) == [(8, "sunset"), (9, "")]


def test_the_picture_of_the_priors_keeps_its_size_however_much_varies(tmp_path: Path) -> None:
    heights = {}
    for preset in ("fast", "everything"):
        model = SceneModel(presets.variables(preset, 1.0))
        run_pictures.priors_picture(tmp_path / f"{preset}.png", model, model)
        with Image.open(tmp_path / f"{preset}.png") as picture:
            heights[preset] = picture.height
    rows = math.ceil(run_pictures.HISTOGRAMS / 5)
    assert heights["fast"] < heights["everything"] <= 90 * (1.5 * rows + 0.6) + 1
