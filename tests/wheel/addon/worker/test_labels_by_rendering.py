# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels agree with renderings of small bright spheres, in every engine, through every lens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import proofs
import pytest
from robot_keypoints.core.robot.urdf_reader import builtin_urdf
from robot_keypoints.core.settings.schema import RenderSettings, Settings

PANDA = "panda_description/urdf/panda.urdf"


@pytest.mark.parametrize("engine, samples, draws", [("cycles", 16, 8), ("workbench", 8, 3), ("workbench", 2, 1)])
def test_spheres_lie_where_the_labels_say(engine: str, samples: int, draws: int) -> None:
    settings = Settings(render=RenderSettings(engine=engine, width=640, height=480, samples=samples))
    errors = proofs.centre_errors(proofs.modules(), settings, draws)
    assert len(errors) >= 4 * draws
    assert np.hypot(*errors.T).max() < 0.1


def test_spheres_lie_where_the_labels_say_in_eevee() -> None:
    """One frame: where there is no graphics card, it takes many seconds."""
    settings = Settings(render=RenderSettings(engine="eevee", width=640, height=480, samples=16))
    errors = proofs.centre_errors(proofs.modules(), settings, 1)
    assert len(errors) >= 3
    assert np.hypot(*errors.T).max() < 0.1


def test_a_tall_image_with_more_pixels_than_its_sensor_is_wide() -> None:
    settings = Settings(render=RenderSettings(width=120, height=300, samples=16))
    errors = proofs.centre_errors(proofs.modules(), settings, 8)
    assert len(errors) >= 10
    assert np.hypot(*errors.T).max() < 0.1


@pytest.mark.parametrize("which", ["ur10", "panda"])
def test_visibility_is_what_a_rendering_shows(which: str, ur10_urdf: Path) -> None:
    """Everything varied, with occluders, floor and walls; ``tests/support/proofs.py`` does the same for 2,000 cases."""
    m = proofs.modules()
    run = proofs.run_of(m, ur10_urdf if which == "ur10" else ur10_urdf.parents[2] / PANDA, "everything")
    labelled, shown = proofs.visibility(m, run, 250)
    assert 0.2 < (labelled == 2).mean() < 0.8
    assert proofs.agreement(labelled, shown) >= 0.99


def test_the_built_in_robot_is_seen_as_it_is_labelled() -> None:
    m = proofs.modules()
    labelled, shown = proofs.visibility(m, proofs.run_of(m, builtin_urdf(), "balanced"), 100)
    assert proofs.agreement(labelled, shown) >= 0.99
