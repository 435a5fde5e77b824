# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of the user's own: any number in the .blend, by its data path."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np
import pytest
from robot_keypoints.addon.stage.user_variables import Custom, Target
from robot_keypoints.addon.worker.renderer import Renderer
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.settings.schema import RenderSettings, VariableSettings


def custom(path: str, low: float = 0.0, high: float = 1.0) -> Custom:
    return Custom([VariableSettings("custom/it", low, high, path=path)])


@pytest.fixture
def scene() -> bpy.types.Scene:
    """A cube called Fan with a material, shape key, modifier and custom properties; a lamp, a camera, a world."""
    bpy.ops.mesh.primitive_cube_add(size=1.0)
    fan = bpy.context.object
    fan.name = "Fan"
    fan["prop"], fan["count"], fan["on"], fan['a "b" c'], fan["several"] = 0.5, 3, True, 1.0, [1.0, 2.0]
    fan.shape_key_add(name="Basis")
    key = fan.shape_key_add(name="Long")
    for point in key.data:
        point.co.x *= 2.5
    fan.data.shape_keys.name = "Key"
    material = bpy.data.materials.new("Paint")
    material.use_nodes = True
    fan.data.materials.append(material)
    fan.modifiers.new("Array", "ARRAY").count = 1
    lamp = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "SUN"))
    lamp.data.energy = 1.0
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location = (0.0, 0.0, 6.0)
    bpy.context.scene.camera = camera
    bpy.context.scene.world = bpy.data.worlds.new("World")
    for obj in (lamp, camera):
        bpy.context.collection.objects.link(obj)
    return bpy.context.scene


NUMBERS = {
    'objects["Fan"].rotation_euler[2]': 0.7,
    'objects["Fan"].scale[0]': 1.8,
    'objects["Fan"].hide_render': 1.0,
    'objects["Fan"].modifiers["Array"].count': 3.0,
    'materials["Paint"].node_tree.nodes["Principled BSDF"].inputs[0].default_value[2]': 0.1,
    'materials["Paint"].node_tree.nodes["Principled BSDF"].inputs["Metallic"].default_value': 1.0,
    'shape_keys["Key"].key_blocks["Long"].value': 1.0,
    'lights["Lamp"].energy': 4.0,
    'cameras["Camera"].lens': 30.0,
    'objects["Camera"].location[0]': 0.6,
}


@pytest.mark.parametrize("path", NUMBERS)
def test_the_change_is_seen(scene: bpy.types.Scene, path: str) -> None:
    renderer = Renderer(scene, RenderSettings(width=48, height=36, samples=4), 1)

    def picture() -> np.ndarray:
        scene.view_layers[0].update()
        return renderer.render()

    before = picture()
    variables = Custom([VariableSettings("custom/it", NUMBERS[path], NUMBERS[path], 1, path="bpy.data." + path)])
    np.testing.assert_array_equal(picture(), before, "finding a number must not change it")
    variables.apply({"custom/it": NUMBERS[path]})
    assert bpy.data.path_resolve(path) == pytest.approx(NUMBERS[path])
    assert (abs(picture().astype(int) - before) > 8).any()
    renderer.close()


@pytest.mark.parametrize(
    ("path", "value", "result"),
    [
        ('objects["Fan"]["prop"]', 0.25, 0.25),
        ('objects["Fan"]["count"]', 6.6, 7),
        ('objects["Fan"]["on"]', 0.2, False),
        ('objects["Fan"]["a \\"b\\" c"]', 0.75, 0.75),
        ('objects["Fan"]["several"][1]', 0.5, 0.5),
        ('objects["Fan"].pass_index', 2.4, 2),
        ('objects["Fan"].lock_location[1]', 0.9, True),
        ('worlds["World"].color[0]', 0.3, 0.3),
    ],
)
def test_numbers_whole_numbers_and_switches(scene, path: str, value: float, result: object) -> None:
    custom(path).apply({"custom/it": value})
    now = bpy.data.path_resolve(path)
    assert now == pytest.approx(result) and type(now) is type(result)


def test_drivers_follow_a_custom_property(scene: bpy.types.Scene) -> None:
    fan = bpy.data.objects["Fan"]
    driver = fan.driver_add("location", 0).driver
    driver.type = "SUM"
    source = driver.variables.new()
    source.targets[0].id = fan
    source.targets[0].data_path = '["prop"]'
    scene.view_layers[0].update()
    variables = custom('objects["Fan"]["prop"]', -3.0, 3.0)
    for value in (1.25, -2.0):
        variables.apply({"custom/it": value})
        scene.view_layers[0].update()
        assert fan.matrix_world.translation.x == pytest.approx(value)


def test_what_keeps_its_value_is_left_alone(scene: bpy.types.Scene) -> None:
    variables = custom('objects["Fan"].location[0]')
    variables.apply({"custom/it": 0.5})
    bpy.data.objects["Fan"].location.x = 9.0
    variables.apply({"custom/it": 0.5})
    assert bpy.data.objects["Fan"].location.x == 9.0
    variables.apply({})
    variables.apply({"custom/it": 0.25})
    assert bpy.data.objects["Fan"].location.x == 0.25


def drive() -> None:
    bpy.data.objects["Fan"].driver_add("location", 1)


def animate() -> None:
    bpy.data.objects["Fan"].keyframe_insert("location", index=1, frame=1)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "data path"),
        ("import os", "data path"),
        ('objects["Nobody"].location[0]', "leads nowhere"),
        ('objects["Fan"].location[7]', "leads nowhere"),
        ('objects["Fan"]["nothing"]', "leads nowhere"),
        ('objects["Fan"].location', "not one number"),
        ('objects["Fan"]["several"]', "not one number"),
        ('objects["Fan"].data', "not one number"),
        ('objects["Fan"].name', "text or a choice"),
        ('objects["Fan"].rotation_mode', "text or a choice"),
        ('objects["Fan"].matrix_world[0][3]', "data path"),
        ('objects["Fan"].bound_box', "not one number"),
        ('meshes["Cube"].total_vert_sel', "can be read but not set"),
        ('materials["Paint"].node_tree.nodes["Principled BSDF"].inputs[2].is_linked', "can be read but not set"),
    ],
)
def test_a_path_that_can_t_be_set_is_one_sentence(scene: bpy.types.Scene, path: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as problem:
        Target(path, "custom/it")
    assert str(problem.value).startswith("custom/it: ") and "\n" not in str(problem.value)


@pytest.mark.parametrize("overwrite", [drive, animate])
def test_what_would_be_overwritten_is_refused(scene: bpy.types.Scene, overwrite: Callable[[], None]) -> None:
    overwrite()
    with pytest.raises(UserError, match="driver or keyframes"):
        custom('objects["Fan"].location[1]')
    custom('objects["Fan"].location[0]')


def test_a_range_that_blender_would_cut_off_is_refused(scene: bpy.types.Scene) -> None:
    socket = 'materials["Paint"].node_tree.nodes["Principled BSDF"].inputs["Roughness"].default_value'
    for path, low, high in ((socket, 0.0, 1.0), ('objects["Fan"]["prop"]', -50.0, 50.0)):
        custom(path, low, high)
    for path, low, high in (
        ('cameras["Camera"].lens', 0.0, 50.0), ('objects["Fan"].hide_render', 0.0, 2.0),
        ('shape_keys["Key"].key_blocks["Long"].value', 0.0, 11.0),
    ):  # fmt: skip
        with pytest.raises(UserError, match="narrow its range"):
            custom(path, low, high)
