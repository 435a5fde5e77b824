# SPDX-License-Identifier: GPL-3.0-or-later
"""``evaluate``'s errors of poses, against numpy, scipy, OpenCV and ``predict``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import fake_blender
import numpy as np
import pytest
import synthetic
import torch
from PIL import Image
from robot_keypoints.core.camera.intrinsics import Intrinsics, invert, orbit, transform
from robot_keypoints.core.robot import keypoints
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.trainer.commands import main as cli
from robot_keypoints.trainer.datasets import keypoint_matching, reader as dataset_reader, sample_label
from robot_keypoints.trainer.datasets.coco_writer import CocoDataSet
from robot_keypoints.trainer.datasets.ndds_writer import NddsDataSet
from robot_keypoints.trainer.datasets.writer import DataSet, Finished
from robot_keypoints.trainer.evaluation import pose_metrics
from robot_keypoints.trainer.inference.pose_finder import PoseFinder
from robot_keypoints.trainer.inference.predictor import Found, Predictor
from robot_keypoints.trainer.networks import factory
from robot_keypoints.trainer.networks.model_file import ModelInfo
from robot_keypoints.trainer.pose.ambiguous_poses import likeliest
from robot_keypoints.trainer.pose.camera import Camera
from robot_keypoints.trainer.pose.problem import Options, Status
from robot_keypoints.trainer.pose.robot_points import PlacedRobot
from robot_keypoints.trainer.pose.solve_pose import solve_pose
from scipy.spatial.transform import Rotation

UR10 = load_urdf(builtin_urdf())
POINTS = keypoints.joint_keypoints(UR10)
NAMES = tuple(k.name for k in POINTS)
JOINTS = [j.name for j in UR10.moving_joints]
WIDTH, HEIGHT = 320, 240
LENS = (-0.12, 0.05, 0.001, -0.002, 0.01)
COUNT = 24


def info(**changes: Any) -> ModelInfo:
    config = factory.NetworkConfig("light", len(NAMES), 1.0, width=8)
    about = ModelInfo(config, WIDTH, HEIGHT, NAMES, (), UR10.to_dict(), places=tuple(POINTS))
    return replace(about, **changes)


def scene(i: int) -> tuple[Intrinsics, np.ndarray, dict[str, float], np.ndarray, np.ndarray]:
    """Camera, ``T_cam_base``, joints, the keypoints in the base frame and in the image; every other lens is bent."""
    rng = np.random.default_rng([7, i])
    joints = dict(zip(JOINTS, rng.uniform(-1.5, 1.5, len(JOINTS)).tolist(), strict=True))
    pose = invert(orbit(rng.uniform(-3, 3), rng.uniform(0.1, 1.0), rng.uniform(2.5, 3.5), 0.1, (0.1, 0.0, 0.4)))
    camera = Intrinsics(WIDTH, HEIGHT, 300.0 + i, 295.0, 161.0, 118.0, LENS if i % 2 else (0.0,) * 5)
    places = keypoints.positions(POINTS, {"": UR10.link_frames(joints)})
    return camera, pose, joints, places, camera.project(transform(pose, places))[0]


def found_in(i: int, noise: float = 0.4) -> list[Found]:
    shift = np.random.default_rng([8, i]).normal(0, noise, (len(NAMES), 2))
    spread = ((1.0, 0.0), (0.0, 1.0))
    return [Found(n, float(u), float(v), 0.97, spread) for n, (u, v) in zip(NAMES, scene(i)[4] + shift, strict=True)]


def write(folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Path:
    """Images with annotations as ``render`` has them."""
    (folder / "images").mkdir(parents=True)
    images, entries = [], []
    for i in range(COUNT):
        camera, pose, joints, _, pixels = scene(i)
        name = f"images/{i}.png"
        Image.new("RGB", (WIDTH, HEIGHT), (90, i, 90)).save(folder / name)
        matrix = [[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]]
        size = {"width": WIDTH, "height": HEIGHT}
        images.append({"id": i, "file_name": name, **size, "camera_matrix": matrix, "distortion": camera.distortion})
        rows = [x for u, v in pixels.tolist() for x in (u, v, 2)]
        entries.append({
            "id": i, "image_id": i, "category_id": 1, "keypoints": rows, "area": 900.0, "instance": 0,
            "T_cam_base": pose.tolist(), "joints": joints,
        })  # fmt: skip
    category = {"id": 1, "name": "ur10", "keypoints": list(NAMES)}
    document = {"images": images, "annotations": entries, "categories": [category]}
    change(document)
    (folder / "annotations.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


class Fake(Predictor):
    """A model that finds what it is told, one image after another."""

    def __init__(self, about: ModelInfo, answers: Sequence[list[Found]]) -> None:
        super().__init__(factory.build(about.network), about, torch.device("cpu"))
        self.answers = list(answers)

    def predict(self, images: Sequence[Any], inspection: Any = None, peaks: int = 0) -> list[list[Found]]:
        return [self.answers.pop(0) for _ in images]


Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """The command's exit code, stdout and stderr."""

    def run(
        data: Path, *options: object, about: ModelInfo | None = None, answers: list[list[Found]] | None = None
    ) -> tuple[int, str, str]:
        found = [found_in(i) for i in range(COUNT)] if answers is None else answers
        monkeypatch.setattr(Predictor, "load", lambda *_: Fake(about or info(), found))
        code = cli.main(["evaluate", "model.safetensors", "--data", str(data), *map(str, options)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_errors_of_poses_are_numpys_and_scipys() -> None:
    rng = np.random.default_rng(0)
    turns = [Rotation.random(40, random_state=rng) for _ in range(2)]
    poses = [np.tile(np.eye(4), (40, 1, 1)) for _ in range(2)]
    for pose, turn in zip(poses, turns, strict=True):
        pose[:, :3, :3], pose[:, :3, 3] = turn.as_matrix(), rng.normal(0, 2, (40, 3))
    poses[0][3] = np.nan
    points = rng.normal(0, 1, (40, 6, 3))
    add, rotation, translation = pose_metrics.pose_errors(poses[0], poses[1], points)
    for i in range(40):
        if i == 3:
            assert np.isnan([add[i], rotation[i], translation[i]]).all()
            continue
        found, true = (transform(p[i], points[i]) for p in poses)
        assert add[i] == pytest.approx(np.mean([math.dist(a, b) for a, b in zip(found, true, strict=True)]))
        assert rotation[i] == pytest.approx(np.rad2deg((turns[0][i].inv() * turns[1][i]).magnitude()))
        assert translation[i] == pytest.approx(math.dist(poses[0][i, :3, 3], poses[1][i, :3, 3]))


def test_the_area_is_that_under_the_curve() -> None:
    """An image without a pose lies under no part of it."""
    add = np.append(np.random.default_rng(1).exponential(0.05, 200), np.nan)
    thresholds = np.linspace(0, 0.1, 20001)
    shares = [(add <= t).mean() for t in thresholds]
    assert pose_metrics.add_area(add, 0.1) == pytest.approx(np.mean(shares), abs=1e-4)
    assert pose_metrics.add_area(np.zeros(3), 0.1) == 1.0 and pose_metrics.add_area(np.full(3, np.nan), 0.1) == 0.0
    assert pose_metrics.add_area(np.zeros(0), 0.1) is None


def test_poses_are_opencvs_and_predicts(ask: Ask, tmp_path: Path) -> None:
    """With noise well below the kernel's bend and alike in all directions, least squares is OpenCV's; ``predict`` finds
    the same."""
    data = write(tmp_path / "data")
    code, out, err = ask(data, "--json")
    assert code == 0, err
    pose = json.loads(out)["pose"]
    assert (pose["images"], pose["determined"], pose["refused"]) == (COUNT, COUNT, {})
    add, turn, far = [], [], []
    placed = PlacedRobot.of(info())
    for i in range(COUNT):
        camera, true, joints, places, _ = scene(i)
        matrix = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
        found = found_in(i)
        pixels, lens = np.array([(k.u, k.v) for k in found]), np.array(camera.distortion)
        about, at = cv2.Rodrigues(true[:3, :3])[0], true[:3, 3:].copy()
        _, about, at = cv2.solvePnP(places, pixels, matrix, lens, about, at, True, cv2.SOLVEPNP_ITERATIVE)
        theirs = np.eye(4)
        theirs[:3, :3], theirs[:3, 3] = cv2.Rodrigues(about)[0], at.ravel()
        numbers = (camera.fx, camera.fy, camera.cx, camera.cy, *camera.distortion)
        ours = PoseFinder.of_numbers(placed, numbers, joints).find(found)
        np.testing.assert_allclose(ours["T_cam_base"], theirs, atol=2e-4)
        add.append(np.linalg.norm(transform(theirs, places) - transform(true, places), axis=-1).mean())
        turn.append(np.rad2deg(Rotation.from_matrix(theirs[:3, :3].T @ true[:3, :3]).magnitude()))
        far.append(math.dist(theirs[:3, 3], true[:3, 3]))
    for key, values in (("add_metres", add), ("rotation_degrees", turn), ("translation_metres", far)):
        assert pose[key]["mean"] == pytest.approx(np.mean(values), rel=2e-3), key
        assert pose[key]["median"] == pytest.approx(np.median(values), rel=5e-3), key
    assert pose["add_area"] == pytest.approx(np.maximum(0, 1 - np.array(add) / 0.1).mean(), rel=1e-3)
    wider = json.loads(ask(data, "--json", "--add-limit", 0.5)[1])["pose"]
    assert wider["add_area"] > pose["add_area"] and wider["add_area_limit_metres"] == 0.5


def test_readings_of_data_may_be_off(ask: Ask, tmp_path: Path) -> None:
    """With a deviation as small as none the poses are those of exact joints; with a large one the joints give way."""
    data = write(tmp_path / "data")
    known, tight, loose = (
        json.loads(ask(data, "--json", *more)[1])["pose"]
        for more in ((), ("--joints-deviation", "0.0001deg"), ("--joints-deviation", "3deg"))
    )
    assert "joints_deviation" not in known and loose["joints_deviation"] == "3deg"
    assert tight["determined"] == loose["determined"] == known["determined"]
    assert tight["rotation_degrees"]["mean"] == pytest.approx(known["rotation_degrees"]["mean"], rel=1e-2)
    assert loose["rotation_degrees"]["mean"] != pytest.approx(known["rotation_degrees"]["mean"], rel=1e-2)
    assert "pose, joints read: determined in" in ask(data, "--joints-deviation", "3deg")[1]


def test_images_without_a_pose_are_counted_by_reason(ask: Ask, tmp_path: Path) -> None:
    data = write(tmp_path / "data")
    answers = [found_in(i) for i in range(COUNT)]
    answers[1] = [replace(k, confidence=0.1) for k in answers[1]]
    for i in (4, 5):
        answers[i] = [replace(k, confidence=0.9 if j < 3 else 0.1) for j, k in enumerate(answers[i])]
    pose = json.loads(ask(data, "--json", answers=list(answers))[1])["pose"]
    assert pose["determined"] == COUNT - 3 and pose["share"] == (COUNT - 3) / COUNT
    assert {k: v["images"] for k, v in pose["refused"].items()} == {"hidden": 1, "too_few": 2}
    assert pose["add_metres"]["count"] == COUNT - 3
    code, table, _ = ask(data, answers=answers)
    assert code == 0 and f"determined in {(COUNT - 3) / COUNT:.1%} of {COUNT} images" in table
    assert "1 without: no keypoint was found" in table and "2 without: too few keypoints were found" in table
    assert f"ADD, mm           {1000 * pose['add_metres']['mean']:8.1f}" in table
    none = [[replace(k, confidence=0.0) for k in found_in(i)] for i in range(COUNT)]
    pose = json.loads(ask(data, "--json", answers=list(none))[1])["pose"]
    assert pose["determined"] == 0 and pose["add_metres"] is None and pose["add_area"] == 0.0
    assert ask(data, answers=none)[0] == 0
    assert set(pose_metrics.WHY) == {s.name.lower() for s in Status if s != Status.SOLVED}


@pytest.mark.parametrize("kind", [CocoDataSet, NddsDataSet])
def test_what_render_writes_tells_cameras_poses_and_joints(tmp_path: Path, kind: type[DataSet]) -> None:
    settings = synthetic.settings()
    model, bodies = settings.scene_model(), sample_label.bodies(settings, ["stick"])
    data = kind(tmp_path, bodies, False)
    data.begin()
    samples = [synthetic.sample(model, np.random.default_rng([4, i]), 0, i) for i in range(3)]
    samples = [fake_blender.detailed(s, settings) for s in samples]
    for i, sample in enumerate(samples):
        data.write(Finished(i, sample.image[..., :3], sample_label.label(sample, i, bodies), None))
    data.finish()
    for item, sample in zip(dataset_reader.read(tmp_path).items, samples, strict=True):
        k = sample.camera_matrix
        assert item.camera == (k[0, 0], k[1, 1], k[0, 2], k[1, 2], *sample.distortion)
        robot = keypoint_matching.truth(item, synthetic.NAMES, True).robot
        assert robot is not None and robot.joints == sample.instances[0].joints and robot.joints
        np.testing.assert_array_equal(robot.pose, sample.instances[0].base_in_camera)


def spoil(case: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        images, robots = document["images"], document["annotations"]
        if case == "camera":
            for image in images:
                del image["camera_matrix"]
        elif case == "poses":
            for robot in robots:
                del robot["T_cam_base"]
        elif case == "scaled":
            for robot in robots:
                robot["T_cam_base"] = (np.array(robot["T_cam_base"]) * [2, 2, 2, 1]).tolist()
        elif case == "other":
            robots[2]["joints"] = {"panda_joint1": 0.1}
        elif case == "fewer":
            del robots[2]["joints"][JOINTS[1]]
        elif case == "degrees":
            robots[2]["joints"][JOINTS[1]] = -90.0
        elif case == "nan":
            robots[2]["T_cam_base"][0][3] = math.nan
        elif case == "joint":
            robots[2]["joints"][JOINTS[0]] = math.inf
        elif case == "focal":
            images[2]["camera_matrix"][0][0] = math.nan
        elif case == "skew":
            images[2]["camera_matrix"][0][1] = 2.0

    return change


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("camera", "The data don't tell the camera of any image"),
        ("poses", "The data don't tell T_cam_base and joints"),
        ("scaled", "The data don't tell T_cam_base and joints"),
        ("other", "The joints of images/2.png don't fit: The robot"),
        ("fewer", f"The data don't give the joint {JOINTS[1]}"),
        ("degrees", "beyond its limits"),
        ("kinematics", "The model doesn't know its robot's kinematics"),
    ],
)
def test_poses_that_cant_be_measured_are_one_sentence(ask: Ask, tmp_path: Path, case: str, words: str) -> None:
    """A mistake where they were asked for; else the rest is measured."""
    data = write(tmp_path / "data", spoil(case))
    about = info(robot=None) if case == "kinematics" else info()
    code, out, err = ask(data, "--add-limit", "0.2", "--json", about=about)
    (line,) = err.splitlines()
    assert code == 2 and out == "" and line.startswith("error: ") and words in line
    code, out, _ = ask(data, "--json", about=about)
    document = json.loads(out)
    assert code == 0 and document["pose"] is None and words in document["pose_missing"]
    assert document["percent"]["count"] > COUNT
    code, table, _ = ask(data, about=about)
    assert code == 0 and words[:20] in table.replace("\n", " ")
    if case == "kinematics":
        measured = json.loads(ask(data, "--json", "--robot", builtin_urdf(), about=about)[1])["pose"]
        assert measured["determined"] == COUNT


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("nan", "the T_cam_base of annotation 2 is not 4 × 4 finite numbers"),
        ("joint", "the joints of annotation 2 are not all finite"),
        ("focal", "images/2.png has a camera_matrix or a distortion that is no camera's"),
        ("skew", "images/2.png has a camera_matrix or a distortion that is no camera's"),
    ],
)
def test_broken_numbers_are_one_sentence(ask: Ask, tmp_path: Path, case: str, words: str) -> None:
    code, out, err = ask(write(tmp_path / "data", spoil(case)), "--json")
    (line,) = err.splitlines()
    assert code == 2 and out == "" and words in line


