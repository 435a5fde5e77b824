# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``predict --camera …`` adds: where the robot is, from the keypoints that the model found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ...core.camera.intrinsics import Intrinsics, transform
from ...core.errors import UserError
from ...core.messages.robot_shapes import RobotShapes
from ...core.robot.keypoints import Keypoint
from ...core.robot.robot import Joint, Robot
from ...core.robot.visibility import SURE
from ..images.image_file import Photograph
from ..networks.model_file import ModelInfo
from ..pose.ambiguous_poses import alternatives
from ..pose.camera import Camera
from ..pose.corrected_joints import correct_one
from ..pose.kinematics import Chain
from ..pose.outline_pose import OutlineSolver
from ..pose.problem import INLIER, Options, Solution, Status
from ..pose.robot_points import LEAST, PlacedRobot, roles, with_fixed
from ..pose.solve_joints import GUESSES, JointStart, solve_joints
from ..pose.solve_pose import solve_pose
from .joint_deviations import checked_deviations, joint_deviations
from .pose_arguments import camera_numbers, checked_joints, joint_positions, scaled_camera
from .predictor import Found

UNKNOWN = math.pi
"""Standard deviation, radians or metres, of a joint of which the keypoints tell nothing."""

AXES = ((230, 40, 40), (40, 200, 60), (60, 110, 255))
"""Colours of x, y and z."""

OUTLINE = (255, 225, 60)
"""Colour of the robot's outline."""

STEPS = 16
"""Pieces of an axis, so that it bends as the lens does."""


