# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks, boxes, frames and joints of every robot agree with what is rendered and with the robots' kinematics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
import pytest
from proofs import inside_of_regions
from robot_keypoints.addon.stage.stage import Stage
from robot_keypoints.addon.worker import labels, process as worker_process, scene_builder
from robot_keypoints.addon.worker.instance_labels import Details
from robot_keypoints.addon.worker.renderer import Renderer
from robot_keypoints.core.messages.samples import Instance, SampleContract, decode_sample, encode_sample
from robot_keypoints.core.settings import completion, toml_file
from robot_keypoints.core.settings.schema import RenderSettings, RobotSettings, Settings, VariableSettings

SIZE = (200, 150)
LENS = {"camera/k1": -0.14, "camera/k2": 0.02, "camera/p1": 0.002, "camera/p2": -0.002, "camera/principal_x": 0.03}
SECOND = RobotSettings(name="second", position=(0.35, 0.2, 0.0), yaw=1.0)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Stage, Renderer]:
    """Two robots of one kind, as a worker prepares them."""
    render = RenderSettings(width=SIZE[0], height=SIZE[1], samples=16, masks=True)
    settings = Settings(others=(SECOND,), render=render)
    settings = completion.complete(settings, *completion.load_robots(settings))
    toml_file.save(settings, tmp_path / "settings.toml")
    scene_builder.build_scene(settings, tmp_path, complete=True)
    return worker_process.prepare(tmp_path / "scene.blend", settings)


def draw(stage: Stage, seed: int, **values: float) -> dict[str, float]:
    drawn = dict(stage.settings.scene_model().sample(np.random.default_rng(seed)).values)
    drawn |= {**LENS, **{f"camera/{k}": v for k, v in values.items()}}
    stage.apply(drawn)
    return drawn


def owner(obj: bpy.types.Object, stage: Stage) -> tuple[str, str] | None:
    """Robot and link of a mesh that :func:`rig.build` made."""
    for name, robot in stage.robots.items():
        if obj.parent == robot.armature:
            return name, obj.parent_bone
    return None


def test_the_mask_shows_each_link_where_it_is_rendered(pair: tuple[Stage, Renderer]) -> None:
    """Each link is rendered alone: everything else hides it where it is in front, and shows nothing itself."""
    stage, renderer = pair
    bpy.ops.mesh.primitive_cube_add(size=0.25, location=(0.3, -0.1, 0.3))
    renderer = Renderer(stage.scene, stage.settings.render, 2, stage.camera)
    meshes = [o for o in stage.scene.objects if o.type == "MESH" and o.visible_camera]
    seen, wrong, total = 0, 0, 0
    for seed in range(3):
        draw(stage, seed, distance=1.3)
        truth = labels.label(stage, details=Details.of_stage(stage))
        assert truth.mask is not None and truth.mask.shape == SIZE[::-1] and truth.mask.dtype == np.uint16
        links = [(i.name, link) for i in truth.instances for link in i.frames]
        assert truth.mask.max() <= len(links)
        inner = inside_of_regions(truth.mask)
        for number in np.unique(truth.mask):
            if number == 0:
                continue
            for obj in meshes:
                obj.is_holdout = owner(obj, stage) != links[number - 1]
            alone = renderer.render()[..., 3] > 127
            labelled = truth.mask == number
            wrong += (labelled != alone)[inner].sum()
            total += (labelled | alone)[inner].sum()
            seen += 1
    renderer.close()
    assert seen > 20 and total > 3000
    assert wrong < 0.01 * total


def test_what_stands_in_front_is_no_robot(pair: tuple[Stage, Renderer]) -> None:
    stage, _ = pair
    draw(stage, 0, azimuth=0.0, elevation=0.3, distance=1.5)
    before = labels.label(stage, details=Details.of_stage(stage))
    assert before.mask is not None and (before.mask > 0).sum() > 500
    bpy.ops.mesh.primitive_cube_add(size=1.0, location=(0.9, 0, 0.3))
    bpy.context.view_layer.update()
    after = labels.label(stage, details=Details.of_stage(stage))
    assert after.mask is not None and (after.mask > 0).sum() < 0.5 * (before.mask > 0).sum()
    # A box tells where a robot is, seen or not.
    assert [i.box for i in after.instances] == [i.box for i in before.instances]


def test_boxes_hold_each_robot_alone(pair: tuple[Stage, Renderer]) -> None:
    stage, renderer = pair
    whole = cut = 0
    for seed in range(6):
        draw(stage, 6 + seed, distance=1.0 + 0.2 * seed)
        instances = labels.label(stage, details=Details.of_stage(stage)).instances
        for instance in instances:
            for obj in bpy.data.objects:
                if obj.type == "MESH":
                    obj.is_holdout = False
                    obj.hide_render = (owner(obj, stage) or ("nobody",))[0] != instance.name
            alpha = renderer.render()[..., 3]
            for obj in bpy.data.objects:
                obj.hide_render = False
            rows, columns = np.flatnonzero((alpha > 100).any(axis=1)), np.flatnonzero((alpha > 100).any(axis=0))
            if instance.box is None:
                assert not len(rows)
                continue
            found = (columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5)
            np.testing.assert_allclose(instance.box, found, atol=1.1)
            touching = np.isclose(instance.box, (-0.5, -0.5, SIZE[0] - 0.5, SIZE[1] - 0.5), atol=1e-3).any()
            cut, whole = cut + touching, whole + (not touching)
    assert whole >= 2 and cut >= 2


