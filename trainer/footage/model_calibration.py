# SPDX-License-Identifier: GPL-3.0-or-later
"""Where cameras are by a model's keypoints alone, and which images these confirm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...core.camera.intrinsics import invert, transform
from ..pose.problem import INLIER
from .calibration import Calibration, CameraResult, calibrate
from .joint_problem import Block
from .marker_observing import Progress
from .model_keypoints import FrameKeypoints, ModelKeypoints, excess, keypoint_blocks, squared_distances
from .outlines import Outlined, by_outlines
from .recording import Floats, Footage

CONFIRMING = 2
"""Keypoints that have to be found where the joint positions have them."""

STILL = 0.01
"""Metres by which a keypoint moves before its camera at least, to say anything about joint positions."""

NOWHERE = 1e4
"""Pixels."""

AGREES, CONTRADICTS = 0.8, 0.5
"""Share of edges that agree, over that of other images, from which on and up to which outlines alone decide."""

LISTED = 6
"""Images that a warning names at most."""


@dataclass(frozen=True)
class Confirmed:
    """What a model tells of a recording.

    Attributes:
        errors: root mean square distance in pixels of the keypoints that confirm an image, or of the edges where only
            outlines do, by the frame's place.
        unconfirmed: reasons of the other frames, each a sentence.
    """

    calibration: Calibration
    errors: Mapping[int, float]
    unconfirmed: Mapping[int, str]


def calibrate_by_model(
    footage: Footage, found: ModelKeypoints, offsets: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> Confirmed:  # fmt: skip
    """Place the cameras by the images whose keypoints confirm their joint positions.

    A model errs alike in all images, so that the covariances also contain how much the cameras depend on each of its
    keypoints (the jackknife over keypoints). Where the robot's outlines before a resting camera can be seen, and no
    fewer images are confirmed by it, the camera goes by them, and outlines judge the images as well.

    Args:
        offsets: as :func:`.calibrate` has them.
        progress: see :func:`.by_outlines`; of each camera anew.

    Raises:
        UserError: if the keypoints don't determine where a camera is.
    """
    footage = replace(footage, markers=())
    contradicting: dict[int, str] = {}
    for _ in range(2):  # once more without the images that contradict the first solution
        used = found.without(contradicting)
        blocks, placed = keypoint_blocks(footage, used)
        calibration = calibrate(footage, (), offsets=offsets, keypoints=(blocks, placed))
        errors, contradicting, unsure = _judge(calibration, found)
    by_keypoint = calibrate(footage, (), keypoints=(_by_keypoint(blocks, _offsets(calibration)), placed))
    cameras = {n: _widened(c, by_keypoint.cameras[n].covariance) for n, c in calibration.cameras.items()}
    calibration = replace(calibration, cameras=cameras)
    for name in cameras:
        own = [k for k in errors if footage.frames[k].camera == name]
        outlined = by_outlines(footage, name, calibration.cameras[name].pose, own, _offsets(calibration), progress)
        if outlined is None:
            continue
        moved = _with_outlined(calibration, name, outlined)
        judged = _judge(moved, found)
        if sum(footage.frames[k].camera == name for k in judged[0]) >= len(own):
            calibration, (errors, contradicting, unsure) = moved, judged
            _by_agreement(outlined, errors, contradicting, unsure)
    names = [footage.frames[p].name for p in contradicting]
    warnings = calibration.warnings
    if names:
        more = ", …" if len(names) > LISTED else ""
        warnings = (
            *warnings,
            f"In {len(names)} images keypoints or outlines contradict the joint positions: "
            f"{', '.join(names[:LISTED])}{more}.",
        )
    calibration = replace(calibration, warnings=warnings)
    return Confirmed(calibration, errors, dict(sorted({**contradicting, **unsure}.items())))


def _with_outlined(calibration: Calibration, name: str, outlined: Outlined) -> Calibration:
    """The same with one camera where the robot's outlines have it."""
    camera = calibration.cameras[name]
    # What offsets of joints still vary by no longer goes with the camera.
    joined = camera.with_offsets.copy()
    joined[:6], joined[:, :6] = 0.0, 0.0
    joined[:6, :6] = outlined.covariance
    placed = replace(camera, pose=outlined.pose, covariance=outlined.covariance, with_offsets=joined)
    return replace(calibration, cameras={**calibration.cameras, name: placed})


