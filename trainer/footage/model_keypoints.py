# SPDX-License-Identifier: GPL-3.0-or-later
"""A model's keypoints in all frames of a recording, as evidence of where cameras are."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.camera.intrinsics import invert
from ...core.errors import UserError
from ...core.robot.keypoints import Keypoint
from ...core.robot.visibility import SURE
from ..inference.predictor import Predictor
from ..networks.two_passes import STILL
from ..pose.camera import Camera as Lens
from ..pose.problem import INLIER, Options, Status
from ..pose.robot_points import place_keypoints
from ..pose.solve_pose import solve_pose
from .frame_reader import read_frames
from .joint_problem import Block
from .recording import ROOM, Floats, Footage

TYPICAL = 1.386
"""Median of chi-square with two degrees of freedom."""

NEAR = 0.05
"""Metres within which a keypoint is seen at the same place again, where a model makes the same error again."""


@dataclass(frozen=True)
class FrameKeypoints:
    """What a model finds in one frame, N keypoints.

    Attributes:
        frame: its place in :attr:`.Footage.frames`; its joint positions are known.
        places: where kinematics have the keypoints in the frame of the camera's link, metres, ``(N, 3)``.
        pixels: where the model finds them, ``(N, 2)``, with covariances ``(N, 2, 2)``, pixels².
        sure: whether it is confident enough of them to count, ``(N,)``.
    """

    frame: int
    places: Floats
    pixels: Floats
    covariances: Floats
    sure: NDArray[np.bool_]


@dataclass(frozen=True)
class ModelKeypoints:
    """What a model finds in footage.

    Attributes:
        keypoints: those of the model that the robot has.
        frames: all frames with joint positions, in the footage's order.
    """

    keypoints: tuple[Keypoint, ...]
    frames: tuple[FrameKeypoints, ...]

    def without(self, places: Collection[int]) -> ModelKeypoints:
        """The same without some frames, by their places in :attr:`.Footage.frames`."""
        return replace(self, frames=tuple(f for f in self.frames if f.frame not in places))


def find_keypoints(
    footage: Footage, predictor: Predictor, progress: Callable[[int, int], None] | None = None
) -> ModelKeypoints:
    """Look at all frames whose joint positions are known.

    Raises:
        UserError: if a camera without intrinsics is among them, or the model is of another robot.
    """
    points, _ = place_keypoints(predictor.info, footage.robot)
    for camera in footage.cameras:
        if camera.intrinsics is None:
            raise UserError(
                f"The camera {camera.name} has no intrinsics, and without a board nothing tells them: give them in "
                f"{footage.source}"
            )
    frames = []
    done = 0
    for camera in footage.cameras:
        for place, image in read_frames(footage, camera.name):
            done += 1
            if progress is not None:
                progress(done, len(footage.frames))
            positions = footage.frames[place].positions
            if positions is None:
                continue
            (found,) = predictor.predict([image], STILL)
            links = {**footage.robot.link_frames(positions), ROOM: np.eye(4)}
            carrier = invert(links[camera.link])
            frames.append(FrameKeypoints(
                place,
                np.array([(carrier @ links[k.frame] @ np.array([*k.offset, 1.0]))[:3] for k in points.values()]),
                np.array([(found[j].u, found[j].v) for j in points]),
                np.array([found[j].covariance for j in points]),
                np.array([found[j].confidence >= SURE for j in points]),
            ))  # fmt: skip
    return ModelKeypoints(tuple(points.values()), tuple(sorted(frames, key=lambda f: f.frame)))


def keypoint_blocks(footage: Footage, found: ModelKeypoints) -> tuple[list[Block], dict[str, Floats]]:
    """What a model's keypoints tell: blocks for :func:`.calibrate`, and ``T_cam_link`` of each camera by them alone.

    Gross errors are left out, and covariances are multiplied where those that are left scatter more, and where a
    keypoint is seen at the same place in several images.

    Raises:
        UserError: if the keypoints don't determine where a camera is.
    """
    blocks: list[Block] = []
    placed: dict[str, Floats] = {}
    for camera in footage.cameras:
        own = [f for f in found.frames if footage.frames[f.frame].camera == camera.name]
        if not own:
            raise UserError(f"No frame of the camera {camera.name} has joint positions: give a longer joint log")
        assert camera.intrinsics is not None
        places, seen, spread = (
            np.stack([getattr(f, name) for f in own]) for name in ("places", "pixels", "covariances")
        )
        used = np.stack([f.sure for f in own])
        alike = _alike(places, used)
        pose, scale, keep = _placed(places, seen, spread, used, alike, Lens.of(camera.intrinsics), camera.name)
        placed[camera.name] = pose
        for k, taken in enumerate(own):
            frame = footage.frames[taken.frame]
            for n, keypoint in enumerate(found.keypoints):
                if keep[k, n]:
                    link = ROOM if keypoint.frame == footage.robot.root else keypoint.frame
                    blocks.append(Block(
                        camera.name, link, "", frame.positions or {}, np.array([keypoint.offset]),
                        seen[k, n : n + 1], scale * alike[k, n] * spread[k, n : n + 1], frame.moment,
                    ))  # fmt: skip
    return blocks, placed


def _alike(places: Floats, used: NDArray[np.bool_]) -> Floats:
    """How many of the images see each keypoint at about the same place, ``(I, N)``: together they count for one."""
    apart = np.square(places[:, None] - places[None]).sum(-1)
    return np.asarray(1.0 + (np.exp(-apart / (2 * NEAR**2)) * used[None]).sum(1) - used)


def _placed(
    places: Floats, seen: Floats, spread: Floats, used: NDArray[np.bool_], alike: Floats, lens: Lens, camera: str
) -> tuple[Floats, float, NDArray[np.bool_]]:
    """``T_cam_link`` by keypoints at ``places`` ``(I, N, 3)`` that are seen at pixels ``(I, N, 2)``, the factor by
    which their covariances ``(I, N, 2, 2)`` are too small, and which are no gross errors ``(I, N)``.

    Args:
        alike: how many count for one, ``(I, N)``.
    """
    solution = solve_pose(
        torch.from_numpy(places)[None], torch.from_numpy(seen)[None], lens, covariances=torch.from_numpy(spread)[None],
        weights=torch.from_numpy(1 / alike)[None], used=torch.from_numpy(used)[None],
        options=Options(kernel="cauchy", triplets=60, starts=8),
    )  # fmt: skip
    status = Status(int(solution.status[0]))
    if status != Status.SOLVED:
        raise UserError(
            f"The model's keypoints don't tell where the camera {camera} is ({status.sentence[:-1]}): give images in "
            "which more of the robot is seen, or a model that knows this robot"
        )
    distances = squared_distances(solution.residuals[0].nan_to_num().numpy(), spread)
    keep = used & (distances <= INLIER)
    return solution.pose[0].numpy(), excess(distances[keep]), keep


def squared_distances(off: Floats, covariances: Floats) -> Floats:
    """Squared errors over variances ``(…)``, of pixels ``(…, 2)``."""
    return np.asarray((off * np.linalg.solve(covariances, off[..., None])[..., 0]).sum(-1))


def excess(distances: Floats) -> float:
    """The factor by which covariances are too small, from squared distances of what is no gross error; at least 1."""
    return max(1.0, float(np.median(distances)) / TYPICAL) if distances.size else 1.0
