# SPDX-License-Identifier: GPL-3.0-or-later
"""From a photograph to the scene: asks the model server where the robot is, and moves the camera or the rig there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import bpy
import numpy as np

from ...core.camera.intrinsics import BLENDER_FROM_OPENCV, Intrinsics, invert
from ...core.errors import UserError
from ...core.messages.model_client import ModelClient
from ...core.messages.pose import PoseRequest, PredictedPose
from ...core.messages.prediction import Prediction, Refusal
from ...core.messages.robot_shapes import RobotShapes
from ..robot import posed_shapes, rig
from ..robot.robot_in_scene import RobotInScene
from . import model_server, photo_lens, photo_source, robot_match
from .photo_lens import Lens
from .photo_source import Picture
from .pose_uncertainty import Blur, axes, blurs
from .robot_match import Match

CAMERA, ROBOT = "CAMERA", "ROBOT"
"""What is wanted: the camera's place, the rig's joints being known, or the rig's joints and place."""


@dataclass(frozen=True)
class Question:
    """What is asked about one picture."""

    kind: str
    picture: Picture
    lens: Lens
    match: Match
    deviations: Mapping[str, float] = field(default_factory=dict)
    """Standard deviations of joints that are only about right, radians; the others are exact."""
    shapes: RobotShapes | None = None
    """The rig as it stands, where the camera is to be placed by its outline as well."""
    still: bool = False
    """Whether it is asked about one picture alone, for whose answer there is time."""

    @classmethod
    def of(cls, scene: bpy.types.Scene, kind: str, path: str, *, still: bool = False) -> Question:
        """About the photograph ``path`` and the scene as it stands.

        Args:
            still: whether there is time: then the answer goes by the robot's outline as well, where the settings want
                that and the joints are exact.

        Raises:
            UserError: if there is no model, no robot, no photograph, or one doesn't go with the other.
        """
        if model_server.SERVICE.model.state is not model_server.State.READY:
            raise UserError("No model is loaded: load one first")
        robot = robot_match.robot_in(scene)
        match = robot_match.match(robot, model_server.SERVICE.model.description)
        picture = photo_source.read(scene, path)
        lens = photo_lens.of(scene, picture.width, picture.height)
        deviation = scene.robot_keypoints.photo.joints_deviation
        turning = [j.name for j in robot.joints if not j.linear]
        deviations = {n: deviation for n in turning if deviation > 0 and n in match.joints}
        wanted = still and kind == CAMERA and scene.robot_keypoints.photo.outline and not deviations
        shapes = posed_shapes.of(robot, match.offset) if wanted else None
        return cls(kind, picture, lens, match, deviations, shapes, still)

    def known(self, given: Iterable[str]) -> dict[str, float]:
        """Positions to tell the model's server, radians or metres: all joints where the camera is to be placed, else
        those that are about right, and those ``given`` that it has asked for."""
        joints = self.match.joints
        chosen = set(joints) if self.kind == CAMERA else {*self.deviations, *given}
        return {n: v for n, v in joints.items() if n in chosen}


@dataclass(frozen=True, eq=False)
class Found:
    """A pose that was found, as panel and overlay show it.

    Attributes:
        prediction: the answer that it came with; the overlay shows the pose with these keypoints only.
        lens: None where the pose was published by somebody who doesn't tell it.
        blurs: of the links' origins, pixels.
        axes: of the robot's base, pixels.
        applied: what was moved, ``CAMERA`` or ``ROBOT``.
    """

    prediction: Prediction
    pose: PredictedPose
    lens: Lens | None
    blurs: tuple[Blur, ...] = ()
    axes: tuple[Any, ...] = ()
    applied: str = ""


