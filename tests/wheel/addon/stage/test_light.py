# SPDX-License-Identifier: GPL-3.0-or-later
"""Lamps and worlds do what their variables say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np
import pytest
from numpy.typing import NDArray
from robot_keypoints.addon.robot import rig
from robot_keypoints.addon.stage import hdri_files, world as stage_world
from robot_keypoints.addon.stage.light import AIM, KINDS, LAMP, Light
from robot_keypoints.addon.stage.stage import Stage
from robot_keypoints.addon.stage.world import SLOTS, WORLD
from robot_keypoints.addon.worker.renderer import Renderer
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.core.scene import catalogue
from robot_keypoints.core.settings.completion import complete
from robot_keypoints.core.settings.schema import RenderSettings, SceneSettings, Settings, VariableSettings

Floats = NDArray[np.float64]

EVERYTHING = (
    VariableSettings("light/type", 0, 4, 4),
    VariableSettings("light/2/type", 0, 4, 4),
    VariableSettings("light/count", 0, 3, 3),
    VariableSettings("light/world", 0, 9, 9),
    VariableSettings("background/world", 0, 2, 2),
)
DARK = {"light/strength": 0.0, "light/ambient": 0.0}


class Bench:
    """A light meter: a white card where the lamps aim, seen from above, with nothing else in the scene."""

    def __init__(self, folder: Path, settings: Settings, reach: float = 1.0) -> None:
        scene = bpy.context.scene
        armature = bpy.data.objects.new("base", bpy.data.armatures.new("base"))
        scene.collection.objects.link(armature)
        self.light = Light(scene, armature, reach, settings)
        bpy.ops.mesh.primitive_plane_add(size=0.1 * reach, location=(0, 0, AIM * reach))
        self.card = bpy.context.object
        material = bpy.data.materials.new("white")
        material.use_nodes = True
        tree = material.node_tree
        tree.nodes.clear()
        shader, output = tree.nodes.new("ShaderNodeBsdfDiffuse"), tree.nodes.new("ShaderNodeOutputMaterial")
        shader.inputs["Color"].default_value = (1, 1, 1, 1)
        tree.links.new(shader.outputs[0], output.inputs[0])
        self.card.data.materials.append(material)
        camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        camera.data.type, camera.data.ortho_scale = "ORTHO", 0.08 * reach
        camera.location = (0, 0, reach)
        scene.collection.objects.link(camera)
        scene.camera = camera
        render = scene.render
        render.engine = "CYCLES"
        render.use_persistent_data = True
        scene.cycles.samples = 64
        scene.cycles.use_denoising = scene.cycles.use_adaptive_sampling = False
        scene.view_settings.view_transform = "Raw"
        render.resolution_x = render.resolution_y = 24
        render.image_settings.file_format, render.image_settings.color_mode = "OPEN_EXR", "RGB"
        render.filepath = str(folder / "card.exr")

    def picture(self, values: dict[str, float]) -> Floats:
        """Linear pixels ``(24, 24, 3)`` of the card under a light."""
        self.light.apply({**catalogue.neutral(1.0), "light/elevation": math.pi / 2, "light/ambient": 0.0, **values})
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(bpy.context.scene.render.filepath)
        pixels = np.array(image.pixels).reshape(24, 24, -1)[..., :3]
        bpy.data.images.remove(image)
        return pixels

    def read(self, values: dict[str, float]) -> Floats:
        """Mean red, green and blue."""
        return self.picture(values).mean((0, 1))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, Settings(variables=EVERYTHING))


def staged(
    variables: Sequence[VariableSettings] = EVERYTHING, size: tuple[int, int] = (64, 48), **settings: object
) -> tuple[Stage, Renderer]:
    """The built-in robot, and what renders it for workers."""
    robot = load_urdf(builtin_urdf())
    render = RenderSettings(width=size[0], height=size[1], samples=4)
    complete_settings = complete(Settings(variables=tuple(variables), render=render, **settings), robot)  # type: ignore[arg-type]
    stage = Stage(bpy.context.scene, rig.build(bpy.context.scene, robot), complete_settings)
    return stage, Renderer(stage.scene, render, 2, stage.camera, stage.light.world)


def save_world(
    path: Path, spot: tuple[int, int], level: float = 1.0, size: tuple[int, int] = (32, 16), sun: float = 1000.0
) -> None:
    """A dim HDRI with one pixel (column, row from below) that is very bright."""
    image = bpy.data.images.new("made", *size, float_buffer=True)
    image.colorspace_settings.name = "Linear Rec.709"
    pixels = np.full((size[1], size[0], 4), 0.01 * level, np.float32)
    pixels[spot[1], spot[0]] = sun * level
    image.pixels.foreach_set(pixels.ravel())
    image.pack()
    path.write_bytes(image.packed_file.data)
    bpy.data.images.remove(image)


@pytest.mark.parametrize("angle", [0.01, 0.5])
@pytest.mark.parametrize("kind", range(4))
def test_every_kind_of_lamp_gives_the_light_of_a_sun(bench, kind, angle) -> None:
    """A sun of strength π shows a white card as one."""
    values = {"light/type": kind + 0.5, "light/size": angle, "light/strength": math.pi, "light/temperature": 6600.0}
    np.testing.assert_allclose(bench.read(values)[0], 1.0, rtol=0.01)
    assert bpy.context.scene.objects[f"{LAMP} 1"].data.type == KINDS[kind]


def test_how_far_lamps_stand_follows_the_robot_s_size(tmp_path) -> None:
    bench = Bench(tmp_path, Settings(variables=EVERYTHING), reach=0.3)
    red = [bench.read({"light/type": k + 0.5, "light/strength": math.pi})[0] for k in range(4)]
    np.testing.assert_allclose(red, 1.0, rtol=0.01)
    assert max(abs(x) for x in bpy.context.scene.objects[f"{LAMP} 1"].location) == pytest.approx(0.9 + 0.06, rel=0.01)


def test_strength_colour_and_direction(bench) -> None:
    base = bench.read({"light/strength": 1.0})
    np.testing.assert_allclose(bench.read({"light/strength": 2.0}), 2 * base, rtol=1e-3)
    warm, cold = (bench.read({"light/temperature": t}) for t in (2800.0, 9000.0))
    assert warm[0] / warm[2] > 3 and cold[0] / cold[2] < 1
    low = bench.read({"light/strength": 1.0, "light/elevation": math.radians(30)})
    np.testing.assert_allclose(low, base * 0.5, rtol=0.02)


@pytest.mark.parametrize("kind", range(4))
def test_larger_lamps_make_softer_shadows(bench, kind) -> None:
    """A wall casts its shadow over half of the card, from a lamp at one side."""
    bpy.ops.mesh.primitive_plane_add(size=0.2, location=(0.05, 0, AIM + 0.06), rotation=(0, math.pi / 2, 0))
    bpy.context.object.visible_camera = False

    def half_lit(angle: float) -> float:
        picture = bench.picture({
            "light/type": kind + 0.5, "light/size": angle, "light/strength": math.pi, "light/azimuth": 0.0,
            "light/elevation": math.radians(72),
        })  # fmt: skip
        row = picture[..., 0].mean(0)
        assert row[0] > 0.8 and row[-1] < 0.2, "the wall's shadow is not where it should be"
        return float(((row > 0.15) & (row < 0.85)).mean())

    assert half_lit(math.radians(15)) > half_lit(math.radians(1)) + 0.1


def test_lamps_add_up_and_unlit_ones_are_not_there(bench) -> None:
    one = {"light/strength": 1.0, "light/temperature": 6600.0}
    both = {**one, "light/count": 1.5, "light/2/strength": 3.0, "light/2/elevation": math.pi / 2}
    alone = bench.picture(one)
    np.testing.assert_allclose(bench.read(both)[0], 4 * alone[..., 0].mean(), rtol=0.02)
    np.testing.assert_array_equal(bench.picture(one), alone)
    settings = Settings(variables=(VariableSettings("light/count", 0, 1, 1),))
    Light(bpy.context.scene, bpy.context.scene.objects["base"], 1.0, settings)
    assert [o.name for o in bpy.context.scene.objects if o.type == "LIGHT"] == [f"{LAMP} 1"]


def test_the_kind_of_a_lamp_may_change_from_picture_to_picture(bench) -> None:
    draws = [{"light/type": k + 0.5, "light/size": 0.1 * (k + 1), "light/strength": 1.0 + k} for k in range(4)]
    first = [bench.picture(d) for d in draws]
    for index in (2, 0, 3, 1):
        np.testing.assert_array_equal(bench.picture(draws[index]), first[index])


@pytest.mark.parametrize("world", range(9))
def test_worlds_are_as_bright_as_one_another(bench, world) -> None:
    """The mean of what a card sees above and below is what a plain world gives, whatever the picture."""
    values = {"light/strength": 0.0, "light/ambient": 0.5, "light/world": world + 0.5}
    up = bench.read(values) @ hdri_files.LUMINANCE
    bench.card.rotation_euler[0] = math.pi
    bench.card.location[2] = 2.0
    bpy.context.scene.camera.location = (0, 0, 1.0)
    bpy.context.scene.camera.rotation_euler[0] = math.pi
    down = bench.read(values) @ hdri_files.LUMINANCE
    assert 0.3 < (up + down) / 2 / 0.5 < 1.7
    if world == 0:
        np.testing.assert_allclose((up, down), 0.5, rtol=1e-3)


def test_a_user_s_world_lights_from_where_its_sun_is_and_turns(tmp_path) -> None:
    folder = tmp_path / "worlds"
    folder.mkdir()
    # Column 16 is the +x direction, and those before it lie anticlockwise; row 8 is just above the horizon.
    save_world(folder / "sun.exr", (15, 8))
    settings = Settings(variables=(VariableSettings("light/world", 9, 10, 1),), scene=SceneSettings(worlds=str(folder)))
    bench = Bench(tmp_path, settings)

    def side(azimuth: float, turn: float) -> float:
        """Light that falls on a card which stands upright and looks that way."""
        outward = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
        scene = bpy.context.scene
        bench.card.location = (0, 0, 0)
        bench.card.rotation_euler = (0, math.pi / 2, azimuth)
        scene.camera.location = outward
        scene.camera.rotation_euler = (math.pi / 2, 0, azimuth + math.pi / 2)
        values = {**DARK, "light/ambient": 1.0, "light/world": 9.5, "light/world_rotation": turn}
        return float(bench.read(values)[1])

    assert side(0.0, 0.0) > 20 * side(math.pi, 0.0)
    assert side(math.pi / 2, math.pi / 2) == pytest.approx(side(0.0, 0.0), rel=0.1)
    assert side(math.pi / 2, -math.pi / 2) < 0.1 * side(0.0, 0.0)


def test_a_sun_in_a_picture_makes_no_specks(tmp_path) -> None:
    """Where Cycles does not know exactly where the sun is, it is hit by chance, and then all too bright."""
    folder = tmp_path / "worlds"
    folder.mkdir()
    save_world(folder / "sun.exr", (300, 380), size=(1024, 512), sun=6e4)
    variables = (VariableSettings("light/world", 9.5, 9.5, 1),)
    bench = Bench(tmp_path, Settings(variables=variables, scene=SceneSettings(worlds=str(folder))))
    bench.light.world.lay_behind()
    bpy.context.scene.cycles.samples = 4
    means = []
    for turn in (0.01, 1.0, 2.3):
        values = {**DARK, "light/ambient": 1.0, "light/world": 9.5, "light/world_rotation": turn}
        red = bench.picture(values)[..., 0]
        assert red.std() < 0.3 * red.mean()
        means.append(red.mean())
    np.testing.assert_allclose(means, means[0], rtol=0.03)


def test_a_sun_beside_a_world_is_little_noise() -> None:
    stage, renderer = staged(size=(96, 72))
    stage.apply({"light/world": 4.5, "light/strength": 2.0, "light/ambient": 0.5, "camera/distance": 1.2})
    stage.scene.cycles.samples = 16
    few = renderer.render().astype(float)
    stage.scene.cycles.samples = 400
    many = renderer.render().astype(float)
    inside = (few[..., 3] == 255) & (many[..., 3] == 255)
    noise = np.sqrt(((few - many)[inside] ** 2).mean())
    assert noise < 14.0, "of 255, at 16 samples"
    renderer.close()


def test_worlds_that_cannot_be_had_are_told_in_a_sentence(tmp_path, monkeypatch) -> None:
    bad = tmp_path / "bad.exr"
    bad.write_bytes(b"not a picture")
    variables = (VariableSettings("light/world", 9.5, 9.5, 1),)
    stage, _ = staged(variables, scene=SceneSettings(worlds=str(tmp_path)))
    with pytest.raises(UserError, match=r"bad\.exr can't be read as a picture"):
        stage.apply({"light/world": 9.5})
    bad.unlink()
    with pytest.raises(UserError, match="is not there any more"):
        hdri_files.locate(str(bad))
    monkeypatch.setattr(bpy.utils, "system_resource", lambda *_, **__: "")
    with pytest.raises(UserError, match="lacks its own HDRI world 'city'"):
        staged()


def test_only_what_the_priors_can_need_is_made() -> None:
    stage, _ = staged(())
    assert not [i for i in bpy.data.images if hdri_files.MARK in i]
    assert len(bpy.data.worlds[WORLD].node_tree.nodes) == 2
    assert [o.name for o in stage.scene.objects if o.type == "LIGHT"] == [f"{LAMP} 1"]
    stage, _ = staged((VariableSettings("light/world", 3.5, 3.5, 1), VariableSettings("light/count", 1.5, 1.5, 1)))
    stage.apply({"light/world": 3.5})
    assert [Path(i[hdri_files.MARK]).stem for i in bpy.data.images if hdri_files.MARK in i] == ["forest"]
    assert len([n for n in bpy.data.worlds[WORLD].node_tree.nodes if n.type == "TEX_ENVIRONMENT"]) == 1
    assert len([o for o in stage.scene.objects if o.type == "LIGHT"]) == 2


def test_building_the_stage_again_changes_nothing() -> None:
    stage, renderer = staged()
    values = {"light/world": 6.5, "light/count": 2.5, "light/2/type": 1.5, "background/world": 1.5}
    stage.apply(values)
    first = renderer.render()
    count = (len(bpy.data.lights), len(bpy.data.images), len(bpy.data.worlds[WORLD].node_tree.nodes))
    renderer.close()
    again = Stage(stage.scene, stage.armature, stage.settings)
    renderer = Renderer(stage.scene, stage.settings.render, 2, again.camera, again.light.world)
    again.apply(values)
    np.testing.assert_array_equal(renderer.render(), first)
    assert count == (len(bpy.data.lights), len(bpy.data.images), len(bpy.data.worlds[WORLD].node_tree.nodes))
    renderer.close()


def test_the_world_stands_behind_the_robot_only_if_it_is_to() -> None:
    stage, renderer = staged()
    for values in ({}, {"light/world": 4.5}):
        stage.apply({**values, "background/world": 0.5})
        assert (renderer.render()[..., 3] == 0).mean() > 0.3
        stage.apply({**values, "background/world": 1.5, "camera/k1": 0.05})
        assert (renderer.render()[..., 3] == 255).all()
    stage.apply({"background/world": 1.5, "light/ambient": 0.5, "light/strength": 0.0})
    assert (renderer.render()[0, 0] == (188, 188, 188, 255)).all(), "half of white, as a display shows it"
    renderer.close()


@pytest.mark.parametrize(
    "values",
    [
        {"light/world": 0.5, "light/ambient": 0.3},
        {"light/world": 3.5, "camera/exposure": 0.5, "camera/principal_x": 0.03},
        {"light/world": 1.5, "light/world_rotation": 2.0, "camera/elevation": -0.1, "camera/roll": 0.3},
        {"light/world": 5.5, "camera/aperture": 12.0, "camera/focal_length": 60.0, "camera/focus": 0.75},
    ],
)  # fmt: skip
def test_what_is_laid_behind_is_what_blender_shows(values) -> None:
    robot = load_urdf(builtin_urdf())
    render = RenderSettings(width=160, height=120, samples=24)
    settings = complete(Settings(variables=EVERYTHING, render=render), robot)
    armature = rig.build(bpy.context.scene, robot)
    for obj in rig.robot_meshes(armature):
        obj.hide_render = True
    pictures = []
    for apart in (False, True):
        stage = Stage(bpy.context.scene, armature, settings)
        renderer = Renderer(stage.scene, render, 2, stage.camera, stage.light.world if apart else None)
        stage.apply({"background/world": 1.5, "light/ambient": 0.6, **values})
        pictures.append(renderer.render().astype(float))
        renderer.close()
    difference = np.abs(pictures[0] - pictures[1])
    assert difference.mean() < 2.0, "of 255"
    # A picture a pixel beside would differ by more.
    shifted = np.abs(pictures[0] - np.roll(pictures[1], 1, axis=1))
    assert values["light/world"] == 0.5 or shifted.mean() > 1.2 * difference.mean()


def test_many_worlds_take_turns(tmp_path, monkeypatch) -> None:
    """More than are kept at hand: each looks the same whenever it comes back, and memory does not grow."""
    monkeypatch.setattr(stage_world, "MEMORY", (SLOTS + 1) * 150_000)
    for index in range(SLOTS + 3):
        save_world(tmp_path / f"{index:02}.exr", (index, 5 + index % 8), 0.5 + index)
    settings = SceneSettings(worlds=str(tmp_path))
    stage, renderer = staged(
        (*EVERYTHING[:3], VariableSettings("light/world", 9, 20, 11), EVERYTHING[4]), scene=settings
    )

    def render(index: int) -> NDArray[np.uint8]:
        stage.apply({"light/world": 9.5 + index, "background/world": 1.5})
        return renderer.render()

    first = [render(i) for i in range(SLOTS + 3)]
    assert len({p.tobytes() for p in first}) == SLOTS + 3
    for index in (0, 10, 5, 0, 8):
        np.testing.assert_array_equal(render(index), first[index])
    assert len([i for i in bpy.data.images if hdri_files.MARK in i]) == SLOTS + 1
    renderer.close()


def test_a_file_that_is_saved_with_a_world_shows_it_again(tmp_path) -> None:
    """As when the user draws a sample and saves; the HDRI's own file need not be there then."""
    robot = load_urdf(builtin_urdf())
    settings = complete(Settings(variables=EVERYTHING), robot)
    stage = Stage(bpy.context.scene, rig.build(bpy.context.scene, robot), settings)
    stage.apply({"light/world": 6.5, "background/world": 1.5})
    assert not stage.scene.render.film_transparent

    def pixels() -> NDArray[np.float32]:
        (image,) = (i for i in bpy.data.images if hdri_files.MARK in i)
        return np.array(image.pixels, dtype=np.float32)

    before = pixels()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"), copy=True)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    assert before.max() > 10.0
    np.testing.assert_allclose(pixels(), before, rtol=2e-3, atol=1e-6)


