# SPDX-License-Identifier: GPL-3.0-or-later
"""``robot-keypoints label``: labels for the images of a recording, from its markers or a model, and joint positions.

Read :func:`label` from top to bottom.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...core import files, run_folder
from ...core.errors import UserError
from ...core.messages import labelled_footage
from ...core.robot.keypoints import Keypoint, joint_keypoints
from ..footage import label_overlay, label_report, label_writer
from ..footage.calibration import CONTRADICTS, Calibration, calibrate
from ..footage.filter_problem import FilterProblem, fit_deviations, joints_of, make_problem
from ..footage.footage_file import load_footage
from ..footage.frame_list import frame_list
from ..footage.frame_reader import read_frames
from ..footage.joint_problem import Placement
from ..footage.labelling import Labelled, Method, label_frames
from ..footage.marker_observing import observe_markers
from ..footage.model_calibration import calibrate_by_model
from ..footage.model_keypoints import ModelKeypoints, find_keypoints, keypoint_blocks
from ..footage.model_labelling import label_by_model
from ..footage.moment_places import with_depths
from ..footage.recording import Footage, MarkerObservation
from ..inference.joint_deviations import joint_deviations
from ..inference.predictor import Predictor
from ..networks import device
from ..pose.kinematic_filter import SensorModel
from ..reports import page
from .calibrate import PLACING, show_progress, show_stage

SUMMARY = "labelling.json"

MOST_SHARE = 0.01
"""Of the image's diagonal: the largest standard deviation of a keypoint with which an image is labelled."""

OFFSETS = math.radians(2.0)
"""Standard deviation of joint offsets for the calibration, where nobody says."""


@dataclass(frozen=True)
class LabelOptions:
    """What was asked for.

    Attributes:
        footage: see :mod:`..footage.footage_file`.
        out: folder of the data set, which must not be there yet.
        model: whose keypoints place the cameras where there are no markers, and help to place them where there are.
        markers: whether markers count.
        format: ``coco`` or ``ndds``.
        method: how images are labelled in which no marker can be relied on.
        robot: its URDF, instead of what the footage says.
        joints_deviation: see :func:`.joint_deviations`; None estimates it.
        most: standard deviation in pixels of a keypoint from which on an image is left out; None goes with the image.
    """

    footage: Path
    out: Path
    model: Path | None = None
    markers: bool = True
    format: str = "coco"
    method: Method = "smoother"
    robot: Path | None = None
    joints_deviation: str | None = None
    most: float | None = None


def label(options: LabelOptions, *, as_json: bool = False, progress: bool = False) -> int:
    """Label, write, and tell.

    Args:
        progress: whether to say how far it is in lines of JSON: see :mod:`.job_progress`.

    Raises:
        UserError: if anything that was given is of no use, or the folder can't be written; nothing is written then.
    """
    if options.model is None and not options.markers:
        raise UserError("Without markers a model is needed: add --model MODEL, or leave --no-markers out")
    if options.most is not None and not 0 < options.most < math.inf:
        raise UserError(f"--most-deviation is {options.most:g}: give a number of pixels above zero")
    with new_folder(options.out) as folder:
        footage = load_footage(options.footage, options.robot)
        offsets = given_offsets(footage, options.joints_deviation)
        if options.markers and (footage.markers or options.model is None):
            calibration, keypoints, labelled = label_by_markers(footage, options, offsets, progress)
        else:
            calibration, keypoints, labelled = label_without_markers(footage, options, offsets, progress)
        for warning in calibration.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        drawn = _write_images(folder, labelled, calibration, keypoints, options, progress)
        labelled_footage.save(frame_list(labelled, calibration, keypoints, options.format), folder, options.out)
        report = label_report.page_of(labelled, calibration.observations, drawn, calibration.warnings)
        page.write(folder / run_folder.REPORT, report)
        summary = summarise(labelled, options)
        files.write_json(folder / SUMMARY, summary)
    if as_json:
        print(json.dumps(summary, allow_nan=False))
    else:
        print(_as_text(summary))
    return 0


Labelling = tuple[Calibration, Sequence[Keypoint], Labelled]


def label_by_markers(
    footage: Footage, options: LabelOptions, offsets: Mapping[str, float] | None, progress: bool = False
) -> Labelling:
    """Labels by markers, and by what the joints did since; a model's keypoints only help to place the cameras.

    Raises:
        UserError: if no image can be labelled.
    """
    footage, observations = observe_markers(footage, show_progress("markers", progress))
    keypoints: Sequence[Keypoint] = joint_keypoints(footage.robot)
    evidence = None
    if options.model is not None:
        found = keypoints_of(footage, options.model, progress)
        keypoints, evidence = found.keypoints, keypoint_blocks(footage, found)
    show_stage("calibration", PLACING, progress)
    calibration = calibrate(footage, observations, offsets=offsets or usual_offsets(footage), keypoints=evidence)
    calibration = with_depths(calibration)
    show_stage("filter", "finding the pose of each image …", progress)
    return calibration, keypoints, label_calibrated(calibration, keypoints, options, offsets)


