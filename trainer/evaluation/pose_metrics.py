# SPDX-License-Identifier: GPL-3.0-or-later
"""How far solved poses are from the true ones: ADD [Hinterstoisser2012], rotation and translation, and where
there was no pose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.messages.job_progress import ProgressWriter
from ...core.robot import visibility as keypoint_visibility
from ...core.robot.keypoints import Keypoint
from ...core.robot.robot import Robot
from ..datasets.annotations import Item
from ..datasets.keypoint_matching import Truth
from ..inference.joint_deviations import joint_deviations
from ..inference.pose_arguments import checked_joints, scaled_camera
from ..networks.model_file import ModelInfo
from ..pose.ambiguous_poses import likeliest
from ..pose.camera import Camera
from ..pose.corrected_joints import correct_joints
from ..pose.kinematics import Chain
from ..pose.outline_pose import OutlineSolver
from ..pose.problem import Options, Status
from ..pose.rigid_motion import angle_between
from ..pose.robot_points import PlacedRobot, roles
from ..pose.solve_joints import JointStart
from ..pose.solve_pose import solve_pose
from . import keypoint_metrics

Floats = NDArray[np.float64]

ADD_LIMIT = 0.1
"""Metres up to which the area under ADD's curve is taken, unless told otherwise; the literature on robots has it so."""


WHY = {
    "too_few": "too few keypoints were found",
    "degenerate": "the keypoints that were found don't determine it",
    "not_finite": "the camera's numbers are of no use",
    "hidden": "no keypoint was found",
    "not_found": "no pose shows the keypoints where they were found",
}
"""Statuses in a few words."""


@dataclass(frozen=True)
class PoseErrors:
    """Of N images with a known pose.

    Attributes:
        add: mean distance of the robot's keypoints from where they truly are, all of them, seen or not, metres
            ``(N,)``; NaN where there is no pose, as in the others.
        rotation: angle between the poses, degrees ``(N,)``.
        translation: distance between the base frames' places, metres ``(N,)``.
        status: :class:`.Status` by number, ``(N,)``.
        rows: which of the images that were given these are, ``(N,)``.
        outlined: which poses go by the robot's outline, ``(N,)``; None where that wasn't asked for.
    """

    add: Floats
    rotation: Floats
    translation: Floats
    status: NDArray[np.int64]
    rows: NDArray[np.int64]
    outlined: NDArray[np.bool_] | None = None

    def to_dict(self, limit: float = ADD_LIMIT) -> dict[str, Any]:
        """All measures as plain JSON values; what there is nothing of is None.

        Args:
            limit: of the area under ADD's curve, metres.
        """
        solved = self.status == Status.SOLVED
        refused = [s for s in Status if s != Status.SOLVED and (self.status == s).any()]
        return {
            "images": len(self.status),
            "determined": int(solved.sum()),
            "share": float(solved.mean()) if len(solved) else None,
            "by_outline": None if self.outlined is None else int(self.outlined.sum()),
            "refused": {
                s.name.lower(): {"images": int((self.status == s).sum()), "sentence": s.sentence} for s in refused
            },
            "add_metres": keypoint_metrics.distribution(self.add),
            "add_area": add_area(self.add, limit),
            "add_area_limit_metres": limit,
            "rotation_degrees": keypoint_metrics.distribution(self.rotation),
            "translation_metres": keypoint_metrics.distribution(self.translation),
        }


def add_area(add: Floats, limit: float) -> float | None:
    """Area under the share of images up to each ADD from 0 to ``limit``, over ``limit``: 0 … 1, exact. An image without
    a pose (NaN) counts as one that is never reached. None of no images."""
    if not add.size:
        return None
    return float(np.maximum(0.0, 1.0 - np.where(np.isnan(add), math.inf, add) / limit).mean())


def pose_errors(found: Floats, true: Floats, points: Floats) -> tuple[Floats, Floats, Floats]:
    """ADD in metres, rotation in degrees and translation in metres, ``(N,)`` each.

    Args:
        found, true: ``T_cam_base`` ``(N, 4, 4)``; NaN where there is no pose.
        points: in the base frame, metres ``(N, K, 3)``.
    """
    a, b, p = (torch.from_numpy(np.ascontiguousarray(x, np.float64)) for x in (found, true, points))
    off = p @ (a[:, :3, :3] - b[:, :3, :3]).mT + (a - b)[:, None, :3, 3]
    rotation = torch.rad2deg(angle_between(a[:, :3, :3], b[:, :3, :3]))
    translation = (a - b)[:, :3, 3].norm(dim=-1)
    return off.norm(dim=-1).mean(-1).numpy(), rotation.numpy(), translation.numpy()


