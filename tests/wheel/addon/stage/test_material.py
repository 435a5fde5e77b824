# SPDX-License-Identifier: GPL-3.0-or-later
"""Materials do what their variables say, each group for itself, and users' own materials survive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import bpy
import numpy as np
import pytest
from mathutils import Matrix
from numpy.typing import NDArray
from robot_keypoints.addon.robot.rig import robot_meshes
from robot_keypoints.addon.stage import material as stage_material, wear_images
from robot_keypoints.addon.stage.material import Materials
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.scene import catalogue
from robot_keypoints.core.settings.schema import LinkGroup, RenderSettings, Settings, VariableSettings

Picture = NDArray[np.int64]

WORN = tuple(VariableSettings(f"material/{n}", 0, 1, 4) for n in ("dirt", "scratches", "stickers"))
EVERYTHING = (
    *(VariableSettings(f"material/{n}", 0, 1, 4) for n in ("hue", "saturation", "brightness", "tint", "roughness")),
    VariableSettings("material/metallic", 0, 1, 4),
    *WORN,
    VariableSettings("material/original", 0, 2, 2),
    VariableSettings("material/pattern", 0, 1, 4),
)
SIZE = 64


class Scene:
    """Two balls on the two bones of an armature, seen side by side, under a lamp and an even sky."""

    def __init__(self) -> None:
        scene = self.scene = bpy.context.scene
        data = bpy.data.armatures.new("arm")
        self.armature = bpy.data.objects.new("arm", data)
        scene.collection.objects.link(self.armature)
        bpy.context.view_layer.objects.active = self.armature
        bpy.ops.object.mode_set(mode="EDIT")
        for number, name in enumerate(("left", "right")):
            bone = data.edit_bones.new(name)
            bone.head, bone.tail = (number, 0, 0), (number, 0.1, 0)
        bpy.ops.object.mode_set(mode="OBJECT")
        self.shared = principled("shared", (0.2, 0.5, 0.8))
        self.balls = [ball(self.armature, name, x) for name, x in (("left", -0.5), ("right", 0.5))]
        for obj in self.balls:
            obj.data.materials.append(self.shared)
        camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        camera.data.type, camera.data.ortho_scale, camera.location = "ORTHO", 2.0, (0, 0, 5)
        lamp = bpy.data.objects.new("lamp", bpy.data.lights.new("lamp", "SUN"))
        lamp.data.energy, lamp.rotation_euler = 2.0, (0.5, 0.3, 0)
        for obj in (camera, lamp):
            scene.collection.objects.link(obj)
        scene.camera = camera
        scene.world = bpy.data.worlds.new("sky")
        scene.world.use_nodes = True
        scene.world.node_tree.nodes["Background"].inputs[0].default_value = (0.5, 0.5, 0.5, 1)
        render = scene.render
        render.engine = "CYCLES"
        render.use_persistent_data = True
        scene.cycles.samples = 8
        scene.cycles.use_denoising = scene.cycles.use_adaptive_sampling = False
        scene.view_settings.view_transform = "Standard"
        render.resolution_x, render.resolution_y = 2 * SIZE, SIZE
        bpy.context.view_layer.update()

    def render(self, folder: Any) -> Picture:
        """Pixels ``(64, 128, 3)``, 0 to 255."""
        self.scene.render.image_settings.file_format = "BMP"
        self.scene.render.filepath = str(folder / "picture.bmp")
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(self.scene.render.filepath)
        pixels = np.array(image.pixels).reshape(SIZE, 2 * SIZE, -1)[..., :3]
        bpy.data.images.remove(image)
        return np.round(pixels * 255).astype(int)

    def materials(self, variables: Sequence[VariableSettings], **settings: Any) -> Materials:
        return Materials({"": self.armature}, 1.4, Settings(variables=tuple(variables), **settings))


def principled(name: str, colour: Sequence[float]) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*colour, 1.0)
    shader.inputs["Roughness"].default_value, shader.inputs["Metallic"].default_value = 0.7, 0.1
    return material


def ball(armature: bpy.types.Object, bone: str, x: float) -> bpy.types.Object:
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.45, segments=48, ring_count=24)
    obj = bpy.context.object
    obj.data.shade_smooth()
    obj.name = bone
    obj.parent, obj.parent_type, obj.parent_bone = armature, "BONE", bone
    bpy.context.view_layer.update()
    obj.matrix_world = Matrix.Translation((x, 0, 0))
    return obj


def textured(name: str) -> bpy.types.Material:
    """A material whose colour comes from a picture: one half red, one green."""
    material = principled(name, (1, 1, 1))
    image = bpy.data.images.new("halves", 4, 4)
    pixels = np.zeros((4, 4, 4), np.float32)
    pixels[:, :2, 0] = pixels[:, 2:, 1] = pixels[..., 3] = 1.0
    image.pixels.foreach_set(pixels.ravel())
    image.pack()
    tree = material.node_tree
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    tree.links.new(node.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
    return material


def drawn(**changes: float) -> dict[str, float]:
    """Neutral values but for these, ``group__what`` standing for ``material/group/what``."""
    return {**catalogue.neutral(1.0), **{f"material/{k.replace('__', '/')}": v for k, v in changes.items()}}


RANDOM = drawn(
    hue=0.1, saturation=0.9, brightness=0.9, tint=0.8, roughness=0.2, metallic=0.9, dirt=0.4, scratches=0.5,
    stickers=0.3, pattern=0.37,
)  # fmt: skip


def described(tree: bpy.types.NodeTree) -> Mapping[str, Any]:
    """Everything about a material's nodes that matters."""
    return {
        "nodes": sorted((n.name, n.bl_idname) for n in tree.nodes),
        "values": sorted((n.name, s.identifier, str(getattr(s, "default_value", ""))[:9]) for n in tree.nodes
                         for s in n.inputs if s.type in ("VALUE", "INT")),
        "links": sorted((x.from_node.name, x.from_socket.identifier, x.to_node.name, x.to_socket.identifier)
                        for x in tree.links),
    }  # fmt: skip


