# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures that are read beside the program: what can't be read is named, and the others come."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from PIL import Image
from robot_keypoints.core.errors import UserError
from robot_keypoints.trainer.inference import image_sources
from robot_keypoints.trainer.inference.image_feed import PictureFeed


def taken(feed: PictureFeed, changed: threading.Event) -> list[str]:
    """Names of all that comes until the end."""
    result: list[str] = []
    feed.start()
    while not feed.ended:
        changed.wait(30)
        changed.clear()
        while (one := feed.take()) is not None:
            result.append(Path(one.picture.source).name)
    return result


def test_a_bad_picture_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abcd":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    for name in "ac":
        (tmp_path / f"{name}.png").write_bytes(b"no picture")
    changed = threading.Event()
    assert taken(PictureFeed(image_sources.find([str(tmp_path)]), changed.set), changed) == ["b.png", "d.png"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("warning: ") for line in lines) and "a.png" in lines[0]
    for name in "bd":
        (tmp_path / f"{name}.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"d\.png can't be read as an image"):
        taken(PictureFeed(image_sources.find([str(tmp_path)]), changed.set), changed)
