# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run says of itself at its end."""

from __future__ import annotations

from typing import Any

import torch

from ...core.step_times import RunTimes
from ..evaluation import keypoint_metrics
from .best_model import Tested
from .engine import Engine
from .held_out_sets import HeldOut
from .priors import Priors
from .run_state import Counters
from .setup import versions


def summary(
    counters: Counters, engine: Engine, held_out: HeldOut, tested: Tested | None, priors: Priors, times: RunTimes, *,
    stopped: bool,
) -> dict[str, Any]:  # fmt: skip
    """The document, as plain JSON values; what was not tested is None or empty."""
    result, found = None, None
    if tested is not None and tested.result is not None:
        result = tested.result
        found = keypoint_metrics.localisation(result.errors, tested.info.keypoints)
    return {
        "images_rendered": counters.rendered,
        "images_trained": counters.images,
        "steps": counters.step,
        "seconds": round(counters.seconds, 2),
        "stall_fraction": counters.stall_fraction,
        "fresh_fraction": counters.fresh_fraction,
        "timings": times.to_dict(),
        "messages_dropped": counters.dropped,
        "validation_images": len(held_out.validation) if held_out.validation is not None else 0,
        "test_images": len(result) if result is not None else 0,
        "mean_error_percent": found.mean if found is not None else None,
        "median_error_percent": found.median if found is not None else None,
        "pck": found.pck if found is not None else {},
        "per_keypoint": found.per_keypoint if found is not None else {},
        "measured_on": held_out.measured_on,
        "model_step": tested.step if tested is not None else None,
        "priors_version": priors.model.version,
        "stopped": stopped,
        "device": str(engine.precision),
        "processes": engine.process_group.size if engine.process_group is not None else 1,
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
