# SPDX-License-Identifier: GPL-3.0-or-later
"""What is saved about Quick Start: which robot, and what its model is for.

Both choices follow the scene until the user makes one: a robot that stands there is taken as it is, with its priors.
What the user has chosen counts once; after that the robot stands in the scene.
"""

# No "from __future__ import annotations": Blender reads property definitions from the annotations as they are.

from typing import Any

import bpy
from bpy.props import EnumProperty, StringProperty

from ...core.scene import presets
from .from_dataclass import fields

SCENE, URDF, EXAMPLE = "SCENE", "URDF", "EXAMPLE"
SOURCES = (
    (SCENE, "In the scene", "The robot, or the armature, that stands in this scene"),
    (URDF, "From a file", "A URDF or xacro file, with its meshes"),
    (EXAMPLE, "Example, a UR10", "A UR10 of simple shapes, which comes along"),
)
KEEP = "KEEP"
PURPOSES = (
    (KEEP, "As set under Priors", "Nothing of what is set under Priors is changed"),
    ("photographs", "Photographs", f"{presets.PHOTOGRAPHS.description}. Renders the fewest images per second"),
    ("balanced", "Good renderings", presets.BALANCED.description),
    ("fast", "A quick first look", presets.FAST.description),
)
_SOURCES = [s[0] for s in SOURCES]
_PURPOSES = [p[0] for p in PURPOSES]


def armatures(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """The armatures that could be the robot: the one that is, else all of the scene."""
    robot = scene.robot_keypoints.armature
    return [robot] if robot is not None else [o for o in scene.objects if o.type == "ARMATURE"]


def forget(props: Any) -> None:
    """The choices have been carried out: from now on they follow the scene again."""
    props.quick_start.chosen_source = props.quick_start.chosen_purpose = ""


def _get_source(self: Any) -> int:
    default = SCENE if armatures(self.id_data) else EXAMPLE
    return _SOURCES.index(self.chosen_source or default)


def _set_source(self: Any, value: int) -> None:
    self.chosen_source = _SOURCES[value]


def _get_purpose(self: Any) -> int:
    kept = self.id_data.robot_keypoints.armature is not None and self.source == SCENE
    return _PURPOSES.index(self.chosen_purpose or (KEEP if kept else "photographs"))


def _set_purpose(self: Any, value: int) -> None:
    self.chosen_purpose = _PURPOSES[value]


@fields(
    source=EnumProperty(name="Robot", description="Where the robot comes from", items=SOURCES, get=_get_source,
                        set=_set_source),
    purpose=EnumProperty(name="For", description="What the model is to find keypoints in", items=PURPOSES,
                         get=_get_purpose, set=_set_purpose),
    urdf=StringProperty(name="File", description="The URDF or xacro file", subtype="FILE_PATH"),
    chosen_source=StringProperty(options={"HIDDEN"}),
    chosen_purpose=StringProperty(options={"HIDDEN"}),
)  # fmt: skip
class KEYPOINTS_PG_quick_start(bpy.types.PropertyGroup):
    """The two choices, and the file of the robot."""


CLASSES = (KEYPOINTS_PG_quick_start,)
