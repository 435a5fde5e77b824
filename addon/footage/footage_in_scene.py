# SPDX-License-Identifier: GPL-3.0-or-later
"""A labelled recording in the scene: camera, rig, uncertainty and markers over the timeline; and a pose read off it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ...core.camera.intrinsics import BLENDER_FROM_OPENCV, invert
from ...core.errors import UserError
from ...core.messages.labelled_footage import LabelledFootage
from ..prediction import photo_lens, pose_from_photo, robot_match
from ..robot import joint_positions, rig
from ..robot.robot_in_scene import RobotInScene
from . import background_files, calibration_document, curves, footage_camera, timeline
from .timeline import Moment

Floats = Any

KEYPOINTS_DEVIATION = "footage_keypoints_px"
"""Custom property of the armature: the largest standard deviation of a keypoint in the frame, pixels."""

JOINT_DEVIATION = "footage_deviation_{}"
"""Custom property of the armature: the standard deviation of a joint in the frame, radians or metres."""

MARKS = ("left out: ", "doubtful: ")
"""How the timeline markers begin that are made here."""


def load(scene: bpy.types.Scene, footage: LabelledFootage, data: Path, name: str) -> list[str]:
    """Show what one camera took behind a camera of the scene, and key the rig over it.

    The timeline's range becomes the recording's. The user's cameras, actions and markers stay.

    Args:
        data: folder of the data set.
        name: the camera's, in the recording.

    Returns:
        What the user ought to know, one sentence each.

    Raises:
        UserError: if rig and recording don't belong together, or images are missing; nothing has changed then.
    """
    shown = timeline.moments(footage, name)
    if not shown:
        raise UserError(f"The footage has no images of the camera {name}: label it again")
    robot = robot_match.robot_in(scene)
    offset = robot_match.match_robot(robot, footage.robot, "recording").offset
    photo_lens.refuse_if_locked(robot.armature, "robot", joints_only=True)
    first = shown[0].frame
    if first.index is None:
        file = background_files.sequence([m.frame.path for m in shown], data, name)
    elif first.path.is_file():
        file = first.path
    else:
        raise UserError(f"There is no video at {first.path}: put it back, or label the footage again")
    intrinsics = footage.cameras[name]
    scene.frame_start, scene.frame_end = 1, shown[-1].number
    camera = footage_camera.put(scene, name, intrinsics)
    footage_camera.show_behind(camera, file, intrinsics)
    _key_camera(camera, robot, offset, shown)
    _key_rig(robot, shown, name)
    _mark(scene, shown)
    scene.frame_set(1)
    return [] if any(m.frame.label is not None for m in shown) else [f"No image of {name} has a label"]


def place_cameras(scene: bpy.types.Scene, document: Any) -> list[bpy.types.Object]:
    """Put all cameras of a calibration into the scene, about its robot, or about the origin where there is none.

    Args:
        document: what ``calibrate`` writes as ``calibration.json``.

    Raises:
        UserError: if it is none, or a camera is on a link that the scene's robot hasn't.
    """
    found = calibration_document.cameras_in(document)
    armature = scene.robot_keypoints.armature
    robot = robot_match.robot_in(scene) if armature is not None else None
    for name, calibrated in found.items():
        if calibrated.link and (robot is None or calibrated.link not in robot.armature.data.bones):
            raise UserError(f"The camera {name} is on the link {calibrated.link}: load the robot first that has it")
    placed = []
    for name, calibrated in found.items():
        camera = footage_camera.put(scene, name, calibrated.intrinsics)
        relative = footage_camera.rigid(calibrated.pose)
        if robot is None:
            photo_lens.place(camera, invert(relative) @ BLENDER_FROM_OPENCV)
        elif not calibrated.link:
            pose_from_photo.place(robot, camera, relative, robot_moves=False)
        else:
            _mount(robot, camera, relative, calibrated.link)
        placed.append(camera)
    photo_lens.give(scene, placed[0], next(iter(found.values())).intrinsics, None)
    scene.camera = placed[0]
    return placed


def _mount(robot: RobotInScene, camera: bpy.types.Object, relative: Floats, link: str) -> None:
    """Fix a camera to a link, ``T_cam_link`` being known."""
    scale = float(robot.armature.matrix_world.to_scale()[0])
    relative[:3, 3] *= scale
    robot.scene.view_layers[0].update()
    there = footage_camera.rigid(rig.frame(robot.scene, robot.armature, link))
    camera.parent, camera.parent_type, camera.parent_bone = robot.armature, "BONE", link
    robot.scene.view_layers[0].update()
    camera.matrix_world = Matrix((there @ invert(relative) @ BLENDER_FROM_OPENCV).tolist())
    robot.scene.view_layers[0].update()


def _key_camera(camera: bpy.types.Object, robot: RobotInScene, offset: Floats, shown: Sequence[Moment]) -> None:
    numbers, poses = timeline.camera_poses(shown)
    rests = len(poses) <= 1
    places, turns = [], []
    previous = None
    for pose in poses:
        pose_from_photo.place(robot, camera, footage_camera.rigid(pose) @ invert(offset), robot_moves=False)
        turn = camera.matrix_world.to_quaternion()
        if previous is not None and turn.dot(previous) < 0:
            turn.negate()
        previous = turn
        places.append(tuple(camera.matrix_world.translation))
        turns.append(tuple(turn))
    if rests:
        return
    camera.rotation_mode = "QUATERNION"
    action = curves.begin(camera, camera.name)
    for path, rows in (("location", places), ("rotation_quaternion", turns)):
        for index, values in enumerate(zip(*rows, strict=True)):
            curves.write(action, camera, path, index, "Camera", numbers, values)


def _key_rig(robot: RobotInScene, shown: Sequence[Moment], name: str) -> None:
    armature = robot.armature
    action = curves.begin(armature, f"{footage_camera.COLLECTION} {name}")
    for joint in robot.joints:
        numbers, values = timeline.joint_values(shown, joint.name)
        for path, index, channel in _channels(armature, joint, values):
            curves.write(action, armature, path, index, joint.bone, numbers, channel)
    named = {KEYPOINTS_DEVIATION: "", **{JOINT_DEVIATION.format(j.name): j.name for j in robot.joints}}
    for title, joint_name in named.items():
        numbers, values = timeline.deviation_values(shown, joint_name)
        if numbers:
            armature[title] = values[0]
            curves.write(action, armature, f'["{title}"]', 0, "Standard deviations", numbers, values)


def _channels(
    armature: bpy.types.Object, joint: rig.RigJoint, values: Sequence[float]
) -> list[tuple[str, int, Sequence[float]]]:
    """Path, index and values of each F-curve that a joint's bone needs, whatever its rotation's mode."""
    bone = armature.pose.bones[joint.bone]
    path = bone.path_from_id()
    if joint.linear:
        return [(f"{path}.location", joint.axis, values)]
    if bone.rotation_mode == "QUATERNION":
        half = np.asarray(values) / 2
        return [(f"{path}.rotation_quaternion", 0, np.cos(half).tolist()),
                (f"{path}.rotation_quaternion", 1 + joint.axis, np.sin(half).tolist())]  # fmt: skip
    if bone.rotation_mode == "AXIS_ANGLE":
        axes = [(f"{path}.rotation_axis_angle", 1 + i, [float(i == joint.axis)] * len(values)) for i in range(3)]
        return [(f"{path}.rotation_axis_angle", 0, values), *axes]
    return [(f"{path}.rotation_euler", joint.axis, values)]


def _mark(scene: bpy.types.Scene, shown: Sequence[Moment]) -> None:
    markers = scene.timeline_markers
    for marker in [m for m in markers if m.name.startswith(MARKS)]:
        markers.remove(marker)
    for moment in shown:
        if text := timeline.reason(moment.frame):
            markers.new(timeline.marker_name(text), frame=moment.number)


def current(scene: bpy.types.Scene, footage: LabelledFootage, name: str) -> Moment | None:
    """What the recording has at the timeline's current frame."""
    return next((m for m in timeline.moments(footage, name) if m.number == scene.frame_current), None)


