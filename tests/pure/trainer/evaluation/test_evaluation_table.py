# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of an evaluation, whose names may be a stranger's."""

from __future__ import annotations

from typing import Any

from robot_keypoints.trainer.evaluation.evaluation_table import table

NOTHING: dict[str, Any] = {"percent": None, "pixels": None}


def test_names_can_not_command_a_terminal() -> None:
    document: dict[str, Any] = {
        "model": "a\x1b[2Jmodel.safetensors", "images": 0, "data": "d\x1b]0;data", "format": "coco",
        "per_keypoint": {"knee\x1b[31m": NOTHING, "two\nlines": NOTHING}, **NOTHING,
        "detection": {"found": None, "false_positives": None}, "truncated": None,
        "confidence": {"false_sure_share": None}, "pck_area_limit_percent": 10.0, "oks": None,
        "keypoints_not_annotated": ["b\r\x9bc"], "unreadable": [], "images_of_several_robots": 0,
        "reliability": {"calibrated": False, "errors": None, "count": 0}, "pose": None, "pose_missing": "No\x07.",
    }  # fmt: skip
    lines = table(document)
    assert all(line.isprintable() for line in lines)
    assert "a\\x1b[2Jmodel.safetensors" in lines[0] and any("two\\nlines" in line for line in lines)
