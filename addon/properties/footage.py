# SPDX-License-Identifier: GPL-3.0-or-later
"""What is saved about a recording of the real robot: its file, its labels, and which camera is shown."""

# No "from __future__ import annotations": Blender reads property definitions from the annotations as they are.

import bpy
from bpy.props import EnumProperty, StringProperty

from .from_dataclass import fields

METHODS = (
    ("smoother", "Before and after", "By markers before and after it, and what the joints did between"),
    ("forward", "Before", "By markers before it, and what the joints did since"),
    ("backward", "After", "By markers after it, and what the joints do until then"),
    ("marker", "Leave out", "Not at all"),
)


@fields(
    recording=StringProperty(name="Footage", description="FOOTAGE.toml: images, joint positions and markers"),
    data=StringProperty(name="Labels", description="Folder of the data set that was labelled"),
    camera=StringProperty(name="Camera", description="Which of the recording's cameras is shown in the scene"),
    method=EnumProperty(name="No marker", description="How images are labelled in which no marker can be relied on",
                        items=METHODS),
)  # fmt: skip
class KEYPOINTS_PG_footage(bpy.types.PropertyGroup):
    """A recording of the real robot."""


CLASSES = (KEYPOINTS_PG_footage,)
