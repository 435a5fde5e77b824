# SPDX-License-Identifier: GPL-3.0-or-later
"""What was labelled, and how well, as one page for a person."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import torch

from ..reports import figures
from ..reports.page import Block, Gallery, Number, Numbers, Page, Picture, Section, Table, Text
from . import label_curves
from .labelling import Filtered, FrameLabel, Labelled
from .recording import MarkerObservation

SHOWN = 12
"""Images that are drawn."""

LISTED = 400
"""Images that are listed at most."""

NONE = "–"

SOURCES = {
    "marker": "a marker in the image",
    "filter": "markers at other times and the joints, by a Kalman filter",
    "smoother": "markers before and after and the joints, by a Kalman smoother",
    "model": "the joints, before a camera that a model's keypoints have placed",
}


def choose_shown(labelled: Labelled) -> list[int]:
    """Places of the frames to be drawn: those that are known worst, and others spread over the footage."""
    labels = labelled.labels
    worst = sorted(labels, key=lambda label: -label.deviation)[: SHOWN // 3]
    spread = [labels[int(k)] for k in np.linspace(0, len(labels) - 1, min(len(labels), SHOWN - len(worst)))]
    return sorted({label.frame for label in (*worst, *spread)})


def page_of(
    labelled: Labelled, observations: Sequence[MarkerObservation], drawn: Mapping[int, bytes], warnings: Sequence[str]
) -> Page:
    """The report.

    Args:
        observations: all that markers were seen in, also those that can't be relied on.
        drawn: JPEGs by the frame's place.
        warnings: sentences of the calibration.
    """
    footage = labelled.footage
    subtitle = (
        f"Footage: {footage.source}",
        f"Robot: {footage.robot.name}; cameras: {', '.join(c.name for c in footage.cameras)}",
        f"Method: {labelled.method}",
        f"Written on {date.today():%Y-%m-%d}",
    )
    sections = [
        Section("Summary", [Numbers(_headlines(labelled)), *map(Text, warnings)]),
        Section("Left out", _left_out(labelled)),
        Section("Overlays", _overlays(labelled, drawn)),
        *([] if labelled.filtered is None else [Section("Motion", _motion(labelled.filtered))]),
        Section("Images", [_images(labelled, observations)]),
    ]
    return Page(f"Labels of {footage.source.name}", subtitle, sections)


def _headlines(labelled: Labelled) -> list[Number]:
    labels = labelled.labels
    numbers = [Number("Labelled", f"{len(labels):,}", f"of {len(labelled.footage.frames):,} images")]
    for source, meaning in SOURCES.items():
        count = sum(label.source == source for label in labels)
        if count:
            numbers.append(Number(f"By {source}", f"{count:,}", meaning))
    numbers.append(Number("Left out", f"{len(labelled.left_out):,}", "images, with reasons below"))
    if labels:
        deviation = float(np.median([label.deviation for label in labels]))
        numbers.append(Number("Standard deviation", f"{deviation:.2f} px", "of the least known keypoint, median"))
    off = [label.reprojection for label in labels if label.reprojection is not None]
    if off:
        what = "of marker corners, or a model's keypoints, by the labels, median"
        numbers.append(Number("Reprojection", f"{np.median(off):.2f} px", what))
    return numbers


def _left_out(labelled: Labelled) -> list[Block]:
    frames = labelled.footage.frames
    if not labelled.left_out:
        return [Text("Every image was labelled.")]
    rows = [[frames[p].name, frames[p].camera, why] for p, why in sorted(labelled.left_out.items())]
    caption = "" if len(rows) <= LISTED else f"The first {LISTED:,} of {len(rows):,}."
    return [Table(("Image", "Camera", "Why"), rows[:LISTED], caption, text_columns=(1, 2))]


def _overlays(labelled: Labelled, drawn: Mapping[int, bytes]) -> list[Block]:
    if not drawn:
        return [Text("No image was labelled.")]
    frames = labelled.footage.frames
    by_frame = {label.frame: label for label in labelled.labels}
    pictures = [
        Picture(
            data, "image/jpeg", f"{frames[p].name} with its keypoints",
            f"{frames[p].name}: by {by_frame[p].source}, {by_frame[p].deviation:.1f} px",
        )
        for p, data in sorted(drawn.items())
    ]  # fmt: skip
    legend = (
        "Green: told by a marker in the image. Blue: by the smoother. Orange: by a filter. Violet: by a model. "
        "Ellipses hold a keypoint with 95 %."
    )
    return [Text(legend), Gallery(pictures)]


def _motion(filtered: Filtered) -> list[Block]:
    model = filtered.problem.recording.model
    link = filtered.problem.layout.links[0]
    reference = filtered.problem.layout.reference
    where = "the room" if reference is None else f"the camera {reference}"
    sentence = (
        f"Where {link} is in the frame of {where}, with bands of two standard deviations; dots are images in which a "
        "marker tells it. Joint sensors were taken to be off by constants of "
        f"{_angle(model.offset)} and from image to image by {_angle(model.error)} (standard deviations)."
    )
    return [
        Text(sentence),
        figures.picture(label_curves.pose_figure(filtered), f"Place of {link} over time"),
        Text("What the labels' joints differ by from the sensors' readings."),
        figures.picture(label_curves.joints_figure(filtered), "Corrections of the joints over time"),
    ]


def _angle(deviations: torch.Tensor) -> str:
    return f"{math.degrees(float(deviations.mean())):.2g}°"


def _images(labelled: Labelled, observations: Sequence[MarkerObservation]) -> Table:
    frames = labelled.footage.frames
    seen: dict[int, list[MarkerObservation]] = {}
    for o in observations:
        seen.setdefault(o.frame, []).append(o)
    rows = [_image(label, frames[label.frame].name, seen.get(label.frame, ())) for label in labelled.labels]
    caption = (
        "Deviation: of the least known keypoint. Reprojection: of marker corners, or of the model's keypoints, by the "
        "label, and by the marker's own best pose. "
    )
    shown = "" if len(rows) <= LISTED else f"The first {LISTED:,} of {len(rows):,}."
    columns = (
        "Image", "Source", "Deviation, px", "Reprojection, px", "Own, px", "Corners seen", "Edges, px", "Why no marker",
    )  # fmt: skip
    return Table(columns, rows[:LISTED], caption + shown, text_columns=(1, 7))


def _image(label: FrameLabel, name: str, seen: Sequence[MarkerObservation]) -> list[str]:
    best = max(seen, key=lambda o: (o.quality.high, o.quality.share), default=None)
    off = NONE if label.reprojection is None else f"{label.reprojection:.2f}"
    row = [name, label.source, f"{label.deviation:.2f}", off]
    if best is None:
        return [*row, NONE, NONE, NONE, NONE if label.source == "model" else "No marker was found."]
    q = best.quality
    return [*row, f"{q.reprojection:.2f}", f"{q.share:.0%}", f"{q.sharpness:.1f}", " ".join(q.reasons)]