def saturation(pixels: Picture) -> float:
    return float((pixels.max(-1) - pixels.min(-1)).mean())


LEFT, RIGHT = slice(0, SIZE), slice(SIZE, 2 * SIZE)
DISC = np.hypot(*(np.mgrid[0:SIZE, 0:SIZE] - (SIZE - 1) / 2)) < 0.4 * SIZE


def test_links_differ_where_they_are_to_and_stay_within_the_priors(tmp_path) -> None:
    scene = Scene()
    parts = VariableSettings("material/parts", -1, 1, 4)
    materials = scene.materials((*EVERYTHING[:6], parts))
    alike = drawn(hue=0.6, saturation=0.9, brightness=0.9, tint=1.0, roughness=0.5, parts=-0.5)

    def sides(values: Mapping[str, float]) -> tuple[NDArray[Any], NDArray[Any]]:
        materials.apply(values)
        picture = scene.render(tmp_path)
        return picture[:, LEFT][DISC].mean(0), picture[:, RIGHT][DISC].mean(0)

    left, right = sides(alike)
    np.testing.assert_allclose(left, right, atol=3)
    seeds = (0.2, 0.5, 0.8)
    pictures = [sides({**alike, "material/parts": seed}) for seed in seeds]
    assert all(abs(a - b).max() > 20 for a, b in pictures)
    assert abs(pictures[0][0] - pictures[1][0]).max() > 20, "the seed says how they differ"
    again = sides({**alike, "material/parts": seeds[0]})
    np.testing.assert_array_equal(again, pictures[0])
    stage_material.restore(scene.balls)
    assert [b.material_slots[0].material for b in scene.balls] == [scene.shared, scene.shared]
    narrow = (VariableSettings("material/tint", 0.5, 0.5, 1), VariableSettings("material/hue", 0.55, 0.65, 2), parts)
    values = stage_material._Values("", Settings(variables=narrow))
    v = drawn(tint=0.5, hue=0.6, parts=0.4)
    found = [values.of(link, v) for link in ("left", "right", "third")]
    assert all(f["tint"] == 0.5 and 0.55 <= f["hue"] < 0.65 for f in found) and len({f["hue"] for f in found}) == 3


