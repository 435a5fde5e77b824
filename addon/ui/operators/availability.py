# SPDX-License-Identifier: GPL-3.0-or-later
"""What several operators need before they can be clicked; each says what is missing in the tooltip."""

from typing import Any

from ...prediction import model_server
from ...services import training_run


def model_is_loaded(operator: Any) -> bool:
    """Whether a model answers."""
    if model_server.SERVICE.model.state is not model_server.State.READY:
        operator.poll_message_set("Load a model first")
        return False
    return True


def no_training_runs(operator: Any) -> bool:
    """Whether a training could begin."""
    if training_run.RUNNER.active:
        operator.poll_message_set("A training is running")
        return False
    return True
