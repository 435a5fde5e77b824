# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels of simulated footage against what is true, on disk, and in the report."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from moving_robots import simulate
from robot_keypoints.trainer.datasets import reader
from robot_keypoints.trainer.footage import label_overlay, label_report, label_writer
from robot_keypoints.trainer.footage.filter_problem import ERRORS, FilterProblem, fit_deviations, make_problem
from robot_keypoints.trainer.footage.labelling import METHODS, Labelled, Method, label_frames
from robot_keypoints.trainer.footage.recording import Quality
from robot_keypoints.trainer.pose.kinematic_filter import SensorModel
from robot_keypoints.trainer.reports import page
from scipy.stats import chi2
from simulated_footage import INTRINSICS, KEYPOINTS, ROBOT, Known, camera_on_the_hand, resting_camera

MODEL = SensorModel.uniform(6, offset=math.radians(1), error=math.radians(0.2))
STEPS, RECORDINGS = 16, 10


@pytest.fixture(scope="module")
def known() -> Known:
    return resting_camera(simulate(STEPS, 11, MODEL, runs=2))


def problem_of(known: Known, model: SensorModel = MODEL) -> FilterProblem:
    every = list(range(len(known.footage.frames)))
    return make_problem(known.footage, known.observations, known.placement, {"board"}, KEYPOINTS, model, every)


def labelled(known: Known, method: Method, most: float = 1e3) -> Labelled:
    return label_frames(problem_of(known), known.observations, KEYPOINTS, method, most)


def errors(known: Known, result: Labelled) -> np.ndarray:
    """Pixels ``(L, J, 2)`` by which keypoints are off."""
    found = np.array([[k.uv for k in label.keypoints] for label in result.labels])
    return found - np.stack([known.keypoints(label.frame) for label in result.labels])


def test_every_image_is_labelled_and_says_by_what(known: Known) -> None:
    seen = {o.frame for o in known.observations}
    assert len(seen) == STEPS // 2
    for method in METHODS:
        result = labelled(known, method)
        other = {"marker": None, "smoother": "smoother"}.get(method, "filter")
        wanted = {k: "marker" if k in seen else other for k in range(STEPS)}
        assert {label.frame: label.source for label in result.labels} == {k: s for k, s in wanted.items() if s}
        assert set(result.left_out) == {k for k, s in wanted.items() if s is None}
    assert all("only markers" in why for why in labelled(known, "marker").left_out.values())


def test_keypoints_are_where_they_are_in_truth_as_far_as_said(known: Known) -> None:
    result = labelled(known, "smoother")
    off = errors(known, result)
    spreads = np.array([[k.covariance for k in label.keypoints] for label in result.labels])
    distances = np.einsum("lji,ljik,ljk->lj", off, np.linalg.inv(spreads), off)
    assert float(np.linalg.norm(off, axis=-1).mean()) < 3.0
    # Keypoints of one recording have their errors in common, so no more than the size can be asked for.
    assert 0.2 < float(distances.mean()) < 6.0
    label = result.labels[3]
    assert np.abs(np.array(list(label.joints.values())) - known.joints[label.frame]).max() < math.radians(2)
    assert label.deviation == pytest.approx(np.sqrt(np.linalg.eigvalsh(spreads[3]).max()))
    assert label.links["ee_link"] == pytest.approx(label.T_cam_base @ ROBOT.link_frames(label.joints)["ee_link"])


def test_covariances_of_labels_by_markers_are_true() -> None:
    """Over recordings; all errors of one may be the same, so that each counts for one."""
    squares = []
    for seed in range(RECORDINGS):
        recording = resting_camera(simulate(STEPS, 100 + seed, MODEL, runs=2))
        result = labelled(recording, "marker", math.inf)
        assert len(result.labels) == STEPS // 2
        spreads = np.array([[k.covariance for k in label.keypoints] for label in result.labels])
        off = errors(recording, result)
        squares.append(np.einsum("lji,ljik,ljk->lj", off, np.linalg.inv(spreads), off).mean())
    low, high = chi2.ppf((0.005, 0.995), 2 * RECORDINGS) / RECORDINGS
    assert low < np.mean(squares) < high


def test_the_camera_on_the_hand_is_labelled_as_well() -> None:
    known = camera_on_the_hand(simulate(STEPS, 11, MODEL, runs=2))
    result = labelled(known, "smoother", math.inf)
    assert len(result.labels) == STEPS
    for label in result.labels:
        away = np.linalg.inv(label.T_cam_base) @ known.T_cam_base[label.frame]
        assert np.linalg.norm(away[:3, 3]) < 0.04
    assert all(label.reprojection < 10 for label in result.labels if label.source == "marker")


def test_images_that_are_known_too_badly_are_left_out(known: Known) -> None:
    everything = labelled(known, "forward")
    limit = float(np.median([label.deviation for label in everything.labels]))
    result = labelled(known, "forward", limit)
    assert 0 < len(result.labels) < STEPS
    assert all(label.deviation <= limit for label in result.labels)
    assert all("pixels only" in why for why in result.left_out.values())


def test_an_image_whose_marker_contradicts_is_left_out(known: Known) -> None:
    observations = list(known.observations)
    observations[5] = replace(observations[5], poses=observations[0].poses)
    wrong = replace(known, observations=tuple(observations))
    result = labelled(wrong, "smoother")
    assert set(result.left_out) == {observations[5].frame}
    assert "contradicts" in result.left_out[observations[5].frame]
    without = labelled(replace(known, observations=known.observations[:5] + known.observations[6:]), "smoother")
    there = {label.frame: label.T_cam_base for label in without.labels}
    assert all(np.abs(label.T_cam_base - there[label.frame]).max() < 1e-9 for label in result.labels)


