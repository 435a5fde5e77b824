# SPDX-License-Identifier: GPL-3.0-or-later
"""The measures of an evaluation as a table for people."""

from __future__ import annotations

import textwrap
from typing import Any

from ...core.errors import printable
from . import pose_metrics, reliability

NAME = 20
"""Width of the table's first column."""

WIDTH = 105
"""Where sentences are broken into lines."""


def table(document: dict[str, Any]) -> list[str]:
    """The document as lines of text. What of a stranger's names a terminal would obey is written out."""
    lines = [
        f"{document['model']} on {_many(document['images'], 'image')} of {document['data']} ({document['format']})",
        "",
        f"{'':<{NAME}}         % of the diagonal               pixels           % where",
        f"{'keypoint':<{NAME}}  count   mean  median   90 %   95 %    mean median  visible occluded   area  found",
    ]
    for name, entry in document["per_keypoint"].items():
        lines.append(_row(name, entry))
    lines += [_row("all", document), ""]
    d = document["detection"]
    if d["found"] is not None:
        inside = _many(d["inside"], "keypoint")
        lines.append(f"found: {d['found']:.1%} of {inside} inside the images (confidence ≥ {d['threshold']:g})")
    if d["false_positives"] is not None:
        lines.append(f"false positives: {d['false_positives']:.1%} of {_many(d['outside'], 'keypoint')} outside")
    if document["truncated"] is not None:
        lines.append(_cut_off(document["truncated"]))
    sure = document["confidence"]
    if sure["false_sure_share"] is not None:
        off = f"{sure['false_sure']:,} of them ({sure['false_sure_share']:.1%}) more than {sure['far_percent']:g} % off"
        lines.append(f"falsely sure: of {_many(sure['sure'], 'keypoint')} that are claimed, {off}")
    lines.append(f"area: under the PCK curve up to {document['pck_area_limit_percent']:g} % of the diagonal, 0 … 1")
    if document["oks"] is not None and document["oks"]["AP"] is not None:
        o = document["oks"]
        lines.append(f"OKS: AP {o['AP']:.3f}, AP50 {o['AP50']:.3f}, AP75 {o['AP75']:.3f}, AR {o['AR']:.3f}")
    if document["keypoints_not_annotated"]:
        lines.append(f"not annotated: {', '.join(document['keypoints_not_annotated'])}")
    if document["unreadable"]:
        lines.append(f"{_many(len(document['unreadable']), 'image')} could not be read")
    if document["images_of_several_robots"]:
        count = _many(document["images_of_several_robots"], "image")
        lines.append(f"{count} with several robots: the largest one was compared")
    lines += ["", *_variances(document)]
    if document["pose"] is not None:
        lines += ["", *pose_metrics.table(document["pose"])]
    else:
        lines += ["", *textwrap.wrap(f"poses are not measured. {document['pose_missing']}", WIDTH)]
    if "raters" in document:
        lines += ["", *_people(document["raters"], document)]
    return [printable(line) for line in lines]


def _cut_off(measured: dict[str, Any]) -> str:
    percent = measured["percent"]
    off = "" if percent is None else f", {percent['mean']:.2f} % off in the mean, {percent['median']:.2f} in the median"
    count = _many(measured["count"], "keypoint")
    return f"truncated: {measured['found']:.1%} of {count} just outside the images are found{off}"


def _variances(document: dict[str, Any]) -> list[str]:
    measured = document["reliability"]
    rows = [("calibrated" if measured["calibrated"] else "not calibrated", measured)]
    if "calibration" not in document:
        return reliability.table(rows, NAME)
    c = document["calibration"]
    rows += [("before, other half", c["before"]), ("after, other half", c["after"])]
    return [*reliability.table(rows, NAME), f"calibrated on {_many(c['images'], 'image')}, checked on the other half"]


def _row(name: str, entry: dict[str, Any]) -> str:
    percent, pixels = entry["percent"], entry["pixels"]
    label = name if len(name) < NAME else name[: NAME - 2] + "…"
    if percent is None:
        return f"{label:<{NAME}}{0:>7}       –"

    def mean_of(key: str) -> str:
        return f"{entry[key]['mean']:.2f}" if entry[key] is not None else "–"

    found = entry["detection"]["found"]
    q = percent["quantiles"]
    return (
        f"{label:<{NAME}}{percent['count']:>7}{percent['mean']:7.2f}{percent['median']:8.2f}{q['90']:7.2f}{q['95']:7.2f}"
        f"{pixels['mean']:8.2f}{pixels['median']:7.2f}{mean_of('visible'):>9}{mean_of('hidden'):>9}"
        f"{entry['pck_area']:7.3f}{found:7.1%}"
    )


def _people(spread: dict[str, Any], document: dict[str, Any]) -> list[str]:
    lines = [
        f"{_many(len(spread['people']), 'person', 'people')} on {_many(spread['photographs'], 'photograph')}, % of the "
        "diagonal; the model is measured against their mean",
        f"{'keypoint':<{NAME}}{'count':>7}  std. dev.   to mean  to others   model",
    ]
    rows = [*((n, s, document["per_keypoint"][n]["percent"]) for n, s in spread["per_keypoint"].items())]
    rows.append(("all", spread, document["percent"]))
    lines += [_person(name, entry, model) for name, entry, model in rows]
    lines += ["", f"{'photograph':<{NAME}}{'count':>7}  std. dev.   to mean  to others   model"]
    lines += [_person(name, entry, entry["model"]) for name, entry in spread["per_photograph"].items()]
    lines += ["", "to mean: mean distance to the mean of all; to others: to the mean of the others, as the model's is"]
    return lines


def _person(name: str, entry: dict[str, Any], model: dict[str, Any] | None) -> str:
    label = name if len(name) < NAME else "…" + name[-NAME + 2 :]
    if entry["to_mean"] is None:
        return f"{label:<{NAME}}{0:>7}          –"
    error = f"{model['mean']:8.2f}" if model is not None else f"{'–':>8}"
    return (
        f"{label:<{NAME}}{entry['to_mean']['count']:>7}{entry['standard_deviation']:11.2f}{entry['to_mean']['mean']:10.2f}"
        f"{entry['to_others_mean']['mean']:11.2f}{error}"
    )


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"
