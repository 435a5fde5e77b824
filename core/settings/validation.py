# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuses settings that no run can start from."""

from __future__ import annotations

from ..errors import UserError
from ..scene import catalogue
from .asset_folders import themes, training_themes, worlds
from .schema import MOST_INPUT, NOTHING, Settings


def check(settings: Settings) -> None:
    """Refuse settings that no run can start from.

    Raises:
        UserError: naming the setting and what to do.
    """
    if not settings.keypoints:
        raise UserError("There are no keypoints: add at least one")
    names = [k.name for k in settings.keypoints]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise UserError(f"The keypoint name {twice!r} is used twice: rename one of them")
    for a, b in settings.skeleton:
        for name in (a, b):
            if name not in names:
                raise UserError(f"The skeleton refers to the keypoint {name!r}, which does not exist: remove that link")
    if settings.workers.adaptive > settings.workers.count:
        raise UserError(
            f"{settings.workers.adaptive} of {settings.workers.count} workers are to adapt: "
            "lower the number of adapting workers"
        )
    width, height = settings.input_size
    if width * height > MOST_INPUT:
        raise UserError(
            f"The network would see pictures of {width} × {height} pixels, more than it can: lower "
            "training.coarse_scale or the rendering's size"
        )
    feedback = settings.feedback
    selects = feedback.enabled and feedback.rule == "selection"
    if selects and feedback.select == "uncertainty" and not settings.training.dropout:
        raise UserError(
            "Feedback by uncertainty needs a network with dropout: set training.dropout to 0.1 or so, "
            "or feedback.select to loss"
        )
    for v in settings.variables:
        try:
            v.variable()
        except ValueError as problem:
            raise UserError(f"The prior of {v.name} can't be used: {problem}") from problem
    try:
        settings.scene_model()
    except ValueError as problem:
        raise UserError(f"The variables can't be used: {problem}") from problem
    _check_scene(settings)
    _check_data(settings)


def _check_data(settings: Settings) -> None:
    total = sum(d.share for d in settings.data)
    if any(not d.path for d in settings.data):
        raise UserError("A data set has no path: say where its images are")
    if total > 1.0 + NOTHING:
        raise UserError(f"The shares of the data sets add up to {total:g}: lower them to 1 in total at most")
    sources, size = len(settings.data) + settings.renders, settings.training.batch_size
    if sources > size:
        raise UserError(
            f"A batch of {size} images can't be shared among {sources} sources: raise training.batch_size, or give "
            "fewer data sets"
        )


def _check_scene(settings: Settings) -> None:
    robots = [r.name for r in settings.robots]
    if len(set(robots)) != len(robots) or "" in robots[1:]:
        raise UserError("Each further robot of the scene needs a name of its own: name the robots under others")
    for k in settings.keypoints:
        if k.robot and k.robot not in robots:
            raise UserError(f"The keypoint {k.name!r} belongs to the robot {k.robot!r}, which is not there: rename one")
    groups = [g.name for g in settings.groups]
    for name in groups:
        if not name or "/" in name or groups.count(name) > 1 or f"material/{name}" in catalogue.BY_NAME:
            raise UserError(f"A group of links can't be called {name!r}: give each a name of its own without '/'")
    known = themes(settings)
    for theme in settings.augmentation.validation_themes:
        if theme not in known:
            raise UserError(f"There is no theme {theme!r} in the folder of backgrounds: remove it, or name another")
    if known and not set(known) - set(settings.augmentation.validation_themes):
        raise UserError("Every theme of the backgrounds is kept for validation: leave at least one for training")
    for v in settings.variables:
        if v.path and not v.name.startswith("custom/"):
            raise UserError(f"{v.name} has a data path, so it is a variable of your own: call it custom/…")
        if v.name.startswith("custom/") and not v.path:
            raise UserError(f'{v.name} has no data path: say what it sets, such as objects["Lamp"].location[2]')
    entries = catalogue.entries(groups=groups, worlds=len(worlds(settings)), themes=training_themes(settings))
    choices = {e.name: len(e.choices) for e in entries if e.choices}
    for v in settings.variables:
        count = choices.get(v.name)
        if count is not None and not (0 <= v.low <= v.high <= count):
            raise UserError(
                f"{v.name} ranges over {v.low:g} … {v.high:g}, but has {count} choices: keep it in 0 … {count}"
            )