@dataclass(frozen=True)
class PoseFinder:
    """A robot before a camera.

    Attributes:
        robot: with the joints fixed that are known exactly.
        given: positions of the known joints, radians or metres.
        deviations: standard deviations of those that aren't exact, which are starting values and weak evidence, and
            not fixed.
        points: by the keypoint's place in the model's order.
        names: the model's keypoints.
        missing: names of keypoints that the robot doesn't have.
        numbers: fx, fy, cx, cy, k1, k2, p1, p2, k3.
        option: how joints are given, where a sentence says so.
        outline: what goes by the robot's outline as well, where that was asked for.
    """

    robot: Robot
    given: Mapping[str, float]
    points: Mapping[int, Keypoint]
    names: Sequence[str]
    missing: Sequence[str]
    numbers: tuple[float, ...]
    option: str = ""
    deviations: Mapping[str, float] = field(default_factory=dict)
    outline: OutlineSolver | None = None

    @classmethod
    def of(
        cls, info: ModelInfo, camera: str, joints: str | None = None, urdf: Path | None = None,
        deviation: str | None = None, outline: bool = False,
    ) -> PoseFinder:  # fmt: skip
        """What the command line asks for; see :func:`camera_numbers`, :func:`joint_positions` and
        :func:`joint_deviations`.

        Raises:
            UserError: if any of it can't be used.
        """
        numbers = camera_numbers(camera)
        placed = PlacedRobot.of(info, urdf)
        given = joint_positions(joints, placed.robot) if joints is not None else {}
        deviations = joint_deviations(deviation, given, placed.robot) if deviation is not None else {}
        solver = OutlineSolver.of(placed.robot) if outline else None
        if solver is not None:
            solver.check(given)
        return replace(cls.of_numbers(placed, numbers, given, deviations), option="--joints", outline=solver)

    @classmethod
    def of_numbers(
        cls, placed: PlacedRobot, camera: Sequence[float], joints: Mapping[str, float],
        deviations: Mapping[str, float] | None = None,
    ) -> PoseFinder:  # fmt: skip
        """Of fx, fy, cx, cy and then k1, k2, p1, p2, k3 or nothing, in pixels, and the joints that are known, radians
        or metres, with the standard deviations of those that aren't exact.

        Raises:
            UserError: if a number is of no use, or a joint isn't the robot's or far beyond its limits.
        """
        Camera.of_numbers(camera)
        numbers = (*map(float, camera), *[0.0] * (9 - len(camera)))
        given = checked_joints(joints, placed.robot)
        weak = checked_deviations(deviations or {}, given)
        robot = with_fixed(placed.robot, {n: v for n, v in given.items() if n not in weak})
        return cls(robot, given, placed.points, placed.names, placed.missing, numbers, deviations=weak)

    def with_shapes(self, shapes: RobotShapes) -> PoseFinder:
        """The finder that goes by the outline as well, of shapes as the joints have them.

        Raises:
            UserError: if a joint isn't known, or isn't exact.
        """
        if self.deviations:
            raise UserError("A pose by the robot's shapes takes its joints as exact: give them without deviations")
        solver = OutlineSolver.of_posed(self.robot, shapes)
        solver.check(self.given)
        return replace(self, outline=solver)

    def find(self, found: Sequence[Found], photograph: Photograph | None = None) -> dict[str, Any]:
        """The pose from keypoints of one image, in the model's order, as plain JSON values.

        Args:
            photograph: the image, for :attr:`outline`.

        Returns:
            ``status``, ``solved`` or why not, then with it ``sentence``, and ``undetermined``, joints that would have
            to be given, where that is why. Of a pose: ``T_cam_base`` (4 × 4, metres),
            ``covariance`` (6 × 6) of the small motion (ω, v) of the camera frame by which it may be wrong, a point p
            going to exp(ω) p + v, radians and metres, ``reprojection_px``, the root mean square distance of the used
            keypoints from where the pose has them, ``inliers``, names of those within 99 % of their covariance, and
            ``joints``, the positions that were given or found, radians or metres; those of which the keypoints tell
            nothing are left out. Where deviations were given, ``joints_deviation`` has the standard deviations of all
            joints that aren't exact. Where all joints are known or read and other poses are at most a hundred times
            less likely, ``alternatives`` has their ``T_cam_base``. Where the outline was asked for, ``outline`` tells
            whether the pose goes by it, and how much of the silhouette has edges on it, 0 … 1, as ``support`` and, by
            the keypoints' pose, as ``before``; a pose that goes by it has no ``alternatives``.
        """
        chain, pixels, spread, gate = self.seen(found)
        used = gate[0].numpy()
        if not used.any():
            return _failed(Status.HIDDEN, f"No keypoint has a confidence of {SURE:.0%}, so there is nothing to go by.")
        camera, options = Camera.of_numbers(self.numbers), Options(kernel="huber")
        others: list[Any] = []
        if chain.names:
            moving, alike = roles(chain, used)
            unread = [n for n in alike if n not in self.deviations]
            if unread and used.sum() >= LEAST:
                return {**_failed(Status.DEGENERATE, _ask_for(unread, self.option)), "undetermined": unread}
            chain = Chain.of(self.robot, list(self.points.values()), moving)
        if not chain.names:
            places = chain(torch.zeros(0, dtype=torch.float64))
            solution, others = _settled(places, pixels, camera, spread, gate, options)
        elif self.deviations.keys() & set(chain.names):
            solution, poses = correct_one(
                chain, pixels, camera, self._readings(chain), covariances=spread, used=gate, options=options
            )
            others = poses.tolist()
        else:
            solution = solve_joints(chain, pixels, camera, covariances=spread, used=gate, options=options)
        status = Status(int(solution.status[0]))
        if status != Status.SOLVED:
            return _failed(status, status.sentence)
        names = [self.names[j] for j in self.points]
        pose = {
            "status": "solved",
            **measures(solution),
            "inliers": [n for n, good in zip(names, solution.inliers[0].tolist(), strict=True) if good],
            **self._joints(chain, solution),
            **({"alternatives": others} if others else {}),
        }
        return pose if photograph is None or self.outline is None else self._by_outline(pose, photograph, found)

    def _by_outline(self, pose: dict[str, Any], photograph: Photograph, found: Sequence[Found]) -> dict[str, Any]:
        """The same by the robot's outline, where that is sure."""
        assert self.outline is not None
        outlined = self.outline.solve(
            photograph.pixels, self.resized(photograph.scale).numbers, self.given, np.array(pose["T_cam_base"]),
            np.array(pose["covariance"]), [np.array(other) for other in pose.get("alternatives", [])],
        )  # fmt: skip
        if outlined is None or not outlined.sure:
            return pose | {"outline": {"used": False} if outlined is None else outlined.to_dict()}
        chain, pixels, spread, gate = self.seen(found)
        places = transform(outlined.pose, chain(torch.zeros(0, dtype=torch.float64)).numpy())
        seen = self._camera(photograph.size).project(places)[0]
        off = pixels[0].numpy() - seen
        used = gate[0].numpy() & np.isfinite(off).all(1)
        distances = np.einsum("ni,nij,nj->n", off, np.linalg.inv(spread[0].numpy()), off)
        names = [self.names[j] for j in self.points]
        kept = {n: v for n, v in pose.items() if n != "alternatives"}
        return kept | {
            "T_cam_base": outlined.pose.tolist(),
            "covariance": outlined.covariance.tolist(),
            "reprojection_px": float(np.sqrt(np.square(off[used]).sum(1).mean())) if used.any() else 0.0,
            "inliers": [n for n, u, d in zip(names, used, distances, strict=True) if u and d <= INLIER],
            "outline": outlined.to_dict(),
        }

    def seen(self, found: Sequence[Found]) -> tuple[Chain, Tensor, Tensor, Tensor]:
        """What one image tells of the robot's N keypoints, as the solvers take it: where they are in the base frame,
        their pixels ``(1, N, 2)``, the covariances ``(1, N, 2, 2)``, and which are sure ``(1, N)``."""
        seen = [found[j] for j in self.points]
        return (
            Chain.of(self.robot, list(self.points.values())),
            torch.tensor([[(k.u, k.v) for k in seen]], dtype=torch.float64),
            torch.tensor([[k.covariance for k in seen]], dtype=torch.float64),
            torch.tensor([[k.confidence >= SURE for k in seen]]),
        )

    def _readings(self, chain: Chain) -> JointStart:
        """What is known of the chain's joints; those without a reading begin anywhere."""
        middle = dict(zip(chain.names, chain.middle().tolist(), strict=True))
        angles = [self.given.get(n, middle[n]) for n in chain.names]
        deviations = [self.deviations.get(n, math.inf) for n in chain.names]
        return JointStart(
            angles=torch.tensor([angles], dtype=torch.float64), deviations=torch.tensor(deviations).double(),
            guesses=GUESSES if math.inf in deviations else 1,
        )  # fmt: skip

    def _joints(self, chain: Chain, solution: Solution) -> dict[str, dict[str, float]]:
        """``joints``, and where readings were corrected ``joints_deviation``. What the image doesn't show stays as it
        was read."""
        joints, deviations = dict(self.given), dict(self.deviations)
        if solution.angles is not None:
            by_name = {j.name: j for j in self.robot.joints}
            variances = solution.covariance[0].diagonal()[6:].tolist()
            for name, value, variance in zip(chain.names, solution.angles[0, 0].tolist(), variances, strict=True):
                if name in self.deviations:
                    joints[name], deviations[name] = value, math.sqrt(variance)
                elif variance < UNKNOWN**2:
                    joints[name], deviations[name] = _least_turn(by_name[name], value), math.sqrt(variance)
        return {"joints": joints, **({"joints_deviation": deviations} if self.deviations else {})}

    def resized(self, scale: tuple[float, float]) -> PoseFinder:
        """The finder for pictures whose width and height are multiplied by ``scale``."""
        if scale == (1.0, 1.0):
            return self
        return replace(self, numbers=scaled_camera(self.numbers, scale))

    def draw_outline(self, picture: Image.Image, pose: Mapping[str, Any]) -> None:
        """Draw the robot's outline on an image as :meth:`find` has it, where the pose goes by it."""
        if self.outline is None or not pose.get("outline", {}).get("used"):
            return
        camera, canvas = self._camera(picture.size), ImageDraw.Draw(picture)
        width = max(1, round(max(picture.size) / 640))
        for line in self.outline.lines(camera, self.given, np.array(pose["T_cam_base"])):
            canvas.line([*line.ravel().tolist(), *line[:1].ravel().tolist()], fill=OUTLINE, width=width)

    def _camera(self, size: tuple[int, int]) -> Intrinsics:
        fx, fy, cx, cy, k1, k2, p1, p2, k3 = self.numbers
        return Intrinsics(*size, fx, fy, cx, cy, (k1, k2, p1, p2, k3))

    def draw_axes(self, picture: Image.Image, pose: Mapping[str, Any]) -> None:
        """Draw the base frame's axes on an image as :meth:`find` has it, a sixth of the robot's reach long: x red,
        y green, z blue; nothing where there is no pose."""
        if "T_cam_base" not in pose:
            return
        camera = self._camera(picture.size)
        canvas = ImageDraw.Draw(picture)
        width = max(2, round(max(picture.size) / 160))
        length = self.robot.reach() / 6
        tips = [np.linspace(np.zeros(3), axis * length, STEPS + 1) for axis in np.eye(3)]
        placed = [transform(pose["T_cam_base"], tip) for tip in tips]
        # The nearest last, so that it covers the others.
        for axis in sorted(range(3), key=lambda a: -placed[a][-1, 2]):
            pixels, _ = camera.project(placed[axis])
            limit = 4 * max(picture.size)
            inside = np.isfinite(pixels).all(1) & (np.abs(np.nan_to_num(pixels, nan=math.inf)) < limit).all(1)
            for a, b, both in zip(pixels[:-1], pixels[1:], inside[:-1] & inside[1:], strict=True):
                if both:
                    canvas.line([*a.tolist(), *b.tolist()], fill=AXES[axis], width=width)


