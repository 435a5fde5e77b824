# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels against renderings of small bright spheres. Runs with the bpy wheel, and inside Blender, where the package has
another name.

``python tests/support/proofs.py --cases 2000 --robots A.urdf B.urdf`` is the long run of the visibility proof.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np

RADIUS = 5.0
"""Of a sphere whose centre is looked for, in pixels."""
ZOOM = 9
"""Width and height in pixels of the picture of one sphere whose visibility is looked at; it spans two thirds."""

DARK = 16
"""So many stops below what is usual, nothing but the sphere shows."""

WIDE = {
    "focal_length": (24.0, 60.0), "principal_x": (-0.04, 0.04), "principal_y": (-0.04, 0.04), "k1": (-0.15, 0.06),
    "k2": (-0.02, 0.03), "p1": (-0.003, 0.003), "p2": (-0.003, 0.003), "roll": (-0.5, 0.5),
}  # fmt: skip
"""The camera's variables of the preset "everything" that move keypoints in the image."""


def modules(package: str = "robot_keypoints") -> SimpleNamespace:
    """The parts of the package that are needed, under whatever name it is known."""
    names = (
        "addon.robot.rig",
        "addon.stage.stage",
        "addon.worker.instance_labels",
        "addon.worker.labels",
        "addon.worker.process",
        "addon.worker.renderer",
        "addon.worker.scene_builder",
        "core.robot.keypoints",
        "core.settings.completion",
        "core.settings.schema",
        "core.settings.toml_file",
    )
    return SimpleNamespace(**{n.rsplit(".", 1)[-1]: importlib.import_module(f"{package}.{n}") for n in names})


def staged(m: SimpleNamespace, settings: Any) -> tuple[Any, Any]:
    """The completed settings and the stage, in an empty scene."""
    robots = m.completion.load_robots(settings)
    complete = m.completion.complete(settings, *robots)
    armature = m.rig.build(bpy.context.scene, robots[0])
    return complete, m.stage.Stage(bpy.context.scene, armature, complete)


def sphere(name: str) -> bpy.types.Object:
    """A sphere of radius 1 that shines and lights nothing else."""
    mesh = bpy.data.meshes.get("proof sphere")
    if mesh is None:
        bpy.ops.mesh.primitive_uv_sphere_add(radius=1.0, segments=48, ring_count=24)
        made = bpy.context.object
        mesh = made.data
        mesh.name = "proof sphere"
        bpy.data.objects.remove(made)
        material = bpy.data.materials.new("proof sphere")
        if not material.use_nodes:
            material.use_nodes = True
        tree = material.node_tree
        tree.nodes.clear()
        emission, output = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
        emission.inputs["Color"].default_value = (0.0, 1.0, 0.0, 1.0)
        emission.inputs["Strength"].default_value = 100.0 * 2.0**DARK
        tree.links.new(emission.outputs[0], output.inputs["Surface"])
        material.cycles.emission_sampling = "NONE"
        mesh.materials.append(material)
    obj = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(obj)
    for ray in ("diffuse", "glossy", "transmission", "volume_scatter", "shadow"):
        setattr(obj, f"visible_{ray}", False)
    return obj


def centre_errors(m: SimpleNamespace, settings: Any, draws: int, seed: int = 0) -> np.ndarray:
    """Found minus labelled places ``(N, 2)`` in pixels of spheres at the keypoints, the camera drawn widely."""
    settings, stage = staged(m, settings)
    for obj in m.rig.robot_meshes(stage.armature):
        obj.hide_render = True
    spheres = [sphere(f"proof {k.name}") for k in settings.keypoints]
    renderer = m.renderer.Renderer(stage.scene, settings.render, 2, stage.camera)
    model, rng = settings.scene_model(), np.random.default_rng(seed)
    errors = []
    for _ in range(draws):
        values = dict(model.sample(rng).values)
        values.update({f"camera/{n}": rng.uniform(*ends) for n, ends in WIDE.items()})
        stage.apply(values)
        truth = m.labels.label(stage)
        clear = np.array(list(_clear(truth.keypoints, settings.render.width, settings.render.height)))
        for obj, place, depth, alone in zip(spheres, stage.positions(), truth.depths, clear, strict=True):
            obj.location = place
            obj.scale = [RADIUS * depth / truth.camera_matrix[0, 0] if alone else 0.0] * 3
        bpy.context.view_layer.update()
        alpha = renderer.render()[..., 3].astype(float)
        for u, v in truth.keypoints[clear]:
            errors.append(_centroid(alpha, u, v) - (u, v))
    renderer.close()
    return np.array(errors)


