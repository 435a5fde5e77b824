# SPDX-License-Identifier: GPL-3.0-or-later
"""Which draws are rendered: the rules on framing, floor and collisions, checked by other means than their own."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import bpy
import numpy as np
import pytest
from robot_keypoints.addon.robot import rig, rigid_bodies
from robot_keypoints.addon.robot.robot_in_scene import RobotInScene
from robot_keypoints.addon.stage import ground as stage_ground
from robot_keypoints.addon.stage.draw_rules import TRIES, DrawRules, acceptance
from robot_keypoints.addon.stage.stage import Stage
from robot_keypoints.addon.worker import labels, process as worker_process, settings_completion
from robot_keypoints.addon.worker.renderer import Renderer
from robot_keypoints.core.robot.keypoints import Keypoint
from robot_keypoints.core.robot.robot import IDENTITY, Joint, Mimic, Robot, Visual
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.core.scene import catalogue
from robot_keypoints.core.settings.completion import complete
from robot_keypoints.core.settings.schema import (
    RenderSettings,
    RobotSettings,
    SceneSettings,
    Settings,
    VariableSettings,
)

NO_FLOOR = VariableSettings("surroundings/floor", 0.5, 0.5, 1)
"""Where there is a floor, it has a rule of its own."""


def staged(preset: str = "everything", variables: tuple[VariableSettings, ...] = (NO_FLOOR,), **rules: object) -> Stage:
    robot = load_urdf(builtin_urdf())
    scene = SceneSettings(preset=preset, **rules)  # type: ignore[arg-type]
    render = RenderSettings(width=96, height=72, samples=1)
    settings = complete(Settings(render=render, scene=scene, variables=variables), robot)
    return Stage(bpy.context.scene, rig.build(bpy.context.scene, robot), settings)


def accepted(stage: Stage, count: int, seed: int = 0) -> Iterator[dict[str, float]]:
    """Draws that are admitted, each applied to the stage."""
    model, rng = stage.settings.scene_model(), np.random.default_rng(seed)
    for _ in range(count):
        values = dict(stage.draw_rules.sample(model, rng).values)
        stage.apply(values)
        yield values


def lowest(stage: Stage) -> float:
    """Height of the lowest vertex of all robots, as Blender has them."""
    heights = []
    for obj in (o for r in stage.robots.values() for o in rig.robot_meshes(r.armature)):
        points = np.array([v.co for v in obj.data.vertices])
        heights.append((points @ np.array(obj.matrix_world)[2, :3] + obj.matrix_world[2][3]).min())
    return float(min(heights))


def triangles(stage: Stage) -> dict[str, np.ndarray]:
    """Triangles ``(T, 3, 3)`` of every link in the world, as Blender has them."""
    result: dict[str, list[np.ndarray]] = {}
    for obj in rig.robot_meshes(stage.armature):
        points, corners = rigid_bodies.shape(obj.data)
        m = np.array(obj.matrix_world)
        result.setdefault(obj.parent_bone, []).append((points @ m[:3, :3].T + m[:3, 3])[corners])
    return {name: np.concatenate(parts) for name, parts in result.items()}


def crossing(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether an edge of one set of triangles goes through a triangle of the other (Möller and Trumbore)."""
    low = np.maximum(a.min(axis=(0, 1)), b.min(axis=(0, 1)))
    high = np.minimum(a.max(axis=(0, 1)), b.max(axis=(0, 1)))
    if (low > high).any():
        return False
    a, b = (t[(t.max(axis=1) >= low).all(axis=1) & (t.min(axis=1) <= high).all(axis=1)] for t in (a, b))
    return _edges_through(a, b) or _edges_through(b, a)


def _edges_through(a: np.ndarray, b: np.ndarray) -> bool:
    start = a.reshape(-1, 3)[:, None]
    ray = np.roll(a, -1, axis=1).reshape(-1, 3)[:, None] - start
    e1, e2 = b[:, 1] - b[:, 0], b[:, 2] - b[:, 0]
    p = np.cross(ray, e2)
    with np.errstate(all="ignore"):
        inverse = 1.0 / (p * e1).sum(-1)
        s = start - b[:, 0]
        u = (s * p).sum(-1) * inverse
        q = np.cross(s, e1)
        v, t = (ray * q).sum(-1) * inverse, (e2 * q).sum(-1) * inverse
        return bool(((u > 0) & (v > 0) & (u + v < 1) & (t > 0) & (t < 1)).any())


