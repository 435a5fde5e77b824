# SPDX-License-Identifier: GPL-3.0-or-later
"""xacro files become robots like any URDF, and run nothing."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from xml.etree.ElementTree import canonicalize

import pytest
from reference import ROBOTS
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.robot import xacro
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.core.robot.xacro_budget import Budget
from robot_keypoints.core.settings import completion, toml_file

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
        ('<link name="${[f.f_back for f in [(x for x in [0]).gi_frame]]}"/>', "gi_frame is not defined"),
        ('<link name="$(eval (x for x in [0)].gi_frame)"/>', "is no expression"),
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
    (tmp_path / "settings.toml").write_text(f"version = {toml_file.VERSION}\n{text}")
    loaded = toml_file.load(tmp_path / "settings.toml")
    assert completion.load_robot(loaded.robot).links == ("base", "a")
    toml_file.save(loaded, tmp_path / "again.toml")
    assert toml_file.load(tmp_path / "again.toml").robot.arguments == {"count": "1"}


XACRO = 'xmlns:xacro="http://www.ros.org/wiki/xacro"'


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package in the manner of ur_description and franka_description, whose files lie in several folders."""
    files = {
        "arm_description/package.xml": "<package><name>arm_description</name></package>",
        "arm_description/config/limits.yaml": (
            "joint_limits:\n  lift_joint: &lift\n    min_position: !degrees -90.0\n    max_position: !degrees 180/2\n"
            "  pan_joint:\n    <<: *lift\n    max_position: !radians pi\n"
        ),
        "arm_description/config/kinematics.yaml": (
            "lift:\n  kinematic: {x: 0.0, y: 0.1, z: 0.4, roll: 0, pitch: 0, yaw: 1.5e-1}\n"
            "pan:\n  kinematic: {x: 0, y: 0, z: 0.2, roll: 0, pitch: 0, yaw: 0}\n"
        ),
        "arm_description/urdf/inc/common.xacro": f"""<robot {XACRO}>
            <xacro:macro name="read_data" params="limits_file kinematics_file">
              <xacro:property name="config" value="${{xacro.load_yaml(limits_file)}}"/>
              <xacro:property name="limits" value="${{config['joint_limits']}}" scope="parent"/>
              <xacro:property name="kinematics" value="${{load_yaml(kinematics_file)}}" scope="parent"/>
            </xacro:macro>
            <xacro:macro name="place" params="name config:=^">
              <xacro:property name="k" value="${{config[name]['kinematic']}}" lazy_eval="false"/>
              <origin xyz="${{k.x}} ${{k.y}} ${{k.z}}" rpy="${{k.roll}} ${{k.pitch}} ${{k.yaw}}"/>
            </xacro:macro>
            <xacro:macro name="segment" params="name parent tf_prefix:='' config no_prefix:=false **shape">
              <xacro:property name="prefix" value="${{'' if no_prefix else tf_prefix + '_'}}"/>
              <link name="${{prefix}}${{name}}"><xacro:insert_block name="shape"/></link>
              <joint name="${{prefix}}${{name}}_joint" type="revolute">
                <xacro:place name="${{name}}"/>
                <parent link="${{parent}}"/><child link="${{prefix}}${{name}}"/><axis xyz="0 0 1"/>
                <limit lower="${{limits[name + '_joint']['min_position']}}"
                       upper="${{limits[name + '_joint'].max_position}}"/>
              </joint>
            </xacro:macro>
            </robot>""",
        "arm_description/urdf/arm.urdf.xacro": f"""<robot name="arm" {XACRO}>
            <xacro:arg name="side" default="left"/>
            <xacro:include filename="inc/common.xacro"/>
            <xacro:include filename="$(find arm_description)/urdf/inc/gone.xacro" optional="true"/>
            <xacro:read_data limits_file="$(find arm_description)/config/limits.yaml"
                             kinematics_file="${{'../config'}}/kinematics.yaml"/>
            <xacro:property name="sides" value="${{[s.lower() for s in xacro.tokenize('LEFT RIGHT')]}}"/>
            <xacro:if value="${{'$(arg side)' in sides and not python.isinstance(sides, str)}}">
              <link name="world"/>
              <xacro:segment name="pan" parent="world" tf_prefix="$(arg side)" config="${{kinematics}}">
                <shape><visual><geometry><box size="${{' '.join([str(0.1 * n) for n in range(1, 4)])}}"/></geometry>
                </visual></shape>
              </xacro:segment>
              <xacro:segment name="lift" parent="$(arg side)_pan" config="${{kinematics}}" no_prefix="true"><shape/>
              </xacro:segment>
            </xacro:if>
            <xacro:if value="$(eval side == 'right')"><link name="never"/></xacro:if>
            </robot>""",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path / "arm_description"


def test_a_robot_in_the_manner_of_published_ones(package: Path) -> None:
    robot = load_urdf(package / "urdf" / "arm.urdf.xacro")
    assert robot.links == ("world", "left_pan", "lift")
    pan, lift = robot.joints
    assert (pan.lower, pan.upper) == (pytest.approx(-1.5707963), pytest.approx(3.1415926))
    assert (lift.lower, lift.upper) == (pytest.approx(-1.5707963), pytest.approx(1.5707963))
    assert [row[3] for row in lift.origin[:3]] == [0.0, 0.1, 0.4]
    assert robot.visuals[0].size == (0.1, 0.2, pytest.approx(0.3))


def test_expressions_give_what_the_library_gives(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own evaluation, which a test's own files may use, as the reference."""
    import xacro
    from robot_keypoints.core.robot.package_paths import FileFinder
    from robot_keypoints.core.robot.xacro import expand
    from xacro import substitution_args

    path = package / "urdf" / "arm.urdf.xacro"
    ours = expand(path, FileFinder(path), {"side": "right"})
    monkeypatch.setattr(substitution_args, "_eval_find", lambda name: str(package.parent / name))
    theirs = xacro.process_file(str(path), mappings={"side": "right"}).toxml(encoding="utf-8")
    assert b'name="never"' in ours
    canonical = [re.sub(r">\s+<", "><", canonicalize(text.decode())) for text in (ours, theirs)]
    assert canonical[0] == canonical[1]


def test_files_come_from_the_robots_own_folders(package: Path) -> None:
    (package.parent / "secret.yaml").write_text("password: hidden-treasure\n")
    (package.parent / "mine").mkdir()
    (package.parent / "mine" / "key.yaml").write_text("password: hidden-treasure\n")
    (package / "config" / ".hidden.yaml").write_text("password: hidden-treasure\n")
    (package / "config" / "linked.yaml").symlink_to(package.parent / "secret.yaml")
    (package / "config" / "folder.yaml").mkdir()
    os.mkfifo(package / "config" / "pipe.yaml")
    path = package / "urdf" / "robot.xacro"
    for file, words in {
        "../../secret.yaml": "outside of the robot's folders", "/etc/hostname": "outside of the robot's folders",
        str(package.parent / "mine/key.yaml"): "outside", "../config/.hidden.yaml": "outside",
        "../config/linked.yaml": "outside", "../config/folder.yaml": "it is a folder",
        "../config/pipe.yaml": "not a regular file", "../config/gone.yaml": "can't be read",
        "$(find etc)/hostname": "package etc was not found", "$(find ..)/secret.yaml": "package .. was not found",
    }.items():  # fmt: skip
        path.write_text(f"<robot name='r' {XACRO}><link name=\"${{xacro.load_yaml('{file}')}}\"/></robot>")
        with pytest.raises(UserError, match=words) as refusal:
            load_urdf(path)
        assert "hidden-treasure" not in str(refusal.value) and "\n" not in str(refusal.value)
        path.write_text(f"<robot name='r' {XACRO}><xacro:include filename='{file}'/></robot>")
        with pytest.raises(UserError, match=f"{words}|was not found") as refusal:
            load_urdf(path)
        assert "hidden-treasure" not in str(refusal.value)


def test_a_folder_that_the_user_names_may_be_read(package: Path) -> None:
    (package.parent / "mine").mkdir()
    (package.parent / "mine" / "names.yaml").write_text("base: pedestal\n")
    (package.parent / "mine" / "linked.yaml").symlink_to(package / "config" / "limits.yaml")
    path = package / "urdf" / "robot.xacro"
    path.write_text(f"""<robot name='r' {XACRO}>
        <xacro:property name="d" value="${{xacro.load_yaml('$(find mine)/linked.yaml')}}"/>
        <link name="${{xacro.load_yaml('$(find mine)/names.yaml')['base']}}"/></robot>""")
    assert load_urdf(path, {"mine": str(package.parent / "mine")}).links == ("pedestal",)


YAMLS = {
    "aliases": "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{k}: &{k} [{','.join(f'*{j}' for _ in range(10))}]\n" for j, k in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "itself": "a: &a [*a]\n",
    "python": "a: !!python/object/apply:os.system ['true']\n",
    "broken": "a: [1\n",
    "number": "a: 0x" + "f" * 9000 + "\n",
    "deep": "[" * 5000,
    "large": "a: '" + "b" * 300_000 + "'\n",
    "unit": "a: !degrees ().__class__\n",
}  # fmt: skip


@pytest.mark.parametrize("kind", YAMLS)
def test_yaml_is_plain_data_of_bounded_size(tmp_path: Path, kind: str) -> None:
    (tmp_path / "d.yaml").write_text(YAMLS[kind])
    link = "<link name=\"${xacro.load_yaml('d.yaml')}\"/>"
    (tmp_path / "r.xacro").write_text(f"<robot name='r' {XACRO}>{link}</robot>")
    with pytest.raises(UserError) as refusal:
        load_urdf(tmp_path / "r.xacro")
    assert "\n" not in str(refusal.value)


def bomb(*lines: str) -> str:
    return f"<robot name='r' {XACRO}>{''.join(lines)}<link name='a'/></robot>"


DOUBLED = [f'<xacro:property name="p{n + 1}" value="${{p{n}}}${{p{n}}}"/>' for n in range(60)]
WITHOUT_END = {
    "properties": bomb('<xacro:property name="p0" value="aaaa"/>', *DOUBLED, '<link name="${p60}"/>'),
    "macros": bomb('<xacro:macro name="m"><a/><xacro:m/><xacro:m/></xacro:macro><xacro:m/>'),
    "macros that double": bomb(
        "".join(f'<xacro:macro name="m{n}"><xacro:m{n + 1}/><xacro:m{n + 1}/></xacro:macro>' for n in range(40)),
        '<xacro:macro name="m40"><a/></xacro:macro><xacro:m0/>',
    ),
    "blocks": bomb(
        f'<xacro:property name="b">{"<a/>" * 5000}</xacro:property>', '<xacro:insert_block name="b"/>' * 5000
    ),
    "expressions": bomb('<a b="${9**9**9}"/>'),
    "many": bomb('<a b="${[x * y for x in range(300) for y in range(300)]}"/>' * 300),
    "attributes": bomb('<a b="' + "${1}" * 100_000 + '"/>'),
    "long text": bomb("<a>" + "$" * 2_000_000 + "</a>"),
    "itself": bomb('<xacro:include filename="r.xacro"/>'),
    "all": bomb('<xacro:include filename="*.xacro"/>'),
    "lazy": bomb('<xacro:property name="f" value="${lambda x: f(x)}"/><a b="${f(1)}"/>'),
    "deep": bomb("<a>" * 5000 + "</a>" * 5000),
    "elements": bomb("<a/>" * 300_000),
    "names": bomb(f'<xacro:property name="{"(" * 5000}" value="1"/>'),
    "entities": '<!DOCTYPE robot [<!ENTITY a "b"><!ENTITY c "&a;&a;">]>' + bomb("&c;"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WITHOUT_END)
def test_expansions_are_bounded(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xacro, "Budget", lambda: Budget(200_000))  # a tenth, to be done sooner
    (tmp_path / "r.xacro").write_text(WITHOUT_END[kind])
    with pytest.raises(UserError) as refusal:
        load_urdf(tmp_path / "r.xacro")
    sentence = str(refusal.value)
    assert "r.xacro" in sentence and "\n" not in sentence and len(sentence) < 500


@pytest.mark.parametrize(
    "text",
    [
        bomb(f'<xacro:macro name="m">{"<!---->" * 20000}<![CDATA[${{x}}]]></xacro:macro>', "<xacro:m/>" * 5000),
        bomb('<xacro:macro name="m" params="a:=' + "x" * 5000 + "'\"/>"),
        bomb('<xacro:macro name="m" params="' + "a:='b'" * 5000 + "'\"/>"),
    ],
    ids=["comments", "parameters", "quotes"],
)
def test_what_took_long_in_the_library_does_not(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.xacro").write_text(text)
    assert load_urdf(tmp_path / "r.xacro").links == ("a",)


def test_the_library_neither_evaluates_nor_opens_anything_itself(arm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever another version of it does: its own ways end in a refusal, and a missing one is told."""
    import xacro

    def eager(text: str, symbols: object) -> object:
        return vars(xacro)["eval"](text)

    monkeypatch.setattr(xacro, "eval_text", eager)
    with pytest.raises(UserError, match="neither runs nor opens"):
        load_urdf(arm)
    monkeypatch.delattr(xacro, "safe_eval")
    with pytest.raises(UserError, match="has no safe_eval"):
        load_urdf(arm)


def test_includes_by_pattern_and_with_a_namespace(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for name in ("b", "a"):
        (tmp_path / "parts" / f"{name}.xacro").write_text(
            f'<robot {XACRO}><xacro:property name="{name}" value="{name}{name}"/></robot>'
        )
    path = tmp_path / "r.xacro"
    path.write_text(bomb('<xacro:include filename="parts/[ab].xacro" ns="n"/><link name="${n.a + n.b}"/>'))
    path.write_text(path.read_text().replace("<link name='a'/>", ""))
    assert load_urdf(path).links == ("aabb",)