def label_without_markers(
    footage: Footage, options: LabelOptions, offsets: Mapping[str, float] | None, progress: bool = False
) -> Labelling:
    """Labels by the joint positions, before cameras that the model's keypoints in all images have placed.

    Raises:
        UserError: if no image can be labelled.
    """
    assert options.model is not None
    found = keypoints_of(footage, options.model, progress)
    confirmed = calibrate_by_model(footage, found, offsets, show_progress("outlines", progress))
    labelled = label_by_model(confirmed, found.keypoints, most_deviation(footage, options))
    if not labelled.labels:
        raise UserError(f"No image of {footage.source} can be labelled by the model: {_most_frequent(labelled)}")
    return confirmed.calibration, found.keypoints, labelled


def keypoints_of(footage: Footage, model: Path, progress: bool = False) -> ModelKeypoints:
    """What a model finds in all images."""
    predictor = Predictor.load(model, device.choose("auto"))
    return find_keypoints(footage, predictor, show_progress("keypoints", progress))


def most_deviation(footage: Footage, options: LabelOptions) -> float:
    """The largest standard deviation of a keypoint, in pixels, with which an image is labelled."""
    return options.most or MOST_SHARE * max(math.hypot(*c.size) for c in footage.cameras)


def _most_frequent(labelled: Labelled) -> str:
    return Counter(labelled.left_out.values()).most_common(1)[0][0]


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its place at the end, or is removed again if anything goes wrong.

    Raises:
        UserError: if there is something at ``out`` already, or no folder can be made there.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already: choose another --out")
    scratch = out.absolute().with_name(f".{out.absolute().name}.{os.getpid()}")
    try:
        scratch.parent.mkdir(parents=True, exist_ok=True)
        scratch.mkdir()
    except OSError as problem:
        raise UserError(f"The folder {out} can't be made ({problem.strerror}): choose another --out") from problem
    try:
        yield scratch
        try:
            if out.exists():
                out.rmdir()
            scratch.rename(out)
        except OSError as problem:
            raise UserError(f"{out} was made meanwhile by someone else: choose another --out") from problem
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def given_offsets(footage: Footage, deviation: str | None) -> Mapping[str, float] | None:
    """Standard deviations of the offsets of joints, radians or metres; None where they are to be estimated.

    Raises:
        UserError: if the text is no deviation of these joints.
    """
    if deviation is None:
        return None
    joints = {j.name: 0.0 for j in footage.robot.moving_joints if not j.fixed}
    return joint_deviations(deviation, joints, footage.robot)


def usual_offsets(footage: Footage) -> dict[str, float]:
    """Those that a calibration begins with where nobody says."""
    return {j.name: OFFSETS for j in footage.robot.moving_joints if not j.fixed and j.kind != "prismatic"}


def label_calibrated(
    calibration: Calibration, keypoints: Sequence[Keypoint], options: LabelOptions, offsets: Mapping[str, float] | None
) -> Labelled:
    """The labels, once cameras and mounts are known.

    Raises:
        UserError: if no image can be labelled.
    """
    footage = calibration.footage
    problem, excluded = calibrated_problem(calibration, keypoints, offsets)
    good = [o for o in calibration.observations if o.quality.high]
    labelled = label_frames(problem, good, keypoints, options.method, most_deviation(footage, options))
    if not labelled.labels:
        why = _most_frequent(labelled)
        raise UserError(f"No image of {footage.source} can be labelled by --method {options.method}: {why}")
    return labelled.with_left_out(excluded)


def calibrated_problem(
    calibration: Calibration, keypoints: Sequence[Keypoint], offsets: Mapping[str, float] | None
) -> tuple[FilterProblem, dict[int, str]]:
    """The filter's problem, and the frames that are no part of it, with reasons.

    Args:
        offsets: see :func:`given_offsets`.

    Raises:
        UserError: if no marker can be relied on.
    """
    footage, observations = calibration.footage, calibration.observations
    excluded = _excluded(footage, observations)
    used = [k for k in range(len(footage.frames)) if k not in excluded]
    good = [o for o in observations if o.quality.high]
    if not good:
        raise UserError(f"No image of {footage.source} shows a marker that can be relied on, so that none is labelled")
    names = joints_of(footage)
    model = SensorModel.uniform(len(names), offset=OFFSETS)
    if offsets is not None:
        model = replace(model, offset=torch.tensor([offsets.get(n, 0.0) for n in names], dtype=torch.float64))
    estimated = frozenset(calibration.mounts)
    problem = make_problem(footage, good, placement_of(calibration), estimated, keypoints, model, used)
    return fit_deviations(problem, offsets is None), excluded