def crossing_pairs(stage: Stage, without: set[tuple[str, str]]) -> set[tuple[str, str]]:
    links = triangles(stage)
    pairs = set(combinations(sorted(links), 2)) - without
    return {(a, b) for a, b in pairs if crossing(links[a], links[b])}


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_so_many_keypoints_are_in_the_picture(share: float) -> None:
    stage = staged(framing=share)
    Renderer(bpy.context.scene, stage.settings.render, 1, stage.camera).close()  # labels are of the lens's picture
    shares = []
    for _ in accepted(stage, 100):
        shares.append((labels.label(stage).visibility > 0).mean())
    assert min(shares) >= share - 1e-9
    assert share == 1.0 or min(shares) < 1.0, "the rule asks for more than it says"
    free = staged()
    assert min((labels.label(free).visibility > 0).mean() for _ in accepted(free, 40)) < share


@pytest.mark.parametrize("floor", [0.0, -0.3])
def test_nothing_is_below_the_floor(floor: float) -> None:
    stage = staged(above_floor=True, floor=floor)
    heights = [lowest(stage) for _ in accepted(stage, 60)]
    assert min(heights) > floor - 1e-3 - 1e-5
    assert min(heights) < floor + 0.05, "the rule asks for more than it says"
    assert stage.draw_rules.acceptance < 0.9
    refused = 0
    model, rng = stage.settings.scene_model(), np.random.default_rng(1)
    for _ in range(20):
        values = model.sample(rng).values
        stage.apply(values)
        assert (stage.draw_rules.shortfall(values) == 0) == (lowest(stage) > floor - 1e-3)
        refused += lowest(stage) < floor - 1e-3
    assert refused > 5


def test_the_floor_is_level_with_the_base_wherever_that_stands() -> None:
    stage = staged(above_floor=True)
    values = next(accepted(stage, 1))
    stage.armature.location = (3.0, 1.0, -5.0)
    bpy.context.view_layer.update()
    moved = Stage(bpy.context.scene, stage.armature, stage.settings)
    assert moved.draw_rules.shortfall(values) == 0


def test_no_link_is_inside_another() -> None:
    stage = staged(collision_free=True)
    stage.apply({f"joint/{j.name}": 0.0 for j in rig.joints(stage.armature)})
    robot = rig.robot_of(stage.armature)
    assert robot is not None
    may_touch = {(a, b) for j in robot.joints for a, b in [sorted((j.parent, j.child))]}
    may_touch |= crossing_pairs(stage, may_touch)
    model, rng = stage.settings.scene_model(), np.random.default_rng(1)
    colliding = free = 0
    for _ in range(40):
        values = model.sample(rng).values
        stage.apply(values)
        found = crossing_pairs(stage, may_touch)
        assert bool(found) == (stage.draw_rules.shortfall(values) > 0), found
        colliding += bool(found)
        free += not found
    assert colliding >= 4 and free >= 15
    assert all(stage.draw_rules.shortfall(v) == 0 for v in accepted(stage, 30))
    assert stage.draw_rules.acceptance < 1


def box(link: str, size: float = 0.2) -> Visual:
    m = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    return Visual(link, "box", m, (size, size, size))


