# SPDX-License-Identifier: GPL-3.0-or-later
"""Curves of what a filter or the smoother has found over time, with bands of two standard deviations."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..pose.rigid_motion import cross_matrix
from ..reports.figures import GREY, MODEL, PEOPLE, frame
from .labelling import Filtered
from .recording import Floats

BAND = 2.0
"""Standard deviations to either side."""


def pose_figure(filtered: Filtered) -> Figure:
    """The object's place in the reference's frame over time, centimetres; dots where a marker tells it."""
    states, steps = filtered.estimate.states, filtered.problem.recording.steps
    times = np.array([s.time for s in steps])
    places = np.stack([s.object_pose[:3, 3].numpy() for s in states])
    spreads = []
    for state in states:
        # An error (ω, v) from the left moves the place t by ω × t + v.
        turn = -cross_matrix(state.object_pose[:3, 3]).numpy()
        spread = np.concatenate([turn, np.eye(3)], 1)
        spreads.append(np.diag(spread @ state.covariance[:6, :6].numpy() @ spread.T))
    deviations = np.sqrt(np.clip(np.stack(spreads), 0.0, None))
    seen = np.array([any(taken) for taken in filtered.estimate.accepted])
    figure = Figure(figsize=(11.0, 6.0), dpi=110, facecolor="white", layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    for k, (axis, name) in enumerate(zip(axes, "xyz", strict=True)):
        _band(axis, times, 100 * places[:, k], 100 * deviations[:, k])
        axis.plot(times[seen], 100 * places[seen, k], ".", color=PEOPLE, markersize=5)
        axis.set_ylabel(f"{name}, cm")
    axes[-1].set_xlabel(_time_label(filtered))
    return figure


def joints_figure(filtered: Filtered) -> Figure:
    """What is added to each joint's readings over time, degrees or millimetres."""
    states, steps = filtered.estimate.states, filtered.problem.recording.steps
    times = np.array([s.time for s in steps])
    joints = filtered.problem.joints
    count = len(joints)
    kinds = {j.name: j.kind for j in filtered.problem.footage.robot.joints}
    values = np.stack([s.correction.numpy() for s in states])
    both = np.concatenate([np.eye(count), np.eye(count)], 1)
    spreads = [np.diag(both @ s.covariance[-2 * count :, -2 * count :].numpy() @ both.T) for s in states]
    deviations = np.sqrt(np.clip(np.stack(spreads), 0.0, None))
    rows = math.ceil(count / 2)
    figure = Figure(figsize=(11.0, 1.0 + 1.6 * rows), dpi=110, facecolor="white", layout="constrained")
    axes = figure.subplots(rows, 2, sharex=True, squeeze=False).ravel()
    for k, (axis, name) in enumerate(zip(axes, joints, strict=False)):
        slides = kinds[name] == "prismatic"
        factor = 1000.0 if slides else math.degrees(1.0)
        _band(axis, times, factor * values[:, k], factor * deviations[:, k])
        axis.axhline(0.0, color=GREY, linewidth=0.8)
        axis.set_title(f"{name}, {'mm' if slides else '°'}", fontsize=9, loc="left")
    for axis in axes[count:]:
        axis.set_visible(False)
    axes[-1].set_xlabel(_time_label(filtered))
    return figure


def _band(axis: Axes, times: Floats, values: Floats, deviations: Floats) -> None:
    frame(axis, "both")
    axis.fill_between(times, values - BAND * deviations, values + BAND * deviations, color=MODEL, alpha=0.25, lw=0)
    axis.plot(times, values, color=MODEL, linewidth=1.2)


def _time_label(filtered: Filtered) -> str:
    timed = all(f.time is not None for f in filtered.problem.footage.frames)
    return "seconds" if timed else "poses, in the footage's order"
