# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes frames cheap must not be seen: kept geometry, the cropped picture, the level of detail."""

from __future__ import annotations

from dataclasses import replace

import bpy
import numpy as np
import pytest
from numpy.typing import NDArray
from robot_keypoints.addon.robot import rig
from robot_keypoints.addon.stage.stage import Stage
from robot_keypoints.addon.worker import level_of_detail
from robot_keypoints.addon.worker.render_region import MARGIN, Region
from robot_keypoints.addon.worker.renderer import Renderer
from robot_keypoints.core.settings.schema import RenderSettings, Settings
from robot_keypoints.trainer.commands import demo
from scipy.ndimage import binary_erosion, distance_transform_edt


def ur10(**render: object) -> tuple[Settings, Stage]:
    settings, robot = demo.settings(1.0)
    size = {"width": 160, "height": 120}
    settings = replace(settings, render=replace(settings.render, **size | render))  # type: ignore[arg-type]
    armature = rig.build(bpy.context.scene, robot)
    return settings, Stage(bpy.context.scene, armature, settings)


def pictures(settings: Settings, stage: Stage, count: int) -> NDArray[np.uint8]:
    renderer = Renderer(stage.scene, settings.render, 2)
    model, rng = settings.scene_model(), np.random.default_rng(4)
    result = []
    for _ in range(count):
        stage.apply(model.sample(rng).values)
        result.append(renderer.render())
    renderer.close()
    return np.stack(result)


def test_kept_geometry_and_the_crop_change_nothing_that_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, stage = ur10()
    with monkeypatch.context() as patch:
        patch.setattr(Region, "visible", lambda self: (0, 0, 160, 120))
        plain = pictures(settings, stage, 6)
    level_of_detail.keep_geometry(stage.scene)
    twins = bpy.data.collections[level_of_detail.TWINS].objects
    assert len(twins) == len(rig.robot_meshes(stage.armature))
    # A baked transform and an instance's round differently: now and then a pixel is one level off.
    apart = abs(pictures(settings, stage, 6).astype(int) - plain)
    assert apart.max() <= 1 and (apart > 0).any(axis=3).mean() < 1e-4
    assert (plain[..., 3] > 0).any(axis=(1, 2)).all(), "there is something to see"


def test_the_crop_is_tight_and_holds_everything() -> None:
    settings, stage = ur10()
    images = pictures(settings, stage, 6)
    region = Region(stage.scene)
    left, bottom, right, top = region.visible()
    rows, columns = np.nonzero(images[-1][..., 3])
    assert left <= columns.min() and columns.max() < right
    assert bottom <= 119 - rows.max() and 119 - rows.min() < top
    assert (right - left) * (top - bottom) < 0.6 * 160 * 120


@pytest.mark.parametrize("focus", [0.4, 1.0, 2.5])
def test_what_is_out_of_focus_is_not_cut_off(monkeypatch: pytest.MonkeyPatch, focus: float) -> None:
    settings, stage = ur10(samples=64)
    values = {"camera/aperture": 200.0, "camera/focus": focus, "camera/distance": 3.0, "camera/target_x": 0.1}
    renderer = Renderer(stage.scene, settings.render, 2, stage.camera)
    stage.apply(values)
    left, bottom, right, top = Region(stage.scene).visible()
    image = renderer.render()
    assert (right - left) * (top - bottom) < 0.8 * 160 * 120
    with monkeypatch.context() as patch:
        patch.setattr(Region, "visible", lambda self: (0, 0, 160, 120))
        whole = renderer.render()
    renderer.close()
    np.testing.assert_array_equal(image, whole)
    stage.apply({**values, "camera/aperture": 0.0})
    sharp = Region(stage.scene).visible()
    wider = [(sharp[0] - left), (sharp[1] - bottom), (right - sharp[2]), (top - sharp[3])]
    assert min(wider) >= 0 and (max(wider) > 3 or focus == 1.0)


def test_what_bounds_say_nothing_about_fills_the_picture() -> None:
    settings, stage = ur10()
    stage.apply({"camera/distance": 4.0})
    renderer = Renderer(stage.scene, settings.render, 1)
    region, everything = Region(stage.scene), (0, 0, 160, 120)
    assert region.visible() != everything
    stage.scene.render.film_transparent = False
    assert region.visible() == everything
    stage.scene.render.film_transparent = True
    bpy.ops.mesh.primitive_plane_add(size=100.0)
    stage.scene.view_layers[0].update()
    assert Region(stage.scene).visible() == everything, "a floor reaches behind the camera"
    renderer.close()


def test_an_empty_picture_is_not_rendered() -> None:
    settings, stage = ur10()
    for obj in rig.robot_meshes(stage.armature):
        obj.hide_render = True
    renderer = Renderer(stage.scene, settings.render, 1)
    assert not renderer.render().any()
    renderer.close()


def test_margin_covers_the_pixel_filter() -> None:
    """A sphere's bounds touch its outline, so that a margin too small would cut the filter off."""
    bpy.ops.mesh.primitive_cube_add(size=1.0)
    scene = bpy.context.scene
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.type = "PERSP"
    camera.location = (0.0, 0.0, 4.0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.view_layers[0].update()
    renderer = Renderer(scene, RenderSettings(width=160, height=120, samples=64), 2)
    image = renderer.render()
    left, bottom, right, top = Region(scene).visible()
    rows, columns = np.nonzero(image[..., 3])
    renderer.close()
    assert (
        left < columns.min() and columns.max() < right - 1 and bottom < 119 - rows.max() and 119 - rows.min() < top - 1
    )
    assert MARGIN < 10


SHARPER = 8
"""The outlines are compared at so many times the resolution that the level of detail is meant for."""


def test_level_of_detail_moves_no_outline_by_a_quarter_of_a_pixel() -> None:
    settings, stage = ur10()
    meshes = rig.robot_meshes(stage.armature)
    before = sum(len(o.data.polygons) for o in meshes)
    sharp = replace(settings, render=replace(settings.render, width=160 * SHARPER, height=120 * SHARPER, samples=1))
    whole = pictures(sharp, stage, 4)[..., 3] > 127
    for mesh, size in zip(meshes, level_of_detail.smallest_pixels(stage, settings, meshes), strict=True):
        assert level_of_detail.simplify(mesh, 0.25 * size) <= 0.25 * size
    after = sum(len(o.data.polygons) for o in meshes)
    assert after < 0.75 * before
    reduced = pictures(sharp, stage, 4)[..., 3] > 127
    assert (whole != reduced).any(), "nothing was reduced"
    for a, b in zip(whole, reduced, strict=True):
        for one, other in ((a, b), (b, a)):
            away = distance_transform_edt(~(one & ~binary_erosion(one)))
            # One sharper pixel for where a pixel's middle happens to fall.
            assert away[one != other].max(initial=0.0) <= 0.25 * SHARPER + 1, "an outline moved"
            assert other.any()


def test_shared_and_shaped_meshes_stay_whole() -> None:
    bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=32)
    one = bpy.context.object
    two = bpy.data.objects.new("two", one.data)
    bpy.context.scene.collection.objects.link(two)
    count = len(one.data.polygons)
    assert level_of_detail.simplify(one, 0.1) == 0.0 and len(one.data.polygons) == count
    bpy.data.objects.remove(two)
    one.shape_key_add(name="Basis")
    assert level_of_detail.simplify(one, 0.1) == 0.0
    one.shape_key_clear()
    deviation = level_of_detail.simplify(one, 0.1)
    assert 0.0 < deviation <= 0.1 and len(one.data.polygons) < count
