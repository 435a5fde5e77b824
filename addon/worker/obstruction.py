# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks some draws of a scene for objects that hide the robots or that the camera stands in, by casting rays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import invert, transform
from ...core.messages.obstruction import Obstruction
from ..properties import scenery
from ..robot import rig, rigid_bodies
from ..robot.robot_in_scene import RobotInScene
from ..stage import object_pool
from ..stage.stage import Stage

Floats = NDArray[np.float64]

DRAWS = 16
POINTS = 96
"""Places on the surface of each robot that rays are cast to."""
MOST = 0.8
"""Share of the places within the picture that an object hides which hides the robot. A floor through which the robot
reaches, or a fence, hides less."""
ALL = 0.98
"""The share from which on nothing of the robot counts as seen."""
CLEAR = 0.5
"""A surface that lets more light through than it stops hides nothing."""
GLASS = ("BSDF_TRANSPARENT", "BSDF_GLASS", "BSDF_REFRACTION")


class ObstructionCheck:
    """Checks one stage, draw by draw."""

    def __init__(self, stage: Stage) -> None:
        """Choose places all over the robots, and find out what can hide them at all."""
        self._stage = stage
        self._surfaces = [_Surface(robot) for robot in stage.robots.values()]
        self._robots = {o.name for robot in stage.robots.values() for o in _parts(robot.armature)}
        self._harmless: dict[str, bool] = {}
        self._draws = self._unseen = 0
        self._objects: Counter[str] = Counter()

    def check_draw(self) -> None:
        """Take in the draw that is applied to the stage."""
        self._draws += 1
        stage = self._stage
        places = np.concatenate([s.places() for s in self._surfaces])
        pixels, _ = stage.camera.intrinsics().project(transform(invert(stage.camera.pose()), places))
        places = places[stage.camera.intrinsics().contains(pixels)]
        if not len(places):
            return
        before = stage.seen.before(places, stage.camera.object, self._robots)
        blocking = [[o.name for o in met if not self._is_harmless(o)] for met in before]
        occluded = np.mean([bool(names) for names in blocking])
        counts = Counter(name for names in blocking for name in names)
        self._unseen += bool(occluded > ALL)
        hiding = [name for name, count in counts.items() if count >= MOST * len(places)]
        if occluded >= MOST and not hiding:  # several together
            hiding = [counts.most_common(1)[0][0]]
        self._objects.update(hiding)

    def found(self) -> Obstruction:
        """What all of the draws together say."""
        return Obstruction(self._draws, self._unseen, dict(self._objects))

    def _is_harmless(self, obj: bpy.types.Object) -> bool:
        """Whether it may stand before the robot: drawn by us, wanted by the user, or clear."""
        if obj.name not in self._harmless:
            self._harmless[obj.name] = object_pool.is_ours(obj) or scenery.stays(obj) or _clear(obj)
        return self._harmless[obj.name]


class _Surface:
    """Places all over one robot, each fixed to a frame."""

    def __init__(self, robot: RobotInScene) -> None:
        self._kinematics = kinematics = robot.kinematics
        found = rigid_bodies.find(robot.scene, kinematics)
        self._rows = np.arange(len(kinematics.names))
        self._local = np.zeros((len(self._rows), 3))
        corners = np.concatenate([np.empty((0, 3, 3)), *(b.vertices[b.triangles] for b in found)])
        edges = corners[:, 1:] - corners[:, :1]
        areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
        if not areas.sum():  # an armature without a mesh still has bones
            return
        rows = np.repeat([kinematics.rows[b.frame] for b in found], [len(b.triangles) for b in found])
        rng = np.random.default_rng(0)
        chosen = rng.choice(len(rows), POINTS, p=areas / areas.sum())
        weights = rng.dirichlet((1.0, 1.0, 1.0), POINTS)
        self._rows, self._local = rows[chosen], np.einsum("nc,ncx->nx", weights, corners[chosen])

    def places(self) -> Floats:
        """``(N, 3)`` in the world, as the robot stands in Blender now."""
        frames = self._kinematics.present()[self._rows]
        return np.asarray(np.einsum("nij,nj->ni", frames[:, :3, :3], self._local) + frames[:, :3, 3])


def check_draws(stage: Stage, draws: int = DRAWS, seed: int = 0) -> Obstruction:
    """Check some draws; the stage is left at the last one."""
    check, model, rng = ObstructionCheck(stage), stage.settings.scene_model(), np.random.default_rng(seed)
    for _ in range(draws):
        stage.apply(stage.draw_rules.sample(model, rng).values)
        check.check_draw()
    return check.found()


def _parts(armature: bpy.types.Object) -> list[bpy.types.Object]:
    return [*armature.children_recursive, *rig.robot_meshes(armature)]


def _clear(obj: bpy.types.Object) -> bool:
    """Whether all materials of an object let light through: glass, or nothing but a volume."""
    materials: list[bpy.types.Material | None] = [slot.material for slot in obj.material_slots]
    return bool(materials) and all(m is not None and _clear_material(m) for m in materials)


def _clear_material(material: bpy.types.Material) -> bool:
    if material.node_tree is None:
        return False
    outputs = [n for n in material.node_tree.nodes if n.type == "OUTPUT_MATERIAL" and n.is_active_output]
    if not outputs:
        return False
    surface, volume = outputs[0].inputs["Surface"], outputs[0].inputs["Volume"]
    if not surface.is_linked:
        return bool(volume.is_linked)
    shader = surface.links[0].from_node
    if shader.type != "BSDF_PRINCIPLED":
        return shader.type in GLASS
    return _value(shader.inputs, "Alpha") < CLEAR or _value(shader.inputs, "Transmission Weight") > CLEAR


def _value(inputs: Mapping[str, bpy.types.NodeSocket], name: str) -> float:
    """A plain number of a shader; what a texture feeds says nothing about the whole."""
    socket = inputs[name]
    neutral = 1.0 if name == "Alpha" else 0.0
    return neutral if socket.is_linked else float(socket.default_value)