def correction(scene: bpy.types.Scene, footage: LabelledFootage, name: str) -> dict[str, Any]:
    """How the rig stands before the recording's camera at the current frame, as ``correct`` reads it.

    Raises:
        UserError: if the timeline is where there is no frame, or camera and rig aren't there.
    """
    moment = current(scene, footage, name)
    if moment is None:
        raise UserError(f"The footage has no image at frame {scene.frame_current}: go to one that it has")
    camera = footage_camera.camera_of(scene, name)
    if camera is None:
        raise UserError(f"The camera of {name} is no longer in the scene: load the footage into the scene again")
    robot = robot_match.robot_in(scene)
    offset = robot_match.match_robot(robot, footage.robot, "recording").offset
    joints = joint_positions.positions(robot)
    scale = float(robot.armature.matrix_world.to_scale()[0])
    eye = np.array(camera.matrix_world.normalized()) @ BLENDER_FROM_OPENCV
    relative = invert(eye) @ np.array(robot.armature.matrix_world.normalized())
    relative[:3, 3] /= scale
    known = {j.name for j in footage.robot.moving_joints}
    return {
        "frame": moment.place, "T_cam_base": footage_camera.rigid(relative @ offset).tolist(),
        "joints": {n: v for n, v in joints.items() if n in known},
    }  # fmt: skip


def keep(scene: bpy.types.Scene) -> None:
    """Key the pose at the current frame, so that it stays, and take the frame's marker away."""
    robot = robot_match.robot_in(scene)
    for joint in robot.joints:
        bone = robot.armature.pose.bones[joint.bone]
        for path, index, _ in _channels(robot.armature, joint, [0.0]):
            bone.keyframe_insert(path.rsplit(".", 1)[1], index=index, group=joint.bone)
    markers = scene.timeline_markers
    for marker in [m for m in markers if m.name.startswith(MARKS) and m.frame == scene.frame_current]:
        markers.remove(marker)