class Conversation:
    """One connection to the model server, for one question after the other."""

    def __init__(self, client: ModelClient | None = None) -> None:
        """Connect to the model's server.

        Raises:
            UserError: if no model is loaded.
        """
        self._client = client if client is not None else model_server.SERVICE.connect()
        self._question: Question | None = None
        self._given: set[str] = set()

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._question is not None

    def ask(self, question: Question) -> None:
        """Send a question.

        Raises:
            UserError: if a number of it is not finite.
        """
        self._question = question
        self._send()

    def poll(self) -> Found | None:
        """The answer, once it has come.

        Raises:
            UserError: if the server refuses, or there is no pose; the keypoints are shown all the same.
        """
        question, answer = self._question, self._client.poll()
        if question is None or answer is None:
            return None
        if isinstance(answer, Refusal):
            self._question = None
            raise UserError(_sentence(answer.reason))
        pose = answer.pose
        lacking = set() if pose is None else set(pose.undetermined) & set(question.match.joints) - self._given
        if lacking:
            # What no picture tells stays as the rig has it.
            self._given |= lacking
            self._send()
            return None
        self._question = None
        model_server.SERVICE.show(answer, "IMAGE", str(question.picture.path), question.picture.frame)
        if pose is None:
            raise UserError(
                "The model's server gives no poses: it is older than this extension, so load the model again"
            )
        found = Found(answer, pose, question.lens)
        remember(found)
        if pose.base_in_camera is None:
            raise UserError(_sentence(pose.sentence) or "No pose was found")
        k = question.lens.intrinsics
        frames = question.match.frames(pose.joints or {})
        reach = question.match.robot.reach() if question.match.robot is not None else 1.0
        found = Found(answer, pose, question.lens, blurs(pose, k, frames), axes(pose, k, reach / 6))
        remember(found)
        return found

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _send(self) -> None:
        question = self._question
        assert question is not None
        picture = question.picture
        known = question.known(self._given)
        request = PoseRequest.of(question.lens.intrinsics, known, question.deviations)
        self._client.request(
            picture.encoding,
            picture.width,
            picture.height,
            picture.data,
            request,
            question.shapes,
            still=question.still,
        )


def apply(scene: bpy.types.Scene, kind: str, found: Found, offset: Any, path: str = "") -> None:
    """Move what was asked about; give the camera the photograph's lens, and show the photograph behind it.

    Args:
        offset: ``T_rigbase_modelbase`` ``(4, 4)``.
        path: the photograph; empty where there is none to show.

    Raises:
        UserError: if the camera or the rig can't be moved; nothing has changed then.
    """
    scene.view_layers[0].update()
    if path:
        photo_source.block(path)
    pose, robot, camera = found.pose, robot_match.robot_in(scene), scene.camera
    assert pose.base_in_camera is not None
    photo = scene.robot_keypoints.photo
    robot_moves = kind == ROBOT and photo.moves == ROBOT and camera is not None
    if camera is not None:
        if camera.type != "CAMERA":
            raise UserError(f"{camera.name} is no camera: choose the scene's camera in its properties")
        if found.lens is not None:
            photo_lens.editable(camera)
    if robot_moves or kind == ROBOT:
        photo_lens.refuse_if_locked(robot.armature, "robot", joints_only=not robot_moves)
    if not robot_moves and camera is not None:
        photo_lens.refuse_if_locked(camera, "camera")
    if kind == ROBOT:
        pose_joints(robot, pose.joints or {})
    camera = photo_lens.ensure(scene)
    if found.lens is not None and camera_differs(scene, camera, found.lens.intrinsics):
        typed = (photo.focal_mm, photo.sensor_mm) if photo.lens == "MM" else None
        photo_lens.give(scene, camera, found.lens.intrinsics, typed)
    place(robot, camera, pose.base_in_camera @ invert(offset), robot_moves)
    overlay = scene.robot_keypoints.overlay
    if path:
        photo_source.show(scene, path)
        if (overlay.image, overlay.source) != (path, "IMAGE"):
            overlay.image, overlay.source = path, "IMAGE"
    remember(replace(found, applied=ROBOT if robot_moves else CAMERA))


def place(robot: RobotInScene, camera: bpy.types.Object, base_in_camera: Any, robot_moves: bool) -> None:
    """Move rig or camera so that ``T_cam_base`` ``(4, 4)`` holds between them; metres are those of the rig's scale."""
    armature = robot.armature
    scale = float(armature.matrix_world.to_scale()[0])
    relative = np.array(base_in_camera)
    relative[:3, 3] *= scale
    eye = np.array(camera.matrix_world.normalized()) @ BLENDER_FROM_OPENCV
    if robot_moves:
        photo_lens.place(armature, eye @ relative)
    else:
        base = np.array(armature.matrix_world.normalized())
        photo_lens.place(camera, base @ invert(relative) @ BLENDER_FROM_OPENCV)
        reach = scale * robot.reach
        # Nothing of the robot may be cut off.
        camera.data.clip_end = max(camera.data.clip_end, 10 * (float(np.linalg.norm(relative[:3, 3])) + reach))
        camera.data.clip_start = min(camera.data.clip_start, 0.05 * reach)
    robot.scene.view_layers[0].update()


