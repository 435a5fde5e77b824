# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model file says of itself, read with the same limits by whoever reads it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.messages.model_document import (
    CHECKSUM,
    KEY,
    LONGEST_HEADER,
    ModelDescription,
    NotOursError,
    knows_robot,
    read_header,
)

ENTRIES = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def model(path: Path, document: Any, numbers: int = 8, filling: int = 0) -> Path:
    header = {"__metadata__": {KEY: json.dumps(document)}, **ENTRIES}
    text = json.dumps(header).encode() + b" " * filling
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(numbers))
    return path


def test_the_document_comes_without_its_checksum(tmp_path: Path) -> None:
    header = read_header(model(tmp_path / "m", {"robot": {"name": "arm"}, CHECKSUM: "12"}))
    assert header.document == {"robot": {"name": "arm"}}
    assert header.checksum == "12" and header.shapes == {"a": (2,)}
    assert read_header(model(tmp_path / "m", {})).checksum is None


@pytest.mark.parametrize("document, known", [({"robot": {"name": "arm"}}, True), ({"robot": None}, False), ({}, False)])
def test_whether_a_model_brings_its_robot(tmp_path: Path, document: Any, known: bool) -> None:
    assert knows_robot(model(tmp_path / "m", document)) is known


def test_a_model_is_described_as_far_as_its_document_goes() -> None:
    document = {
        "robot": {"name": "arm"}, "keypoints": ["a", "b"], "skeleton": [["a", "b"]],
        "input": {"width": 320, "height": 240}, "training": {"median_error_percent": 0.5, "device": "CPU", "k": True},
    }  # fmt: skip
    found = ModelDescription.of(document)
    assert (found.robot_name, found.keypoints, found.skeleton) == ("arm", ("a", "b"), (("a", "b"),))
    assert found.input_size == (320, 240) and found.figures == {"median_error_percent": 0.5}


@pytest.mark.parametrize("odd", [None, 3, "text", [1], [[1, 2, 3]], {"width": True, "height": -1}, {"name": None}])
def test_what_is_odd_in_a_document_counts_as_missing(odd: Any) -> None:
    found = ModelDescription.of(dict.fromkeys(("robot", "keypoints", "skeleton", "input", "training"), odd))
    assert found.robot_name == "" and found.skeleton == () and found.input_size is None
    assert found.figures == ({"height": -1.0} if isinstance(odd, dict) and "height" in odd else {})
    assert ModelDescription.of({}) == ModelDescription()


def test_what_is_no_model_is_left_to_the_server_to_refuse(tmp_path: Path) -> None:
    """Within the same limits as the trainer's, and without waiting for a pipe."""
    unlike = [
        model(tmp_path / "long", {"robot": None}, filling=LONGEST_HEADER),
        model(tmp_path / "list", [1]),
        model(tmp_path / "short", {"robot": None}, numbers=7),
        tmp_path / "missing",
        tmp_path,
    ]
    (tmp_path / "text").write_text("solid cube", encoding="utf-8")
    unlike.append(tmp_path / "text")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        unlike.append(tmp_path / "pipe")
    for path in unlike:
        with pytest.raises((NotOursError, UserError, OSError)):
            read_header(path)
        assert knows_robot(path)
