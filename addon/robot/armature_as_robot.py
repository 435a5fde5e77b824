# SPDX-License-Identifier: GPL-3.0-or-later
"""A user's own armature as a robot of links and joints, for those who only know such: the solver of poses."""

from __future__ import annotations

import math

import bpy
import numpy as np

from ...core.names import free_name
from ...core.robot.robot import Joint, Robot, as_matrix, triple
from . import rig

BASE = "armature"


def of(armature: bpy.types.Object) -> Robot:
    """One link for each bone, in its frame at rest, under one for the armature itself, and joints named as their bones.

    A bone that is no joint stays as it is posed now.
    """
    joints = {j.bone: j for j in rig.joints(armature)}
    base = free_name(BASE, {b.name for b in armature.data.bones}.__contains__)
    made = []
    for bone in armature.data.bones:
        rest = np.array(bone.matrix_local)
        parent = base
        if bone.parent is not None:
            parent = bone.parent.name
            rest = np.linalg.inv(np.array(bone.parent.matrix_local)) @ rest
        joint = joints.get(bone.name)
        if joint is None:
            rest = rest @ np.array(armature.pose.bones[bone.name].matrix_basis)
            made.append(Joint(bone.name, "fixed", parent, bone.name, as_matrix(rest)))
            continue
        kind = "prismatic" if joint.linear else "continuous" if joint.circular else "revolute"
        limits = (-math.pi, math.pi) if kind == "continuous" else (joint.lower, joint.upper)
        axis = triple(np.eye(3)[joint.axis])
        made.append(Joint(bone.name, kind, parent, bone.name, as_matrix(rest), axis, *limits))
    return Robot(armature.name, base, tuple(made))
