# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's scenes are saved whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import bpy
import pytest
from full_disk import room
from robot_keypoints.addon.base.saving import save_copy
from robot_keypoints.addon.worker import scene_builder
from robot_keypoints.core import blend_file
from robot_keypoints.core.errors import UserError


def test_a_full_disk_leaves_no_scene_that_is_cut_off(tmp_path: Path) -> None:
    bpy.ops.wm.read_homefile(use_empty=True)
    path = tmp_path / "scene.blend"
    with room(20_000), pytest.raises(UserError) as problem:
        save_copy(path)
    assert str(path) in str(problem.value) and "\n" not in str(problem.value)
    assert not os.listdir(tmp_path)
    save_copy(path)
    before = path.read_bytes()
    with room(20_000), pytest.raises(UserError):
        save_copy(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["scene.blend"]


@pytest.mark.parametrize("compress", [True, False])
def test_what_blender_writes_is_seen_to_be_whole(tmp_path: Path, compress: bool) -> None:
    bpy.ops.wm.read_homefile(use_empty=True)
    path = tmp_path / "scene.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True, compress=compress)
    assert blend_file.is_whole(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert not blend_file.is_whole(path)


def test_pictures_beside_the_scene_are_found_again(tmp_path: Path) -> None:
    """Relative paths count from the file's own folder, whatever it was called meanwhile."""
    bpy.ops.wm.read_homefile(use_empty=True)
    picture = bpy.data.images.new("picture", 4, 4)
    picture.filepath_raw = str(tmp_path / "textures" / "picture.png")
    picture.file_format = "PNG"
    picture.save()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "mine.blend"))
    picture.filepath = "//textures/picture.png"
    picture.use_fake_user = True
    (tmp_path / "run").mkdir()
    save_copy(tmp_path / "run" / "scene.blend")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "run" / "scene.blend"))
    found = bpy.data.images["picture"]
    assert Path(bpy.path.abspath(found.filepath)).resolve() == (tmp_path / "textures" / "picture.png").resolve()


def test_a_relative_path_counts_from_where_the_process_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blender itself goes by the environment's PWD, which may name another folder: that of who started it."""
    bpy.ops.wm.read_homefile(use_empty=True)
    monkeypatch.chdir(tmp_path)
    assert os.environ.get("PWD") != str(tmp_path)
    save_copy(Path("scene.blend"))
    assert blend_file.is_whole(tmp_path / "scene.blend")
    scene_builder.open_scene(Path("scene.blend"))
    assert bpy.data.filepath == str(tmp_path / "scene.blend")
