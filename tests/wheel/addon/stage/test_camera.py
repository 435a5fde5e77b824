# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera answers to its variables, and leaves alone what they leave alone."""

from __future__ import annotations

from collections.abc import Iterator

import bpy
import numpy as np
import pytest
from robot_keypoints.addon.robot import rig
from robot_keypoints.addon.stage.stage import Stage
from robot_keypoints.addon.worker import labels
from robot_keypoints.addon.worker.renderer import Renderer
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.core.scene import catalogue
from robot_keypoints.core.settings.completion import complete
from robot_keypoints.core.settings.schema import RenderSettings, Settings

STILL = {"camera/azimuth": 0.6, "camera/distance": 1.6}


@pytest.fixture
def built() -> Iterator[tuple[Stage, Renderer]]:
    robot = load_urdf(builtin_urdf())
    settings = complete(Settings(render=RenderSettings(width=160, height=120, samples=16)), robot)
    stage = Stage(bpy.context.scene, rig.build(bpy.context.scene, robot), settings)
    renderer = Renderer(bpy.context.scene, settings.render, 2, stage.camera)
    yield stage, renderer
    renderer.close()


def picture(stage: Stage, renderer: Renderer, **values: float) -> np.ndarray:
    stage.apply({**STILL, **{f"camera/{k}": v for k, v in values.items()}})
    return renderer.render()


def test_every_camera_variable_changes_the_picture(built: tuple[Stage, Renderer]) -> None:
    before = picture(*built).astype(int)
    for entry in catalogue.ENTRIES:
        name = entry.name.removeprefix("camera/")
        if name == entry.name or entry.trainer:
            continue
        value = entry.high if entry.high != entry.neutral else entry.low
        more = {"aperture": 60.0} if name == "focus" else {}
        changed = picture(*built, **more, **{name: value})
        unchanged = picture(*built, **more).astype(int)
        assert abs(changed - unchanged).mean() > 0.05, f"{entry.name} does nothing"
    np.testing.assert_array_equal(picture(*built), before)


def test_exposure_doubles_the_light(built: tuple[Stage, Renderer]) -> None:
    plain, darker = (picture(*built, exposure=e) for e in (-1.0, -2.0))
    solid = (plain[..., 3] == 255) & (plain[..., :3].max(axis=2) < 250)
    linear = [((p[solid][:, :3] / 255 + 0.055) / 1.055) ** 2.4 for p in (plain, darker)]
    assert linear[0].mean() / linear[1].mean() == pytest.approx(2.0, rel=0.05)
    np.testing.assert_array_equal(plain[..., 3], darker[..., 3])


def test_a_wide_aperture_blurs_what_is_out_of_focus(built: tuple[Stage, Renderer]) -> None:
    def soft(**values: float) -> int:
        alpha = picture(*built, **values)[..., 3]
        return int(((alpha > 20) & (alpha < 235)).sum())

    sharp, focused, blurred = soft(), soft(aperture=30.0), soft(aperture=30.0, focus=0.5)
    assert blurred > 1.5 * sharp
    assert sharp <= focused < 0.8 * blurred
    assert soft() == sharp


def test_a_straight_lens_costs_nothing(built: tuple[Stage, Renderer]) -> None:
    stage, renderer = built
    render = stage.scene.render
    picture(stage, renderer, principal_x=0.04, roll=0.3)
    assert (render.resolution_x, render.resolution_y) == (160, 120)
    assert stage.camera.develop(image := renderer.render()) is image
    assert picture(stage, renderer, k1=-0.1).shape == (120, 160, 4)
    assert render.resolution_x > 160 and render.resolution_y > 120
    picture(stage, renderer)
    assert (render.resolution_x, render.resolution_y) == (160, 120)


def test_without_a_renderer_the_scene_keeps_its_resolution() -> None:
    """A draw that is looked at in the viewport, which knows no lens but a pinhole."""
    robot = load_urdf(builtin_urdf())
    settings = complete(Settings(render=RenderSettings(width=160, height=120)), robot)
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 300, 500
    stage = Stage(bpy.context.scene, rig.build(bpy.context.scene, robot), settings)
    stage.apply({**STILL, "camera/k1": -0.1, "camera/principal_y": 0.02})
    assert (bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y) == (300, 500)
    truth = labels.label(stage)
    np.testing.assert_array_equal(truth.distortion, np.zeros(5))
    assert truth.camera_matrix[1, 2] == pytest.approx(249.5 + 0.02 * 500)
    # As Blender itself projects, upwards and in shares of the picture.
    from bpy_extras.object_utils import world_to_camera_view
    from mathutils import Vector

    for place, (u, v) in zip(stage.positions(), truth.keypoints, strict=True):
        x, y, _ = world_to_camera_view(bpy.context.scene, stage.camera.object, Vector(place))
        np.testing.assert_allclose((x * 300 - 0.5, (1 - y) * 500 - 0.5), (u, v), atol=2e-3)


