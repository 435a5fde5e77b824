# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files a mesh may be, and which it may name."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.meshes.file_source import package_root
from robot_keypoints.core.meshes.reader import read
from shapes import MTL, OBJ, PIXEL, collada

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\nsize 12345\n"


@pytest.mark.parametrize("ending", ["stl", "obj", "dae", "glb", "gltf", "STL"])
def test_a_git_lfs_pointer_is_called_one(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"part.{ending}"
    path.write_bytes(POINTER)
    with pytest.raises(UserError, match=r"Git LFS pointer.*run 'git lfs pull'"):
        read(path)


@pytest.mark.parametrize("ending", ["stl", "obj", "dae", "glb"])
def test_pipes_folders_and_devices_are_not_opened(tmp_path: Path, ending: str) -> None:
    pipe, folder, device = (tmp_path / f"{name}.{ending}" for name in ("pipe", "folder", "device"))
    os.mkfifo(pipe)
    folder.mkdir()
    device.symlink_to("/dev/zero")
    for path in (pipe, folder, device):
        refused: list[UserError] = []

        def attempt(path: Path = path, refused: list[UserError] = refused) -> None:
            try:
                read(path)
            except UserError as problem:
                refused.append(problem)

        thread = threading.Thread(target=attempt, daemon=True)
        thread.start()
        thread.join(20)
        assert refused and "no regular file" in str(refused[0]), path
    with pytest.raises(UserError, match="can't be read"):
        read(tmp_path / f"gone.{ending}")


@pytest.mark.parametrize("ending", ["ply", "3ds", "fbx", "zip", "zae", "json", ""])
def test_other_kinds_are_refused_unread(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"part.{ending}"
    os.mkfifo(path)
    with pytest.raises(UserError, match="convert it to GLB, OBJ, STL or Collada"):
        read(path)


def test_where_a_package_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = tmp_path / "work" / "arm" / "meshes" / "visual" / "link.dae"
    mesh.parent.mkdir(parents=True)
    assert package_root(mesh) == tmp_path / "work" / "arm"
    (tmp_path / "work" / "package.xml").write_text("<package/>")
    assert package_root(mesh) == tmp_path / "work"
    (tmp_path / "work" / "arm" / "model.config").write_text("<model/>")
    assert package_root(mesh) == tmp_path / "work" / "arm"
    # Whoever unpacks a file into the home folder does not give it all that is there.
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "anna"))
    assert package_root(tmp_path / "home" / "anna" / "part.obj") == tmp_path / "home" / "anna"
    assert package_root(tmp_path / "home" / "anna" / "a" / "part.obj") == tmp_path / "home" / "anna" / "a"
    assert package_root(Path("/part.obj")) == Path("/")


def test_materials_and_images_are_taken_from_the_package_only(tmp_path: Path) -> None:
    package, outside = tmp_path / "arm", tmp_path / "outside"
    (package / "meshes").mkdir(parents=True)
    (package / "textures").mkdir()
    outside.mkdir()
    (package / "package.xml").write_text("<package/>")
    (outside / "secret.png").write_bytes(PIXEL)
    (outside / "look.mtl").write_text(MTL.format(image="a.png"))
    (package / "textures" / "skin.png").write_bytes(PIXEL)
    for name in ("../../outside/secret.png", str(outside / "secret.png"), (outside / "secret.png").as_uri(),
                 "http://example.org/secret.png", "..%2f..%2foutside/secret.png"):  # fmt: skip
        missing = {s.missing for s in read(collada(package / "meshes", image=name)).surfaces}
        assert missing == {"", name}
    path = package / "meshes" / "part.obj"
    path.write_text(OBJ.replace("look.mtl", "../../outside/look.mtl"))
    assert not any(s.colour for s in read(path).surfaces)
    (package / "look.mtl").write_text(MTL.format(image="../textures/skin.png"))
    path.write_text(OBJ.replace("look.mtl", "../look.mtl"))
    assert [s.texture for s in read(path).surfaces] == ["", str(package / "textures" / "skin.png")]
    # Links count by where they stand: an installed package may be nothing but links to its sources.
    (package / "textures" / "skin.png").unlink()
    (package / "textures" / "skin.png").symlink_to(outside / "secret.png")
    assert [s.texture for s in read(path).surfaces] == ["", str(package / "textures" / "skin.png")]


def test_a_file_of_materials_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "part.obj").write_text(OBJ)
    os.mkfifo(tmp_path / "look.mtl")
    assert not any(s.colour for s in read(tmp_path / "part.obj").surfaces), "a pipe is as good as missing"
    (tmp_path / "look.mtl").unlink()
    (tmp_path / "look.mtl").write_bytes(POINTER)
    with pytest.raises(UserError, match=r"materials of part\.obj, .*look\.mtl is a Git LFS pointer"):
        read(tmp_path / "part.obj")
    (tmp_path / "look.mtl").write_bytes(b"")
    os.truncate(tmp_path / "look.mtl", 20_000_000)
    with pytest.raises(UserError, match="has 20 MB"):
        read(tmp_path / "part.obj")
