# SPDX-License-Identifier: GPL-3.0-or-later
"""``predict --camera``: the pose comes back from keypoints that are known, and one sentence says why it does not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from robot_keypoints.core.camera.intrinsics import Intrinsics, invert, orbit, transform
from robot_keypoints.core.robot import keypoints
from robot_keypoints.core.robot.keypoints import Keypoint
from robot_keypoints.core.robot.robot import Joint, Mimic, Robot, as_matrix
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.trainer.commands import main as cli
from robot_keypoints.trainer.inference import pose_finder
from robot_keypoints.trainer.inference.pose_finder import OUTLINE
from robot_keypoints.trainer.inference.predictor import Found, Predictor
from robot_keypoints.trainer.networks import factory
from robot_keypoints.trainer.networks.model_file import ModelInfo
from robot_keypoints.trainer.pose import rigid_motion, robot_points
from robot_keypoints.trainer.pose.ambiguous_poses import alternatives
from robot_keypoints.trainer.pose.camera import Camera
from robot_keypoints.trainer.pose.problem import Options
from robot_keypoints.trainer.pose.silhouette import Shapes

CAMERA = Intrinsics(640, 480, 610.0, 600.0, 322.0, 237.0, (-0.12, 0.05, 0.001, -0.002, 0.01))
STRAIGHT = "610,600,322,237"
BENT = STRAIGHT + ",-0.12,0.05,0.001,-0.002,0.01"
UR10 = load_urdf(builtin_urdf())
POINTS = keypoints.joint_keypoints(UR10)
ANGLES = dict(zip([j.name for j in UR10.moving_joints], (0.4, -1.1, 1.3, -0.5, 0.8, 0.3), strict=True))
PAN, LIFT = list(ANGLES)[:2]
POSE = invert(orbit(0.7, 0.4, 2.6, 0.1, (0.1, 0.0, 0.4)))
ALL = ",".join(f"{n}={v}" for n, v in ANGLES.items())


def info(points: Sequence[Keypoint] = POINTS, robot: Robot | None = UR10, *, places: bool = True) -> ModelInfo:
    names = tuple(k.name for k in points)
    config = factory.NetworkConfig("light", len(names), 1.0, width=8)
    document = None if robot is None else robot.to_dict()
    return ModelInfo(config, 64, 48, names, (), document, places=tuple(points) if places else ())


def shown(points: Sequence[Keypoint] = POINTS, camera: Intrinsics = CAMERA) -> list[Found]:
    """The points as a perfect network sees them."""
    places = keypoints.positions(points, {"": UR10.link_frames(ANGLES)})
    pixels, _ = camera.project(transform(POSE, places))
    return [
        Found(k.name, float(u), float(v), 0.97, ((1.5, 0.2), (0.2, 1.0)))
        for k, (u, v) in zip(points, pixels, strict=True)
    ]


class Fake:
    """A model that finds what it is told."""

    def __init__(self, about: ModelInfo, found: list[Found]) -> None:
        self.info = about
        self.found = found

    def predict(self, images: Sequence[NDArray[np.uint8]], *_: object) -> list[list[Found]]:
        return [self.found for _ in images]


Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """The command's exit code, stdout and stderr."""
    image = tmp_path / "a.png"
    Image.new("RGB", (CAMERA.width, CAMERA.height), (90, 90, 90)).save(image)

    def run(*options: object, about: ModelInfo | None = None, found: list[Found] | None = None) -> tuple[int, str, str]:
        fake = Fake(about or info(), shown() if found is None else found)
        monkeypatch.setattr(Predictor, "load", lambda *_: fake)
        code = cli.main(["predict", "model.safetensors", str(image), *map(str, options)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def pose_of(answer: tuple[int, str, str]) -> dict[str, Any]:
    assert answer[0] == 0, answer[2]
    return dict(json.loads(answer[1])["images"][0]["pose"])


def off(pose: dict[str, Any]) -> float:
    return float(np.abs(np.array(pose["T_cam_base"]) - POSE).max())


def test_the_pose_comes_back_through_a_bent_lens(ask: Ask, tmp_path: Path) -> None:
    """A keypoint that isn't sure does not count, wherever it is, and one that is sure and wrong is told."""
    known, out = tmp_path / "joints.json", tmp_path / "lines.jsonl"
    known.write_text(json.dumps(ANGLES), encoding="utf-8")
    found = shown()
    found[2] = replace(found[2], u=10.0, v=10.0, confidence=0.49)
    pose = pose_of(ask("--camera", BENT, "--joints", known, "--json", "--out", out, found=found))
    assert set(pose) == {"status", "T_cam_base", "covariance", "reprojection_px", "inliers", "joints"}
    assert pose["status"] == "solved" and off(pose) < 1e-6 and pose["reprojection_px"] < 1e-4
    assert pose["inliers"] == [k.name for k in found if k.confidence > 0.5] and pose["joints"] == ANGLES
    covariance = np.array(pose["covariance"])
    assert covariance.shape == (6, 6) and np.linalg.eigvalsh(covariance).min() > 0
    assert json.loads(out.read_text(encoding="utf-8"))["pose"] == pose
    assert off(pose_of(ask("--camera", STRAIGHT, "--joints", known, "--json", found=found))) > 1e-3

    found = shown()
    found[4] = replace(found[4], u=found[4].u + 60)
    pose = pose_of(ask("--camera", BENT, "--joints", ALL, "--json", found=found))
    assert found[4].name not in pose["inliers"] and len(pose["inliers"]) >= 3 and off(pose) < 0.1

    code, text, _ = ask("--camera", BENT, "--joints", ALL)
    assert code == 0 and f"({POSE[0, 3]:.4f}, {POSE[1, 3]:.4f}, {POSE[2, 3]:.4f}) m ±" in text
    assert "pose" not in json.loads(ask("--json")[1])["images"][0]


def test_the_pose_goes_by_the_outline_where_there_is_one(ask: Ask, tmp_path: Path) -> None:
    """Keypoints that are some pixels off, and a UR10 before a grey wall, through a bent lens."""
    options = ["--camera", BENT, "--joints", ALL, "--robot", builtin_urdf(), "--outline"]
    found = [
        replace(k, u=k.u + du, v=k.v + dv, covariance=((60.0, 0.0), (0.0, 60.0)))
        for k, (du, dv) in zip(shown(), np.random.default_rng(2).normal(0, 8, (len(POINTS), 2)), strict=True)
    ]
    empty = pose_of(ask(*options, "--json", found=found))
    assert empty["outline"]["used"] is False and off(empty) > 0.03
    assert {n: v for n, v in empty.items() if n != "outline"} == pose_of(ask(*options[:-1], "--json", found=found))
    assert "by keypoints alone" in ask(*options, found=found)[1]

    shapes, fine = Shapes.of(UR10), 4
    camera = Intrinsics(
        fine * CAMERA.width, fine * CAMERA.height, fine * CAMERA.fx, fine * CAMERA.fy, fine * (CAMERA.cx + 0.5) - 0.5,
        fine * (CAMERA.cy + 0.5) - 0.5,
    )  # fmt: skip
    drawn = shapes.drawn(UR10.link_frames(ANGLES), POSE, camera).shown > 0
    straight = cv2.resize(drawn.astype(np.float32), (CAMERA.width, CAMERA.height), interpolation=cv2.INTER_AREA)
    pixels = np.stack(np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height)), -1).reshape(-1, 2)
    at = CAMERA.undistort(pixels).astype(np.float32).reshape(CAMERA.height, CAMERA.width, 2)
    bent = cv2.remap(straight, at, None, cv2.INTER_LINEAR)
    Image.fromarray((90 + 120 * bent).astype(np.uint8)).convert("RGB").save(tmp_path / "a.png")
    pose = pose_of(ask(*options, "--json", found=found))
    assert pose["outline"]["used"] and pose["outline"]["support"] > 0.6 > pose["outline"]["before"]
    assert off(pose) < off(empty) / 3 and off(pose) < 0.02 and pose["joints"] == ANGLES
    assert pose["inliers"] and 2 < pose["reprojection_px"] < 20, "of the keypoints, which are where they were"
    assert "by the outline, " in ask(*options, "--overlay", tmp_path / "drawn", found=found)[1]
    marked = np.asarray(Image.open(tmp_path / "drawn" / "a.png").convert("RGB"))
    edge = cv2.morphologyEx((bent > 0.5).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((9, 9), np.uint8)) > 0
    line = (marked == OUTLINE).all(-1)
    assert line.sum() > 500 and (line & edge).sum() > 0.95 * line.sum()


