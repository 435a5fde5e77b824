# SPDX-License-Identifier: GPL-3.0-or-later
"""Distractors, occluders, cables, floor and walls: seen as their variables say, and labelled as they are seen."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import bpy
import numpy as np
import pytest
from mathutils import Vector
from robot_keypoints.addon.robot import rig
from robot_keypoints.addon.stage import distractor_meshes, irradiance, object_pool, pattern_nodes
from robot_keypoints.addon.stage.distractors import COLLECTION
from robot_keypoints.addon.stage.stage import Stage
from robot_keypoints.addon.stage.surroundings import COLLECTION as SURROUNDINGS, shadows
from robot_keypoints.addon.worker import labels, level_of_detail
from robot_keypoints.addon.worker.render_region import Region
from robot_keypoints.addon.worker.renderer import Renderer
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.core.scene import catalogue
from robot_keypoints.core.settings.completion import complete
from robot_keypoints.core.settings.schema import RenderSettings, SceneSettings, Settings, VariableSettings

NONE = {f"objects/{n}": 0.5 for n in ("count", "front", "cables", "carried")} | {
    f"surroundings/{n}": 0.5 for n in ("floor", "walls")
}
ALL = {
    "objects/count": 8.5, "objects/front": 3.5, "objects/cables": 3.5, "objects/carried": 1.5, "objects/layout": 0.3,
}  # fmt: skip
VIEW = {"camera/azimuth": 0.7, "camera/elevation": 0.35, "camera/distance": 2.2, "joint/shoulder_lift_joint": -1.2}


def staged(preset: str = "everything", variables: tuple[VariableSettings, ...] = (), **render: object) -> Stage:
    robot = load_urdf(builtin_urdf())
    size = {"width": 96, "height": 72, "samples": 2, **render}
    scene = SceneSettings(preset=preset)
    settings = complete(Settings(render=RenderSettings(**size), scene=scene, variables=variables), robot)  # type: ignore[arg-type]
    return Stage(bpy.context.scene, rig.build(bpy.context.scene, robot), settings)


class Pictures:
    """What a stage looks like for some values, the rest neutral."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._renderer = Renderer(bpy.context.scene, stage.settings.render, 2, stage.camera)

    def __call__(self, values: Mapping[str, float]) -> np.ndarray:
        self.stage.apply({**NONE, **VIEW, **values})
        return self._renderer.render()


def draws(stage: Stage, count: int, seed: int = 0) -> list[dict[str, float]]:
    model, rng = stage.settings.scene_model(), np.random.default_rng(seed)
    return [dict(model.sample(rng).values) for _ in range(count)]


