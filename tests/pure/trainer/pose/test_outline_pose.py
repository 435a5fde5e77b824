# SPDX-License-Identifier: GPL-3.0-or-later
"""A robot's pose by its outline in one drawn picture: over a cluttered background, with a board before its tip."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from box_arm import ROBOT
from numpy.typing import NDArray
from robot_keypoints.core.camera.intrinsics import Intrinsics, invert, transform
from robot_keypoints.core.camera.rasterizer import numbers
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.messages.robot_shapes import RobotShapes, ShapePart
from robot_keypoints.core.robot.robot import Robot
from robot_keypoints.trainer.pose import outline_pose
from robot_keypoints.trainer.pose.outline_pose import SURE, OutlinePose, OutlineSolver
from robot_keypoints.trainer.pose.silhouette import Border, Shapes, moved

Floats = NDArray[np.float64]
WIDTH, HEIGHT = 640, 480
PINHOLE = (600.0, 600.0, 319.5, 239.5, 0.0, 0.0, 0.0, 0.0, 0.0)
BENT = (600.0, 600.0, 319.5, 239.5, -0.2, 0.05, 0.001, -0.001, 0.0)
JOINTS = {"turn": 0.5, "bend": 0.8}
POSE = np.array([[-0.6, 0.8, 0.0, 0.02], [0.24, 0.18, -0.954, 0.3], [-0.7632, -0.5724, -0.3, 1.5], [0, 0, 0, 1]])
SPREAD = np.diag([0.02, 0.02, 0.03, 0.02, 0.02, 0.06]) ** 2
OFF = np.array([0.02, -0.015, 0.03, -0.02, 0.02, 0.07])
"""Some 18 pixels at the tip."""


def picture(camera: tuple[float, ...] = PINHOLE, board: bool = True, seed: int = 3) -> NDArray[np.uint8]:
    """The robot before boxes of all colours, each of its links of its own grey."""
    random = np.random.default_rng(seed)
    image = np.full((HEIGHT, WIDTH, 3), 90.0)
    for _ in range(40):
        (u, v), (w, h) = random.integers((0, 0), (WIDTH, HEIGHT)), random.integers(20, 120, 2)
        image[v : v + h, u : u + w] = random.uniform(20, 230, 3)
    fx, fy, cx, cy, *_ = camera
    fine = Intrinsics(2 * WIDTH, 2 * HEIGHT, 2 * fx, 2 * fy, 2 * cx + 0.5, 2 * cy + 0.5)
    shapes = Shapes.of(ROBOT)
    placed = [
        transform(POSE @ ROBOT.link_frames(JOINTS)[n], v) for n, v in zip(shapes.links, shapes.vertices, strict=True)
    ]
    firsts = np.cumsum([0, *(len(p) for p in placed)])
    faces = np.concatenate([f + n for f, n in zip(shapes.faces, firsts, strict=False)])
    values = np.repeat(np.arange(1, 4, dtype=np.uint16), [len(f) for f in shapes.faces])
    shown = numbers(np.concatenate(placed), faces, values, fine)
    for link, grey in enumerate((200.0, 160.0, 185.0), 1):
        share = cv2.resize((shown == link).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)[..., None]
        image = image * (1 - share) + share * grey
    if board:
        u, v = Intrinsics(WIDTH, HEIGHT, fx, fy, cx, cy).project(placed[2].mean(0)[None])[0][0].astype(int)
        image[v - 60 : v - 10, u - 50 : u + 50] = 240.0
    if any(camera[4:]):
        grid = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), -1).reshape(-1, 2)
        bent = Intrinsics(WIDTH, HEIGHT, fx, fy, cx, cy, (camera[4], camera[5], camera[6], camera[7], camera[8]))
        at = bent.undistort(grid).astype(np.float32).reshape(HEIGHT, WIDTH, 2)
        image = cv2.remap(image, at, None, cv2.INTER_LINEAR)
    image = cv2.GaussianBlur(image, (0, 0), 0.7) + random.normal(0, 2, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def off(pose: Floats) -> tuple[float, float]:
    """Millimetres and degrees from the truth."""
    apart = pose @ invert(POSE)
    moves = pose[:3, 3] - POSE[:3, 3]
    return float(np.linalg.norm(moves) * 1e3), float(np.degrees(np.linalg.norm(cv2.Rodrigues(apart[:3, :3])[0])))


def solved(image: NDArray[np.uint8], camera: tuple[float, ...] = PINHOLE, **joints: float) -> OutlinePose | None:
    start = moved(POSE, OFF)
    return OutlineSolver.of(ROBOT).solve(image, camera, JOINTS | joints, start, SPREAD)


@pytest.mark.parametrize("camera", [PINHOLE, BENT])
def test_the_outline_brings_the_pose_back(camera: tuple[float, ...]) -> None:
    found = solved(picture(camera), camera)
    assert found is not None and found.sure and found.before < SURE < found.support
    before, after = off(moved(POSE, OFF)), off(found.pose)
    assert before[0] > 60 and before[1] > 2
    assert after[0] < 6 and after[1] < 1.2, after
    assert np.linalg.eigvalsh(found.covariance).min() > 0
    apart = found.pose @ invert(POSE)
    motion = np.concatenate([cv2.Rodrigues(apart[:3, :3])[0].ravel(), apart[:3, 3]])
    assert motion @ np.linalg.solve(found.covariance, motion) < 16.8, "99 % of chi-square with six degrees"


def test_it_says_the_same_every_time_and_of_a_larger_picture() -> None:
    image = picture()
    first, again = solved(image), solved(image)
    assert first is not None and again is not None and np.array_equal(first.pose, again.pose)
    large = cv2.resize(image, (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_CUBIC)
    fx, fy, cx, cy, *lens = PINHOLE
    found = solved(np.asarray(large), (2 * fx, 2 * fy, 2 * cx + 0.5, 2 * cy + 0.5, *lens))
    assert found is not None and found.sure and off(found.pose)[0] < 6


def test_poses_around_the_best_ones_bring_bad_starts_home(monkeypatch: pytest.MonkeyPatch) -> None:
    image, solver = picture(), OutlineSolver.of(ROBOT)
    starts = [moved(POSE, m) for m in np.random.default_rng(4).normal(size=(6, 6)) @ (3 * np.sqrt(SPREAD))]
    errors = {}
    for rounds in (1, outline_pose.ROUNDS):
        monkeypatch.setattr(outline_pose, "ROUNDS", rounds)
        found = [solver.solve(image, PINHOLE, JOINTS, start, 9 * SPREAD) for start in starts]
        errors[rounds] = sum(min(off(f.pose)[0], 200.0) if f is not None else 200.0 for f in found)
    assert errors[outline_pose.ROUNDS] < 0.8 * errors[1], errors


def test_a_start_in_the_mirror_is_left_for_the_other_one() -> None:
    wrong = moved(POSE, np.array([0.0, 0.5, 0.0, -0.7, 0.0, 0.2]))
    found = OutlineSolver.of(ROBOT).solve(picture(), PINHOLE, JOINTS, wrong, SPREAD, [moved(POSE, OFF)])
    assert found is not None and off(found.pose)[0] < 6


def test_nothing_to_go_by_is_no_answer() -> None:
    """A picture without edges; and one whose robot has other joints than were told, of which little fits."""
    for size in ((HEIGHT, WIDTH, 3), (4, 9000, 4), (1, 1, 3)):
        assert solved(np.full(size, 120, np.uint8)) is None
    sure = OutlineSolver.of(ROBOT).solve(picture(), PINHOLE, JOINTS, POSE, np.zeros((6, 6)))
    assert sure is not None and off(sure.pose)[0] < 0.1, "what is known exactly stays"
    assert OutlineSolver.of(ROBOT).solve(picture(), PINHOLE, JOINTS, POSE, np.full((6, 6), np.nan)) is None
    found = solved(picture(board=False), turn=-1.0, bend=-1.5)
    assert found is None or not found.sure


def test_shapes_that_would_take_minutes_to_draw_are_left() -> None:
    """A hundred walls behind one another, from far and from near."""
    wall = np.array([[-5, -5, 0], [5, -5, 0], [0, 9, 0]], np.float32)
    parts = tuple(ShapePart(wall + np.float32([0, 0, 0.01 * n]), np.array([[0, 1, 2]], np.uint32)) for n in range(100))
    solver, image = OutlineSolver.of_posed(ROBOT, RobotShapes(parts)), picture()
    near, far = np.eye(4), np.eye(4)
    near[2, 3], far[2, 3] = 2.0, 200.0
    assert solver.solve(image, PINHOLE, JOINTS, near, SPREAD) is None
    frames = dict.fromkeys(solver.shapes.links, np.eye(4))
    pinhole = Intrinsics(WIDTH, HEIGHT, *PINHOLE[:4])
    assert solver.shapes.overdraw(frames, near, pinhole) > 64 > 1 > solver.shapes.overdraw(frames, far, pinhole) > 0.1


def test_what_is_missing_is_one_sentence() -> None:
    with pytest.raises(UserError, match="brings no shapes"):
        OutlineSolver.of(Robot("bare", "base", ROBOT.joints))
    with pytest.raises(UserError, match="its joint bend"):
        OutlineSolver.of(ROBOT).check({"turn": 0.0})


def test_points_of_a_border_move_across_it_as_their_derivatives_say() -> None:
    k = Intrinsics(WIDTH, HEIGHT, *PINHOLE[:4])
    border = Border.of(Shapes.of(ROBOT).drawn(ROBOT.link_frames(JOINTS), POSE, k), k, 200)
    assert len(border.places) > 100 and np.allclose(np.linalg.norm(border.normals, axis=1), 1.0)
    assert np.allclose(k.project(border.points)[0], border.places)
    inside = Shapes.of(ROBOT).drawn(ROBOT.link_frames(JOINTS), POSE, k).shown > 0
    outwards = np.round(border.places + 3 * border.normals).astype(int)
    assert (~inside[outwards[:, 1], outwards[:, 0]]).mean() > 0.95
    for axis in range(6):
        motion = 1e-5 * np.eye(6)[axis]
        went = k.project(transform(moved(np.eye(4), motion), border.points))[0] - border.places
        assert np.allclose((went * border.normals).sum(1), border.rows @ motion, rtol=1e-3, atol=1e-7)
    few = border.take(border.links == 2)
    assert set(few.links) == {2} and len(few.rows) == (border.links == 2).sum()


def test_a_coarser_shape_is_near_the_shape() -> None:
    shapes = Shapes.of(ROBOT)
    coarse = shapes.coarser(0.04)
    for old, new in zip(shapes.vertices, coarse.vertices, strict=True):
        apart = np.linalg.norm(old[:, None] - new[None], axis=-1).min(1)
        assert apart.max() < 0.04 * np.sqrt(3)
    assert all(f.max() < len(v) for f, v in zip(coarse.faces, coarse.vertices, strict=True))