def test_a_frame_of_another_camera_at_the_same_moment_is_the_same_step(known: Known) -> None:
    second = replace(known.footage.cameras[0], name="right")
    frames = (*known.footage.frames, *(replace(f, camera="right") for f in known.footage.frames))
    footage = replace(known.footage, cameras=(*known.footage.cameras, second), frames=frames)
    twice = [*known.observations, *(replace(o, frame=o.frame + STEPS) for o in known.observations)]
    placement = replace(known.placement, cameras=dict.fromkeys(("left", "right"), known.placement.cameras["left"]))
    problem = make_problem(footage, twice, placement, {"board"}, KEYPOINTS, MODEL, list(range(2 * STEPS)))
    assert problem.places == tuple((k, k + STEPS) for k in range(STEPS))
    result = label_frames(problem, twice, KEYPOINTS, "smoother", 1e3)
    assert [label.frame for label in result.labels] == list(range(2 * STEPS))
    for mine, other in zip(result.labels[:STEPS], result.labels[STEPS:], strict=True):
        assert mine.joints == other.joints
        assert np.abs(mine.T_cam_base - other.T_cam_base).max() < 0.01


def test_deviations_are_those_under_which_the_markers_are_likely() -> None:
    for error in (ERRORS[0], ERRORS[4]):
        model = SensorModel.uniform(6, offset=math.radians(1), error=error)
        chosen = fit_deviations(problem_of(resting_camera(simulate(24, 4, model, hidden=0.0))))
        assert float(chosen.recording.model.error[0]) == pytest.approx(error, rel=3.5)
    given = replace(MODEL, offset=torch.arange(6, dtype=torch.float64))
    kept = fit_deviations(problem_of(resting_camera(simulate(6, 4, MODEL, hidden=0.0)), given), with_offsets=False)
    assert torch.equal(kept.recording.model.offset, given.offset)


def write(known: Known, form: str, folder: Path) -> Labelled:
    result = labelled(known, "smoother")
    data = label_writer.open_data_set(folder, form, ROBOT, KEYPOINTS)
    pixels = np.zeros((480, 640, 3), np.uint8)
    for index, label in enumerate(result.labels):
        seen = [o for o in known.observations if o.frame == label.frame]
        label_writer.write(data, index, label, known.footage.frames[label.frame], INTRINSICS, pixels, seen)
    data.finish()
    return result


@pytest.mark.parametrize("form", ["coco", "ndds"])
def test_what_is_written_is_read_by_evaluate(known: Known, form: str, tmp_path: Path) -> None:
    result = write(known, form, tmp_path)
    read = reader.read(tmp_path)
    assert read.names == tuple(k.name for k in KEYPOINTS)
    assert len(read.items) == len(result.labels)
    for item, label in zip(read.items, result.labels, strict=True):
        (robot,) = item.robots
        assert np.array(robot.pose) == pytest.approx(label.T_cam_base)
        assert robot.joints == pytest.approx(label.joints)
        assert item.camera == pytest.approx((500.0, 505.0, 318.0, 242.0, -0.2, 0.05, 0.001, -0.001, 0.0))
        for keypoint in label.keypoints:
            u, v, seen = robot.points[keypoint.name]
            inside = bool(INTRINSICS.contains([keypoint.uv])[0])
            assert seen == (2 if inside else 0)
            if inside:
                assert (u, v) == pytest.approx(keypoint.uv)


def test_labels_tell_where_they_come_from(known: Known, tmp_path: Path) -> None:
    result = write(known, "coco", tmp_path)
    document = json.loads((tmp_path / "annotations.json").read_text())
    assert document["info"]["description"] == label_writer.DESCRIPTION
    for image, annotation, label in zip(document["images"], document["annotations"], result.labels, strict=True):
        frame = known.footage.frames[label.frame]
        assert image["footage"] == {"camera": "left", "file": frame.path.name, "frame": None, "time": frame.time}
        assert annotation["source"] == label.source
        assert np.array(annotation["covariance"]) == pytest.approx(label.covariance)
        for given, keypoint in zip(annotation["keypoint_covariances"], label.keypoints, strict=True):
            assert np.array(given) == pytest.approx(keypoint.covariance)
        assert [q["marker"] for q in annotation["quality"]] == ["board"] * (label.source == "marker")


def test_the_report_tells_sources_reasons_and_draws(known: Known) -> None:
    frames = list(known.footage.frames)
    frames[4] = replace(frames[4], path=Path("<b>&.png"))
    strange = replace(known, footage=replace(known.footage, frames=tuple(frames)))
    bad = replace(known.observations[0], frame=4, quality=Quality(("The image is blurred there.",), 0.4, 9.0, 7.0, 0.3))
    result = labelled(strange, "smoother").with_left_out({15: "The joint log says nothing of it."})
    result = replace(result, labels=result.labels[:-1])
    shown = label_report.choose_shown(result)
    assert 4 <= len(shown) <= label_report.SHOWN
    image = np.full((480, 640, 3), 90, np.uint8)
    pairs = label_writer.body_of(ROBOT, KEYPOINTS).skeleton
    drawn = {
        label.frame: label_overlay.draw_label(image, label, pairs) for label in result.labels if label.frame in shown
    }
    text = page.render(
        label_report.page_of(result, [*known.observations, bad], drawn, ["A sentence of the calibration."])
    )
    for part in ("The joint log says nothing of it.", "The image is blurred there.", "A sentence of the calibration."):
        assert part in text
    assert "&lt;b&gt;&amp;.png" in text and "<b>&.png" not in text
    assert text.count("data:image/jpeg") == len(shown) and text.count("data:image/svg+xml") == 2
