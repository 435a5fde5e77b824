# SPDX-License-Identifier: GPL-3.0-or-later
"""How a user's mistake is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from robot_keypoints.core.errors import UserError


def refusal(operator: Any, **arguments: Any) -> str:
    """The sentence with which an operator refuses."""
    with pytest.raises(RuntimeError) as caught:
        operator(**arguments)
    text = str(caught.value).removeprefix("Error: ").strip()
    assert "Traceback" not in text
    assert "\n" not in text
    return text


def sentence(action: Callable[[], Any]) -> str:
    """The sentence with which a function refuses."""
    with pytest.raises(UserError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)
