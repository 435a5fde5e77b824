# SPDX-License-Identifier: GPL-3.0-or-later
"""A resting camera by the outlines of a robot that is drawn over a background that tells nothing of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from box_arm import ROBOT
from PIL import Image
from robot_keypoints.core.camera.intrinsics import Intrinsics, invert, transform
from robot_keypoints.core.camera.rasterizer import numbers
from robot_keypoints.core.meshes.solids import solid
from robot_keypoints.trainer.footage.outlines import Outlined, by_outlines
from robot_keypoints.trainer.footage.recording import Camera, Floats, Footage, Frame

COUNT = 12
WRONG = 5
"""The image whose joints are those of another."""
LENS = Intrinsics(320, 240, 300.0, 300.0, 159.5, 119.5)
FINE = Intrinsics(1280, 960, 1200.0, 1200.0, 639.5, 479.5)
"""The same with four times as many pixels each way."""


POSE = np.array([[-0.6, 0.8, 0.0, 0.02], [0.24, 0.18, -0.954, 0.35], [-0.7632, -0.5724, -0.3, 1.5], [0, 0, 0, 1]])


def _record(folder: Path, seed: int = 4, wrong: int | None = WRONG, halo: int = 0, offset: float = 0.0) -> Footage:
    """Images, and joints that are those of another image in the wrong one.

    Args:
        halo: quarters of a pixel by which the robot looks wider than it is, as blur and shadows make it.
        offset: standard deviation of what the joints' sensors are off by, radians.
    """
    random = np.random.default_rng(seed)
    sensors = dict(zip(("turn", "bend"), offset * random.normal(size=2), strict=True))
    background = cv2.GaussianBlur(random.uniform(40, 200, (240, 320, 3)).astype(np.float32), (0, 0), 3)
    frames = []
    shapes = [solid(v).placed(np.array(v.origin)) for v in ROBOT.visuals]
    for k in range(COUNT):
        joints = {"turn": float(random.uniform(-1.5, 1.5)), "bend": float(random.uniform(-1.2, 1.2))}
        links = ROBOT.link_frames({n: v + sensors[n] for n, v in joints.items()})
        image = background.copy()
        placed = [transform(POSE @ links[v.link], s.vertices) for v, s in zip(ROBOT.visuals, shapes, strict=True)]
        firsts = np.cumsum([0, *(len(p) for p in placed)])
        faces = np.concatenate([s.faces + f for s, f in zip(shapes, firsts, strict=False)])
        shown = (numbers(np.concatenate(placed), faces, np.ones(len(faces), np.uint16), FINE) > 0).astype(np.float32)
        shown = cv2.dilate(shown, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * halo + 1, 2 * halo + 1)))
        share = cv2.resize(shown, (LENS.width, LENS.height), interpolation=cv2.INTER_AREA)[..., None]
        image = image * (1 - share) + share * (230, 240, 250)
        image = cv2.GaussianBlur(image, (0, 0), 0.7) + random.normal(0, 2, image.shape)
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(folder / f"{k:02d}.png")
        if k == wrong:
            joints = {"turn": joints["turn"] + 0.4, "bend": joints["bend"] - 0.4}
        frames.append(Frame("left", folder / f"{k:02d}.png", moment=str(k), positions=joints))
    return Footage(folder / "footage.toml", ROBOT, (Camera("left", LENS, size=(320, 240)),), (), tuple(frames))


def _off(outlined: Outlined) -> tuple[float, float]:
    """Millimetres and degrees from the truth."""
    apart = outlined.pose @ invert(POSE)
    return float(np.linalg.norm(apart[:3, 3]) * 1e3), float(np.degrees(np.linalg.norm(cv2.Rodrigues(apart[:3, :3])[0])))


@pytest.fixture
def start() -> Floats:
    """Some 7 pixels off."""
    off = np.eye(4)
    off[:3, :3] = cv2.Rodrigues(np.radians([0.5, -0.6, 1.0]))[0]
    off[:3, 3] = 0.01, -0.02, 0.04
    return np.asarray(off @ POSE)


def test_the_camera_is_found_and_the_wrong_record_disagrees(tmp_path: Path, start: Floats) -> None:
    footage = _record(tmp_path)
    told: list[tuple[int, int]] = []
    right = [k for k in range(COUNT) if k != WRONG]
    found = by_outlines(footage, "left", start, right, {}, lambda done, whole: told.append((done, whole)))
    assert found is not None
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[0][0] == 0 and told[-1][0] == told[-1][1]
    millimetres, angle = _off(found)
    assert millimetres < 6 and angle < 0.3
    agreement = dict(found.agreement)
    assert agreement.pop(WRONG) < 0.5 * min(agreement.values())


def test_few_images_tell_nothing(tmp_path: Path, start: Floats) -> None:
    assert by_outlines(_record(tmp_path), "left", start, range(7), {}) is None


@pytest.mark.parametrize(("halo", "offset"), [(0, 0.0), (2, 0.0), (1, 0.004)])
def test_the_covariance_tells_the_truth(tmp_path: Path, start: Floats, halo: int, offset: float) -> None:
    """Normalised squared errors of places of the robot in the image: 1 for each of both directions in the mean."""
    places = np.array([[0, 0, 0.1], [0, 0, 0.4], [0.3, 0, 0.6], [0, 0.3, 0.6], [-0.3, 0, 0.3]])
    squares = []
    for seed in range(4):
        footage = _record(tmp_path, seed, None, halo, offset)
        found = by_outlines(footage, "left", start, range(COUNT), {})
        assert found is not None
        seen, true = transform(found.pose, places), transform(POSE, places)
        for p, error in zip(seen, LENS.project(seen)[0] - LENS.project(true)[0], strict=True):
            project = np.array([[1, 0, -p[0] / p[2]], [0, 1, -p[1] / p[2]]]) * LENS.fx / p[2]
            slope = np.concatenate([np.cross(p, project), project], 1)
            squares.append(error @ np.linalg.solve(slope @ found.covariance @ slope.T, error) / 2)
    assert 0.2 < np.mean(squares) < 2.0