def chain(*lengths: float) -> Robot:
    """Boxes at the links of a chain that folds about y; a link without a shape after the first."""
    joints, parent = [], "base"
    for index, length in enumerate(lengths):
        m = ((1.0, 0.0, 0.0, length), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
        joints.append(Joint(f"j{index}", "revolute", parent, f"l{index}", m, (0.0, 1.0, 0.0), -math.pi, math.pi))
        parent = f"l{index}"
    return Robot("chain", "base", tuple(joints), (box("base"), *(box(f"l{i}") for i in range(len(lengths)))))


def draw_rules(robot: Robot, **rules: object) -> DrawRules:
    settings = complete(Settings(scene=SceneSettings(**rules)), robot)  # type: ignore[arg-type]
    return Stage(bpy.context.scene, rig.build(bpy.context.scene, robot), settings).draw_rules


def test_neighbours_and_what_touches_at_rest_may_touch() -> None:
    folded = draw_rules(chain(0.1, 0.6, 0.6, 0.6), collision_free=True)
    # base, l0 and l1 overlap or not as neighbours; l1 and l3 meet when l3 is folded back.
    assert folded.shortfall({}) == 0
    assert folded.shortfall({"joint/j1": math.pi / 2}) == 0
    assert folded.shortfall({"joint/j2": math.pi}) > 0
    at_rest = draw_rules(chain(0.1, 0.05, 0.6), collision_free=True)
    assert at_rest.shortfall({}) == 0, "base and l1 overlap at rest, and that is how the robot is"
    assert at_rest.shortfall({"joint/j0": 1.0}) == 0


def test_what_no_joint_can_lift_may_be_below_the_floor() -> None:
    robot = chain(0.6, 0.6)  # its boxes reach 0.1 below the base's height
    sunk = replace(robot, visuals=(*robot.visuals, box("base", 0.8)))
    for floor, fits in ((-0.15, True), (-0.05, False)):
        rules = draw_rules(sunk, above_floor=True, floor=floor)
        assert (rules.shortfall({}) == 0) == fits
        assert rules.shortfall({"joint/j0": 1.0}) > rules.shortfall({})


def test_the_same_generator_gives_the_same_draws() -> None:
    stage = staged(framing=0.8, above_floor=True, collision_free=True)
    first, again = (list(accepted(stage, 8, seed=4)) for _ in range(2))
    assert first == again
    model, rng = stage.settings.scene_model(), np.random.default_rng(4)
    everything = [dict(model.sample(rng).values) for _ in range(300)]
    kept = [v for v in everything if stage.draw_rules.shortfall(v) == 0]
    # Every draw follows the last one, so the admitted ones are the prior's own that obey the rules.
    assert first == kept[:8]


def test_where_there_is_a_floor_nothing_is_below_it() -> None:
    stage = staged("balanced", ())
    seen = {0: [], 1: []}  # type: ignore[var-annotated]
    for values in accepted(stage, 80):
        seen[catalogue.choice(values["surroundings/floor"], 2)].append(lowest(stage))
    assert len(seen[0]) > 10 and len(seen[1]) > 10
    assert min(seen[1]) >= -2e-3 > min(seen[0]), "without a floor the arm may hang lower than its base"


def test_a_robot_with_legs_stands_on_its_feet() -> None:
    def leg(length: float) -> Robot:
        shift = tuple(tuple(row) for row in np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -length], [0, 0, 0, 1.0]]))
        joint = Joint("hip", "revolute", "trunk", "foot", shift, (0.0, 1.0, 0.0), -0.5, 0.5)
        return Robot("walker", "trunk", (joint,), (Visual("foot", "box", IDENTITY, (0.1, 0.1, 0.1)),))

    for length, ground in ((0.5, -0.55), (0.02, None)):
        robot = leg(length)
        settings = complete(Settings(scene=SceneSettings(preset="balanced")), robot)
        armature = rig.build(bpy.context.scene, robot)
        armature.location = (0.0, 0.0, 3.0)
        bpy.context.view_layer.update()
        standing = RobotInScene.of(bpy.context.scene, armature)
        found = stage_ground.on_ground(standing, settings).scene.floor
        if ground is not None:
            assert found == pytest.approx(ground, abs=1e-5)
        plain = replace(settings, scene=SceneSettings(), variables=(NO_FLOOR,))
        assert stage_ground.on_ground(standing, plain) is plain


def test_without_a_rule_nothing_is_done() -> None:
    stage = staged()
    model = stage.settings.scene_model()
    a, b = np.random.default_rng(3), np.random.default_rng(3)
    assert stage.draw_rules.sample(model, a) == model.sample(b)
    assert a.random() == b.random()
    assert stage.draw_rules.tries == 0 and stage.draw_rules.acceptance == 1.0


