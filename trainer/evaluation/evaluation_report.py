# SPDX-License-Identifier: GPL-3.0-or-later
"""An evaluation as one page for a person: how far off, which keypoints, which images, how sure, where the camera is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.annotations import Item
from ..reports import figures
from ..reports.page import Block, Gallery, Number, Numbers, Page, Picture, Section, Table, Text
from . import (
    confidence_plot,
    error_plot,
    image_errors,
    pose_metrics,
    rater_kernels,
    reliability,
    reliability_plot,
)
from .image_errors import Compared
from .keypoint_metrics import Measurement
from .pose_metrics import PoseErrors
from .rater_spread import Ratings
from .reliability import Reliability

Floats = NDArray[np.float64]

WORST = 12
"""Images that are shown."""

LISTED = 200
"""Images that are listed at most, the worst ones first."""

SPREADS = 2
"""Photographs on which the people's spread is drawn, those with most annotations."""

NONE = "–"


@dataclass(frozen=True)
class Evaluated:
    """All that was found out about N images.

    Attributes:
        title: which model was measured on what.
        document: the measures, as ``evaluate --json`` prints them.
        true, predicted: pixels ``(N, J, 2)``, the former NaN where unknown or outside.
        items: the images.
        poses: None where there are none to compare with.
        people: distances of people's annotations to the mean of the others' ``(R, N, J)``, percent; or None.
        ratings: what the people annotated in the same images; or None.
    """

    title: str
    document: Mapping[str, Any]
    measurement: Measurement
    reliability: Reliability
    true: Floats
    predicted: Floats
    items: Sequence[Item]
    poses: PoseErrors | None = None
    people: Floats | None = None
    ratings: Ratings | None = None


def page_of(found: Evaluated) -> Page:
    """The page; the worst images are read anew for it.

    Raises:
        UserError: if one of these can't be read any more.
    """
    d = found.document
    images = _count(d["images"], "image")
    subtitle = (
        f"Model: {d['model']}",
        f"Images: {images} of {d['data']} ({d['format']})",
        f"Written on {date.today():%Y-%m-%d}",
    )
    order = worst_first(found.measurement.percent)
    sections = [
        Section("Summary", [Numbers(_headlines(d))]),
        Section("Errors", _errors(found)),
        Section("Keypoints", [_keypoints(d)]),
        Section("Worst images", _worst(found, order)),
        Section("Confidence", _confidence(found)),
        Section("Covariances", _covariances(found)),
        Section("Pose", _pose(d)),
        *([Section("People", [_people(d), *_kernels(found)])] if "raters" in d else []),
        Section("Images", [_images(found, order)]),
        Section("Not measured", _left_out(d)),
    ]
    return Page(found.title, subtitle, sections)


def worst_first(percent: Floats) -> list[int]:
    """The images ``(N, J)`` by their mean error, the largest first; those without a known keypoint are left out."""
    known = ~np.isnan(percent)
    rows = np.flatnonzero(known.any(1))
    means = np.nan_to_num(percent[rows]).sum(1) / known[rows].sum(1)
    return [int(i) for i in rows[np.argsort(-means, kind="stable")]]


# ------------------------------------------------------------------------------------------------------- the sections


def _headlines(d: Mapping[str, Any]) -> list[Number]:
    percent, pck, sure = d["percent"], d["pck"], d["confidence"]
    result = []
    if percent is not None:
        result += [
            Number("Median error", f"{percent['median']:.2f} %", "of the image diagonal"),
            Number("Mean error", f"{percent['mean']:.2f} %", f"of {percent['count']:,} keypoints"),
            *(Number(f"Within {limit} %", _share(share), "of the keypoints (PCK)") for limit, share in pck.items()),
        ]
    if sure["false_sure_share"] is not None:
        note = f"of {sure['sure']:,} confident ones are more than {sure['far_percent']:g} % off"
        result.append(Number("Falsely sure", _share(sure["false_sure_share"]), note))
    pose = d["pose"]
    if pose is not None and pose["translation_metres"] is not None:
        place, turn = pose["translation_metres"]["median"], pose["rotation_degrees"]["median"]
        result += [
            Number("Position", f"{1000 * place:.0f} mm", "median, robot base in the camera"),
            Number("Orientation", f"{turn:.1f}°", "median"),
        ]
    return result


def _errors(found: Evaluated) -> list[Block]:
    figure = error_plot.figure_of(found.measurement, "Distance from where the keypoints are", found.people)
    return [figures.picture(figure, "Errors of each keypoint, and the share of keypoints within each distance (PCK)")]