def check(info: ModelInfo, urdf: Path | None, items: Sequence[Item], truths: Sequence[Truth]) -> None:
    """Refuse what poses can't be measured by.

    Raises:
        UserError: saying why.
    """
    if not any(i.camera is not None for i in items):
        raise UserError(
            "The data don't tell the camera of any image with the robot: use data as robot-keypoints render writes"
        )
    if not any(_known(i, t) for i, t in zip(items, truths, strict=True)):
        raise UserError(
            "The data don't tell T_cam_base and joints of the robot: use data as robot-keypoints render writes"
        )
    if urdf is None and info.robot is None:
        raise UserError("The model doesn't know its robot's kinematics: give its URDF with --robot FILE")


def _known(item: Item, truth: Truth) -> bool:
    robot = truth.robot
    return item.camera is not None and robot is not None and robot.pose is not None and robot.joints is not None


def measure(
    info: ModelInfo, urdf: Path | None, items: Sequence[Item], truths: Sequence[Truth],
    predicted: Floats, covariances: Floats, confidences: Floats, deviation: str | None = None,
    outlines: ProgressWriter | None = None,
) -> PoseErrors:  # fmt: skip
    """Solve the pose in every image of which camera, joints and pose are known, as ``predict --camera --joints`` does,
    and compare.

    Args:
        urdf: the robot's file, where the model's own robot isn't to be used.
        predicted: pixels ``(N, J, 2)``.
        covariances: pixels² ``(N, J, 2, 2)``.
        confidences: ``(N, J)``.
        deviation: of the joints, as ``--joints-deviation`` has it; they are then corrected together with the pose.
        outlines: told how many images were looked at for the robot's outline, by which poses then go as ``predict
            --outline`` has them; None if they don't.

    Raises:
        UserError: if the robot can't be used, the joints are another robot's, or the deviation is of no use.
    """
    placed = PlacedRobot.of(info, urdf)
    order = list(placed.points)
    rows, cameras, poses, joints = [], [], [], []
    for i, (item, truth) in enumerate(zip(items, truths, strict=True)):
        robot = truth.robot
        if item.camera is not None and robot is not None and robot.pose is not None and robot.joints is not None:
            rows.append(i)
            cameras.append(item.camera)
            poses.append(robot.pose)
            joints.append(_checked(item, robot.joints, placed.robot))
    places = _points(placed.robot, [placed.points[j] for j in order], joints)
    lenses = torch.tensor(cameras, dtype=torch.float64)
    camera = Camera.of_rows(lenses)
    chosen = np.ix_(rows, order)
    pixels, spread = torch.from_numpy(predicted[chosen]), torch.from_numpy(covariances[chosen])
    used = torch.from_numpy(confidences[chosen] >= keypoint_visibility.SURE)
    options = Options(kernel="huber")
    if deviation is None:
        found, status = likeliest(places, pixels, camera, spread, used, options)
    else:
        chain, readings = _readings(placed.robot, [placed.points[j] for j in order], joints, deviation)
        solution = correct_joints(chain, pixels, camera, readings, covariances=spread, used=used, options=options)
        found, status = solution.pose, solution.status
    outlined = None
    if outlines is not None:
        again = solve_pose(places, pixels, camera, covariances=spread, used=used, initial=found, options=options)
        used_items, covariances = [items[i] for i in rows], again.covariance.numpy()
        by_outline, outlined = _by_outlines(placed.robot, used_items, joints, found.numpy(), covariances, outlines)
        found = torch.from_numpy(by_outline)
    errors = pose_errors(found.numpy(), np.array(poses, np.float64), places.numpy())
    return PoseErrors(*errors, status.numpy(), np.array(rows, np.int64), outlined)