def test_where_nothing_is_admitted_the_best_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    near = tuple(
        VariableSettings(f"camera/{n}", low, high, 4)
        for n, low, high in (("focal_length", 2000.0, 3000.0), ("target_x", 0.0, 1.0))
    )
    stage = staged("fast", near, framing=1.0)
    model, rng = stage.settings.scene_model(), np.random.default_rng(0)
    taken = [stage.draw_rules.sample(model, rng) for _ in range(2)]
    assert stage.draw_rules.forced == 2 and stage.draw_rules.tries == 2 * TRIES and stage.draw_rules.acceptance == 0.0
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    again = np.random.default_rng(0)
    shortfalls = [stage.draw_rules.shortfall(model.sample(again).values) for _ in range(TRIES)]
    assert stage.draw_rules.shortfall(taken[0].values) == min(shortfalls) > 0


def test_samples_obey_and_the_log_says_how_many_do(capsys: pytest.CaptureFixture[str]) -> None:
    stage = staged("fast", above_floor=True)
    renderer = Renderer(bpy.context.scene, stage.settings.render, 1, stage.camera)
    model, rng = stage.settings.scene_model(), np.random.default_rng(0)
    for number in range(8):
        sample = worker_process.make_sample(stage, renderer, model, rng, 0, number)
        assert stage.draw_rules.shortfall(sample.latents.values) == 0
        assert lowest(stage) > -1e-3 - 1e-5
    assert stage.draw_rules.tries > 8
    capsys.readouterr()
    for _ in range(100):
        stage.draw_rules.sample(model, rng)
    notes = [line for line in capsys.readouterr().err.splitlines() if "draws were accepted" in line]
    assert len(notes) == 1
    share, tries = map(int, re.findall(r"\d+", notes[0])[:2])
    assert share == round(100 * 100 / tries) and tries <= stage.draw_rules.tries
    renderer.close()


def user_armature() -> bpy.types.Object:
    """Two bones that swing about x, one above the other, with skin on them."""
    data = bpy.data.armatures.new("Own")
    armature = bpy.data.objects.new("Own", data)
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    parent = None
    for name, z in (("lower", 0.2), ("upper", 0.7)):
        bone = data.edit_bones.new(name)
        bone.head, bone.tail = (0, 0, z), (0, 0, z + 0.5)
        bone.parent, parent = parent, bone
    bpy.ops.object.mode_set(mode="OBJECT")
    for bone in armature.pose.bones:
        bone.rotation_mode = "XYZ"
        bone.lock_rotation = (False, True, True)
    mesh = bpy.data.meshes.new("Skin")
    points = [(x, y, z) for z in (0.3, 0.6, 0.8, 1.2) for x in (-0.05, 0.05) for y in (-0.05, 0.05)]
    faces = [(a, b, b + 4, a + 4) for r in range(0, 12, 4) for a, b in ((r, r + 1), (r + 2, r + 3), (r, r + 2))]
    mesh.from_pydata(points, [], faces)
    skin = bpy.data.objects.new("Skin", mesh)
    bpy.context.scene.collection.objects.link(skin)
    for name, which in (("lower", range(8)), ("upper", range(8, 16))):
        skin.vertex_groups.new(name=name).add(list(which), 1.0, "REPLACE")
    skin.modifiers.new("Armature", "ARMATURE").object = armature
    return armature


def test_a_users_own_armature_obeys_too() -> None:
    armature = user_armature()
    settings = settings_completion.complete(Settings(robot=RobotSettings("armature", armature="Own")), {"": armature})
    settings = replace(settings, scene=SceneSettings(framing=1.0, above_floor=True))
    stage = Stage(bpy.context.scene, armature, settings)
    Renderer(bpy.context.scene, settings.render, 1, stage.camera).close()
    skin = bpy.data.objects["Skin"]
    heights = []
    for _ in accepted(stage, 25):
        assert (labels.label(stage).visibility > 0).all()
        evaluated = skin.evaluated_get(bpy.context.evaluated_depsgraph_get())
        heights.append(min(v.co.z for v in evaluated.data.vertices))
    assert min(heights) > -1e-3 - 1e-5
    assert 0.05 < stage.draw_rules.acceptance < 0.9