def test_neutral_values_and_the_original_look_like_the_untouched_robot(tmp_path) -> None:
    """Bit for bit, whatever the other variables say."""
    scene = Scene()
    scene.balls[1].data.materials[0] = textured("painted")
    untouched = scene.render(tmp_path)
    materials = scene.materials(WORN)
    materials.apply(drawn(pattern=0.4))
    np.testing.assert_array_equal(scene.render(tmp_path), untouched)
    materials = scene.materials(EVERYTHING)
    materials.apply(RANDOM)
    assert np.abs(scene.render(tmp_path) - untouched)[DISC.nonzero()].mean() > 10
    materials.apply({**RANDOM, "material/original": 1.5})
    np.testing.assert_array_equal(scene.render(tmp_path), untouched)


def test_a_run_that_varies_nothing_leaves_materials_alone() -> None:
    scene = Scene()
    before = described(scene.shared.node_tree)
    scene.materials(
        (VariableSettings("material/roughness", 0.5, 0.5, 1), VariableSettings("light/ambient", 0, 1))
    ).apply(drawn())
    assert described(scene.shared.node_tree) == before
    assert not [i for i in bpy.data.images if i.name in (wear_images.WEAR, wear_images.STICKERS)]


def test_the_same_values_make_the_same_picture(tmp_path) -> None:
    scene = Scene()
    materials = scene.materials(EVERYTHING)
    materials.apply(RANDOM)
    first = scene.render(tmp_path)
    materials.apply(drawn(tint=1.0, dirt=0.7))
    scene.render(tmp_path)
    materials.apply(RANDOM)
    np.testing.assert_array_equal(scene.render(tmp_path), first)
    again = scene.materials(EVERYTHING)
    again.apply(RANDOM)
    np.testing.assert_array_equal(scene.render(tmp_path), first)


def test_tint_gives_way_to_the_drawn_colour(tmp_path) -> None:
    scene = Scene()
    materials = scene.materials(EVERYTHING)
    shades = []
    for amount in (0.0, 0.5, 1.0):
        materials.apply(drawn(hue=0.0, saturation=1.0, brightness=0.8, tint=amount))
        shades.append(scene.render(tmp_path)[:, LEFT][DISC].mean(0))
    assert shades[0][2] > shades[0][0] + 50, "blue at first"
    assert shades[2][0] > shades[2][2] + 80, "red in the end"
    assert shades[0][0] < shades[1][0] < shades[2][0]
    dark, bright = [], []
    for brightness, into in ((0.2, dark), (0.9, bright)):
        materials.apply(drawn(brightness=brightness, tint=1.0))
        into.append(scene.render(tmp_path)[:, LEFT][DISC].mean())
    assert bright[0] > dark[0] + 60


def test_smooth_metal_shines_and_rough_paint_does_not(tmp_path) -> None:
    scene = Scene()
    scene.shared.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.03, 0.02, 0.01, 1)
    materials = scene.materials(EVERYTHING)
    discs = []
    for roughness, metallic in ((0.9, 0.0), (0.15, 0.0), (0.9, 1.0)):
        materials.apply(drawn(roughness=roughness, metallic=metallic))
        discs.append(scene.render(tmp_path)[:, LEFT][DISC])
    rough, smooth, metal = discs
    assert smooth.max() > rough.max() + 80, "the lamp's reflection is sharp"
    # What paint reflects is white, what metal reflects has its colour.
    assert metal[:, 0].mean() / metal[:, 2].mean() > 1.2 * smooth[:, 0].mean() / smooth[:, 2].mean()


@pytest.mark.parametrize("effect", ["dirt", "scratches", "stickers"])
def test_wear_covers_more_the_more_there_is(tmp_path, effect) -> None:
    scene = Scene()
    scene.scene.cycles.max_bounces = 0  # nothing lights anything else
    materials = scene.materials(WORN)
    materials.apply(drawn())
    clean = scene.render(tmp_path)
    shares = []
    for amount in (0.0, 0.2, 0.4, 0.6):
        covered = []
        for pattern in (0.15, 0.65):
            materials.apply(drawn(**{effect: amount}, pattern=pattern))
            changed = np.abs(scene.render(tmp_path) - clean).max(-1)
            assert not changed[:2].any(), "what is not the robot stays as it is"
            covered.append((changed[:, LEFT][DISC] > 6).mean() + (changed[:, RIGHT][DISC] > 6).mean())
        shares.append(np.mean(covered) / 2)
    assert shares[0] == 0
    assert shares == sorted(shares) and shares[3] > 2 * shares[1]
    if effect == "stickers":
        # Pixels at the stickers' edges count as covered, too.
        assert all(
            amount - 0.05 < share < 1.7 * amount for share, amount in zip(shares[1:], (0.2, 0.4, 0.6), strict=True)
        )


