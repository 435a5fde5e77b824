# SPDX-License-Identifier: GPL-3.0-or-later
"""A run as one page for a person: settings, curves, priors over time, hardest images, how long each part takes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from ...core.errors import UserError
from ...core.scene.scene_model import Variable
from ...core.settings.schema import Settings
from ...core.step_times import BESIDE, RunTimes
from ..reports import figures
from ..reports.page import Block, Gallery, Number, Numbers, Page, Section, Table, Text
from . import hardest_images, image_errors, run_curves
from .run_record import RunRecord

SECTIONS = ("render", "workers", "training", "feedback", "augmentation", "scene")
"""Of the settings, what is listed where it is not as by default."""

STEPS = {"simulation_step": "Simulation step", "train_step": "Training step"}

PARTS = {
    "step": "the whole step", "draw": "draw latent values", "pose": "pose the scene", "label": "label",
    "render": "render", "send": "encode and send (beside the next sample)",
    "wait": "wait for the trainer (beside the next sample)", "forward": "forward", "backward": "backward",
    "optimiser": "optimiser", "validation": "validation (once in an epoch)", "feedback": "feedback (once in an epoch)",
}  # fmt: skip

FOUND = 20
"""Variables of which is told what the feedback found."""

NONE = "–"


def page_of(record: RunRecord) -> Page:
    """The page; the run's model predicts on its validation images for it."""
    s = record.settings
    subtitle = (
        f"Run: {record.folder.resolve()}",
        f"Robot: {s.robot.path or s.robot.armature or s.robot.kind}, {_count(len(s.keypoints), 'keypoint')}, "
        f"{s.render.width} × {s.render.height} pixels",
        f"Written on {date.today():%Y-%m-%d}",
    )
    sections = [
        Section("Summary", [Numbers(_headlines(record)), *(Text(sentence) for sentence in record.missing)]),
        Section("Curves", _curves(record)),
        Section("Priors", _priors(record)),
        Section("Hardest images", _hardest(record)),
        Section("Times", _times(record.times)),
        Section("Settings", _settings(s)),
    ]
    return Page(f"{record.folder.resolve().name}: a training", subtitle, sections)


def lines(record: RunRecord) -> list[str]:
    """The most important of it as text for a terminal."""
    result = [f"{n.label}: {n.value} {n.note}".rstrip() for n in _headlines(record)]
    result += record.missing
    if record.times is not None:
        for kind, parts in record.times.to_dict().items():
            result.append(f"{STEPS[kind]}, milliseconds: {'mean ± standard deviation' if parts else 'not measured'}")
            for part, numbers in parts.items():
                spread = f"{numbers['mean_ms']:10.2f} ± {numbers['standard_deviation_ms']:.2f}"
                result.append(f"  {spread:26s} {PARTS[part]}")
    return result


# ------------------------------------------------------------------------------------------------------- the sections


def _headlines(record: RunRecord) -> list[Number]:
    summary, last = record.summary, record.metrics[-1] if record.metrics else {}
    source: Mapping[str, Any] = summary if summary is not None else last
    where = f"on {summary['test_images'] or 0:,} test images" if summary is not None else "at the last validation"
    result = []
    for key, label in (("median_error_percent", "Median error"), ("mean_error_percent", "Mean error")):
        if source.get(key) is not None:
            result.append(Number(label, f"{source[key]:.2f} %", f"of the diagonal, {where}"))
    images = source.get("images_trained", last.get("images"))
    if images is not None:
        result.append(Number("Trained on", f"{images:,} images", "reused ones counted again"))
    if summary is not None and summary["images_rendered"] is not None:
        result.append(Number("Rendered", f"{summary['images_rendered']:,} images"))
    fresh = source.get("fresh_fraction")
    if isinstance(fresh, float) and 0 < fresh <= 1:
        note = f"{100 * fresh:.0f} % of the renderings trained on were new"
        result.append(Number("Reuse", f"{1 / fresh:.1f} times each", note))
    if source.get("seconds") is not None:
        result.append(Number("Took", _duration(source["seconds"]), "stopped" if source.get("stopped") else ""))
    if record.times is not None:
        note = "of the training, spent waiting for samples"
        result.append(Number("Stall share", f"{100 * record.times.stall_fraction:.1f} %", note))
    return result


def _curves(record: RunRecord) -> list[Block]:
    if not record.metrics:
        return [Text("There was no validation yet.")]
    return [figures.picture(run_curves.curves(record.metrics), "Losses and errors over the images trained on")]