def test_keypoints_on_objects_are_framed_where_blender_has_them() -> None:
    stage = staged("fast")
    marker = bpy.data.objects.new("Marker", None)
    bpy.context.scene.collection.objects.link(marker)
    marker.location = (0.0, 0.0, 30.0)  # higher than the camera ever looks
    keypoints = (*stage.settings.keypoints, Keypoint("marker", "Marker"))
    settings = replace(stage.settings, keypoints=keypoints, scene=SceneSettings(framing=1.0))
    stage = Stage(bpy.context.scene, stage.armature, settings)
    values = next(accepted(stage, 1))
    assert stage.draw_rules.forced == 1 and stage.draw_rules.shortfall(values) > 2.0
    marker.location = (0.0, 0.0, 0.2)
    bpy.context.view_layer.update()
    next(accepted(stage, 1))
    assert stage.draw_rules.forced == 1


def test_the_panel_can_ask_for_the_share_and_the_pose_stays() -> None:
    stage = staged(above_floor=True)
    armature, settings = stage.armature, stage.settings
    rig.pose(armature, {"elbow_joint": 0.4})
    share = acceptance(bpy.context.scene, {"": armature}, settings, 100)
    assert 0.1 < share < 0.9
    assert share == acceptance(bpy.context.scene, {"": armature}, settings, 100)
    assert acceptance(bpy.context.scene, {"": armature}, replace(settings, scene=SceneSettings())) == 1.0
    own = user_armature()
    own.pose.bones["upper"].rotation_euler.x = 4.0
    rules = replace(settings_completion.complete(Settings(), {"": own}), scene=SceneSettings(above_floor=True))
    assert 0.0 < acceptance(bpy.context.scene, {"": own}, rules, 40) < 1.0
    assert own.pose.bones["upper"].rotation_euler.x == 4.0
    assert armature.pose.bones["forearm_link"].rotation_euler.y == pytest.approx(0.4)


def test_several_robots_are_all_above_the_floor() -> None:
    robot = load_urdf(builtin_urdf())
    first, second = (rig.build(bpy.context.scene, robot) for _ in range(2))
    second.name, second.location = "two", (2.0, 0.0, 0.0)
    bpy.context.view_layer.update()
    scene = SceneSettings(above_floor=True, collision_free=True)
    settings = complete(Settings(others=(RobotSettings(name="two"),), scene=scene), robot, robot)
    stage = Stage(bpy.context.scene, first, settings)
    for _ in accepted(stage, 8):
        assert lowest(stage) > -1e-3 - 1e-5


def test_kinematics_agree_with_blender() -> None:
    """Followers, sliders and joints at their limits included."""
    m = ((1.0, 0.0, 0.0, 0.2), (0.0, 0.0, -1.0, 0.1), (0.0, 1.0, 0.0, 0.3), (0.0, 0.0, 0.0, 1.0))
    hand = Robot("hand", "palm", (
        Joint("turn", "revolute", "palm", "wrist", m, (0.6, 0.0, 0.8), -1.0, 2.0),
        Joint("slide", "prismatic", "wrist", "left", m, (0.0, 1.0, 0.0), 0.0, 0.1),
        Joint("follow", "prismatic", "wrist", "right", m, (0.0, -1.0, 0.0), -1.0, 1.0, Mimic("slide", 0.5, 0.02)),
        Joint("fixed", "fixed", "left", "tip", m),
        Joint("spin", "continuous", "tip", "end", m, (0.0, 0.0, -1.0), -math.pi, math.pi),
    ), (box("palm"), box("tip")))  # fmt: skip
    for robot in (hand, load_urdf(builtin_urdf())):
        armature = rig.build(bpy.context.scene, robot)
        armature.location, armature.rotation_euler.z = (1.0, 2.0, 3.0), 0.5
        bpy.context.view_layer.update()
        quick = RobotInScene.of(bpy.context.scene, armature).kinematics
        blender = quick.evaluated()
        rng = np.random.default_rng(0)
        limits = {f"joint/{j.name}": (j.lower, j.upper) for j in robot.moving_joints}
        for _ in range(10):
            # Beyond their limits, too; but not so far that Blender takes a turn for one the other way round.
            values = {name: rng.uniform(low - 0.3, high + 0.3) for name, (low, high) in limits.items()}
            np.testing.assert_allclose(quick.frames(values), blender.frames(values), atol=2e-6)
        np.testing.assert_allclose(quick.rest(), blender.rest(), atol=2e-6)
