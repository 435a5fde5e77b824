# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that are numbered are shown as they lie; others get numbers."""

from __future__ import annotations

from pathlib import Path

from refusals import sentence
from robot_keypoints.addon.footage import background_files


def make(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).write_bytes(name.encode())
    return [folder / name for name in names]


def test_numbered_images_stay_where_they_are(tmp_path: Path) -> None:
    files = make(tmp_path, "a_08.jpg", "a_09.jpg", "a_10.jpg")
    assert background_files.sequence(files, tmp_path / "data", "cam") == files[0]
    assert not (tmp_path / "data").exists()


def test_other_images_are_numbered_in_their_order(tmp_path: Path) -> None:
    for k, names in enumerate((("b.png", "a.png"), ("a_1.png", "a_3.png"), ("a_2.png", "a_1.png"))):
        files = make(tmp_path, *names)
        first = background_files.sequence(files, tmp_path / f"data{k}", "left/eye")
        assert [p.read_bytes() for p in sorted(first.parent.iterdir())] == [n.encode() for n in names]
        assert first.name == "000001.png" and background_files.is_sequence(sorted(first.parent.iterdir()))
        assert [f.read_bytes() for f in files] == [n.encode() for n in names], "the recording itself has changed"


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone.png"
    assert str(gone) in sentence(lambda: background_files.sequence([gone], tmp_path, "cam"))