def test_frames_joints_and_bases_are_the_robots(pair: tuple[Stage, Renderer]) -> None:
    stage, _ = pair
    values = draw(stage, 4)
    truth = labels.label(stage, details=Details.of_stage(stage))
    assert [i.name for i in truth.instances] == ["", "second"]
    for instance in truth.instances:
        robot = stage.robots[instance.name].robot
        assert robot is not None and set(instance.frames) == set(robot.links)
        prefix = f"joint/{instance.name}/" if instance.name else "joint/"
        drawn = {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
        for joint, position in instance.joints.items():
            assert position == pytest.approx(drawn[joint], abs=1e-6)
        expected = robot.link_frames(instance.joints)
        for link, frame in instance.frames.items():
            np.testing.assert_allclose(frame, instance.base_in_camera @ expected[link], atol=2e-5)
    np.testing.assert_array_equal(truth.instances[0].base_in_camera, truth.base_in_camera)
    between = np.linalg.inv(truth.instances[0].base_in_camera) @ truth.instances[1].base_in_camera
    np.testing.assert_allclose(between[:3, 3], SECOND.position, atol=1e-5)
    assert np.arctan2(between[1, 0], between[0, 0]) == pytest.approx(SECOND.yaw, abs=1e-5)
    # The keypoints follow from frames, offsets and the camera alone.
    camera = stage.camera.intrinsics()
    by_name = {i.name: i for i in truth.instances}
    for keypoint, uv in zip(stage.keypoints, truth.keypoints, strict=True):
        point = by_name[keypoint.robot].frames[keypoint.frame] @ [*keypoint.offset, 1.0]
        np.testing.assert_allclose(camera.project(point[:3])[0][0], uv, atol=1e-3)


def test_a_sample_in_full_travels(pair: tuple[Stage, Renderer]) -> None:
    stage, renderer = pair
    model = stage.settings.scene_model()
    sample = worker_process.make_sample(
        stage, renderer, model, np.random.default_rng(1), 0, 0, details=Details.of_stage(stage)
    )
    contract = SampleContract.of("run", *SIZE, len(stage.keypoints), model, details=True, masks=True)
    got = decode_sample([bytes(f) for f in encode_sample(sample, "run")], contract)
    assert [i.name for i in got.instances] == ["", "second"]
    for mine, theirs in zip(sample.instances, got.instances, strict=True):
        assert isinstance(theirs, Instance)
        assert mine.joints == theirs.joints and mine.box == theirs.box
        for link, frame in mine.frames.items():
            np.testing.assert_array_equal(frame, theirs.frames[link])
    np.testing.assert_array_equal(got.mask, sample.mask)
    np.testing.assert_array_equal(got.distortion, sample.distortion)


def test_plain_samples_have_no_details(pair: tuple[Stage, Renderer]) -> None:
    stage, renderer = pair
    sample = worker_process.make_sample(stage, renderer, stage.settings.scene_model(), np.random.default_rng(1), 0, 0)
    assert sample.instances == () and sample.mask is None


def test_a_users_mesh_bent_by_bones_is_told_apart_by_bone() -> None:
    data = bpy.data.armatures.new("arm")
    armature = bpy.data.objects.new("arm", data)
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    lower, upper = data.edit_bones.new("lower"), data.edit_bones.new("upper")
    lower.head, lower.tail, upper.head, upper.tail = (0, 0, 0), (0, 0, 1), (0, 0, 1), (0, 0, 2)
    upper.parent = lower
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.ops.mesh.primitive_cylinder_add(radius=0.15, depth=2, location=(0, 0, 1), end_fill_type="TRIFAN")
    skin = bpy.context.object
    bpy.ops.object.transform_apply()
    skin.modifiers.new("slices", "SUBSURF").subdivision_type = "SIMPLE"
    skin.modifiers["slices"].levels = skin.modifiers["slices"].render_levels = 3
    skin.modifiers.new("bones", "ARMATURE").object = armature
    for name, low in (("lower", True), ("upper", False)):
        group = skin.vertex_groups.new(name=name)
        group.add([v.index for v in skin.data.vertices if (v.co.z < 1) == low], 1.0, "REPLACE")
    bpy.context.view_layer.update()
    settings = Settings(
        robot=RobotSettings("armature", armature="arm"), keypoints=(), render=RenderSettings(masks=True),
        variables=(VariableSettings("joint/lower", -1, 1), VariableSettings("joint/upper", -1, 1)),
    )  # fmt: skip
    stage = Stage(bpy.context.scene, armature, settings)
    renderer = Renderer(stage.scene, replace(settings.render, samples=8), 2, stage.camera)
    stage.apply({"camera/distance": 6.0, "camera/target_z": 1.0, "joint/upper": 0.9})
    truth = labels.label(stage, details=Details.of_stage(stage))
    alpha = renderer.render()[..., 3]
    renderer.close()
    assert truth.mask is not None
    np.testing.assert_array_equal(np.unique(truth.mask), [0, 1, 2])
    inner = inside_of_regions(truth.mask > 0)
    assert ((truth.mask > 0) == (alpha > 127))[inner].mean() > 0.999
    (instance,) = truth.instances
    for number, link in enumerate(("lower", "upper"), 1):
        base = stage.camera.intrinsics().project([instance.frames[link][:3, 3]])[0][0]
        rows, columns = np.nonzero(truth.mask == number)
        assert np.hypot(columns - base[0], rows - base[1]).min() < 12
    (lower_rows, _), (upper_rows, _) = (np.nonzero(truth.mask == n) for n in (1, 2))
    assert upper_rows.mean() < lower_rows.mean()