def pose_joints(robot: RobotInScene, joints: Mapping[str, float]) -> None:
    """Pose those of the joints, radians or metres, that the rig has."""
    known = {j.name for j in robot.joints}
    rig.Poser(robot.armature, robot.joints)({n: v for n, v in joints.items() if n in known})
    robot.armature.update_tag()


def camera_differs(scene: bpy.types.Scene, camera: bpy.types.Object, k: Intrinsics) -> bool:
    """Whether the camera has other intrinsics, or the scene's pictures another size, than wanted."""
    render = scene.render
    if (render.resolution_x, render.resolution_y) != (k.width, k.height) or k.fx != k.fy:
        return True
    if render.pixel_aspect_x != render.pixel_aspect_y:
        return True
    try:
        present = photo_lens.of_camera(camera, k.width, k.height).intrinsics
    except UserError:
        return True
    return not np.allclose(present.matrix, k.matrix, rtol=1e-6, atol=1e-3)


def _sentence(text: str) -> str:
    """The server's words as this extension says them."""
    text = text.strip()
    return text[:1].upper() + text[1:].rstrip(".")


def notes(scene: bpy.types.Scene, found: Found) -> list[str]:
    """What the user ought to know about what was done, one sentence each."""
    pose, moved = found.pose, scene.camera
    result = []
    if pose.alternatives:
        n = len(pose.alternatives)
        those = "Another pose fits" if n == 1 else f"{n} other poses fit"
        result.append(f"{those} the keypoints about as well: look whether this is the right one")
    if latest_applied() == ROBOT:
        moved = scene.robot_keypoints.armature
    action = None if moved is None or moved.animation_data is None else moved.animation_data.action
    if action is not None:
        result.append(
            f"{moved.name} is animated: it goes back to its keys when the frame changes, unless you key it now"
        )
    return result


def other(scene: bpy.types.Scene, found: Found) -> Found:
    """The next of the poses that fit about as well, the present one being put behind the others.

    Raises:
        UserError: if there is none.
    """
    pose = found.pose
    if not pose.alternatives or pose.base_in_camera is None:
        raise UserError("No other pose fits the keypoints as well")
    following, *rest = pose.alternatives
    turned = replace(pose, base_in_camera=following, alternatives=(*rest, pose.base_in_camera), reprojection=None)
    if found.lens is None:
        return replace(found, pose=turned, blurs=(), axes=())
    match = robot_match.match(robot_match.robot_in(scene), model_server.SERVICE.model.description)
    k = found.lens.intrinsics
    reach = match.robot.reach() if match.robot is not None else 1.0
    seen = blurs(turned, k, match.frames(turned.joints or {}))
    return replace(found, pose=turned, blurs=seen, axes=axes(turned, k, reach / 6))


class _Memory:
    found: Found | None = None
    message: str = ""
    asking: bool = False


def latest() -> Found | None:
    """What was found last, if its keypoints are still the ones shown."""
    found = _Memory.found
    return found if found is not None and found.prediction is model_server.SERVICE.prediction else None


def latest_applied() -> str:
    """What was moved last: ``CAMERA``, ``ROBOT`` or nothing."""
    return _Memory.found.applied if _Memory.found is not None else ""


def message() -> str:
    """Why the last question had no answer; empty if it had."""
    return _Memory.message


def asking() -> bool:
    """Whether an operator waits for an answer."""
    return _Memory.asking


def set_asking(on: bool) -> None:
    """Note that an operator waits for an answer, or no longer does."""
    _Memory.asking = on


def say(sentence: str) -> None:
    """Keep a sentence for the panel."""
    _Memory.message = sentence


def remember(found: Found) -> None:
    """Take in what was found."""
    _Memory.found = found


def forget() -> None:
    """The scene is another one, or the model is put away."""
    _Memory.found, _Memory.message, _Memory.asking = None, "", False