def placement_of(calibration: Calibration) -> Placement:
    """Cameras and mounts that a filter starts from."""
    mounts = {m.name: m.mount for m in calibration.footage.markers if m.mount is not None}
    return Placement({n: r.pose for n, r in calibration.cameras.items()}, mounts)


def _excluded(footage: Footage, observations: Sequence[MarkerObservation]) -> dict[int, str]:
    """Frames that the filter is not to look at, and why not: the joints at that time are unknown, or a marker
    contradicts them and none vouches for them."""
    excluded = {k: "The joint log says nothing of it." for k, f in enumerate(footage.frames) if f.positions is None}
    vouched = {footage.frames[o.frame].moment for o in observations if o.quality.high}
    doubtful: dict[str, str] = {}
    for o in observations:
        why = [r for r in o.quality.reasons if CONTRADICTS in r]
        if why and footage.frames[o.frame].moment not in vouched:
            excluded.setdefault(o.frame, why[0])
            doubtful[footage.frames[o.frame].moment] = footage.frames[o.frame].name
    for k, frame in enumerate(footage.frames):
        if frame.moment in doubtful:
            excluded.setdefault(k, f"The joint positions of that moment contradict the image {doubtful[frame.moment]}.")
    return excluded


def _write_images(
    folder: Path, labelled: Labelled, calibration: Calibration, keypoints: Sequence[Keypoint], options: LabelOptions,
    progress: bool,
) -> dict[int, bytes]:  # fmt: skip
    """Write all images with their labels; returns those that the report shows, drawn, by the frame's place."""
    footage = calibration.footage
    data = label_writer.open_data_set(folder, options.format, footage.robot, keypoints)
    by_frame = {label.frame: (index, label) for index, label in enumerate(labelled.labels)}
    seen: dict[int, list[MarkerObservation]] = {}
    for o in calibration.observations:
        seen.setdefault(o.frame, []).append(o)
    shown = set(label_report.choose_shown(labelled))
    drawn: dict[int, bytes] = {}
    tell = show_progress("labels", progress)
    for camera in footage.cameras:
        assert camera.intrinsics is not None
        for place, pixels in read_frames(footage, camera.name):
            if place not in by_frame:
                continue
            index, found = by_frame[place]
            frame = footage.frames[place]
            label_writer.write(data, index, found, frame, camera.intrinsics, pixels, seen.get(place, ()))
            if place in shown:
                drawn[place] = label_overlay.draw_label(pixels, found, data.bodies[0].skeleton)
            tell(index + 1, len(by_frame))
    data.finish()
    return drawn


def summarise(labelled: Labelled, options: LabelOptions) -> dict[str, Any]:
    """What came of it, as JSON values."""
    frames = labelled.footage.frames
    sensors = None if labelled.filtered is None else labelled.filtered.problem.recording.model
    off = [label.reprojection for label in labelled.labels if label.reprojection is not None]
    return {
        "out": str(options.out), "format": options.format, "method": labelled.method,
        "images": len(frames), "labelled": len(labelled.labels),
        "sources": dict(Counter(label.source for label in labelled.labels)),
        "left_out": {frames[p].name: why for p, why in sorted(labelled.left_out.items())},
        "deviation_px": float(np.median([label.deviation for label in labelled.labels])),
        "reprojection_px": float(np.median(off)) if off else None,
        "joint_offset_deviation": None if sensors is None else float(sensors.offset.mean()),
        "joint_error_deviation": None if sensors is None else float(sensors.error.mean()),
    }  # fmt: skip


def _as_text(summary: dict[str, Any]) -> str:
    sources = ", ".join(f"{count} by {source}" for source, count in summary["sources"].items())
    lines = [f"{summary['labelled']} of {summary['images']} images labelled ({sources})"]
    left = summary["left_out"]
    lines += [f"left out: {name}: {why}" for name, why in list(left.items())[:10]]
    lines += [f"… and {len(left) - 10} more, see {run_folder.REPORT}"] if len(left) > 10 else []
    lines.append(f"keypoints' standard deviation: {summary['deviation_px']:.2f} px (median of the least known ones)")
    lines.append(f"{summary['out']}/{run_folder.REPORT}")
    return "\n".join(lines)
