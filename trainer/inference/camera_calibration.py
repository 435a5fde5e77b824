# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a camera stands, from several images that it took of a robot at known joints (camera-to-robot calibration)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ...core.errors import UserError
from ...core.input_files import read_json_table
from ..networks.model_file import ModelInfo
from ..pose.camera import Camera
from ..pose.problem import Options, Status
from ..pose.robot_points import PlacedRobot
from ..pose.solve_pose import solve_pose
from .pose_arguments import camera_numbers, is_table
from .pose_finder import PoseFinder, measures
from .predictor import Found

Shot = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""Points in the base frame ``(N, 3)``, metres; pixels ``(N, 2)``, their covariances ``(N, 2, 2)``; which count."""


class RestingCamera:
    """Collects what is seen in one image after another."""

    def __init__(
        self, placed: PlacedRobot, numbers: Sequence[float], joints: Mapping[str, Mapping[str, float]], file: Path
    ) -> None:
        """Check the joints of each image.

        Args:
            joints: of each image, by its file's name; all that move.
            file: where they were read.

        Raises:
            UserError: if a joint is missing, isn't the robot's, or can't be there.
        """
        self._file = file
        self._placed = placed
        self._camera = Camera.of_numbers(numbers)
        self._finders: dict[str, PoseFinder] = {}
        moving = [j.name for j in placed.robot.moving_joints]
        for image, values in joints.items():
            lacking = [n for n in moving if n not in values]
            if lacking:
                raise UserError(f"{file} has no {lacking[0]} for the image {image}: give all joints of each image")
            self._finders[image] = PoseFinder.of_numbers(placed, numbers, values)
        self._shots: list[Shot] = []

    @classmethod
    def of(cls, info: ModelInfo, camera: str, file: Path, urdf: Path | None = None) -> RestingCamera:
        """What the command line asks for.

        Args:
            file: JSON, {image: {joint: radians or metres}}.

        Raises:
            UserError: if any of it can't be used.
        """
        return cls(PlacedRobot.of(info, urdf), camera_numbers(camera), _read(file), file)

    def finder(self, source: str) -> PoseFinder:
        """The pose that the image ``source`` alone tells.

        Raises:
            UserError: if its joints were not told.
        """
        finder = self._finders.get(source) or self._finders.get(Path(source).name)
        if finder is None:
            raise UserError(f"{self._file} says nothing of the image {source}: add its joints, or leave it out")
        return finder

    def add(self, finder: PoseFinder, found: Sequence[Found]) -> None:
        """Keypoints of an image, in the model's order."""
        chain, pixels, covariances, sure = finder.seen(found)
        places = chain(torch.zeros(len(chain.names), dtype=torch.float64))
        self._shots.append((places, pixels[0], covariances[0], sure[0]))

    def solve(self) -> dict[str, Any]:
        """The pose that all images together tell, as plain JSON values.

        They are ``status``, ``images`` and the number of ``keypoints`` used, then ``sentence``, or as
        :meth:`.PoseFinder.find` has them ``T_cam_base``, ``covariance``, ``reprojection_px`` and the number of
        ``inliers``.
        """
        if not self._shots:
            return {"status": Status.HIDDEN.name.lower(), "images": 0, "keypoints": 0, "sentence": "There is no image."}
        points, pixels, covariances, used = (torch.stack(part)[None] for part in zip(*self._shots, strict=True))
        solution = solve_pose(
            points, pixels, self._camera, covariances=covariances, used=used, options=Options(kernel="huber")
        )
        status = Status(int(solution.status[0]))
        counts = {"status": status.name.lower(), "images": len(self._shots), "keypoints": int(used.sum())}
        if status != Status.SOLVED:
            return {**counts, "sentence": status.sentence}
        return {**counts, **measures(solution), "inliers": int(solution.inliers.sum())}


def _read(file: Path) -> dict[str, dict[str, float]]:
    wanted = 'one object {"image.png": {"joint": radians or metres, …}, …}'
    document = read_json_table(file, f"give --joints-by-image {wanted}")
    if not (isinstance(document, dict) and document and all(is_table(v) for v in document.values())):
        raise UserError(f"{file} does not tell the joints of images: write {wanted}")
    return dict(document)