def _keypoints(d: Mapping[str, Any]) -> Table:
    kinds = [("visible", "Visible mean %"), ("hidden", "Occluded mean %")]
    kinds = kinds if all(d[key] is not None for key, _ in kinds) else []
    columns = [
        "Keypoint", "Images", "Median %", "Mean %", "90th %", "Median px", *(label for _, label in kinds),
        *(f"Within {limit} %" for limit in d["pck"] or ()), "Found",
    ]  # fmt: skip
    entries = [*d["per_keypoint"].items(), ("all", d)]
    rows = [_keypoint(name, entry, [key for key, _ in kinds], len(columns)) for name, entry in entries]
    caption = (
        "Errors in percent of the image diagonal. Found: share of the keypoints inside the image whose confidence is "
        f"at least {d['detection']['threshold']:g}."
    )
    return Table(columns, rows, caption, total=True)


def _keypoint(name: str, entry: Mapping[str, Any], kinds: Sequence[str], width: int) -> list[str]:
    percent = entry["percent"]
    if percent is None:
        return [name, "0", *[NONE] * (width - 2)]
    means = [entry[key] and entry[key]["mean"] for key in kinds]
    numbers = (percent["median"], percent["mean"], percent["quantiles"]["90"], entry["pixels"]["median"], *means)
    shares = (*entry["pck"].values(), entry["detection"]["found"])
    return [name, f"{percent['count']:,}", *(_number(n, 2) for n in numbers), *(_share(s) for s in shares)]


def _worst(found: Evaluated, order: Sequence[int]) -> list[Block]:
    if not order:
        return [Text("No image has an annotated keypoint.")]
    return [Text(image_errors.LEGEND), Gallery([_drawn(found, i) for i in order[:WORST]])]


def _drawn(found: Evaluated, i: int) -> Picture:
    m, item = found.measurement, found.items[i]
    compared = Compared(m.names, found.true[i], found.predicted[i], m.percent[i], m.confidences[i])
    name, mean = item.name, np.nanmean(m.percent[i])
    data = image_errors.draw(item.picture().pixels, compared)
    return Picture(data, "image/jpeg", f"{name} with true and predicted keypoints", f"{name}: mean error {mean:.1f} %")


def _confidence(found: Evaluated) -> list[Block]:
    m, sure = found.measurement, found.document["confidence"]
    if not sure["bins"]:
        return [Text("No annotated keypoint lies inside an image.")]
    sentence = (
        f"{sure['sure']:,} keypoints are claimed with a confidence of at least {sure['threshold']:g}; "
        f"{sure['false_sure']:,} of them lie more than {sure['far_percent']:g} % of the diagonal off. On average the "
        f"confidence differs by {100 * sure['calibration_error']:.0f} points from the share of keypoints that are "
        "right (expected calibration error)."
    )
    alt = "Errors over confidences, and the share of right keypoints over the confidence"
    return [Text(sentence), figures.picture(confidence_plot.figure_of(m.percent, m.confidences), alt)]


def _covariances(found: Evaluated) -> list[Block]:
    measured = found.document["reliability"]
    if measured["errors"] is None:
        return [Text("The model claims none of the annotated keypoints, so there are no covariances to judge.")]
    figure = reliability_plot.figure_of("Covariances against errors", [("covariances", found.reliability)])
    how = "was calibrated on validation renderings" if measured["calibrated"] else "has no calibration"
    rows = [
        [f"{p} %", _share(measured["within"][str(p)])] for p in reliability.ELLIPSES
    ]  # fmt: skip
    sentence = (
        f"A covariance is an ellipse around each keypoint, which weighs it when a pose is solved. The model {how}."
    )
    table = Table(("Ellipse that should hold", "holds"), rows)
    return [Text(sentence), figures.picture(figure, "Shares of the keypoints within their ellipses"), table]


def _pose(d: Mapping[str, Any]) -> list[Block]:
    pose = d["pose"]
    if pose is None:
        return [Text(f"Poses are not measured. {d['pose_missing']}")]
    sentence = (
        f"The camera's place was solved from the found keypoints and the known joints in {pose['determined']:,} of "
        f"{_count(pose['images'], 'image')}."
    )
    missing = [[pose_metrics.WHY[name], f"{entry['images']:,}"] for name, entry in pose["refused"].items()]
    blocks: list[Block] = [Text(sentence)]
    if pose["add_metres"] is not None:
        blocks.append(_pose_errors(pose))
    if missing:
        blocks.append(Table(("No pose, because", "Images"), missing))
    return blocks