def _priors(record: RunRecord) -> list[Block]:
    versions = record.priors
    figure = run_curves.priors([v.step for v in versions], [v.model for v in versions])
    if figure is None:
        why = "The priors have not moved yet." if record.settings.feedback.enabled else "The feedback is off."
        return [Text(why)]
    blocks: list[Block] = [
        Text(
            f"After {_count(len(versions) - 1, 'update')} of the feedback. Red bins are drawn more often by adaptive "
            "workers than at first, blue ones less often; time runs to the right."
        ),
        figures.picture(figure, "Probabilities of the bins of each variable over the updates"),
        _found(record),
    ]
    hardest = record.metrics[-1].get("hardest", []) if record.metrics else []
    if hardest:
        units = {v.name: v.unit for v in versions[0].model.variables}
        rows = [
            [h["variable"], _range(h["low"], h["high"], units.get(h["variable"], "")), f"{100 * h['share']:.0f} %"]
            for h in hardest
        ]
        caption = "Ranges that are more frequent among the hardest validation images than chance would have it."
        blocks.append(Table(("Hardest now", "Range", "Share of the hardest"), rows, caption, text_columns=(1,)))
    return blocks


def _found(record: RunRecord) -> Table:
    models, explained = [v.model for v in record.priors], record.priors[-1].explained
    moved = run_curves.most_moved(models)
    moved.sort(key=lambda v: -explained.get(v.name, 0.0))
    rows = []
    for variable in moved[:FOUND]:
        ratios = 2 ** run_curves.log_ratios(models[-1:], variable, models[0])[0]
        top, edges = int(ratios.argmax()), variable.prior.edges
        share = f"{100 * explained[variable.name]:.1f} %" if variable.name in explained else NONE
        stays = ratios[top] - ratios.min() < 0.01
        found = (_bin(variable, edges, top), f"{ratios[top]:.2f} ×", f"{ratios.min():.2f} ×")
        rows.append([variable.name, share, *((NONE,) * 3 if stays else found)])
    columns = ("Variable", "Losses explained", "Most often more", "By", "Least often")
    caption = (
        "Losses explained: share of the losses' variance that lies between the variable's bins. The factors compare "
        f"with how often a bin was drawn at first; {NONE}: as often."
    )
    return Table(columns, rows, caption, text_columns=(2,))


def _bin(variable: Variable, edges: np.ndarray[tuple[int, ...], np.dtype[np.float64]], place: int) -> str:
    return _range(float(edges[place]), float(edges[place + 1]), variable.unit)


def _hardest(record: RunRecord) -> list[Block]:
    try:
        found = hardest_images.hardest(record)
    except UserError as problem:
        return [Text(f"The hardest images can't be shown: {problem}.")]
    some = f"of the first {found.measured:,} of {found.of:,}" if found.measured < found.of else f"of {found.of:,}"
    sentence = f"Those validation images {some} on which the best model has the largest loss. {image_errors.LEGEND}"
    return [Text(sentence), Gallery(found.pictures)]


def _times(times: RunTimes | None) -> list[Block]:
    if times is None:
        return [Text("No times have been written down.")]
    blocks: list[Block] = []
    for kind, parts in times.to_dict().items():
        if not parts:
            blocks.append(Text(f"{STEPS[kind]}: nothing was measured yet."))
            continue
        rows = [
            [PARTS[part], f"{n['mean_ms']:,.2f}", f"{n['standard_deviation_ms']:,.2f}", f"{n['measured']:,.0f}"]
            for part, n in parts.items()
        ]
        blocks.append(Table((STEPS[kind], "Mean, ms", "Standard deviation, ms", "Measured"), rows))
    beside = " and ".join(f"“{part}”" for part in BESIDE)
    blocks.append(
        Text(
            f"The training waited for samples during {100 * times.stall_fraction:.1f} % of its time. A worker makes "
            f"the next sample during {beside}. On a graphics card one step of 25 is measured, as the card has to be "
            "waited for after each part."
        )
    )
    return blocks


def _settings(settings: Settings) -> list[Block]:
    default = Settings()
    rows = []
    for section in SECTIONS:
        own, usual = getattr(settings, section), getattr(default, section)
        for field in dataclasses.fields(own):
            value, before = getattr(own, field.name), getattr(usual, field.name)
            if value != before:
                rows.append([f"{section}.{field.name}", _plain(value), _plain(before)])
    varying = [v for v in settings.variables if v.low < v.high]
    adapting = sum(v.adapt for v in varying)
    sentence = f"{_count(len(varying), 'variable')} vary, {adapting} of them adapt. "
    if not rows:
        return [Text(sentence + "Everything else is as by default.")]
    table = Table(("Setting", "Value", "By default"), rows, text_columns=(1, 2))
    return [Text(sentence + "These settings are not as by default:"), table]


# ------------------------------------------------------------------------------------------------------------ writing


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(v) for v in value) or NONE
    return str(value) if value != "" else NONE


def _range(low: float, high: float, unit: str) -> str:
    factor, shown = (180 / math.pi, "°") if unit == "rad" else (1.0, f" {unit}" if unit else "")
    return f"{low * factor:.4g} … {high * factor:.4g}{shown}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _count(count: int, one: str) -> str:
    return f"{count:,} {one}{'s' * (count != 1)}"