def test_what_wear_looks_like(tmp_path) -> None:
    """Dirt darkens and dulls a white robot, stickers are colourful, and the pattern says where they are."""
    scene = Scene()
    scene.shared.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.8, 0.8, 0.8, 1)
    materials = scene.materials(WORN)
    materials.apply(drawn())
    clean = scene.render(tmp_path)
    materials.apply(drawn(dirt=0.6, pattern=0.2))
    dirty = scene.render(tmp_path)
    assert dirty[:, LEFT][DISC].mean() < clean[:, LEFT][DISC].mean() - 15
    materials.apply(drawn(stickers=0.5, pattern=0.2))
    one = scene.render(tmp_path)
    assert saturation(one[:, LEFT][DISC]) > saturation(clean[:, LEFT][DISC]) + 30
    materials.apply(drawn(stickers=0.5, pattern=0.7))
    assert (np.abs(scene.render(tmp_path) - one).max(-1)[:, LEFT][DISC] > 20).mean() > 0.2
    alike = np.corrcoef(one[:, LEFT][DISC].ravel(), one[:, RIGHT][DISC].ravel())[0, 1]
    assert alike < 0.6, "equal parts do not look alike"


def test_groups_are_painted_each_for_itself(tmp_path) -> None:
    """Though they share a material; and what a group lacks, it takes from the whole robot."""
    scene = Scene()
    untouched = scene.render(tmp_path)
    settings = Settings(
        variables=(
            *EVERYTHING,
            VariableSettings("material/hand/hue", 0, 1),
            VariableSettings("material/hand/tint", 0, 1),
        ),
        groups=(LinkGroup("hand", ("right",)),),
    )
    materials = Materials({"": scene.armature}, 1.4, settings)
    materials.apply(drawn(hand__tint=1.0, hand__hue=0.0, saturation=1.0, brightness=0.9, roughness=0.7, metallic=0.1))
    picture = scene.render(tmp_path)
    # The same seed of noise, and light that comes back from the other ball: all but bit for bit.
    assert np.abs(picture - untouched)[:, LEFT][DISC].mean() < 1.5
    red = picture[:, RIGHT][DISC].mean(0)
    assert red[0] > red[2] + 80
    assert scene.balls[0].material_slots[0].material != scene.balls[1].material_slots[0].material
    materials.apply(drawn(hand__tint=0.0, hand__hue=0.0, roughness=0.7, metallic=0.1, stickers=0.5))
    worn = np.abs(scene.render(tmp_path) - untouched).max(-1) > 20
    assert worn[:, LEFT][DISC].mean() > 0.2 and worn[:, RIGHT][DISC].mean() > 0.2


def test_a_group_of_unknown_links_is_a_mistake() -> None:
    scene = Scene()
    with pytest.raises(UserError, match="'hand' names the link 'third'"):
        scene.materials(EVERYTHING, groups=(LinkGroup("hand", ("third",)),))


def test_links_of_further_robots_have_their_robot_s_name() -> None:
    scene = Scene()
    other = scene.armature.copy()
    scene.scene.collection.objects.link(other)
    settings = Settings(variables=EVERYTHING, groups=(LinkGroup("hand", ("two/right",)),))
    Materials({"": scene.armature, "two": other}, 1.4, settings)
    assert scene.balls[1].material_slots[0].material == scene.shared
    scene.balls[1].parent = other
    Materials({"": scene.armature, "two": other}, 1.4, settings)
    assert scene.balls[1].material_slots[0].material != scene.balls[0].material_slots[0].material


