# SPDX-License-Identifier: GPL-3.0-or-later
"""``robot-keypoints models``: which models come along, and how good they are."""

from __future__ import annotations

import json
from dataclasses import asdict

from ...core import builtin_models
from ...core.builtin_models import BuiltinModel


def report(*, as_json: bool) -> int:
    """Print the catalogue, for people or as one JSON object."""
    models = builtin_models.models()
    if as_json:
        print(json.dumps({"models": [asdict(m) for m in models.values()]}, default=str))
        return 0
    for model in models.values():
        print("\n".join(_lines(model)))
    return 0


def _lines(model: BuiltinModel) -> list[str]:
    facts = [
        f"{model.label}, {len(model.keypoints)} keypoints ({', '.join(model.keypoints)})",
        *(str(errors) for errors in model.errors),
        f"learned from renderings of {model.source}",
        str(model.page),
    ]
    return [f"{model.name:<8}{facts[0]}", *(f"{'':<8}{fact}" for fact in facts[1:]), ""]