def test_another_pose_that_fits_as_well_is_told(ask: Ask) -> None:
    """A flat thing far away might be its mirror image in depth, if its points aren't sharp."""
    flat = torch.tensor([[x, y, 0.0] for x in (-0.2, 0.0, 0.25) for y in (-0.15, 0.2)], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = rigid_motion.exp_rotation(torch.tensor([0.6, 0.2, 0.1], dtype=torch.float64))
    pose[2, 3] = 4.0
    camera = Camera.of_numbers([600, 600, 320, 240])
    pixels = camera.project((flat @ pose[:3, :3].T + pose[:3, 3])[None])[0]
    used = torch.ones(6, dtype=torch.bool)
    for deviation, count in ((3.0, 2), (0.01, 1)):
        spread = deviation**2 * torch.eye(2, dtype=torch.float64).expand(6, 2, 2)
        found = alternatives(flat, pixels, camera, spread, used, pose, Options())
        assert len(found) == count and (found[0] - pose).abs().max() < 1e-5
        wrong = pose.clone()
        wrong[:3, :3] = pose[:3, :3] @ rigid_motion.exp_rotation(torch.tensor([-1.2, 0.0, 0.0], dtype=torch.float64))
        again = alternatives(flat, pixels, camera, spread, used, wrong, Options())
        assert len(again) == count and (again[0] - pose).abs().max() < 1e-5
        if count == 2:
            # The normals lean to opposite sides of the line of sight.
            normals = found[:, :3, 2]
            assert (normals.sum(0)[:2] / normals[0, 2]).abs().max() < 0.1

    blurred = [replace(k, covariance=((900.0, 0.0), (0.0, 900.0))) for k in shown()]
    options = ["--camera", BENT, "--joints", ALL]
    assert np.shape(pose_of(ask(*options, "--json", found=blurred))["alternatives"])[1:] == (4, 4)
    assert "about as well" in ask(*options, found=blurred)[1] and "about as well" not in ask(*options)[1]


def test_joints_that_are_not_given_are_found(ask: Ask) -> None:
    """The first two turn all the UR10's keypoints together, as a motion of the camera does."""
    known = f"{PAN}={ANGLES[PAN]}, {LIFT}={ANGLES[LIFT]}"
    pose = pose_of(ask("--camera", BENT, "--joints", known, "--json"))
    assert off(pose) < 1e-4 and pose["reprojection_px"] < 1e-3 and np.shape(pose["covariance"]) == (6, 6)
    # The last joint turns a tip that lies on its axis: of that nothing is said.
    assert list(pose["joints"]) == list(ANGLES)[:-1]
    assert pose["joints"] == pytest.approx({n: ANGLES[n] for n in pose["joints"]}, abs=1e-4)


def test_readings_that_are_off_are_corrected_and_what_nothing_tells_stays_as_it_was_read(ask: Ask) -> None:
    """The first two joints turn all the UR10's keypoints as the camera does, and the last one none."""
    read = dict(ANGLES)
    elbow, last = list(ANGLES)[2], list(ANGLES)[-1]
    read[elbow] += math.radians(3)
    sharp = [replace(k, covariance=((0.01, 0.0), (0.0, 0.01))) for k in shown()]
    text = ",".join(f"{n}={v}" for n, v in read.items())
    options = ["--camera", BENT, "--joints", text, "--joints-deviation"]
    pose = pose_of(ask(*options, "2deg", "--json", found=sharp))
    assert pose["status"] == "solved" and list(pose["joints_deviation"]) == list(ANGLES) == list(pose["joints"])
    off_by = {n: abs(pose["joints"][n] - ANGLES[n]) for n in ANGLES}
    assert off_by[elbow] < math.radians(0.2) and pose["joints_deviation"][elbow] < math.radians(0.2)
    for name in (PAN, LIFT, last):
        assert off_by[name] < 1e-3 and pose["joints_deviation"][name] == pytest.approx(math.radians(2), rel=1e-3)
    assert off(pose) < 0.01 < 0.02 < off(pose_of(ask(*options[:4], "--json", found=sharp)))

    # Only what has a deviation is corrected; what has none is exact, and not told one.
    pose = pose_of(ask(*options, f"{elbow}=0.05rad", "--json", found=sharp))
    assert list(pose["joints_deviation"]) == [elbow] and abs(pose["joints"][elbow] - ANGLES[elbow]) < math.radians(0.2)
    assert pose["joints"][PAN] == ANGLES[PAN]
    some = ",".join(f"{n}={v}" for n, v in read.items() if n in (PAN, LIFT))
    pose = pose_of(ask("--camera", BENT, "--joints", some, "--joints-deviation", "2deg", "--json", found=sharp))
    assert abs(pose["joints"][elbow] - ANGLES[elbow]) < math.radians(0.2) and last not in pose["joints"]
    assert f"{elbow} {ANGLES[elbow]:.2f}" in ask(*options, "2deg", found=sharp)[1]


def test_why_there_is_no_pose(ask: Ask) -> None:
    def unsure(least: int) -> list[Found]:
        return [replace(k, confidence=0.9 if j < least else 0.2) for j, k in enumerate(shown())]

    cases: list[tuple[str | None, list[Found], str, str]] = [
        (ALL, unsure(0), "hidden", "No keypoint has a confidence of 50%"),
        (ALL, unsure(3), "too_few", "too few visible points"),
        (None, shown(), "degenerate", f"add --joints {PAN}=…,{LIFT}=…."),
        (f"{PAN}=0.4", shown(), "degenerate", f"add --joints {LIFT}=…."),
    ]
    for known, found, status, words in cases:
        options = ["--camera", BENT, *(["--joints", known] if known else [])]
        answer = ask(*options, "--json", found=found)
        named = ["undetermined"] if status == "degenerate" else []
        assert pose_of(answer).keys() == {"status", "sentence", *named} and pose_of(answer)["status"] == status
        assert all(f"{n}=…" in words for n in pose_of(answer).get("undetermined", []))
        assert words in pose_of(answer)["sentence"]
        code, text, _ = ask(*options, found=found)
        assert code == 0 and "no pose: " in text and words in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--camera", "1,2,3"], "The camera has 3 numbers"),
        (["--camera", STRAIGHT + ",0.1"], "The camera has 5 numbers"),
        (["--camera", "610;600"], "as numbers with commas between"),
        (["--camera", "nan,600,322,237"], "must be finite"),
        (["--camera", "610,-600,322,237"], "fx and fy positive"),
        (["--joints", ALL], "needs --camera"),
        (["--robot", "arm.urdf"], "needs --camera"),
        (["--camera", STRAIGHT, "--robot", "arm.urdf"], "There is no URDF file"),
        (["--camera", STRAIGHT, "--joints", "elbow=1"], "has no joint 'elbow' that moves: it has shoulder_pan_joint"),
        (["--camera", STRAIGHT, "--joints", f"{PAN}=nan"], "give a finite number"),
        (["--camera", STRAIGHT, "--joints-by-image", "a.json", "--outline"], "solves all together"),
        (["--outline"], "needs --camera fx,fy,cx,cy and --joints"),
        (["--camera", STRAIGHT, "--joints", ALL, "--outline"], "brings no shapes that can be read"),
        (["--camera", STRAIGHT, "--joints", ALL, "--outline", "--joints-deviation", "2deg"], "takes joints as exact"),
        (["--camera", STRAIGHT, "--joints", f"{PAN}=1", "--outline", "--robot", str(builtin_urdf())], "all joints"),
        (["--camera", STRAIGHT, "--joints-deviation", "2deg"], "give --joints name=value"),
        (["--camera", STRAIGHT, "--joints", ALL, "--joints-deviation", "2"], "write 2deg, 0.03rad, 5mm or 0.005m"),
        (["--camera", STRAIGHT, "--joints", ALL, "--joints-deviation", ""], "has an empty part"),
        (["--camera", STRAIGHT, "--joints", ALL, "--joints-deviation", "0deg"], "0deg is of no use"),
        (["--camera", STRAIGHT, "--joints", ALL, "--joints-deviation=-1deg"], "-1deg is of no use"),
        (["--camera", STRAIGHT, "--joints", ALL, "--joints-deviation", "200deg"], "at most 180 degrees"),
        (["--camera", STRAIGHT, "--joints", ALL, "--joints-deviation", "5mm"], "no joint of --joints slides"),
        (["--camera", STRAIGHT, "--joints", ALL, "--joints-deviation", f"{PAN}=5mm"], "give deg or rad, as it turns"),
        (["--camera", STRAIGHT, "--joints", ALL, "--joints-deviation", "1deg,2deg"], "two for the same joints"),
        (["--camera", STRAIGHT, "--joints", ALL, "--joints-deviation", "tip=1deg"], "names tip, of which --joints"),
        (["--camera", STRAIGHT, "--joints", f"{PAN}=90"], "beyond its limits"),
        (["--camera", STRAIGHT, "--joints", f"{PAN}=1,{PAN}=2"], "twice"),
        (["--camera", STRAIGHT, "--joints", f"{PAN}=x"], "write name=value"),
        (["--camera", STRAIGHT, "--joints", "x" * 300 + "=1"], "has no joint"),
        (["--camera", STRAIGHT, "--joints", "{0}/none.json"], "can't be read"),
        (["--camera", STRAIGHT, "--joints", "{0}/a.png"], "is not JSON"),
        (["--camera", STRAIGHT, "--joints", "{0}/list.json"], "is not one JSON object"),
        (["--camera", STRAIGHT, "--joints", "{0}/text.json"], "is not one JSON object"),
        (["--camera", STRAIGHT, "--joints", "{0}/long.json"], "give a finite number"),
    ],
)
def test_a_mistake_is_one_sentence(ask: Ask, tmp_path: Path, options: list[str], words: str) -> None:
    for name, document in (("list", "[1]"), ("text", f'{{"{PAN}": "1"}}'), ("long", f'{{"{PAN}": {"9" * 400}}}')):
        (tmp_path / f"{name}.json").write_text(document, encoding="utf-8")
    code, out, errors = ask(*(o.format(tmp_path) for o in options), "--json")
    assert code == 2 and out == "" and len(errors.splitlines()) == 1 and words in errors