def test_textures_are_tinted_and_survive(tmp_path) -> None:
    scene = Scene()
    material = textured("painted")
    tree = material.node_tree
    scene.balls[0].data.materials[0] = material
    before = described(tree)
    materials = scene.materials(EVERYTHING)
    materials.apply(drawn(hue=2 / 3, saturation=1.0, brightness=0.9, tint=0.5, roughness=0.7, metallic=0.1))
    pixels = scene.render(tmp_path)[:, LEFT][DISC]
    red, green = (pixels[pixels[:, i] > pixels[:, 1 - i] + 30] for i in (0, 1))
    assert min(len(red), len(green)) > 0.4 * len(pixels), "the texture shows through"
    assert min(red.mean(0)[2], green.mean(0)[2]) > 60, "the tint lies over it"
    stage_material.restore(robot_meshes(scene.armature))
    assert described(tree) == before
    assert scene.balls[0].material_slots[0].material == material


def test_building_it_again_and_restoring_leave_one_set_of_nodes_and_none() -> None:
    scene = Scene()
    bpy.ops.mesh.primitive_cube_add(location=(0, 0, -5))
    table = bpy.context.object
    table.data.materials.append(scene.shared)
    scene.balls[1].data.materials[0] = scene.balls[1].data.materials[0]
    before = described(scene.shared.node_tree)
    groups = (LinkGroup("hand", ("right",)),)
    counts = set()
    for _ in range(3):
        scene.materials(EVERYTHING, groups=groups).apply(RANDOM)
        counts.add((
            len(bpy.data.materials), len(bpy.data.node_groups), len(bpy.data.images),
            *(len(o.material_slots[0].material.node_tree.nodes) for o in scene.balls),
        ))  # fmt: skip
        assert table.material_slots[0].material == scene.shared and described(scene.shared.node_tree) == before
        names = [n.name for n in scene.balls[0].material_slots[0].material.node_tree.nodes]
        assert [n for n in names if n.startswith("Keypoints ")] and all("." not in n for n in names)
    assert len(counts) == 1
    stage_material.restore(scene.balls)
    assert [m.name for m in bpy.data.materials] == ["shared"]
    assert all(o.material_slots[0].material == scene.shared for o in (*scene.balls, table))
    assert all(o.material_slots[0].link == "DATA" for o in scene.balls)


def test_what_shares_a_material_with_the_robot_keeps_it() -> None:
    scene = Scene()
    bpy.ops.mesh.primitive_cube_add(location=(0, 0, -5))
    table = bpy.context.object
    table.data.materials.append(scene.shared)
    before = described(scene.shared.node_tree)
    scene.materials(EVERYTHING).apply(RANDOM)
    assert table.material_slots[0].material == scene.shared and described(scene.shared.node_tree) == before
    assert scene.balls[0].material_slots[0].material == scene.balls[1].material_slots[0].material != scene.shared


def test_one_mesh_in_two_groups_is_told_apart_by_its_objects(tmp_path) -> None:
    scene = Scene()
    scene.balls[1].data = scene.balls[0].data
    untouched = scene.render(tmp_path)
    settings = {"groups": (LinkGroup("hand", ("right",)),)}
    variables = (*EVERYTHING, *(VariableSettings(f"material/hand/{n}", 0, 1) for n in ("tint", "saturation")))
    scene.materials(variables, **settings).apply(
        drawn(hand__tint=1.0, hand__saturation=1.0, brightness=0.9, roughness=0.7, metallic=0.1)
    )
    picture = scene.render(tmp_path)
    assert np.abs(picture - untouched)[:, LEFT][DISC].mean() < 1.5
    assert np.abs(picture - untouched)[:, RIGHT][DISC].mean() > 30
    stage_material.restore(scene.balls)
    np.testing.assert_array_equal(scene.render(tmp_path), untouched)