def measures(solution: Solution) -> dict[str, Any]:
    """The first pose of a solution and how sure it is, as plain JSON values; see :meth:`PoseFinder.find`."""
    residuals = solution.residuals[0][solution.residuals[0].isfinite().all(-1)]
    return {
        "T_cam_base": solution.pose[0].tolist(),
        "covariance": solution.covariance[0, :6, :6].tolist(),
        "reprojection_px": float(residuals.square().sum(-1).mean().sqrt()),
    }


def _settled(
    places: Tensor, pixels: Tensor, camera: Camera, spread: Tensor, used: Tensor, options: Options
) -> tuple[Solution, list[Any]]:
    """The likeliest pose of points ``(N, 3)``, and further ones as nested lists."""
    solution = solve_pose(places, pixels, camera, covariances=spread, used=used, options=options)
    if int(solution.status[0]) != Status.SOLVED:
        return solution, []
    poses = alternatives(places, pixels[0], camera, spread[0], used[0], solution.pose[0], options)
    best = solve_pose(places, pixels, camera, covariances=spread, used=used, initial=poses[:1], options=options)
    likelier = int(best.status[0]) == Status.SOLVED and bool(best.cost[0] < solution.cost[0])
    return best if likelier else solution, poses[1:].tolist()


def _least_turn(joint: Joint, value: float) -> float:
    """The position without whole turns, if the joint can go there."""
    turned = math.remainder(value, math.tau)
    if joint.kind == "continuous" or (joint.kind == "revolute" and joint.lower <= turned <= joint.upper):
        return turned
    return value


def _failed(status: Status, sentence: str) -> dict[str, Any]:
    return {"status": status.name.lower(), "sentence": sentence}


def _ask_for(names: Sequence[str], option: str) -> str:
    one = len(names) == 1
    those = f"the joint {names[0]}" if one else f"the joints {', '.join(names)}"
    wanted = "give its position" if one else "give their positions"
    if option:
        wanted = f"add {option} {','.join(f'{n}=…' for n in names)}"
    return f"The keypoints can't tell {those} from a motion of the camera: {wanted}."
