# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels agree with what is rendered, and draws with what they set."""

from __future__ import annotations

from dataclasses import replace

import bpy
import numpy as np
import pytest
from robot_keypoints.addon.robot import link_meshes, rig
from robot_keypoints.addon.robot.rig import robot_meshes
from robot_keypoints.addon.stage.camera import CAMERA
from robot_keypoints.addon.stage.light import blackbody
from robot_keypoints.addon.stage.stage import Stage
from robot_keypoints.addon.worker import labels, process as worker_process
from robot_keypoints.addon.worker.renderer import Renderer
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.core.settings.completion import complete
from robot_keypoints.core.settings.schema import RenderSettings, Settings, VariableSettings


def staged(**render: object) -> tuple[Settings, Stage]:
    robot = load_urdf(builtin_urdf())
    settings = complete(Settings(render=RenderSettings(**render)), robot)  # type: ignore[arg-type]
    armature = rig.build(bpy.context.scene, robot)
    return settings, Stage(bpy.context.scene, armature, settings)


def test_visibility_is_0_outside_1_behind_something_2_in_sight() -> None:
    _, stage = staged(width=160, height=120)
    stage.apply({"camera/azimuth": 0.0, "camera/elevation": 0.2, "camera/distance": 3.0, "camera/focal_length": 30.0})
    for obj in robot_meshes(stage.armature):
        bpy.data.objects.remove(obj)
    bpy.context.view_layer.update()
    free = labels.label(stage).visibility
    assert (free == 2).any() and not (free == 1).any()
    bpy.ops.mesh.primitive_cube_add(size=2.0, location=(1.6, 0, 0.5))
    bpy.context.view_layer.update()
    covered = labels.label(stage).visibility
    assert (covered[free == 2] == 1).all()
    stage.apply({"camera/target_y": 30.0})
    assert (labels.label(stage).visibility == 0).all()


def test_base_in_camera_and_camera_matrix_reproduce_the_labels() -> None:
    settings, stage = staged(width=200, height=100)
    model, rng = settings.scene_model(), np.random.default_rng(0)
    stage.armature.location = (0.4, -0.3, 0.2)
    values = model.sample(rng).values
    stage.apply(values)
    truth = labels.label(stage)
    robot = rig.robot_of(stage.armature)
    assert robot is not None
    frames = robot.link_frames({k.removeprefix("joint/"): v for k, v in values.items() if k.startswith("joint/")})
    points = np.array([frames[k.frame][:3, 3] for k in settings.keypoints])
    camera = points @ truth.base_in_camera[:3, :3].T + truth.base_in_camera[:3, 3]
    pixels = camera @ truth.camera_matrix.T
    np.testing.assert_allclose(pixels[:, :2] / pixels[:, 2:], truth.keypoints, atol=1e-3)
    np.testing.assert_allclose(camera[:, 2], truth.depths, atol=1e-5)


@pytest.mark.parametrize("engine", ["cycles", "workbench"])
def test_images_show_the_robot_on_nothing(engine: str) -> None:
    settings, stage = staged(width=160, height=120, engine=engine)
    renderer = Renderer(bpy.context.scene, settings.render, 2)
    stage.apply({"camera/azimuth": 1.0, "camera/elevation": 0.4, "camera/distance": 2.5})
    image = renderer.render()
    renderer.close()
    assert image.shape == (120, 160, 4) and image.dtype == np.uint8
    assert (image[0, :, 3] == 0).all()
    assert 0.01 < (image[..., 3] > 128).mean() < 0.6
    # The base stands below the middle of the picture: rows run downwards.
    rows = np.flatnonzero((image[..., 3] > 128).any(axis=1))
    truth = labels.label(stage).keypoints[0]
    assert rows.min() - 2 <= truth[1] <= rows.max() + 2


def test_light_and_material_reach_the_image() -> None:
    settings, stage = staged(width=64, height=48)
    renderer = Renderer(bpy.context.scene, settings.render, 2)

    def mean_colour(**values: float) -> np.ndarray:
        stage.apply({"camera/distance": 2.0, **{k.replace("__", "/"): v for k, v in values.items()}})
        image = renderer.render()
        return image[image[..., 3] > 200][:, :3].mean(axis=0)

    dark = mean_colour(light__strength=0.2, light__ambient=0.1)
    bright = mean_colour(light__strength=4.0, light__ambient=1.0)
    assert bright.mean() > 1.5 * dark.mean()
    red = mean_colour(material__tint=1.0, material__hue=0.0, material__saturation=1.0, material__brightness=0.8)
    assert red[0] > 2 * red[2]
    plain = mean_colour()
    assert abs(plain - mean_colour(material__tint=0.0)).max() < 8, "a tint must not stay behind"
    renderer.close()


def test_reduced_meshes_keep_the_silhouette() -> None:
    settings, stage = staged(width=160, height=120)
    renderer = Renderer(bpy.context.scene, settings.render, 2)
    stage.apply({"camera/distance": 2.5})
    before = renderer.render()[..., 3] > 128
    count = sum(len(o.data.polygons) for o in robot_meshes(stage.armature))
    link_meshes.reduce_triangles(robot_meshes(stage.armature), count // 2)
    after_count = sum(len(o.data.polygons) for o in robot_meshes(stage.armature))
    after = renderer.render()[..., 3] > 128
    renderer.close()
    assert after_count < 0.7 * count
    assert (before ^ after).sum() < 0.04 * before.sum()


def test_same_seed_same_sample() -> None:
    settings, stage = staged(width=64, height=48)
    renderer = Renderer(bpy.context.scene, settings.render, 1)
    model = settings.scene_model()
    first, again = (
        worker_process.make_sample(stage, renderer, model, np.random.default_rng([1, 2, 3]), 0, 0) for _ in range(2)
    )
    renderer.close()
    assert first.latents == again.latents
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.keypoints, again.keypoints)


def test_a_variable_the_scene_lacks_is_refused() -> None:
    settings, stage = staged()
    strange = replace(settings, variables=(VariableSettings("joint/tail", 0.0, 1.0),))
    with pytest.raises(UserError, match="joint/tail"):
        Stage(bpy.context.scene, stage.armature, strange)
    assert CAMERA in bpy.context.scene.objects


def test_blackbody_is_red_when_cool_and_blue_when_hot() -> None:
    cool, day, hot = blackbody(2500), blackbody(6600), blackbody(15000)
    assert cool[0] == 1.0 and cool[2] < 0.4
    assert min(day) > 0.85
    assert hot[2] == 1.0 and hot[0] < 0.75
