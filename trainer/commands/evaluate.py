# SPDX-License-Identifier: GPL-3.0-or-later
"""``robot-keypoints evaluate``: a model's errors against annotated images, beside people's where several annotated."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.messages.job_progress import ProgressWriter
from ...core.robot import visibility as keypoint_visibility
from ..datasets import keypoint_matching, reader as dataset_reader
from ..datasets.annotations import OUTSIDE, Annotated, Item
from ..datasets.coco_writer import SIGMA
from ..datasets.keypoint_matching import Truth
from ..evaluation import coco_oks, confidence, keypoint_metrics, pose_metrics, rater_spread, reliability
from ..evaluation.evaluation_table import table
from ..evaluation.keypoint_metrics import Measurement
from ..evaluation.pose_metrics import PoseErrors
from ..evaluation.reliability import Reliability
from ..images.image_file import Photograph
from ..inference.pose_arguments import check_outline
from ..inference.predictor import Found, Predictor, in_whole
from ..maps import curve_fit
from ..networks import device
from ..networks.two_passes import STILL, Inspection
from ..reports import page
from . import evaluate_calibration
from .evaluate_calibration import Calibrated

Floats = NDArray[np.float64]

BATCH = 8
"""Images predicted at once at most."""

BATCH_BYTES = 256 << 20
"""A batch whose images have so many bytes takes no more."""


@dataclass(frozen=True)
class EvaluateOptions:
    """What is asked for.

    Attributes:
        people: several people's COCO files of the photographs in ``data``. The model is then measured against their
            mean instead of the folder's own annotations.
        html: file for the report.
        plot, reliability: files for the figures.
        raters_plot: file for the people's spread on a photograph.
        calibrate: file for a model that has learned its covariances from the images.
        robot: URDF in place of the model's own robot.
        add_limit: of the area under ADD's curve, metres.
        joints_deviation: of the data's joints, which poses are then solved together with; None takes them as exact.
        outline: whether poses go by the robot's outline as well. With it, ``joints_deviation``, ``add_limit`` or
            ``robot``, poses are a must.
        decoder: see :meth:`.Predictor.load`.
        scales: sizes of which the belief maps are averaged; None is :data:`.STILL`.
    """

    model: Path
    data: Path
    people: Sequence[Path] = ()
    html: Path | None = None
    plot: Path | None = None
    reliability: Path | None = None
    raters_plot: Path | None = None
    calibrate: Path | None = None
    robot: Path | None = None
    add_limit: float | None = None
    joints_deviation: str | None = None
    outline: bool = False
    decoder: str | None = None
    scales: Sequence[float] | None = None


@dataclass(frozen=True)
class Answers:
    """A model's keypoints in those N images that could be read.

    Attributes:
        predicted: pixels ``(N, J, 2)``.
        covariances: pixels² ``(N, J, 2, 2)``.
        confidences: ``(N, J)``.
        sizes: width and height of each image.
        rows: which of the images that were given these are.
        unreadable: sentences by the number of an image that could not be read.
    """

    predicted: Floats
    covariances: Floats
    confidences: Floats
    sizes: tuple[tuple[int, int], ...]
    rows: tuple[int, ...]
    unreadable: Mapping[int, str]


@dataclass(frozen=True)
class Measured:
    """What was found out.

    Attributes:
        items: the images that could be read.
        reliability: of the covariances.
        oks: see :func:`.coco_oks.average_precision`; None where ``pycocotools`` is missing.
    """

    items: tuple[Item, ...]
    measurement: Measurement
    reliability: Reliability
    answers: Answers
    truths: tuple[Truth, ...]
    oks: dict[str, float | None] | None

    @property
    def diagonals(self) -> Floats:
        """The diagonal of each image, pixels."""
        return np.asarray(np.hypot(*np.array(self.answers.sizes, float).T))

    @property
    def true(self) -> Floats:
        """Annotated pixels ``(N, J, 2)``, NaN where there are none."""
        return np.stack([t.points for t in self.truths])


def evaluate(options: EvaluateOptions, *, as_json: bool = False, progress: bool = False) -> int:
    """Measure, print a table or JSON, and draw. What can't be read is named and left out.

    Args:
        progress: whether to say how far it is in lines of JSON: see :mod:`.job_progress`.

    Raises:
        UserError: if anything that was given is of no use, and then nothing has been written; or if a file can't be
            written or some images could not be read, after everything else.
    """
    _check_files(options)
    check_outline(options.outline, options.joints_deviation)
    if options.calibrate is not None and options.decoder is not None:
        raise UserError("--calibrate writes a model that keeps its own decoder: leave --decoder out")
    inspection = STILL if options.scales is None else Inspection.averaged(options.scales)
    predictor = Predictor.load(options.model, device.choose("auto"), options.decoder)
    names = predictor.info.keypoints
    ratings = rater_spread.read(options.people, options.data, names, options.model) if options.people else None
    images = dataset_reader.read(options.data) if ratings is None else ratings.consensus()
    shared = keypoint_matching.check_names(images, names, options.model)
    if options.calibrate is not None:
        evaluate_calibration.check(options.calibrate, len(images.items))
    writer = ProgressWriter(progress)
    found = measure(predictor, images, writer, inspection)
    if ratings is not None:
        ratings = ratings.of(found.answers.rows)
    poses, pose_entries = _poses(options, predictor, found, writer)
    document: dict[str, Any] = {
        "model": str(options.model),
        "data": str(options.data),
        "format": images.format,
        "images": len(found.items),
        "unreadable": [
            {"image": images.items[row].name, "error": why} for row, why in found.answers.unreadable.items()
        ],
        "images_of_several_robots": sum(t.several for t in found.truths),
        "keypoints_not_annotated": [n for n in names if n not in shared],
        **found.measurement.to_dict(),
        "confidence": confidence.calibration(found.measurement.percent, found.measurement.confidences),
        "oks": found.oks,
        "reliability": {"calibrated": predictor.network.calibration is not None, **found.reliability.to_dict()},
        **pose_entries,
    }
    spread = None
    if ratings is not None:
        spread = ratings.to_others(found.diagonals)
        document["raters"] = ratings.to_dict(found.diagonals)
        for name, errors in zip(document["raters"]["per_photograph"], found.measurement.percent, strict=True):
            document["raters"]["per_photograph"][name]["model"] = keypoint_metrics.distribution(errors)
    calibrated = None
    if options.calibrate is not None:
        calibrated = evaluate_calibration.learn(
            predictor, found.reliability.errors,
            lambda: _errors(answers(predictor, found.items, writer, inspection), found.true),
        )  # fmt: skip
        document["calibration"] = calibrated.to_dict()
    # First of all, so that a disk without room for a file does not lose what was measured.
    print(json.dumps(document, allow_nan=False) if as_json else "\n".join(table(document)), flush=True)
    if options.calibrate is not None and calibrated is not None:
        evaluate_calibration.save(options.model, options.calibrate, calibrated.learned)
        print(f"calibrated model: {options.calibrate}", file=sys.stderr)
    title = f"{_title(options.model)} on {{}} {'photographs' if ratings else 'images'} of {options.data.resolve().name}"
    counted = title.format(f"{len(found.items):,}")
    if options.html is not None:
        _write_report(options.html, counted, document, found, poses, spread, ratings)
    if options.plot is not None:
        from ..evaluation import error_plot

        error_plot.draw_errors(options.plot, found.measurement, counted, spread)
        print(f"plot: {options.plot}", file=sys.stderr)
    if options.raters_plot is not None and ratings is not None:
        from ..evaluation import rater_kernels

        name = rater_kernels.write(options.raters_plot, ratings)
        print(f"people's spread on {name}: {options.raters_plot}", file=sys.stderr)
    if options.reliability is not None:
        _draw_reliability(options.reliability, title, found.reliability, calibrated)
    if found.answers.unreadable:
        raise UserError(
            f"{len(found.answers.unreadable)} of {len(images.items)} images could not be read (see above): the "
            "measures are of the others"
        )
    return 0


def _check_files(options: EvaluateOptions) -> None:
    if options.add_limit is not None and not 0 < options.add_limit < float("inf"):
        raise UserError(f"--add-limit is {options.add_limit:g}: give metres, such as 0.1")
    if options.html is not None:
        page.check_path(options.html, "--html")
    if options.raters_plot is not None:
        from ..evaluation import rater_kernels

        if not options.people:
            raise UserError("--raters-plot draws people's annotations: give them with --raters")
        rater_kernels.check_path(options.raters_plot)
    if options.plot is None and options.reliability is None:
        return
    from ..evaluation import error_plot

    for path in (options.plot, options.reliability):
        if path is not None:
            error_plot.check_path(path)


def _write_report(
    path: Path, title: str, document: Mapping[str, Any], found: Measured, poses: PoseErrors | None,
    people: Floats | None, ratings: rater_spread.Ratings | None,
) -> None:  # fmt: skip
    from ..evaluation import evaluation_report

    evaluated = evaluation_report.Evaluated(
        title, document, found.measurement, found.reliability, found.true, found.answers.predicted, found.items, poses,
        people, ratings,
    )  # fmt: skip
    page.write(path, evaluation_report.page_of(evaluated))
    print(f"report: {path}", file=sys.stderr)


def _poses(
    options: EvaluateOptions, predictor: Predictor, found: Measured, progress: ProgressWriter
) -> tuple[PoseErrors | None, dict[str, Any]]:
    """The errors, and for the document ``pose`` and, where it is None, ``pose_missing``, a sentence saying why.

    Raises:
        UserError: the same, where poses were asked for.
    """
    given = found.answers
    try:
        pose_metrics.check(predictor.info, options.robot, found.items, found.truths)
        errors = pose_metrics.measure(
            predictor.info,
            options.robot,
            found.items,
            found.truths,
            given.predicted,
            given.covariances,
            given.confidences,
            options.joints_deviation,
            progress if options.outline else None,
        )
    except UserError as problem:
        if options.outline or (options.robot, options.add_limit, options.joints_deviation) != (None, None, None):
            raise
        return None, {"pose": None, "pose_missing": str(problem)}
    document = errors.to_dict(options.add_limit or pose_metrics.ADD_LIMIT)
    if options.joints_deviation is not None:
        document["joints_deviation"] = options.joints_deviation
    return errors, {"pose": document}


def _draw_reliability(path: Path, title: str, measured: Reliability, calibrated: Calibrated | None) -> None:
    from ..evaluation import reliability_plot

    series = [("covariances", measured)]
    if calibrated is not None:
        series = [("calibrated", calibrated.after), ("before", calibrated.before)]
    reliability_plot.draw_reliability(path, title.format(f"{len(series[0][1].errors):,}"), series)
    print(f"plot: {path}", file=sys.stderr)


def answers(
    predictor: Predictor, items: Sequence[Item], progress: ProgressWriter, inspection: Inspection = STILL
) -> Answers:
    """Predict on every image that can be read, and name the others on stderr.

    Raises:
        UserError: if an image is missing, or none can be read or is the annotated one.
    """
    unreadable: dict[int, str] = {}
    rows: list[int] = []
    found: list[Sequence[Found]] = []
    sizes: list[tuple[int, int]] = []
    for numbers, pictures in _batches(items, unreadable):
        rows += numbers
        sizes += [(p.width, p.height) for p in pictures]
        keypoints = predictor.predict([p.pixels for p in pictures], inspection)
        found += [in_whole(k, p) for k, p in zip(keypoints, pictures, strict=True)]
        done = numbers[-1] + 1
        progress("measure", f"{done:,} of {len(items):,} images", done, len(items))
    if not rows:
        raise UserError(next(iter(unreadable.values())))
    for why in unreadable.values():
        print(f"warning: {why}", file=sys.stderr)
    return Answers(
        np.array([[(k.u, k.v) for k in image] for image in found]),
        np.array([[k.covariance for k in image] for image in found], np.float64),
        np.array([[k.confidence for k in image] for image in found]),
        tuple(sizes), tuple(rows), unreadable,
    )  # fmt: skip


def _batches(items: Sequence[Item], unreadable: dict[int, str]) -> Iterator[tuple[list[int], list[Photograph]]]:
    """Pictures to be predicted at once, and their numbers; sentences about the others go to ``unreadable``."""
    missing = [item.path for item in items if not item.path.is_file()]
    if missing:
        others = f", nor {len(missing) - 1:,} others of {len(items):,}" if len(missing) > 1 else ""
        raise UserError(f"There is no image at {missing[0]}{others}: put it there, or leave it out of the annotations")
    numbers, batch = list[int](), list[Photograph]()
    for i, item in enumerate(items):
        try:
            batch.append(item.picture())
        except UserError as problem:
            unreadable[i] = str(problem)
            continue
        numbers.append(i)
        if len(batch) == BATCH or sum(p.pixels.size for p in batch) >= BATCH_BYTES:
            yield numbers, batch
            numbers, batch = [], []
    if batch:
        yield numbers, batch


def measure(
    predictor: Predictor, data: Annotated, progress: ProgressWriter, inspection: Inspection = STILL
) -> Measured:
    """Predict on every image that can be read, and compare with what is annotated.

    Raises:
        UserError: if an image is missing, or none can be read or is the annotated one.
    """
    names = predictor.info.keypoints
    given = answers(predictor, data.items, progress, inspection)
    items = tuple(data.items[row] for row in given.rows)
    truths = tuple(
        _inside(keypoint_matching.truth(item, names, data.complete), *size)
        for item, size in zip(items, given.sizes, strict=True)
    )
    true = np.stack([t.points for t in truths])
    pixels = np.linalg.norm(given.predicted - true, axis=-1)
    percent = pixels / np.hypot(*np.array(given.sizes, float).T)[:, None] * 100.0
    visibility = np.stack([t.visibility for t in truths])
    network = predictor.info.network
    claims = given.confidences
    if network.is_fitted:  # which doesn't claim that a keypoint lies in the image where it is found outside
        there = [keypoint_visibility.inside(p, *size) for p, size in zip(given.predicted, given.sizes, strict=True)]
        claims = np.where(there, claims, 0.0)
    margin = curve_fit.margin(network.sigma) / math.hypot(predictor.info.width, predictor.info.height)
    truncated = np.stack([
        _off_outside(t, p, size, margin * math.hypot(*size))
        for t, p, size in zip(truths, given.predicted, given.sizes, strict=True)
    ])  # fmt: skip
    measurement = Measurement(
        names, percent, pixels, visibility, claims, truncated, given.confidences >= keypoint_visibility.SURE
    )  # fmt: skip
    sigmas = [data.sigmas.get(n, data.sigmas.get(n.rpartition("/")[2], SIGMA)) for n in names]
    try:
        precision = coco_oks.average_precision(truths, given.sizes, given.predicted, given.confidences, sigmas)
    except ImportError:
        print("OKS is left out: install pycocotools for it", file=sys.stderr)
        precision = None
    return Measured(items, measurement, Reliability(names, _errors(given, true)), given, truths, precision)


def _errors(given: Answers, true: Floats) -> Floats:
    return reliability.normalised_errors(given.predicted, given.covariances, true, given.confidences)


def _inside(truth: Truth, width: int, height: int) -> Truth:
    """Keypoints annotated beyond the image's edge count as outside."""
    beyond = (truth.visibility > 0) & ~keypoint_visibility.inside(truth.points, width, height)
    points = np.where(beyond[:, None], np.nan, truth.points)
    outside = None if truth.outside is None else np.where(beyond[:, None], truth.points, truth.outside)
    return replace(truth, points=points, visibility=np.where(beyond, OUTSIDE, truth.visibility), outside=outside)


def _off_outside(truth: Truth, predicted: Floats, size: tuple[int, int], margin: float) -> Floats:
    """Errors in percent of the diagonal ``(J,)`` of keypoints that are outside by at most ``margin`` pixels; NaN of
    others."""
    if truth.outside is None:
        return np.full(len(predicted), np.nan)
    width, height = size
    # Annotations of what isn't labelled say (0, 0), which is inside.
    near = keypoint_visibility.inside(truth.outside + margin, width + 2 * margin, height + 2 * margin)
    near &= ~keypoint_visibility.inside(truth.outside, width, height)
    errors = np.linalg.norm(predicted - truth.outside, axis=-1) / math.hypot(width, height) * 100.0
    return np.where(near, errors, np.nan)


def _title(model: Path) -> str:
    """What a model is called: every run's file is ``model.safetensors``, so its folder tells more."""
    return model.resolve().parent.name if model.stem == "model" else model.stem