def _by_agreement(
    outlined: Outlined, errors: dict[int, float], contradicting: dict[int, str], unsure: dict[int, str]
) -> None:
    """Judge images once more, by their outlines: these have many points, where keypoints are few and may be wrong."""
    typical = float(np.median([s for k, s in outlined.agreement.items() if k in errors] or [0.0]))
    for place, share in outlined.agreement.items():
        if share >= AGREES * typical:
            errors.setdefault(place, outlined.errors[place])
            contradicting.pop(place, None)
            unsure.pop(place, None)
        elif share < CONTRADICTS * typical:
            errors.pop(place, None)
            unsure.pop(place, None)
            contradicting[place] = (
                f"The robot's outlines contradict the joint positions: {share:.0%} of the clear edges are where they "
                f"have them, {typical:.0%} in other images."
            )


def _offsets(calibration: Calibration) -> dict[str, float]:
    return {n: value for n, (value, _) in calibration.offsets.items()}


def _corrected(positions: Mapping[str, float] | None, offsets: Mapping[str, float]) -> dict[str, float]:
    return {n: v + offsets.get(n, 0.0) for n, v in (positions or {}).items()}


def _by_keypoint(blocks: Sequence[Block], offsets: Mapping[str, float]) -> list[Block]:
    """The same blocks at the corrected joints, those of one keypoint as those whose errors are not independent."""
    return [
        replace(b, positions=_corrected(b.positions, offsets), group=f"{b.link} {b.points.tolist()}") for b in blocks
    ]


def _widened(camera: CameraResult, more: Floats) -> CameraResult:
    joined = camera.with_offsets.copy()
    joined[:6, :6] += more
    return replace(camera, covariance=camera.covariance + more, with_offsets=joined)


def _judge(calibration: Calibration, found: ModelKeypoints) -> tuple[dict[int, float], dict[int, str], dict[int, str]]:
    """Errors of the frames that are confirmed, and reasons of those that contradict, and of those that do neither."""
    footage = calibration.footage
    offsets = _offsets(calibration)
    errors: dict[int, float] = {}
    contradicting: dict[int, str] = {}
    unsure: dict[int, str] = {}
    for name in calibration.cameras:
        own = [f for f in found.frames if footage.frames[f.frame].camera == name]
        moving = np.ptp([f.places for f in own], axis=0).max(1) > STILL
        off = np.stack([_distances(calibration, found, f, offsets) for f in own])
        distances = squared_distances(off, np.stack([f.covariances for f in own]))
        telling = np.stack([f.sure for f in own]) & moving
        agrees = distances <= INLIER * excess(distances[telling & (distances <= INLIER)])
        lengths = np.linalg.norm(off, axis=-1)
        for seen, pixels, good, bad in zip(own, lengths, telling & agrees, telling & ~agrees, strict=True):
            if bad.sum() > good.sum():
                worst = int(np.argmax(np.where(bad, pixels, 0.0)))
                contradicting[seen.frame] = (
                    f"The model's keypoints contradict the joint positions: {bad.sum()} of {(good | bad).sum()} are "
                    f"elsewhere, {found.keypoints[worst].name} by {pixels[worst]:.0f} pixels."
                )
            elif good.sum() < CONFIRMING:
                unsure[seen.frame] = (
                    f"The model is too unsure to confirm the joint positions: it finds {good.sum()} keypoints where "
                    f"they have them, {CONFIRMING} are needed."
                )
            else:
                errors[seen.frame] = float(np.sqrt(np.square(pixels[good]).mean()))
    return errors, contradicting, unsure


def _distances(
    calibration: Calibration, found: ModelKeypoints, seen: FrameKeypoints, offsets: Mapping[str, float]
) -> Floats:
    """Found minus expected pixels ``(N, 2)``, :data:`NOWHERE` for what the camera can't see."""
    footage = calibration.footage
    frame = footage.frames[seen.frame]
    camera = calibration.cameras[frame.camera]
    intrinsics = camera.camera.intrinsics
    assert intrinsics is not None
    places = seen.places
    if offsets:
        links = footage.robot.link_frames(_corrected(frame.positions, offsets))
        base = np.eye(4) if not camera.camera.link else invert(links[camera.camera.link])
        places = np.array([(base @ links[k.frame] @ np.array([*k.offset, 1.0]))[:3] for k in found.keypoints])
    pixels, _ = intrinsics.project(transform(camera.pose, places))
    return np.asarray(np.where(np.isfinite(pixels), seen.pixels - pixels, NOWHERE))
