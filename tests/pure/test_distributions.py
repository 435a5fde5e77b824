# SPDX-License-Identifier: GPL-3.0-or-later
"""The wheel, the source distribution and the extension's zips hold the same program, whatever packages it has."""

from __future__ import annotations

import email
import importlib.util
import sys
import zipfile
from pathlib import Path

import distributions
import pytest
from distributions import ROOT

PARTS = ("core", "addon", "trainer")
IN_ZIPS_ALONE = {"README.md", "LICENSE"}
"""Which a wheel has among its metadata."""


def program(wheel: Path) -> dict[str, bytes]:
    """The files of the package in a wheel, by their places in it."""
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if n.startswith("robot_keypoints/")]
        return {n.removeprefix("robot_keypoints/"): archive.read(n) for n in names}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a package inside a package, and with what an earlier build has left."""
    folder = distributions.copy(tmp_path_factory.mktemp("checkout") / "any name")
    for part in PARTS:
        inner = folder / part / "new" / "inner"
        inner.mkdir(parents=True)
        for package in (inner.parent, inner):
            (package / "__init__.py").write_text("")
        (inner / "module.py").write_text("ANSWER = 42\n")
    left = folder / "build" / "lib" / "robot_keypoints" / "core"
    left.mkdir(parents=True)
    (left / "gone.py").write_text("")
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return distributions.build("wheel", source, tmp_path_factory.mktemp("wheel") / "out")


def test_every_folder_with_modules_is_a_package() -> None:
    for part in PARTS:
        for module in (ROOT / part).rglob("*.py"):
            assert (module.parent / "__init__.py").is_file(), f"{module.parent} has no __init__.py"


def test_the_wheel_holds_what_the_zips_hold(source: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New packages are found in both; nothing else is: no tests, no benchmarks, no leavings."""
    spec = importlib.util.spec_from_file_location("build_extension", source / "tools" / "build_extension.py")
    assert spec and spec.loader
    builder = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, builder)
    spec.loader.exec_module(builder)
    zipped = builder.sources() | {"blender_manifest.toml": (source / "blender_manifest.toml").read_bytes()}
    assert zipped.keys() >= IN_ZIPS_ALONE
    assert {f"{part}/new/inner/module.py" for part in PARTS} <= zipped.keys()
    packed = program(wheel)
    assert packed.keys() == zipped.keys() - IN_ZIPS_ALONE
    assert all(packed[name] == zipped[name] for name in packed)


def test_the_source_distribution_gives_the_same_wheel(source: Path, wheel: Path, tmp_path: Path) -> None:
    sdist = distributions.build("sdist", source, tmp_path / "out")
    folder = distributions.unpack(sdist, tmp_path / "sdist")
    again = distributions.build("wheel", folder, tmp_path / "again")
    assert again.name == wheel.name and program(again) == program(wheel)


def test_the_wheel_tells_its_licence_and_describes_itself(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = next(n.removesuffix("/METADATA") for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        told = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        assert (
            "robot-keypoints = robot_keypoints.trainer.commands.main:run"
            in archive.read(f"{info}/entry_points.txt").decode()
        )
    assert told["License-Expression"] == "GPL-3.0-or-later" and told["License-File"] == "LICENSE"
    assert told["Description-Content-Type"] == "text/markdown"
    assert bytes(told.get_payload(decode=True)).strip() == (ROOT / "README.md").read_bytes().strip()
