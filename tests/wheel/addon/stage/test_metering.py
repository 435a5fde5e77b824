# SPDX-License-Identifier: GPL-3.0-or-later
"""The exposure follows the light as far as the variable says, and pictures keep their brightness."""

from __future__ import annotations

import math

import bpy
import numpy as np
import pytest
from robot_keypoints.addon.robot import rig
from robot_keypoints.addon.stage import metering
from robot_keypoints.addon.stage.stage import Stage
from robot_keypoints.addon.worker.renderer import Renderer
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.core.settings.completion import complete
from robot_keypoints.core.settings.schema import RenderSettings, SceneSettings, Settings

LIGHT = {"light/ambient": 0.0, "light/strength": 2.0}
TOWARDS = {"light/azimuth": 0.5, "light/elevation": 0.35, "camera/azimuth": 0.5, "camera/elevation": 0.35}


@pytest.fixture
def stage() -> Stage:
    bpy.ops.wm.read_homefile(use_empty=True)
    robot = load_urdf(builtin_urdf())
    settings = complete(Settings(scene=SceneSettings("photographs"), render=RenderSettings(width=96, height=72)), robot)
    return Stage(bpy.context.scene, rig.build(bpy.context.scene, robot), settings)


def exposure(stage: Stage, **values: float) -> float:
    stage.apply({**LIGHT, **TOWARDS, **{n.replace("__", "/"): v for n, v in values.items()}})
    return float(bpy.context.scene.view_settings.exposure)


def test_twice_the_light_is_one_stop_less(stage: Stage) -> None:
    dim = exposure(stage, camera__metering=1.0)
    assert exposure(stage, camera__metering=1.0, light__strength=4.0) == pytest.approx(dim - 1.0, abs=1e-5)
    assert exposure(stage, camera__metering=0.5, light__strength=4.0) == pytest.approx(dim / 2 - 0.5, abs=1e-5)
    assert exposure(stage, camera__metering=0.0, camera__exposure=0.25) == pytest.approx(0.25)
    two = exposure(
        stage, camera__metering=1.0, light__count=1.5, light__2__azimuth=0.5, light__2__elevation=0.35,
        light__2__strength=2.0,
    )  # fmt: skip
    assert two == pytest.approx(dim - 1.0, abs=1e-5)


def test_light_from_behind_needs_a_longer_exposure_and_none_is_bounded(stage: Stage) -> None:
    front = exposure(stage, camera__metering=1.0)
    assert exposure(stage, camera__metering=1.0, light__azimuth=0.5 + 2.0) > front + 1
    assert exposure(stage, camera__metering=1.0, light__strength=0.0) == pytest.approx(metering.MOST_STOPS)


def test_a_ball_shows_two_thirds_of_light_from_the_camera_and_none_from_behind() -> None:
    assert metering.lit(1.0) == pytest.approx(2 / 3)
    assert metering.lit(-1.0) == pytest.approx(0.0, abs=1e-9)
    angles = np.linspace(0, math.pi, 30)
    assert (np.diff([metering.lit(math.cos(a)) for a in angles]) < 0).all()


def test_metered_pictures_are_alike_in_any_light(stage: Stage) -> None:
    renderer = Renderer(bpy.context.scene, RenderSettings(width=96, height=72, samples=4), 1, stage.camera)
    try:
        means = []
        for strength in (0.5, 2.0, 4.0):
            exposure(stage, camera__metering=1.0, light__strength=strength, material__original=1.5)
            picture = renderer.render(1)
            means.append(float(picture[picture[..., 3] > 250][:, :3].mean()))
    finally:
        renderer.close()
    assert max(means) - min(means) < 6, means
