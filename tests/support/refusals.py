# SPDX-License-Identifier: GPL-3.0-or-later
"""How a user's mistake is told in Blender."""

from __future__ import annotations

from typing import Any

import pytest


def refusal(operator: Any, **arguments: Any) -> str:
    """The sentence with which an operator refuses."""
    with pytest.raises(RuntimeError) as caught:
        operator(**arguments)
    text = str(caught.value).removeprefix("Error: ").strip()
    assert "Traceback" not in text
    assert "\n" not in text
    return text