def test_keypoints_are_where_the_model_says(ask: Ask) -> None:
    """Also those with places of their own; in a model of before, their names tell."""
    own = [replace(POINTS[0], offset=(0.1, -0.2, 0.3)), *POINTS[1:], Keypoint("mark", POINTS[3].frame, (0.0, 0.1, 0.1))]
    other = Keypoint("left/elbow", "elbow", robot="left")
    found = [*shown(own), Found(other.name, 5.0, 5.0, 0.9, ((1.0, 0.0), (0.0, 1.0)))]
    answer = ask("--camera", BENT, "--joints", ALL, "--json", about=info([*own, other]), found=found)
    assert off(pose_of(answer)) < 1e-6 and pose_of(answer)["inliers"] == [k.name for k in own] and answer[2] == ""
    assert ModelInfo.from_dict(info([*own, other]).to_dict()) == info([*own, other])

    before = info([*POINTS, Keypoint("mark", "")], places=False)
    document = before.to_dict()
    del document["places"]
    assert ModelInfo.from_dict(document) == before
    found = [*shown(), Found("mark", 5.0, 5.0, 0.9, ((1.0, 0.0), (0.0, 1.0)))]
    answer = ask("--camera", BENT, "--joints", ALL, "--json", about=before, found=found)
    assert off(pose_of(answer)) < 1e-6 and "has no mark: the pose goes by the others" in answer[2]