def test_outlines_are_looked_at_where_they_are_asked_for(ask: Ask, tmp_path: Path) -> None:
    """In pictures that show none the poses stay those of the keypoints."""

    def two(document: dict[str, Any]) -> None:
        for part in ("images", "annotations"):
            del document[part][2:]

    data, options = write(tmp_path / "data", two), ("--robot", builtin_urdf(), "--json")
    without = json.loads(ask(data, *options)[1])["pose"]
    asked = json.loads(ask(data, *options, "--outline")[1])["pose"]
    assert without["by_outline"] is None and asked == without | {"by_outline": 0}
    assert "by the outline in 0" in ask(data, "--robot", builtin_urdf(), "--outline")[1]
    code, out, err = ask(data, "--outline", "--json")
    assert code == 2 and not out and "brings no shapes" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf"])
def test_a_limit_that_is_none_is_refused(ask: Ask, tmp_path: Path, limit: str) -> None:
    code, _, err = ask(tmp_path, f"--add-limit={limit}")
    assert code == 2 and "--add-limit" in err and len(err.splitlines()) == 1


def test_of_several_poses_that_fit_the_likeliest_is_taken() -> None:
    """From afar and with noise, a robot looks much like its mirror image; ``predict`` looks for that, too."""
    camera = Intrinsics(WIDTH, HEIGHT, 300.0, 295.0, 161.0, 118.0)
    numbers, placed = (300.0, 295.0, 161.0, 118.0), PlacedRobot.of(info())
    rng = np.random.default_rng(3)
    stands, places, answers = [], [], []
    for _ in range(60):
        joints = dict(zip(JOINTS, rng.uniform(-1.5, 1.5, len(JOINTS)).tolist(), strict=True))
        pose = invert(orbit(rng.uniform(-3, 3), rng.uniform(0.1, 1.0), 6.0, 0.1, (0.1, 0.0, 0.4)))
        stands.append(joints)
        places.append(keypoints.positions(POINTS, {"": UR10.link_frames(joints)}))
        answers.append(camera.project(transform(pose, places[-1]))[0] + rng.normal(0, 6.0, (len(NAMES), 2)))
    spread = 36.0 * torch.eye(2, dtype=torch.float64).expand(60, len(NAMES), 2, 2)
    used = torch.ones(60, len(NAMES), dtype=torch.bool)
    used[::3, 1] = False
    points, pixels = torch.from_numpy(np.array(places)), torch.from_numpy(np.array(answers))
    lens = Camera.of_numbers(numbers)

    def cost(poses: torch.Tensor) -> np.ndarray:
        """Of Huber's kernel, in numpy."""
        shown = [camera.project(transform(p, x))[0] for p, x in zip(poses.numpy(), places, strict=True)]
        off = np.linalg.norm(np.array(shown) - answers, axis=-1) / 6.0
        return np.asarray((np.where(off < 1.5, off**2 / 2, 1.5 * off - 1.125) * used.numpy()).sum(1))

    # With one start each some end in another valley.
    hasty = Options(kernel="huber", starts=1, triplets=1)
    found, status = likeliest(points, pixels, lens, spread, used, hasty)
    assert (status == Status.SOLVED).all()
    alone = solve_pose(points, pixels, lens, covariances=spread, used=used, options=hasty).pose
    other = ((found - alone).abs().amax((1, 2)) > 0.1).numpy()
    assert other.any() and (cost(found)[other] < cost(alone)[other]).all()
    assert (cost(found) < cost(alone) + 1e-6).all()

    found, _ = likeliest(points[:12], pixels[:12], lens, spread[:12], used[:12], Options(kernel="huber"))
    for i, joints in enumerate(stands[:12]):
        seen = [
            Found(n, float(u), float(v), 0.9 if used[i, j] else 0.1, ((36.0, 0.0), (0.0, 36.0)))
            for j, (n, (u, v)) in enumerate(zip(NAMES, answers[i], strict=True))
        ]
        theirs = PoseFinder.of_numbers(placed, numbers, joints).find(seen)["T_cam_base"]
        np.testing.assert_allclose(found[i], theirs, atol=1e-3)
