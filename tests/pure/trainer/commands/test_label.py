# SPDX-License-Identifier: GPL-3.0-or-later
"""``label`` on photographs of a marker, with sensors that are off, against what is true; and what users do wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from marker_footage import CAMERA, JOINTS, Recorded, frames_at, record
from numpy.typing import NDArray
from robot_keypoints.core.messages import job_progress
from robot_keypoints.core.robot.keypoints import joint_keypoints
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.trainer.commands.main import main
from robot_keypoints.trainer.datasets import reader

COUNT = 14
BLURRED = {3, 4, 8, 9, 10}
WRONG = 13
OFFSETS = dict(zip(JOINTS, (0.01, -0.02, 0.015, 0.02, -0.015, 0.01), strict=True))
"""Radians that sensors read too little: about one degree."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A camera at rest, some images blurred, sensors off, and the joints of one pose those of another."""

    def edit(k: int, _: str, pose: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        return pose, 6.0 if k in BLURRED else 0.0

    made = record(tmp_path_factory.mktemp("footage"), count=COUNT, edit=edit)
    read = {str(k + 1): {n: v - OFFSETS[n] for n, v in p.items()} for k, p in enumerate(made.poses)}
    read[str(WRONG)] = dict(read["1"])
    made.save(joints=read)
    return made


@pytest.fixture(scope="module")
def labelled(recorded: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("labels") / "data"
    assert main(["label", str(recorded.file), "--out", str(out)]) == 0
    return out


def test_blurred_images_are_labelled_by_the_smoother_and_a_wrong_one_is_left_out(
    recorded: Recorded, labelled: Path
) -> None:
    summary = json.loads((labelled / "labelling.json").read_text())
    left = summary["left_out"]
    assert "contradicts" in left.pop(f"cam1_{WRONG:02d}.png")
    assert list(left.values()) == ["No keypoint is inside the image."]
    assert summary["sources"] == {"marker": COUNT - 2 - len(BLURRED), "smoother": len(BLURRED)}
    document = json.loads((labelled / "annotations.json").read_text())
    source = {
        i["footage"]["file"]: a["source"] for i, a in zip(document["images"], document["annotations"], strict=True)
    }
    assert {int(f[5:7]) for f, s in source.items() if s == "smoother"} == BLURRED


def test_labels_are_nearer_to_the_truth_than_the_sensors(recorded: Recorded, labelled: Path) -> None:
    document = json.loads((labelled / "annotations.json").read_text())
    points = joint_keypoints(load_urdf(Path(recorded.document["robot"])))
    off: dict[str, list[float]] = {"labels": [], "sensors": []}
    for image, annotation in zip(document["images"], document["annotations"], strict=True):
        pose = int(image["footage"]["file"][5:7])
        true, read = recorded.poses[pose - 1], recorded.document["joints"][str(pose)]
        pixels = np.array(annotation["keypoints"]).reshape(-1, 3)
        seen = pixels[:, 2] > 0
        for name, joints in (("truth", true), ("sensors", read)):
            frames = frames_at(joints)
            places = [(recorded.cameras["cam1"] @ frames[p.frame] @ (*p.offset, 1))[:3] for p in points]
            there = CAMERA.project(np.array(places))[0][seen]
            if name == "truth":
                true_pixels = there
                off["labels"] += np.linalg.norm(pixels[seen, :2] - there, axis=1).tolist()
            else:
                off["sensors"] += np.linalg.norm(true_pixels - there, axis=1).tolist()
    assert off["labels"]
    assert np.mean(off["labels"]) < np.mean(off["sensors"]) / 2


def test_evaluate_can_read_it_and_the_report_is_whole(labelled: Path) -> None:
    read = reader.read(labelled)
    assert len(read.items) == COUNT - 2
    assert all(item.picture().pixels.shape == (CAMERA.height, CAMERA.width, 3) for item in read.items)
    text = (labelled / "report.html").read_text()
    assert text.rstrip().endswith("</html>")
    assert f"cam1_{WRONG:02d}.png" in text


def test_programs_are_told_when_it_no_longer_counts_frames(
    recorded: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a bar stays full while cameras and poses are being found."""
    assert main(["label", str(recorded.file), "--out", str(tmp_path / "data"), "--json", "--progress"]) == 0
    told = [job_progress.decode(line) for line in capsys.readouterr().out.splitlines()]
    steps = [line for line in told if isinstance(line, job_progress.JobProgress)]
    assert list(dict.fromkeys(s.stage for s in steps)) == ["markers", "calibration", "filter", "labels"]
    assert all(s.fraction == 0.0 for s in steps if s.stage in ("calibration", "filter"))


def test_only_markers_leave_blurred_images_out(
    recorded: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data"
    words = ["--method", "marker", "--format", "ndds", "--most-deviation", "20", "--json"]
    assert main(["label", str(recorded.file), "--out", str(out), *words]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["sources"] == {"marker": COUNT - 2 - len(BLURRED)}
    assert len(summary["left_out"]) == 2 + len(BLURRED)
    assert len(reader.read(out).items) == summary["labelled"]


def refused(arguments: list[str], out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that an error is told in; nothing has been written."""
    before = sorted(p.name for p in out.parent.iterdir())
    assert main(["label", *arguments, "--out", str(out)]) == 2
    (line,) = [t for t in capsys.readouterr().err.splitlines() if not t.startswith(("markers", "warning", "labels"))]
    assert line.startswith("error: ")
    assert sorted(p.name for p in out.parent.iterdir()) == before
    return line


def test_a_folder_with_something_in_it_is_left_as_it_is(
    recorded: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data"
    out.mkdir()
    (out / "kept.txt").write_text("kept")
    assert "is there already" in refused([str(recorded.file)], out, capsys)
    assert (out / "kept.txt").read_text() == "kept"


def test_what_cannot_be_used_is_told_in_a_sentence(
    recorded: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, source = tmp_path / "data", str(recorded.file)
    assert "--most-deviation" in refused([source, "--most-deviation", "0"], out, capsys)
    assert "can be labelled" in refused([source, "--most-deviation", "0.0001"], out, capsys)
    assert "--joints-deviation" in refused([source, "--joints-deviation", "2"], out, capsys)
    assert "nowhere.toml" in refused([str(tmp_path / "nowhere.toml")], out, capsys)
    whole = dict(recorded.document)
    try:
        short = {**whole["markers"]["board"], "inner_corners": [6, 4]}
        assert "inner_corners" in refused([str(recorded.save(markers={"board": short}))], out, capsys)
        other = {"kind": "aruco", "dictionary": "DICT_4X4_50", "id": 3, "marker_m": 0.05, "on": "ee_link"}
        refused([str(recorded.save(markers={"board": other}))], out, capsys)
        recorded.save(**whole)
        degrees = {k: {n: float(np.degrees(v)) for n, v in p.items()} for k, p in whole["joints"].items()}
        refused([str(recorded.save(joints=degrees))], out, capsys)
    finally:
        recorded.save(**whole)
