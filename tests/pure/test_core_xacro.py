# SPDX-License-Identifier: GPL-3.0-or-later
"""xacro files become robots like any URDF, and run nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from reference import ROBOTS
from robot_keypoints.core import settings
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.urdf import load_urdf

ARM = """<robot name="arm" xmlns:xacro="http://www.ros.org/wiki/xacro">
  <xacro:arg name="count" default="2"/>
  <xacro:include filename="$(find parts)/link.xacro"/>
  <xacro:property name="length" value="${0.25 * 2}"/>
  <link name="base"/>
  <xacro:segment name="a" parent="base" length="${length}"/>
  <xacro:if value="${$(arg count) > 1}"><xacro:segment name="b" parent="a" length="${2 * length}"/></xacro:if>
</robot>"""
LINK = """<robot xmlns:xacro="http://www.ros.org/wiki/xacro"><xacro:macro name="segment" params="name parent length">
  <link name="${name}"/>
  <joint name="${name}_joint" type="revolute"><parent link="${parent}"/><child link="${name}"/>
    <origin xyz="0 0 ${length}"/><axis xyz="0 0 1"/><limit lower="${-pi}" upper="${radians(90)}"/></joint>
</xacro:macro></robot>"""


@pytest.fixture
def arm(tmp_path: Path) -> Path:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "link.xacro").write_text(LINK)
    (tmp_path / "urdf").mkdir()
    path = tmp_path / "urdf" / "arm.urdf.xacro"
    path.write_text(ARM)
    return path


def test_macros_arguments_and_includes(arm: Path) -> None:
    robot = load_urdf(arm)
    assert (robot.name, robot.links) == ("arm", ("base", "a", "b"))
    assert [j.origin[2][3] for j in robot.joints] == [0.5, 1.0]
    assert robot.joints[0].upper == pytest.approx(1.570796)
    assert load_urdf(arm, arguments={"count": "1"}).links == ("base", "a")


def test_packages_are_looked_up_by_our_own_rules(arm: Path, tmp_path: Path) -> None:
    (tmp_path / "parts").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"the package parts was not found.*say where"):
        load_urdf(arm)
    assert len(load_urdf(arm, {"parts": str(tmp_path / "elsewhere")}).links) == 3
    arm.write_text(ARM.replace("$(find parts)", "package://parts"))
    assert len(load_urdf(arm, {"parts": str(tmp_path / "elsewhere")}).links) == 3


@pytest.mark.parametrize(
    "body, words",
    [
        ('<link name="${undefined}"/>', "undefined"),
        ('<link name="$(arg missing)"/>', "missing.*NAME:=VALUE"),
        ('<xacro:include filename="gone.xacro"/>', "gone.xacro"),
        ('<xacro:include filename="robot.xacro"/>', "without end"),
        ("<link", "check the file"),
        ('<link name="${1/0}"/>', "division"),
        ("", "describes no links"),
        ('<link name="${[x.__class__ for x in [1]]}"/>', "double underscore"),
        ('<link name="${(lambda: 0).__globals__}"/>', "double underscore"),
        ("<link name=\"${python.vars(math)}\"/>", "vars|can't be expanded"),
        ("<link name=\"${python.type('X', (), dict())}\"/>", "type|can't be expanded"),
        ('<link name="$(eval arg.__class__)"/>', "double underscore"),
    ],
)  # fmt: skip
def test_refusals_are_one_sentence(tmp_path: Path, body: str, words: str) -> None:
    path = tmp_path / "robot.xacro"
    path.write_text(f'<robot name="r" xmlns:xacro="http://www.ros.org/wiki/xacro">{body}</robot>')
    with pytest.raises(UserError, match=words) as refusal:
        load_urdf(path)
    assert "robot.xacro" in str(refusal.value) and "\n" not in str(refusal.value)


def test_the_library_is_left_as_it_was(arm: Path) -> None:
    import xacro
    from xacro import substitution_args

    before = (
        xacro.safe_eval,
        xacro.abs_filename_spec,
        substitution_args._eval_find,
        dict(xacro._global_symbols["python"]),
    )
    load_urdf(arm)
    after = (
        xacro.safe_eval,
        xacro.abs_filename_spec,
        substitution_args._eval_find,
        dict(xacro._global_symbols["python"]),
    )
    assert before == after


def test_without_the_library_it_says_so(arm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xacro", None)
    with pytest.raises(UserError, match="needs the library xacro"):
        load_urdf(arm)


@pytest.mark.parametrize(
    "name, words", [("quadrotor_base.xacro", "was not found"), ("quadrotor_base.urdf.xacro", "describes no links")]
)
def test_the_packages_own_xacro_files_are_refused_with_the_reason(name: str, words: str) -> None:
    """One includes a file from where it is not, the other only defines a macro."""
    with pytest.raises(UserError, match=words):
        load_urdf(ROBOTS / "hector_description" / "robots" / name)


def test_settings_hold_the_arguments(arm: Path, tmp_path: Path) -> None:
    text = """[robot]\nkind = "urdf"\npath = "urdf/arm.urdf.xacro"\n[robot.arguments]\ncount = "1"\n"""
    (tmp_path / "settings.toml").write_text(f"version = {settings.VERSION}\n{text}")
    loaded = settings.load(tmp_path / "settings.toml")
    assert settings.load_robot(loaded.robot).links == ("base", "a")
    settings.save(loaded, tmp_path / "again.toml")
    assert settings.load(tmp_path / "again.toml").robot.arguments == {"count": "1"}
