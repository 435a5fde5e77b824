# SPDX-License-Identifier: GPL-3.0-or-later
"""What the last check of the scene found."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...core.messages.obstruction import Obstruction


@dataclass
class Report:
    """What was found.

    Attributes:
        draws: how many were looked at; 0 before the first check.
        tried, accepted: how many draws were made, and how many of them met the rules.
        inside, seen: in how many of the draws each keypoint lay inside the picture, and was visible or just within a
            link that was.
        camera_inside: share of the draws in which the camera stood within a link's bounding box.
        stale: whether the settings have changed since.
    """

    draws: int = 0
    tried: int = 0
    accepted: int = 0
    inside: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    camera_inside: float = 0.0
    stale: bool = False


_latest = Report()
_obstruction = Obstruction()


def latest() -> Report:
    """The report of the last check."""
    return _latest


def keep(report: Report) -> None:
    """Take in a new report."""
    global _latest
    _latest = report


def obstruction() -> Obstruction:
    """What the last look at the scene found in the robots' way."""
    return _obstruction


def keep_obstruction(found: Obstruction) -> None:
    """Take in what a check, a contact sheet or a training has found."""
    global _obstruction
    _obstruction = found


def forget() -> None:
    """The scene is another one."""
    keep(Report())
    keep_obstruction(Obstruction())


def outdate() -> None:
    """The settings have changed: what was found may no longer hold."""
    _latest.stale = _latest.draws > 0
