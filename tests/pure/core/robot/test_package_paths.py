# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that a robot's description names are found where ROS would find them, and where the user says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.robot.package_paths import FileFinder, packages_in


@pytest.fixture(autouse=True)
def no_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROS_PACKAGE_PATH", "AMENT_PREFIX_PATH"):
        monkeypatch.delenv(name, raising=False)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


@pytest.fixture
def robot(tmp_path: Path) -> Path:
    return touch(tmp_path / "work" / "arm_description" / "urdf" / "arm.urdf")


def test_relative_and_absolute_names_and_uris(robot: Path, tmp_path: Path) -> None:
    find = FileFinder(robot)
    beside = touch(robot.parent / "near" / "a b.stl")
    away = touch(tmp_path / "away" / "a b.stl")
    assert find("near/a b.stl") == beside
    assert find("../urdf/near/a b.stl") is not None
    assert find(str(away)) == away
    assert find(away.as_uri()) == away and "%20" in away.as_uri()
    assert find(f"file:{away}") == away
    assert find("nothing.stl") is None and find("near") is None


@pytest.mark.parametrize("scheme", ["package://", "package:///", "model://"])
def test_a_package_above_the_file_is_found_by_folder_or_manifest(robot: Path, scheme: str) -> None:
    mesh = touch(robot.parents[1] / "meshes" / "m.stl")
    assert FileFinder(robot)(f"{scheme}arm_description/meshes/m.stl") == mesh
    sister = touch(robot.parents[2] / "hand" / "m.stl")
    assert FileFinder(robot)(f"{scheme}hand/m.stl") == sister
    assert FileFinder(robot)(f"{scheme}arm/meshes/m.stl") is None
    (robot.parents[1] / "package.xml").write_text("<package><name> arm </name></package>")
    assert FileFinder(robot)(f"{scheme}arm/meshes/m.stl") == mesh
    (robot.parents[1] / "package.xml").write_text("<package><name>arm")
    assert FileFinder(robot)(f"{scheme}arm/meshes/m.stl") is None


def test_the_users_word_goes_before_ros_and_that_before_the_folders_above(
    robot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "package://pack/m.stl"
    above = touch(robot.parents[2] / "pack" / "m.stl")
    assert FileFinder(robot)(name) == above
    ament = touch(tmp_path / "install" / "share" / "pack" / "m.stl")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "install"))
    assert FileFinder(robot)(name) == ament
    deep = touch(tmp_path / "ros" / "group" / "pack" / "m.stl")
    monkeypatch.setenv("ROS_PACKAGE_PATH", os.pathsep.join([str(tmp_path / "nowhere"), str(tmp_path / "ros")]))
    assert FileFinder(robot)(name) == deep
    own = touch(tmp_path / "own" / "m.stl")
    assert FileFinder(robot, {"pack": str(own.parent)})(name) == own
    assert FileFinder(robot, {"pack": str(tmp_path / "empty")})(name) == deep
    assert FileFinder(robot).package("pack") == deep.parent and FileFinder(robot).package("ghost") is None


def test_ros_package_path_may_name_the_package_itself(
    robot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = touch(tmp_path / "clone-of-it" / "m.stl")
    (tmp_path / "clone-of-it" / "package.xml").write_text("<package><name>pack</name></package>")
    monkeypatch.setenv("ROS_PACKAGE_PATH", str(tmp_path / "clone-of-it"))
    assert FileFinder(robot)("package://pack/m.stl") == mesh
    assert FileFinder(robot)("package://[pack]*/m.stl") is None


def test_a_folder_of_packages(tmp_path: Path) -> None:
    for name in ("hand", "clone-of-it"):
        touch(tmp_path / "src" / name / "m.stl")
    (tmp_path / "src" / "clone-of-it" / "package.xml").write_text("<package><name>arm</name></package>")
    touch(tmp_path / "src" / "readme.txt")
    src = tmp_path / "src"
    arm = str(src / "clone-of-it")
    assert packages_in(src) == {"src": str(src), "hand": str(src / "hand"), "clone-of-it": arm, "arm": arm}
    with pytest.raises(UserError, match="choose another"):
        packages_in(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["meshes/m.stl", "package://meshes/m.stl", "Package://meshes/m.stl", r"meshes\m.stl"])
def test_a_name_from_the_packages_root_is_found_in_the_folders_above(robot: Path, name: str) -> None:
    mesh = touch(robot.parents[1] / "meshes" / "m.stl")
    assert FileFinder(robot)(name) == mesh
    nearer = touch(robot.parent / "meshes" / "m.stl")
    assert FileFinder(robot)(name) == nearer


@pytest.mark.parametrize("name", ["package://m.stl", "package:///m.stl", "model://m.stl", "file:m.stl"])
def test_a_name_without_a_package_lies_beside_the_file(robot: Path, name: str) -> None:
    assert FileFinder(robot)(name) is None
    mesh = touch(robot.parent / "m.stl")
    assert FileFinder(robot)(name) == mesh


def test_names_as_strangers_write_them(robot: Path) -> None:
    mesh = touch(robot.parents[1] / "meshes" / "a b.stl")
    for name in (
        "$(find arm_description)/meshes/a b.stl", "package://arm_description/meshes/a%20b.stl",
        "PACKAGE://arm_description/meshes/a b.stl", r"package:\\arm_description\meshes\a b.stl", " meshes/a b.stl ",
        "package://arm_description//meshes/a b.stl", mesh.as_uri().upper()[:5] + mesh.as_uri()[5:],
    ):  # fmt: skip
        assert FileFinder(robot)(name) == mesh, name


def test_other_computers_are_not_asked_and_impossible_names_are_not_found(robot: Path) -> None:
    """On Windows a name that begins with two slashes is another computer's, which would get the user's password."""
    away = touch(robot.parent / "m.stl")
    for name in (f"/{away}", rf"\\host\share{away}", f"file:///{away}", "a" * 5000, "a\0b", "", "file:///C:/m.stl"):
        assert FileFinder(robot)(name) is None, name[:40]