def _clear(pixels: np.ndarray, width: int, height: int) -> Iterator[bool]:
    """Whether the sphere at each of the pixels is whole, and no other is in its way."""
    reach = 2 * RADIUS
    used: list[np.ndarray] = []
    for u, v in pixels:
        inside = reach < u < width - 1 - reach and reach < v < height - 1 - reach
        alone = all(math.dist((u, v), other) > 2 * reach + 2 for other in used)
        if inside and alone:
            used.append(np.array([u, v]))
        yield inside and alone


def _centroid(alpha: np.ndarray, u: float, v: float) -> np.ndarray:
    reach = int(2 * RADIUS)
    left, top = round(u) - reach, round(v) - reach
    part = alpha[top : top + 2 * reach + 1, left : left + 2 * reach + 1]
    rows, columns = np.indices(part.shape)
    assert part.sum() > 0, f"there is no sphere at {u:.1f}, {v:.1f}"
    return np.array([(columns * part).sum() / part.sum() + left, (rows * part).sum() / part.sum() + top])


def visibility(m: SimpleNamespace, run: Path, cases: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labelled visibilities ``(N,)`` of keypoints inside the image, and the share ``(N,)`` of a small sphere at each
    that a rendering shows, of what it shows of the sphere alone.

    The run's own scene as a worker prepares it, level of detail included; each sphere is looked at closely, by the same
    camera turned to it.
    """
    settings = m.toml_file.load(run / "settings.toml")
    stage, renderer = m.process.prepare(run / "scene.blend", settings)
    scene, camera = stage.scene, stage.camera.object
    surface = importlib.import_module(type(stage.seen).__module__).SURFACE
    probe = sphere("proof")
    probe.scale = [surface] * 3
    look = bpy.data.objects.new("proof camera", bpy.data.cameras.new("proof camera"))
    scene.collection.objects.link(look)
    picture = _Picture(scene)
    model, rng = settings.scene_model(), np.random.default_rng(seed)
    labelled: list[int] = []
    shown: list[float] = []
    while len(labelled) < cases:
        probe.scale = [0.0] * 3
        values = stage.draw_rules.sample(model, rng).values
        stage.apply(values)
        visible = m.labels.label(stage).visibility
        scene.view_settings.exposure = -DARK
        stage.camera._set.pop("exposure", None)
        probe.scale = [surface] * 3
        places = stage.positions()[visible > 0]
        labelled += visible[visible > 0].tolist()
        scene.camera = look
        look.data.clip_start, look.data.clip_end = camera.data.clip_start, camera.data.clip_end
        for place in places:
            eye = np.array(camera.matrix_world.translation)
            distance = float(np.linalg.norm(place - eye))
            look.matrix_world = _towards(eye, place)
            look.data.lens = look.data.sensor_width * (ZOOM / 3) / ZOOM * distance / surface
            probe.location = place
            bpy.context.view_layer.update()
            shown.append(picture.lit() / max(1, _alone(picture, probe)))
        scene.camera = camera
    renderer.close()
    return np.array(labelled), np.array(shown)


_kept: dict[str, int] = {}


def _alone(picture: _Picture, probe: bpy.types.Object) -> int:
    """How many pixels the sphere fills without the scene: the same wherever it is, since the camera is turned to it."""
    if "alone" not in _kept:
        others = [o for o in picture.scene.objects if o != probe and o.type != "CAMERA" and not o.hide_render]
        for o in others:
            o.hide_render = True
        _kept["alone"] = picture.lit()
        for o in others:
            o.hide_render = False
        assert _kept["alone"] > ZOOM * ZOOM / 5, "the sphere alone is not seen"
    return _kept["alone"]


class _Picture:
    """Small renderings of what shines green."""

    def __init__(self, scene: bpy.types.Scene) -> None:
        self.scene = scene
        self._file = Path(tempfile.mkdtemp()) / "probe.tga"

    def lit(self) -> int:
        render = self.scene.render
        kept = render.filepath, render.resolution_x, render.resolution_y, render.use_border
        render.filepath, render.resolution_x, render.resolution_y, render.use_border = (
            str(self._file),
            ZOOM,
            ZOOM,
            False,
        )
        bpy.ops.render.render(write_still=True, scene=self.scene.name)
        render.filepath, render.resolution_x, render.resolution_y, render.use_border = kept
        return int((np.fromfile(self._file, np.uint8)[18 : 18 + 4 * ZOOM * ZOOM].reshape(-1, 4)[:, 1] > 127).sum())


def _towards(eye: np.ndarray, place: np.ndarray) -> Any:
    from mathutils import Matrix, Vector

    turn = Vector(place - eye).to_track_quat("-Z", "Y")
    return Matrix.Translation(eye) @ turn.to_matrix().to_4x4()


def mask_agreement(m: SimpleNamespace, urdf: Path, draws: int = 2) -> float:
    """Of the pixels away from borders that show a link, the share where mask and rendering name the same one.

    Each link is rendered alone, with all others as holes.
    """
    run = run_of(m, urdf, "balanced", (200, 150))
    settings = m.toml_file.load(run / "settings.toml")
    settings = replace(settings, render=replace(settings.render, samples=8, masks=True))
    stage, renderer = m.process.prepare(run / "scene.blend", settings)
    model, rng = settings.scene_model(), np.random.default_rng(2)
    details = m.instance_labels.Details.of_stage(stage)
    right = total = 0
    for _ in range(draws):
        fixed = {f"camera/{n}": ends[0] for n, ends in WIDE.items()} | {"background/world": 0.5}  # which is opaque
        stage.apply({**stage.draw_rules.sample(model, rng).values, **fixed})
        truth = m.labels.label(stage, details)
        inner = inside_of_regions(truth.mask)
        links = [(i.name, link) for i in truth.instances for link in i.frames]
        for number in np.unique(truth.mask[truth.mask > 0]):
            for obj in stage.scene.objects:
                if obj.type == "MESH":
                    obj.is_holdout = (("", obj.parent_bone) if obj.parent else None) != links[number - 1]
            alone, labelled = renderer.render()[..., 3] > 127, truth.mask == number
            right += (labelled & alone)[inner].sum()
            total += (labelled | alone)[inner].sum()
    renderer.close()
    return float(right / total)


def inside_of_regions(mask: np.ndarray) -> np.ndarray:
    """Pixels all of whose eight neighbours have the same number."""
    padded = np.pad(mask.astype(int), 1, mode="edge")
    height, width = mask.shape
    return np.all([padded[r : r + height, c : c + width] == mask for r in range(3) for c in range(3)], axis=0)


def agreement(labelled: Sequence[int] | np.ndarray, shown: np.ndarray) -> float:
    """Share of the cases in which the label says what the rendering shows."""
    return float(((np.asarray(labelled) == 2) == (shown >= 0.5)).mean())


def run_of(m: SimpleNamespace, urdf: Path, preset: str, size: tuple[int, int] = (160, 120)) -> Path:
    """A new run's folder with the scene of a robot of the package ``example-robot-data``, everything of a preset
    varied."""
    folder = Path(tempfile.mkdtemp())
    packages = {"example-robot-data": str(urdf.parents[3])}
    settings = m.schema.Settings(
        robot=m.schema.RobotSettings("urdf", str(urdf), packages=packages),
        scene=m.schema.SceneSettings(preset=preset),
        render=m.schema.RenderSettings(width=size[0], height=size[1], samples=1),
    )
    (robot,) = m.completion.load_robots(settings)
    keypoints = m.keypoints.joint_keypoints(robot)
    # Joints' centres mostly lie inside links, so twice as many points lie anywhere about them.
    rng = np.random.default_rng(0)
    about = [
        m.schema.Keypoint(f"{k.name} {i}", k.frame, tuple(rng.normal(0, 0.07 * robot.reach(), 3).tolist()))
        for i, k in enumerate(keypoints * 2)
    ]
    settings = m.completion.complete(replace(settings, keypoints=(*keypoints, *about)), robot)
    m.toml_file.save(settings, folder / "settings.toml")
    m.scene_builder.build_scene(settings, folder, complete=True)
    return folder


def main() -> None:
    """Print the agreement of visibilities, robot by robot."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--robots", nargs="+", type=Path, required=True, help="URDF files of example-robot-data")
    parser.add_argument("--preset", default="photographs")
    options = parser.parse_args()
    report = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Blender prints several lines per frame
    m = modules()
    for urdf in options.robots:
        run = run_of(m, urdf, options.preset)
        labelled, shown = visibility(m, run, math.ceil(options.cases / len(options.robots)))
        print(
            f"{urdf.stem}: {len(labelled)} keypoints inside images, {np.mean(labelled == 2):.1%} labelled visible; "
            f"agrees with the rendering in {agreement(labelled, shown):.2%}",
            file=report, flush=True,
        )  # fmt: skip
        _kept.clear()


if __name__ == "__main__":
    main()
    os._exit(0)
