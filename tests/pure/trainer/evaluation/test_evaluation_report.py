# SPDX-License-Identifier: GPL-3.0-or-later
"""``evaluate --html``: the page says what the JSON says, shows the worst images, and survives any name."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from robot_keypoints.trainer.commands import main as cli
from robot_keypoints.trainer.evaluation import error_plot, evaluation_report, image_errors
from robot_keypoints.trainer.evaluation.image_errors import Compared
from robot_keypoints.trainer.evaluation.keypoint_metrics import Measurement
from robot_keypoints.trainer.networks import factory, model_file
from robot_keypoints.trainer.networks.model_file import ModelInfo

NAMES = ("foot<b>", r"$\frac$", "_hand")
SIZE = (80, 60)


def model(path: Path) -> Path:
    """A model that claims every keypoint, of hostile names: it has learned nothing, but takes targets for so wide that
    its whole map lies around the peak."""
    info = ModelInfo(factory.NetworkConfig("light", 3, 16.0, width=8), 64, 48, NAMES, ())
    torch.manual_seed(0)
    net = factory.build(info.network)
    assert net.outside is not None
    torch.nn.init.constant_(net.outside.bias, -9.0)
    model_file.save_model(path, net.state_dict(), info)
    return path


def photographs(folder: Path, names: Sequence[str]) -> None:
    """Pictures of noise, and annotations at random places."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    images, annotations = [], []
    for i, name in enumerate(names):
        Image.fromarray(rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)).save(folder / name)
        images.append({"id": i, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
        points = [n for u, v in rng.uniform(5, 50, (3, 2)).tolist() for n in (u, v, 2)]
        annotations.append({"id": i, "image_id": i, "category_id": 1, "keypoints": points})
    category = {"id": 1, "name": "arm", "keypoints": NAMES}
    document = {"images": images, "annotations": annotations, "categories": [category]}
    (folder / "annotations.json").write_text(json.dumps(document), encoding="utf-8")


def evaluate(capsys: pytest.CaptureFixture[str], model: Path, data: Path, *more: str) -> tuple[int, Any, str]:
    code = cli.main(["evaluate", str(model), "--data", str(data), "--json", *more])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else None, captured.err


def test_the_page_says_what_the_json_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["<img src=x onerror=alert(1)>.png", "b.png", "c.png"]
    photographs(tmp_path / "data", names)
    page = tmp_path / "report.html"
    code, document, _ = evaluate(capsys, model(tmp_path / "m.safetensors"), tmp_path / "data", "--html", str(page))
    text = page.read_text(encoding="utf-8")
    assert code == 0
    assert f"{document['percent']['median']:.2f} %" in text and f"{document['percent']['mean']:.2f} %" in text
    sure = document["confidence"]
    assert sure["sure"] == 9 and f"{sure['false_sure']:,} of them lie more than 5 %" in text
    assert "Poses are not measured." in text and "Every image could be read." in text
    assert "foot&lt;b&gt;" in text and "foot<b>" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;.png" in text and "<img src=x" not in text
    assert text.count("data:image/jpeg;base64,") == 3 and text.count("data:image/svg+xml;base64,") == 3


def test_the_worst_images_come_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photographs(tmp_path / "data", [f"{i}.png" for i in range(15)])
    page = tmp_path / "report.html"
    evaluate(capsys, model(tmp_path / "m.safetensors"), tmp_path / "data", "--html", str(page))
    captions = [c.split("<")[0] for c in page.read_text(encoding="utf-8").split("<figcaption>")[1:]]
    errors = [float(c.split("mean error ")[1].split()[0]) for c in captions]
    assert len(captions) == evaluation_report.WORST == 12 and errors == sorted(errors, reverse=True)
    percent = np.array([[1.0, 9.0], [np.nan, 7.0], [np.nan, np.nan], [2.0, 3.0]])
    assert evaluation_report.worst_first(percent) == [1, 0, 3]


def test_a_picture_that_can_not_be_read_is_named_and_the_others_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs(tmp_path / "data", ["a.png", "b.png", "c.png"])
    file, page = model(tmp_path / "m.safetensors"), tmp_path / "report.html"
    _, whole, _ = evaluate(capsys, file, tmp_path / "data")
    (tmp_path / "data" / "b.png").write_bytes(b"\x89PNG no more")
    code, document, errors = evaluate(capsys, file, tmp_path / "data", "--html", str(page))
    assert code == 2 and document["images"] == 2 and document["percent"]["count"] == 6
    assert whole["unreadable"] == [] and [e["image"] for e in document["unreadable"]] == ["b.png"]
    warning, told, last = errors.splitlines()
    assert warning.startswith("warning: ") and "b.png can't be read as an image" in warning
    assert told == f"report: {page}" and last.startswith("error: 1 of 3 images could not be read")
    text = page.read_text(encoding="utf-8")
    assert "Image that can&#39;t be read" in text and text.count("data:image/jpeg;base64,") == 2


def test_the_table_tells_who_is_falsely_sure_and_what_was_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs(tmp_path / "data", ["a.png", "b.png"])
    file = model(tmp_path / "m.safetensors")
    (tmp_path / "data" / "b.png").write_bytes(b"\x89PNG no more")
    _, document, _ = evaluate(capsys, file, tmp_path / "data")
    assert cli.main(["evaluate", str(file), "--data", str(tmp_path / "data")]) == 2
    table = capsys.readouterr().out
    wrong = document["confidence"]["false_sure"]
    assert f"falsely sure: of 3 keypoints that are claimed, {wrong} of them" in table
    assert "1 image could not be read" in table


def test_people_are_compared_in_the_pictures_that_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs(tmp_path / "data", ["a.png", "b.png"])
    people = [tmp_path / "anna.json", tmp_path / "ben.json"]
    for path in people:
        path.write_bytes((tmp_path / "data" / "annotations.json").read_bytes())
    (tmp_path / "data" / "a.png").write_bytes(b"\x89PNG no more")
    page = tmp_path / "report.html"
    plot = tmp_path / "spread.png"
    raters = ["--raters", *map(str, people), "--html", str(page), "--raters-plot", str(plot)]
    code, document, _ = evaluate(capsys, model(tmp_path / "m.safetensors"), tmp_path / "data", *raters)
    assert code == 2 and list(document["raters"]["per_photograph"]) == ["b.png"]
    text = page.read_text(encoding="utf-8")
    assert "2 people on 1 photograph" in text
    assert text.count("data:image/png;base64,") == 1 and Image.open(plot).size == (1280, 960)


@pytest.mark.parametrize(("arguments", "words"), [
    (["--raters-plot", "{}/spread.png"], "give them with --raters"),
    (["--raters-plot", "{}/spread.jpg", "--raters", "{}/data"], "does not end with .png"),
    (["--raters-plot", "{}/no/spread.png", "--raters", "{}/data"], "can't be written"),
])  # fmt: skip
def test_a_spread_that_could_not_be_drawn_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    photographs(tmp_path / "data", ["a.png"])
    command = [model(tmp_path / "m.safetensors"), tmp_path / "data", *(a.format(tmp_path) for a in arguments)]
    code, document, errors = evaluate(capsys, *command)
    assert code == 2 and document is None and words in errors and len(errors.splitlines()) == 1


@pytest.mark.parametrize(("name", "words"), [("r.txt", "does not end with .html"), ("no/r.html", "There is no folder")])
def test_a_report_that_could_not_be_written_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    photographs(tmp_path / "data", ["a.png"])
    command = [model(tmp_path / "m.safetensors"), tmp_path / "data", "--html", str(tmp_path / name)]
    code, document, errors = evaluate(capsys, *command)
    assert code == 2 and document is None and words in errors and len(errors.splitlines()) == 1


def test_a_name_with_a_formula_is_drawn_as_it_is(tmp_path: Path) -> None:
    errors = np.array([[1.0, 2.0, 3.0]])
    measured = Measurement(NAMES, errors, errors, np.full((1, 3), 2), np.ones((1, 3)))
    error_plot.draw_errors(tmp_path / "errors.svg", measured, r"$\nope$ on 1 image")
    assert (tmp_path / "errors.svg").stat().st_size > 1000


def test_truth_and_prediction_are_drawn_where_they_are() -> None:
    image = np.full((240, 320, 3), 128, np.uint8)
    true, found = np.array([[100.0, 120.0], [np.nan, np.nan]]), np.array([[200.0, 120.0], [5.0, 5.0]])
    compared = Compared(("a", "b"), true, found, np.array([25.0, np.nan]), np.array([0.9, 0.9]))
    left, top, right, bottom = image_errors.part(np.array([[100.0, 120.0], [200.0, 120.0]]), image.shape)
    assert (right - left) / (bottom - top) == pytest.approx(320 / 240, abs=0.02)
    picture = np.asarray(Image.open(io.BytesIO(image_errors.draw(image, compared)))).astype(int)
    scale = picture.shape[1] / (right - left)
    assert picture.shape[1] == image_errors.WIDTH

    def near(u: float, v: float, colour: tuple[int, int, int]) -> bool:
        x, y = round((u - left + 0.5) * scale), round((v - top + 0.5) * scale)
        reach = round(12 * image_errors.WIDTH / 960)
        part = picture[y - reach : y + reach + 1, x - reach : x + reach + 1]
        return bool((np.abs(part - colour).sum(-1) < 90).any())

    assert near(100, 120, image_errors.TRUE) and near(200, 120, image_errors.FOUND)
    assert near(150, 120, image_errors.FAR) and not near(150, 150, image_errors.FAR)
    assert not near(200, 120, image_errors.TRUE)


@pytest.mark.parametrize("points", [[], [[0.0, 0.0]], [[-50.0, 3.0], [900.0, 70.0]], [[79.0, 59.0], [78.0, 58.0]]])
def test_the_part_that_is_shown_lies_in_the_picture_and_holds_the_points(points: list[list[float]]) -> None:
    left, top, right, bottom = image_errors.part(np.array(points).reshape(-1, 2), (60, 80, 3))
    assert 0 <= left < right <= 80 and 0 <= top < bottom <= 60 and right - left >= 32
    for u, v in points:
        assert left <= min(max(u, 0), 79) < right and top <= min(max(v, 0), 59) < bottom


def test_pictures_in_the_page_are_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photographs(tmp_path / "data", ["a.png"])
    page = tmp_path / "report.html"
    evaluate(capsys, model(tmp_path / "m.safetensors"), tmp_path / "data", "--html", str(page))
    data = page.read_text(encoding="utf-8").split("data:image/jpeg;base64,")[1].split('"')[0]
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.width == image_errors.WIDTH
