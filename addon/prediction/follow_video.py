# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows a movie frame by frame, or what ``serve --publish`` tells of a webcam. Polled by the timer."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import Intrinsics
from ...core.errors import UserError
from ...core.messages.envelope import MessageError
from ...core.messages.pose import PoseRequest
from ...core.messages.pose_publishing import PoseListener, PublishedPose
from ...core.messages.prediction import Prediction
from ..robot import joint_positions
from ..robot.robot_in_scene import RobotInScene
from . import model_server, photo_source, pose_from_photo, robot_match
from .photo_lens import Lens
from .pose_uncertainty import axes, blurs

PAUSE = 1.0
"""Seconds after a failure until the next try."""
SILENCE = 3.0
"""A publisher that says nothing for so many seconds is missed."""


class Service:
    """At most one thing is followed.

    Attributes:
        kind: what is done for each frame, :data:`.CAMERA` or :data:`.ROBOT`; empty while off.
        published: whether a publisher is followed, not a movie.
        message: what is wrong, one sentence; empty if nothing.
        rate: poses a second, lately.
    """

    def __init__(self) -> None:
        self.kind = ""
        self.published = False
        self.message = ""
        self.rate = 0.0
        self._scene = ""
        self._talk: pose_from_photo.Conversation | None = None
        self._question: pose_from_photo.Question | None = None
        self._listener: PoseListener | None = None
        self._frame: tuple[str, int] | None = None
        self._not_before = 0.0
        self._last = 0.0

    def start(self, scene: bpy.types.Scene, kind: str, published: bool = False) -> None:
        """Follow the movie that is open, or the publisher whose address is given.

        Raises:
            UserError: if there is none, or no robot or no model.
        """
        self.stop()
        photo = scene.robot_keypoints.photo
        robot_match.robot_in(scene)
        if published:
            keys = scene.robot_keypoints.stream.keys
            self._listener = PoseListener(*address(photo.address), keys=bpy.path.abspath(keys) if keys else "")
        else:
            self._frame = None
            photo_source.current(scene, scene.robot_keypoints.overlay.image)
            self._talk = pose_from_photo.Conversation()
        self.kind, self.published = kind, published
        self._scene, self._last = scene.name, time.monotonic()

    def stop(self) -> None:
        """Let go."""
        for connection in (self._talk, self._listener):
            if connection is not None:
                connection.close()
        self.__init__()  # type: ignore[misc]

    def is_hurried(self) -> bool:
        """Whether the timer should come often."""
        return bool(self.kind)

    def tick(self) -> tuple[bool, bool]:
        """Look for news; whether the panel and whether the viewport must be drawn again."""
        changed = self._follow()
        return changed, changed

    def _follow(self) -> bool:
        if not self.kind:
            return False
        scene = bpy.data.scenes.get(self._scene)
        if scene is None:
            self.stop()
            return True
        if time.monotonic() < self._not_before or bpy.app.is_job_running("RENDER"):
            return False
        before = self.message
        try:
            moved = self._listen(scene) if self._listener is not None else self._watch(scene)
        except UserError as problem:
            self.message = str(problem)
            self._not_before = time.monotonic() + PAUSE
            return True
        if moved:
            now = time.monotonic()
            self.message = ""
            self.rate, self._last = 0.8 * self.rate + 0.2 / max(now - self._last, 1e-3), now
        return moved or self.message != before

    def _watch(self, scene: bpy.types.Scene) -> bool:
        """Ask about the frame that the scene shows, unless that is known."""
        talk, path = self._talk, scene.robot_keypoints.overlay.image
        assert talk is not None
        if talk.busy:
            found = talk.poll()
            if found is None:
                return False
            assert self._question is not None
            pose_from_photo.apply(scene, self.kind, found, self._question.match.offset, path)
            return True
        frame = (path, photo_source.current(scene, path))
        if frame != self._frame:
            self._frame = frame
            self._question = pose_from_photo.Question.of(scene, self.kind, path)
            talk.ask(self._question)
        return False

    def _listen(self, scene: bpy.types.Scene) -> bool:
        """Take what was published last."""
        assert self._listener is not None
        heard = self._listener.newest()
        if heard is None:
            if time.monotonic() - self._last > SILENCE and not self.message:
                self.message = (
                    f"Nothing is heard from {scene.robot_keypoints.photo.address}: check address and publisher"
                )
            return False
        if heard.end:
            self.message = "The publisher has ended"
            return False
        pose = heard.pose
        if pose is None:
            raise UserError("The publisher gives keypoints without a pose: start it with --camera")
        if pose.base_in_camera is None:
            raise UserError(pose.sentence.rstrip(".") or "The publisher found no pose")
        robot = robot_match.robot_in(scene)
        found = self._found(robot, heard)
        pose_from_photo.apply(scene, self.kind, found, _offset(robot, heard))
        return True

    def _found(self, robot: RobotInScene, heard: PublishedPose) -> pose_from_photo.Found:
        service = model_server.SERVICE
        skeleton = service.model.description.skeleton if service.model.name == heard.robot else ()
        shown = Prediction(0, heard.width, heard.height, heard.keypoints, skeleton, 0.0)
        service.show(shown, robot.scene.robot_keypoints.overlay.source)
        assert heard.pose is not None
        lens, known = _lens(heard), robot.robot
        if lens is None or known is None:
            return pose_from_photo.Found(shown, heard.pose, lens)
        k = lens.intrinsics
        seen = blurs(heard.pose, k, known.link_frames(heard.pose.joints or {}))
        return pose_from_photo.Found(shown, heard.pose, lens, seen, axes(heard.pose, k, known.reach() / 6))


def _lens(heard: PublishedPose) -> Lens | None:
    """The publisher's camera, where it tells it."""
    try:
        numbers = PoseRequest.from_dict({"camera": heard.document.get("camera")}).camera
    except MessageError:
        return None
    fx, fy, cx, cy, k1, k2, p1, p2, k3 = numbers
    k = Intrinsics(heard.width, heard.height, fx, fy, cx, cy, (k1, k2, p1, p2, k3))
    return Lens(k, "the publisher's camera")


def _offset(robot: RobotInScene, heard: PublishedPose) -> NDArray[np.float64]:
    """``T_rigbase_modelbase``, where the publisher's model is the one that is loaded; else both bases are the same.

    Raises:
        UserError: if the joints are those of another robot.
    """
    assert heard.pose is not None
    known = joint_positions.positions(robot)
    foreign = [n for n in heard.pose.joints or {} if n not in known]
    if foreign:
        raise UserError(
            f"The publisher's robot {heard.robot or heard.model} has the joint {foreign[0]}, which the rig lacks: "
            "load its robot"
        )
    service = model_server.SERVICE
    if service.model.state is model_server.State.READY and service.model.name == heard.robot:
        return robot_match.match(robot, service.model.description).offset
    return np.eye(4)


def address(text: str) -> tuple[str, int]:
    """Host and port of ``tcp://HOST:PORT`` or ``HOST:PORT``.

    Raises:
        UserError: if it is not that.
    """
    text = text.strip()
    try:
        parts = urlsplit(text if "//" in text else f"tcp://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port or parts.scheme != "tcp":
        raise UserError(f"The address {text} is none: write it as tcp://127.0.0.1:5555")
    return host, port


SERVICE = Service()
