# SPDX-License-Identifier: GPL-3.0-or-later
"""What is worth a warning in the panel, as one sentence each. Cheap: panels ask while they draw."""

from __future__ import annotations

from typing import Any

from ..base.formatting import plural, span
from ..properties import scene_check_report

SLACK = 1e-4
"""Ranges may exceed limits by so much: single precision does."""
NEAR = 0.35
"""A camera nearer than this share of the robot's reach may stand inside it."""
SELDOM = 0.05
"""A rule that fewer draws meet costs most of the time that there is."""


def variable(props: Any, item: Any) -> str:
    """What is wrong with the range of a variable that varies; empty if nothing."""
    if not item.use:
        return ""
    if item.limited and (item.low < item.limit_low - SLACK or item.high > item.limit_high + SLACK):
        return f"Beyond the joint's limits {span(item.limit_low, item.limit_high, item.unit)}"
    return camera(props, item) if item.name == "camera/distance" else ""


def camera(props: Any, distance: Any = None) -> str:
    """Whether the camera comes too near; ``distance`` is that variable, where it is at hand."""
    item = distance or props.variables.get("camera/distance")
    if item is not None and (item.low if item.use else item.value) < NEAR * props.reach:
        return "So near, the camera may stand inside the robot"
    share = scene_check_report.latest().camera_inside
    return f"The camera stood inside the robot in {100 * share:.0f} % of the draws" if share else ""


def any_variable(props: Any) -> bool:
    """Whether any variable has something wrong."""
    return any(variable(props, item) for item in props.variables)


def keypoint(name: str) -> str:
    """What the last check found about a keypoint; empty if nothing."""
    report = scene_check_report.latest()
    if name in report.seen and not report.seen[name]:
        if not report.inside[name]:
            return f"Never inside the picture in {plural(report.draws, 'draw')}"
        return f"Never visible in {plural(report.draws, 'draw')}: something always hides it"
    return ""


def any_keypoint(props: Any) -> bool:
    """Whether any keypoint has something wrong."""
    return any(keypoint(k.name) for k in props.keypoints)


def rules(props: Any) -> str:
    """What the last check found about the rules; empty if nothing."""
    report = scene_check_report.latest()
    if report.draws and report.accepted < SELDOM * report.tried:
        met = f"Only {plural(report.accepted, 'draw')} of {report.tried} met the rules"
        return f"{met}: ask for less, or let the camera stand further away"
    return ""