def test_a_model_without_a_robot_needs_one(ask: Ask) -> None:
    armature = info([replace(k, frame=f"Bone {k.name}") for k in POINTS], None)
    code, _, errors = ask("--camera", BENT, "--json", about=armature)
    assert code == 2 and "give its URDF with --robot" in errors
    assert (
        off(pose_of(ask("--camera", BENT, "--joints", ALL, "--robot", builtin_urdf(), "--json", about=armature))) < 1e-6
    )
    strange = info([Keypoint(f"k{i}", f"bone{i}") for i in range(4)], None)
    code, _, errors = ask("--camera", BENT, "--robot", builtin_urdf(), about=strange)
    assert code == 2 and "Only 0 of the model's keypoints can be placed" in errors and "k0, k1, k2, k3" in errors
    code, _, errors = ask("--camera", BENT, about=replace(info(), robot={"name": "x"}))
    assert code == 2 and "The model's robot can't be read" in errors


def test_fixed_joints_stand_where_they_were_told() -> None:
    def at(x: float, z: float) -> tuple[tuple[float, ...], ...]:
        matrix = np.eye(4)
        matrix[:3, 3] = x, 0.1, z
        return as_matrix(matrix)

    robot = Robot("arm", "base", (
        Joint("turn", "revolute", "base", "a", at(0, 0.2), (0.0, 1.0, 0.0), -1.2, 1.2),
        Joint("follow", "revolute", "a", "b", at(0.1, 0.1), (1.0, 0.0, 0.0), -3, 3, Mimic("slide", 2.0, 0.3)),
        Joint("slide", "prismatic", "b", "c", at(0.3, 0.1), (0.0, 0.6, 0.8), 0.1, 0.5),
        Joint("spin", "continuous", "c", "d", at(0, 0.2), (0.0, 0.0, 1.0), -3.14, 3.14),
    ))  # fmt: skip
    fixed = robot_points.with_fixed(robot, {"slide": 0.4, "turn": 0.7})
    assert [j.name for j in fixed.moving_joints] == ["spin"]
    wanted = robot.link_frames({"slide": 0.4, "turn": 0.7, "spin": 1.0})
    found = fixed.link_frames({"spin": 1.0})
    assert all(np.abs(found[k] - wanted[k]).max() < 1e-12 for k in wanted)