def test_nothing_is_touched_that_keeps_its_value(built: tuple[Stage, Renderer]) -> None:
    """Whatever is touched, Cycles takes in again."""
    stage, _ = built
    values = {**catalogue.neutral(1.0), **STILL, "camera/k1": -0.1, "camera/aperture": 3.0, "camera/exposure": 0.5}
    stage.apply(values)
    touched: list[str] = []

    def note(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
        touched.extend(u.id.name for u in depsgraph.updates)

    bpy.app.handlers.depsgraph_update_post.append(note)
    try:
        stage.camera.apply(values)
        bpy.context.view_layer.update()
        assert touched == []
        stage.camera.apply({**values, "camera/roll": 0.1})
        bpy.context.view_layer.update()
        assert touched == [stage.camera.object.name]
    finally:
        bpy.app.handlers.depsgraph_update_post.remove(note)


def near_keypoint(stage: Stage) -> tuple[int, np.ndarray]:
    """A keypoint in sight, and a place close before it."""
    for mesh in rig.robot_meshes(stage.armature):
        mesh.hide_render = True
    stage.apply(STILL)
    visibility = labels.label(stage).visibility
    index = int(np.flatnonzero(visibility == 2)[0])
    eye = np.array(stage.camera.object.matrix_world.translation)
    return index, 0.9 * stage.positions()[index] + 0.1 * eye


def cube(place: np.ndarray) -> bpy.types.Object:
    bpy.ops.mesh.primitive_cube_add(size=0.1, location=place.tolist())
    return bpy.context.object


def test_what_is_not_rendered_hides_nothing(built: tuple[Stage, Renderer]) -> None:
    stage, _ = built
    index, place = near_keypoint(stage)
    obstacle = cube(place)

    def label() -> int:
        bpy.context.view_layer.update()
        return int(labels.label(stage).visibility[index])

    assert label() == 1
    obstacle.hide_render = True
    assert label() == 2
    obstacle.hide_render = False
    obstacle.visible_camera = False
    assert label() == 2
    # What is not rendered does not hide what is rendered behind it.
    behind = cube(0.5 * place + 0.5 * stage.positions()[index])
    assert label() == 1
    bpy.data.objects.remove(behind)
    obstacle.visible_camera = True
    near = stage.camera.object.data
    kept, near.clip_start = near.clip_start, 0.97 * labels.label(stage).depths[index]
    assert label() == 2, "what the near plane cuts off hides nothing"
    near.clip_start = kept
    assert label() == 1


@pytest.mark.parametrize("how", ["object", "eye", "collection"])
def test_what_only_the_viewport_hides_is_rendered_and_hides(how: str, built: tuple[Stage, Renderer]) -> None:
    stage, _ = built
    index, place = near_keypoint(stage)
    obstacle = cube(place)
    if how == "collection":
        collection = bpy.data.collections.new("hidden")
        stage.scene.collection.children.link(collection)
        stage.scene.collection.objects.unlink(obstacle)
        collection.objects.link(obstacle)
        collection.hide_viewport = True
    elif how == "object":
        obstacle.hide_viewport = True
    else:
        obstacle.hide_set(True)
    bpy.context.view_layer.update()
    assert labels.label(stage).visibility[index] == 2
    stage.seen.in_viewport_too()
    bpy.context.view_layer.update()
    assert labels.label(stage).visibility[index] == 1
    picture = Renderer(stage.scene, stage.settings.render, 2, stage.camera).render()
    u, v = labels.label(stage).keypoints[index]
    assert picture[round(v), round(u), 3] > 200


def test_a_collection_that_is_not_rendered_hides_nothing() -> None:
    robot = load_urdf(builtin_urdf())
    settings = complete(Settings(render=RenderSettings(width=160, height=120)), robot)
    armature = rig.build(bpy.context.scene, robot)
    collection = bpy.data.collections.new("not rendered")
    bpy.context.scene.collection.children.link(collection)
    first = Stage(bpy.context.scene, armature, settings)
    index, place = near_keypoint(first)
    obstacle = cube(place)
    bpy.context.scene.collection.objects.unlink(obstacle)
    collection.objects.link(obstacle)
    bpy.context.view_layer.update()
    assert labels.label(first).visibility[index] == 1
    collection.hide_render = True
    again = Stage(bpy.context.scene, armature, settings)
    again.apply(STILL)
    assert labels.label(again).visibility[index] == 2


def test_modifiers_are_seen_as_they_are_rendered(built: tuple[Stage, Renderer]) -> None:
    stage, _ = built
    index, place = near_keypoint(stage)
    obstacle = cube(place)
    obstacle.scale = (0.01, 0.01, 0.01)
    grow = obstacle.modifiers.new("grow", "CAST")
    grow.factor, grow.size, grow.use_radius_as_size, grow.radius = 1.0, 40.0, False, 0.0
    grow.show_viewport = False
    bpy.context.view_layer.update()
    point = labels.label(stage).visibility[index]
    stage.seen.in_viewport_too()
    assert grow.show_viewport
    smooth = obstacle.modifiers.new("smooth", "SUBSURF")
    smooth.levels, smooth.render_levels = 0, 2
    stage.seen.in_viewport_too()
    assert smooth.levels == 2
    assert point in (1, 2)