def test_light_engines_take_worlds_too() -> None:
    stage, renderer = staged()
    renderer.close()
    renderer = Renderer(stage.scene, RenderSettings("workbench", 64, 48), 1, stage.camera, stage.light.world)
    stage.apply({"light/world": 2.5, "background/world": 1.5})
    picture = renderer.render()
    assert (picture[..., 3] == 255).all() and len(np.unique(picture[0].reshape(-1, 4), axis=0)) > 10
    renderer.close()


def test_large_files_are_read_smaller(tmp_path) -> None:
    save_world(tmp_path / "large.exr", (100, 70), size=(256, 128), sun=500.0)
    whole, _ = hdri_files.load(str(tmp_path / "large.exr"), 256)
    half, _ = hdri_files.load(str(tmp_path / "large.exr"), 100)
    assert (whole.shape, half.shape) == ((128, 256, 3), (64, 128, 3))
    np.testing.assert_allclose(half, hdri_files.resized(whole, 128), rtol=1e-2)


def test_pictures_keep_their_light_when_they_shrink() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.random((60, 120, 3)) ** 8
    for width in (120, 40, 32, 7):
        small = hdri_files.resized(pixels, width)
        assert small.shape == (max(width // 2, 1), width, 3)
        np.testing.assert_allclose(small.mean((0, 1)), pixels.mean((0, 1)), rtol=1e-9)
    np.testing.assert_allclose(hdri_files.resized(pixels, 120), pixels, atol=1e-12)
    assert hdri_files.mean_luminance(np.full((8, 16, 3), 0.7)) == pytest.approx(0.7)
    pole = np.zeros((64, 128, 3))
    pole[-1] = 1.0
    assert hdri_files.mean_luminance(pole) < 0.001, "the rows at the poles are small"
