# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that are still free."""

from __future__ import annotations

import pytest
from robot_keypoints.core.names import free_name


@pytest.mark.parametrize(
    "taken, found",
    [((), "arm"), (("arm",), "arm 2"), (("arm", "arm 2", "arm 4"), "arm 3"), (("arm 2",), "arm"), (("Arm",), "arm")],
)
def test_the_first_free_number_is_taken(taken: tuple[str, ...], found: str) -> None:
    assert free_name("arm", set(taken).__contains__) == found


def test_numbers_stand_before_an_ending() -> None:
    assert free_name("a", {"a.png", "a-2.png"}.__contains__, separator="-", ending=".png") == "a-3.png"
    assert free_name("a", {"a"}.__contains__, separator="-", ending=".png") == "a.png"