def _pose_errors(pose: Mapping[str, Any]) -> Table:
    kinds = (
        ("Position of the robot's base, mm", "translation_metres", 1000.0),
        ("Orientation, °", "rotation_degrees", 1.0),
        ("Mean distance of keypoints (ADD), mm", "add_metres", 1000.0),
    )
    rows = []
    for label, key, factor in kinds:
        e = pose[key]
        numbers = (e["median"], e["mean"], e["quantiles"]["90"], e["largest"])
        rows.append([label, *(f"{factor * n:,.1f}" for n in numbers)])
    limit = 1000 * pose["add_area_limit_metres"]
    caption = f"Area under the share of all images up to an ADD of {limit:g} mm: {pose['add_area']:.3f} of 1."
    return Table(("Error", "Median", "Mean", "90th percentile", "Largest"), rows, caption)


def _people(d: Mapping[str, Any]) -> Table:
    spread = d["raters"]
    rows = [
        _person(name, entry, d["per_keypoint"][name]["percent"]) for name, entry in spread["per_keypoint"].items()
    ]  # fmt: skip
    rows.append(_person("all", spread, d["percent"]))
    caption = (
        f"{_count(len(spread['people']), 'person', 'people')} on {_count(spread['photographs'], 'photograph')}, "
        "percent of the diagonal. Compare the model's error with a person's distance to the mean of the others."
    )
    return Table(
        ("Keypoint", "Standard deviation", "To the mean", "To the mean of the others", "Model"),
        rows,
        caption,
        total=True,
    )


def _kernels(found: Evaluated) -> list[Block]:
    ratings = found.ratings
    if ratings is None:
        return []
    pictures = []
    for i in rater_kernels.most_annotated(ratings, SPREADS):
        name = ratings.items[i].name
        data = rater_kernels.draw(ratings.items[i].picture().pixels, ratings.points[:, i], ratings.names)
        pictures.append(Picture(data, "image/png", f"{name} with the spread of people's annotations", name))
    return [Text(rater_kernels.LEGEND), Gallery(pictures)]


def _person(name: str, entry: Mapping[str, Any], model: Mapping[str, Any] | None) -> list[str]:
    if entry["to_mean"] is None:
        return [name, *[NONE] * 4]
    numbers = (entry["standard_deviation"], entry["to_mean"]["mean"], entry["to_others_mean"]["mean"])
    return [name, *(_number(n, 2) for n in numbers), NONE if model is None else _number(model["mean"], 2)]


def _images(found: Evaluated, order: Sequence[int]) -> Table:
    m, poses = found.measurement, found.poses
    place = {} if poses is None else {int(row): k for k, row in enumerate(poses.rows)}
    rows = []
    for i in order[:LISTED]:
        worst = int(np.nanargmax(m.percent[i]))
        least = float(m.confidences[i][~np.isnan(m.percent[i])].min())
        row = [
            found.items[i].name, f"{np.nanmean(m.percent[i]):.2f}", m.names[worst], f"{m.percent[i, worst]:.2f}",
            f"{least:.2f}",
        ]  # fmt: skip
        if poses is not None:
            k = place.get(i)
            row += [NONE, NONE] if k is None else [
                _number(1000 * float(poses.translation[k]), 0), _number(float(poses.rotation[k]), 1),
            ]  # fmt: skip
        rows.append(row)
    columns = ["Image", "Mean error %", "Worst keypoint", "Its error %", "Least confidence"]
    columns += ["Position, mm", "Orientation, °"] if poses is not None else []
    shown = f"The {LISTED:,} worst of {len(order):,} images" if len(order) > LISTED else "All images with keypoints"
    return Table(columns, rows, f"{shown}, the worst ones first.", text_columns=(2,))


def _left_out(d: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = []
    if d["unreadable"]:
        rows = [[entry["image"], entry["error"]] for entry in d["unreadable"]]
        blocks.append(Table(("Image that can't be read", "Why"), rows, text_columns=(1,)))
    else:
        blocks.append(Text("Every image could be read."))
    if d["keypoints_not_annotated"]:
        blocks.append(Text(f"Not annotated: {', '.join(d['keypoints_not_annotated'])}."))
    if d["images_of_several_robots"]:
        several = _count(d["images_of_several_robots"], "image")
        blocks.append(Text(f"{several} with several robots: the largest robot was compared."))
    return blocks


# ------------------------------------------------------------------------------------------------------------ writing


def _number(value: float | None, digits: int) -> str:
    return NONE if value is None or np.isnan(value) else f"{value:,.{digits}f}"


def _share(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f} %"


def _count(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"
