# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of the joints in images of data sets: what the displacement of a predicted pose is compared with.

Two images can be compared that one camera took from one place. Which these are is told by the footage that they come
from (the camera's name); without it, they are those of the same intrinsics and, where it is annotated, of the same
``T_cam_base``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.robot.keypoints import Keypoint
from ...core.robot.robot import Robot
from ...core.settings.schema import Settings
from ..datasets.annotations import Annotation, Item
from ..pose.batch_displacement import Readings
from ..pose.kinematics import Chain
from .data_sets import Partition, batch_counts

Floats = NDArray[np.float64]

STILL_METRES, STILL_COSINE = 0.1, 0.99
"""How far the labels of one camera may put it apart (0.99 is about 8°) before it counts as moving."""


@dataclass(frozen=True)
class JointReadings:
    """Of K images.

    Attributes:
        rows: as :class:`.Readings` packs them ``(K, R)``, the camera being that of the image as annotated; NaN where
            the joints or the camera are not known.
    """

    rows: Floats

    @property
    def comparable(self) -> int:
        """Images that can be compared with another one."""
        groups = self.rows[~np.isnan(self.rows[:, 0]), 0]
        _, counts = np.unique(groups, return_counts=True)
        return int(counts[counts > 1].sum())

    def row(self, index: int, to_image: Floats) -> Floats:
        """Of one image, ``(R,)``.

        Args:
            to_image: from the pixels of what is shown to those of the image as annotated, ``(2, 3)``.
        """
        return Readings.moved(self.rows[index], to_image)


def unread(count: int, keypoints: int) -> Floats:
    """Rows of images of which nothing is read ``(count, R)``."""
    return np.full((count, Readings.width(keypoints)), np.nan)


def readings(items: Sequence[Item], robot: Robot, keypoints: Sequence[Keypoint], first: int = 0) -> JointReadings:
    """What the images tell of the first robot's joints.

    Args:
        keypoints: of the training.
        first: the number of the first camera, so that those of several data sets are told apart.
    """
    rows = unread(len(items), len(keypoints))
    chosen = [j for j, k in enumerate(keypoints) if not k.robot and k.frame in robot.links]
    if not chosen:
        return JointReadings(rows)
    chain = Chain.of(robot, [keypoints[j] for j in chosen])
    cameras: dict[Any, int] = {}
    moving = _moving(items)
    for k, item in enumerate(items):
        body = _of_first(item)
        if item.camera is None or body is None or body.joints is None or item.taken_by in moving:
            continue
        if not set(chain.names) <= body.joints.keys():
            continue
        group = cameras.setdefault(_camera(item, body), first + len(cameras))
        places = chain(torch.tensor([body.joints[n] for n in chain.names], dtype=torch.float64)).numpy()
        points = np.full((len(keypoints), 3), np.nan)
        points[chosen] = places
        rows[k] = Readings.pack(group, np.array(item.camera), points)
    return JointReadings(rows)


def of_run(settings: Settings, partitions: Sequence[Partition], robot: Robot | None) -> list[JointReadings]:
    """Those of a run's data sets; none where its settings ask for no loss of displacements.

    Raises:
        UserError: if they ask for it, and no two images of any data set can be compared.
    """
    if not settings.training.displacement_weight:
        return []
    if not settings.data:
        raise UserError(
            "training.displacement_weight needs images with joint positions: give them as [[data]], or set it to 0"
        )
    if robot is None:
        raise UserError(
            "training.displacement_weight needs the robot's kinematics, which this training doesn't know: give its "
            "robot.path, start from a model that knows them, or set it to 0"
        )
    result: list[JointReadings] = []
    for part in partitions:
        result.append(readings(part.learned, robot, settings.keypoints, sum(len(r.rows) for r in result)))
    if not any(r.comparable for r in result):
        raise UserError(f"training.displacement_weight has nothing to compare: {_why(partitions, result, robot)}")
    compared = [r.comparable and n > 1 for r, n in zip(result, batch_counts(settings), strict=True)]
    if not any(compared):
        raise UserError(
            "training.displacement_weight compares images of one batch, and a batch has only one of each data set "
            "that tells of joints: raise training.batch_size or that data set's share"
        )
    return result


def check_shares(settings: Settings, found: Sequence[JointReadings], processes: int) -> None:
    """Refuse processes of which none gets two images to compare.

    Raises:
        UserError: saying so.
    """
    counts = batch_counts(settings) if settings.data else []
    if not found or processes == 1:
        return
    sets = [-1] * (settings.training.batch_size - sum(counts))
    sets += [number if found[number].comparable else -1 for number, n in enumerate(counts) for _ in range(n)]
    shares = np.array_split(np.array(sets), processes)
    if not any((np.unique(s[s >= 0], return_counts=True)[1] > 1).any() for s in shares):
        raise UserError(
            f"{processes} processes share each batch so that none has two images to compare: set "
            "training.processes to 1, or raise training.batch_size"
        )


def _of_first(item: Item) -> Annotation | None:
    """The first robot that tells of its joints."""
    return next((r for r in item.robots if r.joints is not None), None)


def _camera(item: Item, body: Annotation) -> Any:
    return item.camera, item.taken_by if item.taken_by is not None else body.pose


def _moving(items: Sequence[Item]) -> set[str]:
    """Names of the cameras that labels put at several places, as one on the robot's hand."""
    first: dict[str, Floats] = {}
    result = set()
    for item in items:
        body = _of_first(item)
        if item.taken_by is None or body is None or body.pose is None:
            continue
        pose = np.array(body.pose)
        before = np.linalg.inv(first.setdefault(item.taken_by, pose)) @ pose
        turned = (np.trace(before[:3, :3]) - 1) / 2 < STILL_COSINE
        if turned or np.linalg.norm(before[:3, 3]) > STILL_METRES:
            result.add(item.taken_by)
    return result


def _why(partitions: Sequence[Partition], found: Sequence[JointReadings], robot: Robot) -> str:
    """Why no two images can be compared, and what to do."""
    items = [item for p in partitions for item in p.learned]
    bodies = [body for item in items if (body := _of_first(item)) is not None]
    if not bodies:
        return "no image of the data sets tells of joint positions; give footage with a joint log, or what label wrote"
    if all(item.camera is None for item in items):
        return "no image tells of its camera's intrinsics; give them in the footage, or label it"
    wanted = {j.name for j in robot.moving_joints if not j.fixed}
    missing = sorted(wanted - set(bodies[0].joints or ()))
    if missing and all(np.isnan(r.rows[:, 0]).all() for r in found):
        return f"the joint positions of {missing[0]} are not told; give those of all joints of {robot.name}"
    if any(_moving(p.learned) for p in partitions):
        return "the camera moves from image to image; give images of one that rests"
    return "no two images are of one camera that rests; give at least two of the same"