def seen(stage: Stage, columns: int = 40) -> np.ndarray:
    """Names of what rays through the picture meet, empty for nothing."""
    k, pose = stage.camera.intrinsics(), stage.camera.pose()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    names = []
    for v in np.linspace(0, k.height - 1, columns * 3 // 4):
        for u in np.linspace(0, k.width - 1, columns):
            ray = pose[:3, :3] @ ((u - k.cx) / k.fx, (v - k.cy) / k.fy, 1.0)
            hit = bpy.context.scene.ray_cast(depsgraph, Vector(pose[:3, 3]), Vector(ray).normalized())
            names.append(hit[4].name if hit[0] else "")
    return np.array(names)


@pytest.mark.parametrize("engine", ["cycles", "workbench"])
def test_every_variable_is_seen(engine: str) -> None:
    picture = Pictures(staged(engine=engine))
    empty = picture({})
    room = {"surroundings/floor": 1.5, "surroundings/walls": 2.5, "surroundings/layout": 0.3}
    for name, base, value in (
        ("objects/count", {"objects/layout": 0.6}, 5.5), ("objects/front", {}, 1.5),
        ("objects/cables", {}, 2.5), ("objects/carried", {}, 1.5), ("objects/size", ALL, 0.35),
        ("objects/layout", ALL, 0.8),
        ("surroundings/floor", {}, 1.5), ("surroundings/walls", {}, 1.5), ("surroundings/distance", room, 4.0),
        ("surroundings/brightness", room, 0.9), ("surroundings/layout", room, 0.6),
    ):  # fmt: skip
        before, after = picture(base), picture({**base, name: value})
        # Where nothing is, Workbench leaves any colour.
        (a, b) = (i[..., :3] * (i[..., 3:] / 255) for i in (before, after))
        changed = (abs(a - b) > 16).any(axis=-1).mean()
        assert changed > 0.003, f"{name} changes only {changed:.2%} of the picture"
    np.testing.assert_array_equal(picture({}), empty)


def test_what_is_not_drawn_leaves_the_picture_as_it_is_without() -> None:
    fixed = tuple(VariableSettings(n, v, v, 1) for n, v in NONE.items())
    stage = staged(variables=fixed)
    # Defocus or a world behind would have the whole picture rendered, and so hide what makes more of it rendered.
    without, values = Pictures(stage), {**draws(stage, 1)[0], "camera/aperture": 0.0, "background/world": 0.5}
    assert COLLECTION not in bpy.data.collections and SURROUNDINGS not in bpy.data.collections
    plain, box = without(values), Region(bpy.context.scene).visible()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    picture = Pictures(staged("everything"))
    picture({**values, **ALL, "surroundings/floor": 1.5, "surroundings/walls": 4.5})
    bpy.data.objects["Keypoints Object 3"].location = (50.0, 0.0, 0.0)
    np.testing.assert_array_equal(picture(values), plain)
    assert Region(bpy.context.scene).visible() == box != (0, 0, 96, 72)


def test_the_same_values_give_the_same_picture_bit_for_bit() -> None:
    def render(order: list[int]) -> dict[int, np.ndarray]:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        stage = staged()
        level_of_detail.keep_geometry(bpy.context.scene)
        picture, values = Pictures(stage), draws(stage, 5)
        return {i: picture(values[i]) for i in order}

    first, again = render([0, 1, 2, 3, 4]), render([4, 2, 2, 0, 3, 1])
    for index, image in first.items():
        np.testing.assert_array_equal(image, again[index])


def test_rays_meet_exactly_what_is_rendered() -> None:
    """Every solid and cable: where the picture is opaque a ray hits, and where it is empty none does."""
    stage = staged(samples=16)
    for obj in rig.robot_meshes(stage.armature):
        obj.hide_render = obj.hide_viewport = True
    picture, kinds = Pictures(stage), set()
    straight = {f"camera/{n}": 0.0 for n in ("k1", "k2", "p1", "p2", "aperture")} | {"background/world": 0.5}
    hits = 0
    for values in draws(stage, 5):
        values = {k: v for k, v in values.items() if k not in NONE}
        wanted = ALL if hits < 500 else {"objects/cables": 3.5}
        alpha = picture({**values, **wanted, **straight, "objects/layout": values["objects/layout"]})[..., 3]
        names = seen(stage, 96).reshape(72, 96)
        kinds |= {bpy.data.objects[n].data.name for n in set(names.ravel()) - {""}}
        assert (names[alpha == 255] != "").all()
        assert (names[alpha == 0] == "").all()
        hits += (names != "").sum()
    assert hits > 500
    assert len(kinds) > 5 and any("cable" in k for k in kinds)


def test_labels_know_what_an_occluder_hides() -> None:
    stage = staged()
    for obj in rig.robot_meshes(stage.armature):
        obj.hide_viewport = obj.hide_render = True
    occluded = 0
    for values in draws(stage, 12):
        stage.apply({**values, **NONE})
        free = labels.label(stage).visibility
        stage.apply({**values, **NONE, "objects/front": 3.5, "objects/size": 0.3})
        covered = labels.label(stage).visibility
        assert (covered <= free).all() and ((covered == 0) == (free == 0)).all()
        occluded += int((covered < free).sum())
    assert occluded >= 5


def test_the_robot_stays_in_sight() -> None:
    """Occluders cover a part of it, distractors and walls nothing; all of them keep out of it."""
    stage = staged()
    robot = {o.name for o in rig.robot_meshes(stage.armature)}
    covered: dict[str, list[float]] = {"objects/front": [], "objects/count": [], "surroundings/walls": []}
    for values in draws(stage, 11, seed=2):
        values = {**values, **NONE}
        stage.apply(values)
        free = np.isin(seen(stage), list(robot))
        if free.sum() < 15:
            continue
        for name, shares in covered.items():
            stage.apply({**values, name: len(catalogue.BY_NAME[name].choices) - 0.5})
            shares.append(1 - np.isin(seen(stage), list(robot))[free].mean())
    assert len(covered["objects/front"]) >= 8
    assert 0.05 < np.mean(covered["objects/front"]) < 0.3
    assert max(covered["objects/front"]) < 0.55
    assert max(covered["objects/count"]) < 0.1
    assert max(covered["surroundings/walls"]) == 0.0


def test_solids_keep_out_of_the_robot_and_of_the_camera() -> None:
    stage = staged()
    shown = 0
    for values in draws(stage, 8, seed=2):
        stage.apply({**values, **ALL, "objects/layout": values["objects/layout"]})
        depsgraph = bpy.context.evaluated_depsgraph_get()
        eye = Vector(stage.camera.pose()[:3, 3])
        for obj in bpy.data.collections[COLLECTION].objects:
            if not any(obj.scale) or "cable" in obj.data.name or "carried" in obj.data.name:
                continue
            shown += 1
            radius = max(obj.scale)
            assert (eye - obj.location).length > 2 * radius
            for mesh in rig.robot_meshes(stage.armature):
                local = mesh.matrix_world.inverted() @ obj.location
                _, nearest, _, _ = mesh.closest_point_on_mesh(local, depsgraph=depsgraph)
                assert (mesh.matrix_world @ nearest - obj.location).length > radius
    assert shown > 60


def _carried() -> bpy.types.Object:
    (found,) = [o for o in bpy.data.collections[COLLECTION].objects if any(o.scale)]
    return found


def test_what_is_carried_hangs_on_the_tip_however_the_robot_moves() -> None:
    stage = staged()
    kinds = set()
    for layout in np.linspace(0.0, 0.97, 12):
        places = []
        for elbow, wrist in ((0.0, 0.0), (1.1, 2.0)):
            pose = {"joint/elbow_joint": elbow, "joint/wrist_2_joint": -elbow, "joint/wrist_3_joint": wrist}
            stage.apply({**NONE, **VIEW, **pose, "objects/carried": 1.5, "objects/layout": layout})
            carried = _carried()
            tip = next(o for o in rig.robot_meshes(stage.armature) if o.parent_bone == "wrist_3_link")
            frame = stage.armature.matrix_world @ stage.armature.pose.bones["wrist_3_link"].matrix
            places.append(np.array(frame.inverted() @ carried.matrix_world))
            at = tip.matrix_world.inverted() @ carried.location
            _, nearest, _, _ = tip.closest_point_on_mesh(at, depsgraph=bpy.context.evaluated_depsgraph_get())
            reach = (tip.matrix_world @ nearest - carried.location).length
            assert reach < np.linalg.norm(carried.dimensions) / 2 + 0.06 * stage.robots[""].reach
        np.testing.assert_allclose(*places, atol=1e-4)
        kinds.add(carried.data.name)
    assert len(kinds) > 4


def test_labels_know_what_is_hidden_by_what_is_carried() -> None:
    stage = staged()
    hidden = 0
    for values in draws(stage, 12, seed=3):
        stage.apply({**values, **NONE})
        free = labels.label(stage).visibility
        stage.apply({**values, **NONE, "objects/carried": 1.5})
        covered = labels.label(stage).visibility
        assert (covered <= free).all() and ((covered == 0) == (free == 0)).all()
        hidden += int((covered < free).sum())
    assert hidden >= 3


def test_one_more_leaves_the_others_where_they_are() -> None:
    stage = staged()

    def places(count: float) -> list[tuple[float, ...]]:
        stage.apply({**NONE, **VIEW, "objects/layout": 0.4, "objects/count": count})
        shown = [o for o in bpy.data.collections[COLLECTION].objects if any(o.scale)]
        return sorted(tuple(o.location) for o in shown)

    assert set(places(4.5)) < set(places(5.5))


FIRST = 16
"""Columns that are looked at; the places come after what is told of size, rotation and appearance."""


class Rows:
    """In place of a generator: the same numbers for every row, of which a test changes those of one column."""

    def __init__(self) -> None:
        self.changes: dict[int, float] = {}

    def random(self, shape: tuple[int, int]) -> np.ndarray:
        rows = np.tile(np.random.Generator(np.random.PCG64(5)).random(shape[1]), (shape[0], 1))
        rows[:, :FIRST] = 0.8  # neither standing nor grey nor of metal
        for column, value in self.changes.items():
            rows[:, column] = value
        return rows

    def permutation(self, count: int) -> np.ndarray:
        return np.arange(count)


@pytest.mark.parametrize("kind", ["count", "front", "cables"])
def test_size_rotation_and_appearance_share_no_random_number(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, rows = staged(), Rows()
    usual, ours = np.random.default_rng, int(0.4 * 2**53)
    monkeypatch.setattr(np.random, "default_rng", lambda seed: rows if seed == ours else usual(seed))
    objects = bpy.data.collections[COLLECTION].objects

    def look(changes: dict[int, float]) -> dict[str, tuple[float, ...]]:
        rows.changes = changes
        stage.apply({**NONE, **VIEW, "objects/layout": 0.4, f"objects/{kind}": 1.5})
        shown = next(o for o in objects if any(o.scale))
        *colour, surface = shown.color
        return {
            "scale": tuple(shown.scale), "rotation": tuple(shown.rotation_quaternion),
            "colour": tuple(colour), "metal": (float(surface >= 0.5),), "roughness": (round(surface % 0.5, 6),),
        }  # fmt: skip

    first = look({})
    used: dict[str, set[int]] = {name: set() for name in first}
    for column, value in itertools.product(range(FIRST), (0.1, 0.4, 0.95)):
        now = look({column: value})
        for name in first:
            if now[name] != first[name]:
                used[name].add(column)
    assert all(used[name] for name in ("scale", "colour", "metal", "roughness")), used
    assert bool(used["rotation"]) == (kind != "cables")  # which are bent, not turned
    for a, b in itertools.combinations(used, 2):
        assert not used[a] & used[b], (a, b, used)


def test_floor_and_walls_fill_the_picture_and_stand_where_they_should() -> None:
    stage = staged()
    floor_height = replace(stage.settings, scene=replace(stage.settings.scene, floor=-0.25))
    stage.armature.location = (0.5, -2.0, 0.3)
    bpy.context.view_layer.update()
    stage = Stage(bpy.context.scene, stage.armature, floor_height)
    picture = Pictures(stage)
    image = picture({"surroundings/floor": 1.5, "surroundings/walls": 4.5, "surroundings/layout": 0.9})
    assert (image[..., 3] == 255).mean() > 0.95
    floor = bpy.data.objects["Keypoints Floor"]
    assert floor.matrix_world.translation.z == pytest.approx(0.3 - 0.25, abs=2e-3)
    low = picture({"surroundings/floor": 1.5, "camera/elevation": -0.5})
    assert not any(floor.scale), "seen from below, a floor would hide the robot"
    np.testing.assert_array_equal(low, picture({"camera/elevation": -0.5}))


@pytest.mark.parametrize("world", [0.5, 7.5])
def test_the_far_floor_is_as_bright_as_the_near_one(world: float) -> None:
    """Its light is added up instead of traced: the same in the end, under a plain world and under an HDRI one."""
    stage = staged(samples=64)
    stage.light.world.lay_behind()
    for obj in rig.robot_meshes(stage.armature):
        obj.hide_render = True
    picture = Pictures(stage)
    # The first pattern is plain; such a layout exists.
    for layout in np.linspace(0, 0.999, 400):
        u = np.random.default_rng(int(layout * 2**53)).random(32)
        if u[0] > 0.6 and u[7] < 0.2 and int(u[2] * pattern_nodes.COUNT) == 0:
            break
    down = {"camera/elevation": 1.5, "camera/distance": 4.0, "camera/target_z": 0.0, "camera/focal_length": 24.0}
    light = {"light/strength": 3.0, "light/temperature": 4000.0, "light/ambient": 0.2, "light/elevation": 0.9}
    light |= {"light/world": world, "light/world_rotation": 1.0}
    image = picture({**down, **light, "surroundings/floor": 1.5, "surroundings/layout": float(layout)}).astype(float)
    assert (image[..., 3] == 255).all()
    near, far = image[33:39, 45:51, :3].mean(axis=(0, 1)), image[:, :6, :3].mean(axis=(0, 1))
    assert near.min() > 20 and near.max() < 250
    np.testing.assert_allclose(near, far, atol=5)
    assert near[0] > near[2] + 5, "the lamp is warm"


def test_light_is_traced_where_shadows_fall() -> None:
    corners = np.array([[x, y, z] for x in (-0.1, 0.1) for y in (-0.1, 0.1) for z in (0.0, 1.0)])
    towards = np.array([1.0, 0.0, 1.0]) / np.sqrt(2)
    middle, half, angle = shadows(corners, [towards], 2.0)
    assert sorted(half) == pytest.approx([0.1, 0.6])
    np.testing.assert_allclose(middle, (-0.5, 0.0), atol=1e-9)
    assert np.cos(2 * angle) == pytest.approx(1.0)
    low = np.array([0.0, -1.0, 0.05])
    _, half, angle = shadows(corners, [low], 2.0)
    assert max(half) == pytest.approx(1.1) and np.cos(2 * angle) == pytest.approx(-1.0), "a long shadow is cut off"
    assert max(shadows(corners, [], 2.0)[1]) == pytest.approx(0.1)
    assert max(shadows(corners - (0, 0, 3), [low], 2.0)[1]) == 0.0


def test_the_robot_casts_its_shadow() -> None:
    stage = staged(samples=8, width=160, height=120)
    stage.armature.location, stage.armature.rotation_euler.z = (1.0, -2.0, 0.5), 0.6
    bpy.context.view_layer.update()
    stage = Stage(bpy.context.scene, stage.armature, stage.settings)
    picture = Pictures(stage)
    values = {
        "camera/elevation": 1.3, "camera/distance": 5.0, "camera/target_z": 0.0, "light/elevation": 0.7,
        "light/strength": 5.0, "light/ambient": 0.1, "surroundings/floor": 1.5, "surroundings/layout": 0.3,
        "joint/shoulder_lift_joint": -1.5, "joint/elbow_joint": 0.0,
    }  # fmt: skip
    for azimuth in (0.5, 2.0, 4.0):
        without = picture({**values, "light/azimuth": azimuth, "light/strength": 0.0}).astype(int)
        image = picture({**values, "light/azimuth": azimuth}).astype(int)
        base = np.array(stage.armature.matrix_world)
        away = -np.array([np.cos(azimuth), np.sin(azimuth)]) / np.tan(0.7)
        arm = np.concatenate([
            np.array([o.matrix_world @ v.co for v in o.data.vertices])
            for o in rig.robot_meshes(stage.armature) if o.parent_bone == "upper_arm_link"
        ])  # fmt: skip
        middle = (np.linalg.inv(base) @ (*((arm.min(axis=0) + arm.max(axis=0)) / 2), 1.0))[:3]
        at = base @ (*(middle[:2] + middle[2] * away), 0.0, 1.0)
        pixels, _ = stage.camera.intrinsics().project((np.linalg.inv(stage.camera.pose()) @ at)[None, :3])
        u, v = pixels[0]
        patch = (slice(round(v) - 1, round(v) + 2), slice(round(u) - 1, round(u) + 2))
        gain = (image - without)[..., :3].sum(axis=-1)
        assert gain[patch].min() < 0.5 * np.median(gain), f"no shadow where the sun stands at {azimuth}"


@pytest.mark.parametrize("normal", [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0)])
def test_a_world_lights_surfaces_as_it_is_added_up_to(normal: tuple[float, float, float]) -> None:
    """Against a white matt square that Cycles lights."""
    scene = bpy.context.scene
    stage = staged(samples=256, width=32, height=32)
    for obj in (*rig.robot_meshes(stage.armature), *(o for o in scene.objects if o.type == "LIGHT")):
        obj.hide_render = True
    stage.light.world.lay_behind()
    white = bpy.data.materials.new("White")
    white.use_nodes = True
    tree = white.node_tree
    matt = pattern_nodes.node(tree, "ShaderNodeBsdfDiffuse")
    matt.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    tree.links.new(matt.outputs[0], tree.nodes["Material Output"].inputs["Surface"])
    bpy.ops.mesh.primitive_plane_add(size=10.0)
    plane = bpy.context.object
    plane.data.materials.append(white)
    plane.rotation_euler = Vector(normal).to_track_quat("Z", "Y").to_euler()
    elevation = 1.5 if normal[2] else 0.0
    camera = {"camera/azimuth": float(np.arctan2(normal[1], normal[0])), "camera/elevation": elevation}
    renderer = Renderer(scene, stage.settings.render, 2, stage.camera)
    values = {**NONE, **camera, "light/world": 8.5, "light/ambient": 0.4, "light/world_rotation": 2.0}
    stage.apply(values)
    image = renderer.render()[8:24, 8:24, :3].mean(axis=(0, 1)) / 255
    linear = np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    expected = stage.light.world.radiance(normal)
    np.testing.assert_allclose(linear, expected, rtol=0.12, atol=0.01)
    turned = irradiance.radiance(stage.light.world._light[0], normal, 0.5) * 0.4
    assert normal[2] or abs(turned - expected).max() > 0.02


def test_only_what_a_run_can_need_is_made_and_only_once() -> None:
    few = (VariableSettings("objects/count", 0.0, 3.0, 3), VariableSettings("surroundings/walls", 1.5, 1.5, 1))
    stage = staged("fast", few)
    solids_made = list(bpy.data.collections[COLLECTION].objects)
    assert len(solids_made) == len(distractor_meshes.KINDS)
    assert [o.name for o in bpy.data.collections[SURROUNDINGS].objects] == ["Keypoints Wall 1"]
    assert not any(i.name == "Keypoints Floor" for i in bpy.data.objects)
    counts = [len(getattr(bpy.data, n)) for n in ("objects", "meshes", "materials", "images", "collections")]
    Stage(bpy.context.scene, stage.armature, stage.settings)
    assert counts == [len(getattr(bpy.data, n)) for n in ("objects", "meshes", "materials", "images", "collections")]
    Stage(bpy.context.scene, stage.armature, complete(Settings(), load_urdf(builtin_urdf())))
    assert COLLECTION not in bpy.data.collections and not any("Keypoints Object" in o.name for o in bpy.data.objects)


def test_the_largest_choice_of_a_prior() -> None:
    def most(low: float, high: float) -> int:
        return object_pool.most(Settings(variables=(VariableSettings("objects/count", low, high, 1),)), "objects/count")

    assert [most(0, 5), most(0, 9), most(0.5, 0.5), most(4.0, 4.0), most(2, 2.5)] == [4, 8, 0, 4, 2]
    assert object_pool.most(Settings(), "objects/count") == 0


def test_an_armature_of_bones_alone_has_surroundings_too() -> None:
    data = bpy.data.armatures.new("Bones")
    armature = bpy.data.objects.new("Bones", data)
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    bone = data.edit_bones.new("arm")
    bone.tail = (0, 0, 0.5)
    bpy.ops.object.mode_set(mode="OBJECT")
    variables = tuple(VariableSettings(n, v, v, 1) for n, v in ALL.items())
    stage = Stage(bpy.context.scene, armature, Settings(variables=variables))
    stage.apply(ALL)
    assert sum(any(o.scale) for o in bpy.data.collections[COLLECTION].objects) >= 6


def test_patterns_are_seamless_and_differ() -> None:
    tiles = pattern_nodes.tiles()
    assert len(tiles) == pattern_nodes.COUNT
    for name, tile in zip(pattern_nodes.NAMES, tiles, strict=True):
        assert tile.min() >= 0 and tile.max() <= 1 and tile.shape == (pattern_nodes.SIZE, pattern_nodes.SIZE)
        if name in ("clouds", "concrete"):
            inner = abs(np.diff(tile, axis=0)).mean()
            assert abs(tile[0] - tile[-1]).mean() < 3 * inner
    assert len({t.tobytes() for t in tiles}) == pattern_nodes.COUNT