def test_materials_of_every_kind_can_be_painted(tmp_path) -> None:
    """None at all, an empty slot, one without nodes, other shaders than the usual, the user's own group of nodes."""
    scene = Scene()
    left, right = scene.balls
    without = bpy.data.materials.new("without")
    without.use_nodes = False
    without.diffuse_color = (0.1, 0.6, 0.1, 1.0)
    other = bpy.data.materials.new("other")
    other.use_nodes = True
    tree = other.node_tree
    tree.nodes.clear()
    shader, output = tree.nodes.new("ShaderNodeBsdfGlossy"), tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(shader.outputs[0], output.inputs[0])
    group = bpy.data.node_groups.new("Paint", "ShaderNodeTree")
    group.interface.new_socket("Base Color", in_out="INPUT", socket_type="NodeSocketColor")
    group.interface.new_socket("Shader", in_out="OUTPUT", socket_type="NodeSocketShader")
    inside, ends = group.nodes.new("ShaderNodeBsdfDiffuse"), group.nodes.new("NodeGroupOutput")
    group.links.new(group.nodes.new("NodeGroupInput").outputs[0], inside.inputs[0])
    group.links.new(inside.outputs[0], ends.inputs[0])
    grouped = bpy.data.materials.new("grouped")
    grouped.use_nodes = True
    grouped.node_tree.nodes.clear()
    node, output = (
        grouped.node_tree.nodes.new("ShaderNodeGroup"),
        grouped.node_tree.nodes.new("ShaderNodeOutputMaterial"),
    )
    node.node_tree = group
    grouped.node_tree.links.new(node.outputs[0], output.inputs[0])
    for material in ("none", None, without, other, grouped):
        left.data.materials.clear()
        if material != "none":
            left.data.materials.append(material)
        materials = scene.materials(EVERYTHING)
        materials.apply(drawn(tint=1.0, hue=0.0, saturation=1.0, brightness=0.9))
        red = scene.render(tmp_path)[:, LEFT][DISC].mean(0)
        assert red[0] > red[1] + 60, material
        stage_material.restore(scene.balls)
        assert list(left.data.materials) == ([] if material == "none" else [material])
    assert right.material_slots[0].material == scene.shared


def test_workbench_is_coloured_and_restored(tmp_path) -> None:
    scene = Scene()
    scene.shared.diffuse_color = (0.1, 0.2, 0.3, 1.0)
    variables = (VariableSettings("material/tint", 0, 1), VariableSettings("material/roughness", 0, 1))
    materials = scene.materials(variables, render=RenderSettings("workbench"))
    materials.apply(drawn(tint=1.0, brightness=1.0, roughness=0.25))
    np.testing.assert_allclose(scene.shared.diffuse_color, 1.0, atol=1e-4)
    assert scene.shared.roughness == 0.25
    materials.apply({**drawn(tint=1.0), "material/original": 1.5})
    np.testing.assert_allclose(scene.shared.diffuse_color, (0.1, 0.2, 0.3, 1.0), atol=1e-6)
    materials.apply(drawn(tint=1.0))
    scene.materials(variables)
    np.testing.assert_allclose(scene.shared.diffuse_color, (0.1, 0.2, 0.3, 1.0), atol=1e-6)


def test_few_nodes_where_little_varies() -> None:
    """Colour and roughness, as the fast preset has them, are two constants in front of the shader."""
    scene = Scene()
    before = len(scene.shared.node_tree.nodes)
    scene.materials(EVERYTHING[:5])
    assert len(scene.shared.node_tree.nodes) == before + 2
    assert not bpy.data.node_groups


def test_the_pictures_of_wear_hold_shares() -> None:
    """Ranks, so that an amount is the share which is covered; and no seam where they repeat."""
    pixels = {}
    for image in (wear_images.wear_image(), wear_images.sticker_image()):
        pixels[image.name] = np.array(image.pixels).reshape(wear_images.SIZE, wear_images.SIZE, 4)
        assert image.packed_file is not None
    dirt, scratches = pixels[wear_images.WEAR][..., 0], pixels[wear_images.WEAR][..., 1]
    stickers = pixels[wear_images.STICKERS][..., 3]
    for amount in (0.1, 0.5):
        assert (dirt < amount).mean() == pytest.approx(amount, abs=0.01)
        assert (stickers > 1 - amount).mean() == pytest.approx(amount, abs=0.02)
    assert 0.05 < (scratches > 0.5).mean() < 0.2
    for field in (dirt, stickers):
        steps = np.abs(np.diff(field, axis=0)).mean(1)
        assert np.abs(field[0] - field[-1]).mean() <= steps.max()
