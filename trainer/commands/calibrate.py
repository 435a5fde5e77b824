# SPDX-License-Identifier: GPL-3.0-or-later
"""``robot-keypoints calibrate``: where are the cameras of a recording?"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UserError
from ...core.messages.job_progress import ProgressWriter
from ..footage import calibration_files, moment_places
from ..footage.calibration import calibrate as solved
from ..footage.footage_file import load_footage
from ..footage.marker_observing import observe_markers
from ..footage.model_calibration import calibrate_by_model
from ..footage.model_keypoints import find_keypoints, keypoint_blocks
from ..footage.moment_places import keypoint_places, marker_places
from ..footage.recording import MarkerObservation
from ..inference.joint_deviations import joint_deviations
from ..inference.predictor import Predictor
from ..networks import device

PLACING = "placing cameras and markers …"

EVERY = 2.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True)
class CalibrateOptions:
    """What was asked for.

    Attributes:
        footage: see :mod:`..footage.footage_file`.
        robot: its URDF, instead of what the footage says.
        model: whose keypoints count besides the markers, or alone where there are none.
        markers: whether markers count.
        joints_deviation: see :func:`.joint_deviations`; None takes the joints as true.
        out: folder for the results; None writes none.
    """

    footage: Path
    robot: Path | None = None
    model: Path | None = None
    markers: bool = True
    joints_deviation: str | None = None
    out: Path | None = None


def calibrate(options: CalibrateOptions, *, as_json: bool = False, progress: bool = False) -> int:
    """Calibrate, tell, and write.

    Args:
        progress: whether to say how far it is in lines of JSON: see :mod:`.job_progress`.

    Raises:
        UserError: if anything that was given is of no use; nothing is written then.
    """
    out = options.out
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already: choose another --out")
    if options.model is None and not options.markers:
        raise UserError("Without markers a model is needed: add --model MODEL, or leave --no-markers out")
    footage = load_footage(options.footage, options.robot)
    offsets = None
    if options.joints_deviation is not None:
        joints = {j.name: 0.0 for j in footage.robot.moving_joints if not j.fixed}
        offsets = joint_deviations(options.joints_deviation, joints, footage.robot)
    observations: tuple[MarkerObservation, ...] = ()
    if options.markers and (footage.markers or options.model is None):
        footage, observations = observe_markers(footage, show_progress("markers", progress))
    found = None
    if options.model is not None:
        predictor = Predictor.load(options.model, device.choose("auto"))
        found = find_keypoints(footage, predictor, show_progress("keypoints", progress))
    if found is not None and not observations:
        result = calibrate_by_model(footage, found, offsets, show_progress("outlines", progress)).calibration
    else:
        keypoints = None if found is None else keypoint_blocks(footage, found)
        show_stage("calibration", PLACING, progress)
        result = solved(footage, observations, offsets=offsets, keypoints=keypoints)
    markers = marker_places(result)
    triangulated = [] if found is None else keypoint_places(result, found)
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise UserError(f"The folder {out} can't be made ({problem.strerror}): choose another") from problem
        for path in calibration_files.write(result, out, moment_places.as_json(markers, triangulated)):
            print(f"wrote {path}", file=sys.stderr)
    if as_json:
        print(json.dumps(calibration_files.as_json(result), allow_nan=False))
    else:
        print("\n".join([calibration_files.as_text(result), *moment_places.as_text(markers, triangulated)]))
    return 0


def show_progress(what: str, as_json: bool = False) -> Callable[[int, int], None]:
    """What tells how many frames are done of how many: people on stderr, every :data:`EVERY` seconds, or a program."""
    last = time.monotonic()
    writer = ProgressWriter(True)

    def tell(done: int, whole: int) -> None:
        nonlocal last
        if as_json:
            writer(what, f"{what}: {done:,} of {whole:,} frames", done, whole)
        elif time.monotonic() - last >= EVERY or done == whole:
            last = time.monotonic()
            print(f"{what}: {done} of {whole} frames", file=sys.stderr, flush=True)

    return tell


def show_stage(what: str, text: str, as_json: bool = False) -> None:
    """Tell a program what is being done now, where nobody knows how far that is; people are told nothing."""
    if as_json:
        ProgressWriter(True)(what, text)