def _by_outlines(
    robot: Robot, items: Sequence[Item], joints: Sequence[Mapping[str, float]], start: Floats, covariances: Floats,
    progress: ProgressWriter,
) -> tuple[Floats, NDArray[np.bool_]]:  # fmt: skip
    """``T_cam_base`` ``(N, 4, 4)``, by the outline where that is sure, and where it is ``(N,)``.

    Args:
        start, covariances: of the poses by keypoints ``(N, 4, 4)``, ``(N, 6, 6)``; NaN where there is none.
    """
    solver = OutlineSolver.of(robot)
    poses, outlined = start.copy(), np.zeros(len(items), bool)
    for k, item in enumerate(items):
        solver.check(joints[k])
        if np.isfinite(start[k]).all() and np.isfinite(covariances[k]).all() and item.camera is not None:
            picture = item.picture()
            camera = scaled_camera(item.camera, picture.scale)
            found = solver.solve(picture.pixels, camera, joints[k], start[k], covariances[k])
            if found is not None and found.sure:
                poses[k], outlined[k] = found.pose, True
        progress("outline", f"{k + 1:,} of {len(items):,} outlines", k + 1, len(items))
    return poses, outlined


def _checked(item: Item, joints: Mapping[str, float], robot: Robot) -> Mapping[str, float]:
    try:
        return checked_joints(joints, robot)
    except UserError as problem:
        raise UserError(f"The joints of {item.name} don't fit: {problem}") from problem


def _points(robot: Robot, keypoints: Sequence[Keypoint], joints: Sequence[Mapping[str, float]]) -> torch.Tensor:
    """Where keypoints are in the base frame ``(N, K, 3)``, metres."""
    own = [j.name for j in robot.moving_joints]
    chain = Chain.of(robot, keypoints, own)
    needed, _ = roles(chain, np.ones(len(keypoints), bool))
    at_zero = {j.name for j in robot.moving_joints if j.fixed}
    for given in joints:
        missing = [n for n in needed if n not in given and n not in at_zero]
        if missing:
            raise UserError(
                f"The data don't give the joint {missing[0]} of the robot {robot.name}, but "
                f"{', '.join(given) or 'none'}: evaluate with images of the model's own robot"
            )
    angles = torch.tensor([[given.get(n, 0.0) for n in own] for given in joints], dtype=torch.float64)
    return chain(angles)


def _readings(
    robot: Robot, keypoints: Sequence[Keypoint], joints: Sequence[Mapping[str, float]], deviation: str
) -> tuple[Chain, JointStart]:
    """The joints of each image as weak evidence; one of which no deviation is given is as good as exact."""
    own = [j.name for j in robot.moving_joints]
    off = joint_deviations(deviation, joints[0], robot)
    angles = torch.tensor([[given.get(n, 0.0) for n in own] for given in joints], dtype=torch.float64)
    deviations = torch.tensor([off.get(n, 0.0) for n in own], dtype=torch.float64)
    return Chain.of(robot, keypoints, own), JointStart(angles=angles, deviations=deviations)


def table(document: Mapping[str, Any]) -> list[str]:
    """The document of :meth:`PoseErrors.to_dict` as lines of text."""
    d = document
    share = f"{d['share']:.1%} of {d['images']:,} image{'s' if d['images'] != 1 else ''}"
    joints = "joints read" if d.get("joints_deviation") else "joints known"
    by_outline = d.get("by_outline")
    outline = "" if by_outline is None else f", by the outline in {by_outline:,}"
    lines = [f"pose, {joints}: determined in {share}{outline}"]
    for name, entry in d["refused"].items():
        lines.append(f"  {entry['images']:>7,} without: {WHY[name]}")
    if d["add_metres"] is None:
        return lines
    lines.append(f"  {'':<18}    mean   median     90 %     95 %")
    rows = [("ADD, mm", "add_metres", 1000.0), ("rotation, °", "rotation_degrees", 1.0)]
    for label, key, factor in [*rows, ("translation, mm", "translation_metres", 1000.0)]:
        e = d[key]
        numbers = (e["mean"], e["median"], e["quantiles"]["90"], e["quantiles"]["95"])
        lines.append(f"  {label:<18}" + "".join(f"{factor * n:8.1f} " for n in numbers).rstrip())
    limit = 1000 * d["add_area_limit_metres"]
    lines.append(f"  area under the share of all images up to an ADD of {limit:g} mm: {d['add_area']:.3f} (0 … 1)")
    return lines