def test_the_base_is_drawn(ask: Ask, tmp_path: Path) -> None:
    ask(
        "--camera", BENT, "--joints", ALL, "--overlay", tmp_path / "drawn", found=[replace(k, name="") for k in shown()]
    )
    with Image.open(tmp_path / "drawn" / "a.png") as picture:
        pixels = np.array(picture).astype(int)
    length = UR10.reach() / 6
    for axis, colour in enumerate(pose_finder.AXES):
        places, _ = CAMERA.project(transform(POSE, np.array([[0.7, 0.9]]).T * length * np.eye(3)[axis]))
        for u, v in places.round().astype(int):
            assert tuple(pixels[v, u]) == colour
    ask("--camera", BENT, "--overlay", tmp_path / "none")
    with Image.open(tmp_path / "none" / "a.png") as picture:
        pixels = np.array(picture).astype(int)
    assert not any((pixels == c).all(-1).any() for c in pose_finder.AXES)


def test_a_camera_of_pictures_of_another_size_is_scaled_where_that_is_told_and_never_taken_silently(
    ask: Ask, tmp_path: Path
) -> None:
    w, h, fx, fy, cx, cy = CAMERA.width, CAMERA.height, CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy
    # The pixel centres of a picture of thrice the size.
    tripled = f"{3 * fx},{3 * fy},{3 * (cx + 0.5) - 0.5},{3 * (cy + 0.5) - 0.5},{','.join(map(str, CAMERA.distortion))}"
    scaled = ask("--camera", tripled, "--camera-size", f"{3 * w}x{3 * h}", "--joints", ALL, "--json")
    assert off(pose_of(scaled)) < 1e-6 and scaled[2] == ""
    code, out, errors = ask("--camera", tripled, "--joints", ALL, "--json")
    assert code == 2 and out == "" and "principal point at" in errors and "add that as --camera-size WxH" in errors
    code, out, errors = ask("--camera", tripled, "--camera-size", f"{3 * w}x{2 * h}", "--json")
    assert code == 2 and out == "" and "another shape than --camera-size" in errors
    halved = ask("--camera", f"{fx / 2},{fy / 2},{cx / 2},{cy / 2}", "--joints", ALL, "--json")
    assert halved[0] == 0 and halved[2].startswith("warning: --camera has its principal point at")
    for words in (["--camera", BENT, "--camera-size", "640"], ["--camera", BENT, "--camera-size", "0x5"]):
        code, out, errors = ask(*words)
        assert code == 2 and out == "" and "write width and height in pixels" in errors
    assert "needs --camera" in ask("--camera-size", "640x480")[2]
    # Among others, a picture that the camera can't be of is left out and named.
    small = tmp_path / "small.png"
    Image.new("RGB", (64, 48)).save(small)
    code, out, errors = ask(small, "--camera", BENT, "--joints", ALL, "--json")
    document = json.loads(out)
    assert code == 2 and len(document["images"]) == 1 and document["unreadable"][0]["image"] == str(small)
