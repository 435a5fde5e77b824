# SPDX-License-Identifier: GPL-3.0-or-later
"""A model's keypoints in all frames of a recording, as evidence of where cameras are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.camera.intrinsics import invert
from ...core.errors import UserError
from ...core.robot.visibility import SURE
from ..inference.predictor import Predictor
from ..pose.camera import Camera as Lens
from ..pose.problem import Options, Status
from ..pose.robot_points import place_keypoints
from ..pose.solve_pose import solve_pose
from .frame_reader import read_frames
from .joint_problem import Block
from .recording import ROOM, Floats, Footage

TYPICAL = 1.386
"""Median of chi-square with two degrees of freedom."""


def keypoint_blocks(
    footage: Footage, predictor: Predictor, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Block], dict[str, Floats]]:
    """What a model's keypoints tell: blocks for :func:`.calibrate`, and ``T_cam_link`` of each camera by them alone.

    Gross errors are left out, and covariances are multiplied where those that are left scatter more.

    Raises:
        UserError: if a camera without intrinsics is among them, or the keypoints don't determine where one is.
    """
    points, _ = place_keypoints(predictor.info, footage.robot)
    blocks: list[Block] = []
    placed: dict[str, Floats] = {}
    done = 0
    for camera in footage.cameras:
        if camera.intrinsics is None:
            raise UserError(
                f"The camera {camera.name} has no intrinsics, and without a board nothing tells them: give them in "
                f"{footage.source}"
            )
        frames, places, pixels, spreads, sure = [], [], [], [], []
        for place, image in read_frames(footage, camera.name):
            done += 1
            if progress is not None:
                progress(done, len(footage.frames))
            frame = footage.frames[place]
            if frame.positions is None:
                continue
            (found,) = predictor.predict([image])
            links = {**footage.robot.link_frames(frame.positions), ROOM: np.eye(4)}
            carrier = invert(links[camera.link])
            frames.append(frame)
            places.append([
                (carrier @ links[k.frame] @ np.array([*k.offset, 1.0]))[:3] for k in points.values()
            ])  # fmt: skip
            pixels.append([(found[j].u, found[j].v) for j in points])
            spreads.append([found[j].covariance for j in points])
            sure.append([found[j].confidence >= SURE for j in points])
        if not frames:
            raise UserError(f"No frame of the camera {camera.name} has joint positions: give a longer joint log")
        seen, spread, used = np.array(pixels), np.array(spreads), np.array(sure)
        pose, scale, keep = _placed(np.array(places), seen, spread, used, Lens.of(camera.intrinsics), camera.name)
        placed[camera.name] = pose
        for k, frame in enumerate(frames):
            for n, keypoint in enumerate(points.values()):
                if keep[k, n]:
                    link = ROOM if keypoint.frame == footage.robot.root else keypoint.frame
                    blocks.append(Block(
                        camera.name, link, "", frame.positions or {}, np.array([keypoint.offset]),
                        seen[k, n : n + 1], scale * spread[k, n : n + 1], frame.moment,
                    ))  # fmt: skip
    return blocks, placed


def _placed(
    places: Floats, seen: Floats, spread: Floats, used: NDArray[np.bool_], lens: Lens, camera: str
) -> tuple[Floats, float, NDArray[np.bool_]]:
    """``T_cam_link`` by keypoints at ``places`` ``(I, N, 3)`` that are seen at pixels ``(I, N, 2)``, the factor by
    which their covariances ``(I, N, 2, 2)`` are too small, and which are no gross errors ``(I, N)``."""
    solution = solve_pose(
        torch.from_numpy(places)[None], torch.from_numpy(seen)[None], lens, covariances=torch.from_numpy(spread)[None],
        used=torch.from_numpy(used)[None], options=Options(kernel="cauchy", triplets=60, starts=8),
    )  # fmt: skip
    status = Status(int(solution.status[0]))
    if status != Status.SOLVED:
        raise UserError(
            f"The model's keypoints don't tell where the camera {camera} is ({status.sentence[:-1]}): give images in "
            "which more of the robot is seen, or a model that knows this robot"
        )
    keep = solution.inliers[0].numpy()
    off = solution.residuals[0].numpy()[keep]
    whitened = np.linalg.solve(spread[keep], off[..., None])[..., 0]
    scale = max(1.0, float(np.median((off * whitened).sum(-1))) / TYPICAL)
    return solution.pose[0].numpy(), scale, keep
