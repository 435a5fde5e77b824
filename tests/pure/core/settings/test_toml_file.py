# SPDX-License-Identifier: GPL-3.0-or-later
"""settings.toml: what is written is read again, and whatever can't be used is refused in one sentence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.robot.keypoints import Keypoint
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.core.settings.asset_folders import PLACES, training_themes, worlds
from robot_keypoints.core.settings.completion import complete, load_robots
from robot_keypoints.core.settings.schema import (
    AugmentationSettings,
    LinkGroup,
    RenderSettings,
    RobotSettings,
    SceneSettings,
    Settings,
    StreamSettings,
    TrainingSettings,
    VariableSettings,
    WorkerSettings,
)
from robot_keypoints.core.settings.toml_file import load, save
from robot_keypoints.core.settings.validation import check


def full(tmp_path: Path) -> Settings:
    for theme in ("lab", "street"):
        (tmp_path / "photos" / theme).mkdir(parents=True, exist_ok=True)
    settings = Settings(
        robot=RobotSettings("urdf", str(tmp_path / "Röböter ”1”.urdf"), packages={"pack": str(tmp_path / "p")}),
        keypoints=(Keypoint("tool", "wrist_3_link", (0.0, 0.01, -0.2)),),
        variables=(
            VariableSettings("joint/elbow_joint", -1.0, 2.0, 7, 0.5, adapt=False, unit="rad"),
            VariableSettings("custom/fan", 0.0, 6.0, path='objects["Fan"].rotation_euler[2]'),
        ),
        groups=(LinkGroup("wrist", ("wrist_1_link", "wrist_2_link")),),
        scene=SceneSettings("photographs", framing=0.5, above_floor=True, floor=-0.1),
        render=RenderSettings("workbench", 320, 240, 3, "gpu", 0.0),
        workers=WorkerSettings(4, 2, 2, "/opt/blender -x"),
        training=TrainingSettings("vgg", 3, minutes=2.5, learning_rate=1e-4, pretrained=False),
        augmentation=AugmentationSettings(str(tmp_path / "photos"), ("lab",), geometry=True),
        stream=StreamSettings("::1", 4000, str(tmp_path / "keys")),
    )
    return complete(settings, load_urdf(builtin_urdf()))


def test_round_trip(tmp_path: Path) -> None:
    for number, settings in enumerate((Settings(), full(tmp_path))):
        path = tmp_path / f"{number}.toml"
        save(settings, path)
        assert load(path) == settings
        assert not list(tmp_path.glob(".*.part*"))


def test_every_field_survives_the_round_trip(tmp_path: Path) -> None:
    """Every scalar changed from its default, so a field that is not written or not read is noticed."""

    def changed(value: object) -> object:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            metadata = {f.name: f.metadata for f in dataclasses.fields(value)}
            return type(value)(**{
                name: (metadata[name]["options"][-1] if "options" in metadata[name] else changed(getattr(value, name)))
                for name in metadata
            })  # fmt: skip
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return value + 1
        if isinstance(value, float):
            return value * 0.5 + 0.01
        if isinstance(value, tuple) and value and isinstance(value[0], float):
            return tuple(v + 0.5 for v in value)
        return "/somewhere" if isinstance(value, str) else value

    settings = changed(Settings())
    assert isinstance(settings, Settings)
    save(settings, tmp_path / "s.toml")
    assert load(tmp_path / "s.toml") == settings


def test_defaults_may_be_left_out_and_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        '[robot]\nkind = "urdf"\npath = "r/robot.urdf"\n[robot.packages]\np = "packs/p"\n'
        '[augmentation]\nbackgrounds = "photos"\n[stream]\nkeys = "k"\n[training]\nminutes = 3\n',
        encoding="utf-8",
    )
    settings = load(tmp_path / "s.toml")
    assert settings.robot.path == str(tmp_path / "r/robot.urdf")
    assert settings.robot.packages == {"p": str(tmp_path / "packs/p")}
    assert settings.augmentation.backgrounds == str(tmp_path / "photos")
    assert settings.stream.keys == str(tmp_path / "k")
    assert settings.training == TrainingSettings(minutes=3.0)
    assert settings.workers == WorkerSettings()


def test_a_robot_that_has_a_file_is_no_builtin_one(tmp_path: Path) -> None:
    for text, kinds in {
        "[robot]\npath = 'r.urdf'": ["urdf"], "[robot]\npath = 'r.blend'": ["armature"], "": ["builtin"],
        "[robot]\npath = 'r.xacro'\n[[others]]\nname = 'o'\npath = 'o.urdf'": ["urdf", "urdf"],
    }.items():  # fmt: skip
        (tmp_path / "s.toml").write_text(text)
        assert [r.kind for r in load(tmp_path / "s.toml").robots] == kinds
    for rest in ("path = 'r.urdf'", "arguments = { a = 'b' }", "packages = { p = 'p' }"):
        (tmp_path / "s.toml").write_text(f"[robot]\nkind = 'builtin'\n{rest}\n")
        with pytest.raises(UserError, match='is not for the built-in robot: set kind = "urdf"'):
            load(tmp_path / "s.toml")


def test_a_robot_without_any_shape_is_not_rendered(tmp_path: Path) -> None:
    (tmp_path / "ghost.urdf").write_text('<robot name="ghost"><link name="a"/></robot>')
    shown = "<collision><geometry><box size='1 1 1'/></geometry></collision>"
    (tmp_path / "solid.urdf").write_text(f'<robot name="solid"><link name="a">{shown}</link></robot>')
    (tmp_path / "s.toml").write_text("[robot]\npath = 'solid.urdf'\n[[others]]\nname = 'o'\npath = 'ghost.urdf'")
    with pytest.raises(UserError, match=r"robot ghost of ghost\.urdf has no shapes"):
        load_robots(load(tmp_path / "s.toml"))
    (tmp_path / "s.toml").write_text("[robot]\npath = 'solid.urdf'")
    assert len(load_robots(load(tmp_path / "s.toml"))[0].visuals) == 1


@pytest.mark.parametrize(
    "text, words",
    [
        ("version = 99", "version 99"),
        ("[render]\nwidth = 8", "render: width must be between 32 and 4096, not 8"),
        ("[render]\nwidth = 160.5", "width must be a whole number"),
        ("[render]\nwidth = true", "width must be a whole number"),
        ("[render]\nwidth = '160'", "width must be a whole number"),
        ("[render]\nengine = 'povray'", "engine must be one of cycles, eevee, workbench"),
        ("[render]\ncolour = 1", "no setting 'colour'"),
        ("[training]\nlearning_rate = nan", "learning_rate must be finite"),
        ("[training]\nlearning_rate = inf", "learning_rate must be finite"),
        ("[training]\nlearning_rate = 0.0", "learning_rate must be between"),
        ("[training]\npretrained = 1", "pretrained must be true or false"),
        ("[training]\nminutes = -1", "minutes must be at least 0"),
        ("[feedback]\nfloor = 1.0", "floor must be between"),
        ("[robot]\npath = 3", "path must be a text"),
        ("[robot]\npackages = ['a']", "packages must be a table of texts"),
        ("[robot.packages]\na = 1", "packages must be a table of texts"),
        ("robot = 3", "robot: this must be a table"),
        ("keypoints = 3", "keypoints must be a list"),
        ("keypoints = [3]", "keypoints[1]: this must be a table"),
        ("[[keypoints]]\nname = 'a'", "the setting 'frame' is missing"),
        ("[[keypoints]]\nname = 'a'\nframe = 'b'\noffset = [1, 2]", "offset must have 3 entries, not 2"),
        ("[[keypoints]]\nname = 'a'\nframe = 'b'\noffset = [1, 2, 'x']", "offset[3] must be a number"),
        ("skeleton = [['a']]", "skeleton[1] must have 2 entries"),
        ("[[variables]]\nname = 'v'\nlow = 0.0\nhigh = 1.0\nbins = 0", "bins must be between"),
        ("[[variables]]\nname = 'v'\nlow = 0.0", "the setting 'high' is missing"),
        ("[stream]\nport = 70000", "port must be between"),
        ("nonsense = 1", "no setting 'nonsense'"),
        ("[render", "not valid TOML"),
        ("a = \x00", "not valid TOML"),
    ],
)
def test_refusals_are_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as refusal:
        load(path)
    sentence = str(refusal.value)
    assert words in sentence and "s.toml" in sentence and "\n" not in sentence


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match="not valid TOML"):
        load(tmp_path / "binary.toml")
    for path in (tmp_path, tmp_path / "absent.toml"):
        with pytest.raises(UserError, match="choose another settings file"):
            load(path)


def test_complete_fills_in_and_keeps_what_is_given(tmp_path: Path) -> None:
    robot = load_urdf(builtin_urdf())
    settings = full(tmp_path)
    assert [k.name for k in settings.keypoints] == ["tool"] and settings.skeleton == ()
    names = [v.name for v in settings.variables if v.name.startswith("joint/")]
    assert names == [f"joint/{j.name}" for j in robot.moving_joints]
    elbow = next(v for v in settings.variables if v.name == "joint/elbow_joint")
    assert (elbow.low, elbow.high, elbow.bins, elbow.adapt) == (-1.0, 2.0, 7, False)
    check(settings)
    model = settings.scene_model()
    assert model.version == 0 and model["joint/elbow_joint"].prior.concentration == (0.5,) * 7
    default = complete(Settings(), robot)
    assert len(default.keypoints) >= 6 and default.skeleton and complete(default, robot) == default
    check(default)


def test_check_refuses() -> None:
    robot = load_urdf(builtin_urdf())
    good = complete(Settings(), robot)
    check(good)
    a, b = good.keypoints[:2]
    replaced = dataclasses.replace

    def variable(**changes: object) -> Settings:
        first = replaced(good.variables[0], **changes)  # type: ignore[arg-type]
        return replaced(good, variables=(first, *good.variables[1:]))

    bad = {
        "no keypoints": replaced(good, keypoints=(), skeleton=()),
        "is used twice": replaced(good, keypoints=(a, replaced(b, name=a.name)), skeleton=()),
        "does not exist": replaced(good, skeleton=((a.name, "ghost"),)),
        "adapting workers": replaced(good, workers=WorkerSettings(2, 3)),
        "is empty": variable(low=2.0, high=1.0),
        "appears twice": replaced(good, variables=(*good.variables, good.variables[0])),
        "folder of backgrounds": replaced(good, augmentation=AugmentationSettings("/there/is/none")),
        "no theme 'zoo'": replaced(good, augmentation=AugmentationSettings("", ("zoo",))),
        "folder of HDRI worlds": replaced(good, scene=SceneSettings(worlds="/there/is/none")),
        "data path": replaced(good, variables=(*good.variables, VariableSettings("custom/fan", 0.0, 1.0))),
        "call it custom": variable(path='objects["Fan"].location[0]'),
        "has 4 choices": replaced(good, variables=(VariableSettings("light/type", 0.0, 5.0, 5),)),
        "can't be called 'a/b'": replaced(good, groups=(LinkGroup("a/b"),)),
        "can't be called 'hue'": replaced(good, groups=(LinkGroup("hue"),)),
        "needs a name": replaced(good, others=(RobotSettings(),)),
        "belongs to the robot 'left'": replaced(good, keypoints=(replaced(a, robot="left"), b), skeleton=()),
    }
    for words, settings in bad.items():
        with pytest.raises(UserError) as refusal:
            check(settings)
        assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_several_robots_keep_their_names_apart() -> None:
    robot = load_urdf(builtin_urdf())
    settings = complete(Settings(others=(RobotSettings(name="left", position=(0.0, 1.0, 0.0)),)), robot, robot)
    check(settings)
    half = len(settings.keypoints) // 2
    first, second = settings.keypoints[:half], settings.keypoints[half:]
    assert [f"left/{k.name}" for k in first] == [k.name for k in second]
    assert {k.robot for k in first} == {""} and {k.robot for k in second} == {"left"}
    assert len(settings.skeleton) == 2 * (len(settings.skeleton) // 2) > 0
    names = {v.name for v in settings.variables}
    assert {"joint/elbow_joint", "joint/left/elbow_joint"} <= names


def test_themes_and_worlds_become_choices(tmp_path: Path) -> None:
    for theme in ("lab", "street", ".cache"):
        (tmp_path / "photos" / theme).mkdir(parents=True)
    (tmp_path / "photos" / "loose.jpg").touch()
    (tmp_path / "hdri").mkdir()
    for name in ("b.exr", "a.hdr", "notes.txt"):
        (tmp_path / "hdri" / name).touch()
    settings = Settings(
        scene=SceneSettings("balanced", str(tmp_path / "hdri")),
        augmentation=AugmentationSettings(str(tmp_path / "photos"), ("lab",)),
    )
    assert training_themes(settings) == (".", "street", PLACES)
    assert [Path(w).name for w in worlds(settings)[-2:]] == ["a.hdr", "b.exr"]
    model = complete(settings, load_urdf(builtin_urdf())).scene_model()
    assert model["background/theme"].prior.bins == 4
    assert model["light/world"].prior.bins == 11


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "settings.toml"
    save(Settings(), path)
    before = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(UserError, match="No space"):
        save(full(tmp_path), path)
    assert path.read_bytes() == before and not list(tmp_path.glob(".*.part*"))


@pytest.mark.parametrize(
    ("size", "asked", "scale", "seen"),
    [
        ((320, 240), 0.5, 0.5, (160, 120)),
        ((640, 480), 0.5, 0.5, (320, 240)),
        ((640, 480), 0.1, 0.25, (160, 120)),
        ((200, 150), 0.5, 0.8, (160, 120)),
        ((160, 120), 0.5, 1.0, (160, 120)),
        ((64, 48), 0.5, 1.0, (64, 48)),
        ((320, 240), 1.0, 1.0, (320, 240)),
    ],
)
def test_the_coarse_pass_sees_a_smaller_picture_but_no_tiny_one(
    size: tuple[int, int], asked: float, scale: float, seen: tuple[int, int]
) -> None:
    settings = Settings(
        render=RenderSettings(width=size[0], height=size[1]), training=TrainingSettings(coarse_scale=asked)
    )
    assert settings.coarse_scale == pytest.approx(scale)
    assert settings.input_size == seen


@pytest.mark.parametrize("name", ["a" * 5000, "a\\u0000b", "~nobody-of-that-name/r.urdf", "/" + "a/" * 3000])
def test_a_name_that_no_file_can_have_is_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(f'[robot]\nkind = "urdf"\npath = "{name}"\n', encoding="utf-8")
    with pytest.raises(UserError, match="There is no URDF file at"):
        load_robots(load(path))
