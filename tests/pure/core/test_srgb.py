# SPDX-License-Identifier: GPL-3.0-or-later
"""The curve of display sRGB."""

from __future__ import annotations

import numpy as np
import pytest
from robot_keypoints.core import srgb


def test_there_and_back() -> None:
    x = np.linspace(0.0, 1.0, 1001)
    # The standard's two rounded thresholds differ by less than this where the pieces meet.
    assert np.allclose(srgb.display(srgb.linear(x)), x, atol=1e-6)
    assert srgb.linear([0.0, 1.0]) == pytest.approx([0.0, 1.0])


def test_known_values() -> None:
    assert float(srgb.linear(0.5)) == pytest.approx(0.21404, abs=1e-5)
    assert float(srgb.display(0.18)) == pytest.approx(0.46135, abs=1e-5)
    assert float(srgb.linear(0.04)) == pytest.approx(0.04 / 12.92)
