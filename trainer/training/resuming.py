# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's checkpoint from all that takes part in the training, and back."""

from __future__ import annotations

from pathlib import Path

from ...core.errors import UserError
from ...core.scene.pair import read_pairs
from . import run_state
from .checkpoint import Checkpoint
from .parts import Parts
from .priors import Priors
from .run_state import RunState


def save(folder: Path, state: RunState, parts: Parts, priors: Priors) -> None:
    """Write down all that a resumed run goes on from, unless the training may be running away: what was kept before is
    better then."""
    if parts.engine.watch.doubtful:
        return
    state.version, state.concentrations = priors.model.version, priors.model.concentrations()
    state.pairs = [pair.to_dict() for pair in priors.model.pairs]
    state.evidence, state.data = priors.evidence.state, parts.pipeline.state
    run_state.save(folder, state, parts.engine)


def restore(folder: Path, saved: Checkpoint, parts: Parts, priors: Priors) -> RunState:
    """Bring everything back to where it was, and tell the workers.

    Raises:
        UserError: if the checkpoint is of other settings, or validation and test images can't be read.
    """
    parts.held_out.load()
    state = run_state.restore(folder, saved, parts.engine)
    try:
        priors.restore(state.concentrations, state.version, read_pairs(state.pairs))
        if state.evidence:
            priors.evidence.restore(state.evidence)
        parts.pipeline.state = state.data
    except (LookupError, TypeError, ValueError) as problem:
        raise UserError(run_state.unfit(folder)) from problem
    priors.publish()
    return state
