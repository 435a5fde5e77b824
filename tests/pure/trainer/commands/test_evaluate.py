# SPDX-License-Identifier: GPL-3.0-or-later
"""``evaluate``: what is read from data sets of ours and of others, matched by name, measured, compared with people."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_blender
import numpy as np
import pytest
import synthetic
import torch
from PIL import Image
from robot_keypoints.core import files
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.messages.job_progress import ProgressWriter, decode
from robot_keypoints.trainer.commands import evaluate as evaluate_command, main as cli
from robot_keypoints.trainer.datasets import keypoint_matching, reader as dataset_reader, sample_label
from robot_keypoints.trainer.datasets.annotations import Annotation, Item
from robot_keypoints.trainer.datasets.coco_writer import CocoDataSet
from robot_keypoints.trainer.datasets.ndds_writer import NddsDataSet
from robot_keypoints.trainer.datasets.writer import DataSet, Finished
from robot_keypoints.trainer.evaluation import error_plot, rater_spread
from robot_keypoints.trainer.evaluation.keypoint_metrics import Measurement
from robot_keypoints.trainer.images import image_file
from robot_keypoints.trainer.inference.predictor import Found, Predictor
from robot_keypoints.trainer.networks import factory, model_file
from robot_keypoints.trainer.networks.model_file import ModelInfo
from robot_keypoints.trainer.networks.two_passes import STILL

NAMES = synthetic.NAMES
COUNT = 8
INFO = ModelInfo(factory.NetworkConfig("light", 3, 1.0, width=8), 64, 48, NAMES, (("foot", "knee"), ("knee", "hand")))


class Guesses(Predictor):
    """Answers what it was given, one image after another."""

    def __init__(self, points: np.ndarray, confidences: np.ndarray, info: ModelInfo = INFO) -> None:
        super().__init__(factory.build(info.network), info, torch.device("cpu"))
        self.answers = list(zip(points, confidences, strict=True))

    def predict(self, images: Sequence[Any], inspection: Any = None, peaks: int = 0) -> list[list[Found]]:
        results = []
        for _ in images:
            points, confidences = self.answers.pop(0)
            rows = zip(self.info.keypoints, points, confidences, strict=True)
            results.append([Found(n, float(u), float(v), float(c), ((1, 0), (0, 1))) for n, (u, v), c in rows])
        return results


def model(path: Path) -> Path:
    model_file.save_model(path, factory.build(INFO.network).state_dict(), INFO)
    return path


def nowhere() -> factory.KeypointNetwork:
    """A network of weights that are no numbers."""
    result = factory.build(INFO.network)
    with torch.no_grad():
        for weights in result.parameters():
            weights.fill_(float("nan"))
    return result


def write(kind: type[DataSet], folder: Path) -> list[Any]:
    """A data set as ``render`` writes it, and the samples in it."""
    settings = synthetic.settings()
    scene, bodies = settings.scene_model(), sample_label.bodies(settings, ["stick"])
    data = kind(folder, bodies, False)
    folder.mkdir(exist_ok=True)
    data.begin()
    samples = [synthetic.sample(scene, np.random.default_rng([4, i]), 0, i) for i in range(COUNT)]
    samples = [fake_blender.detailed(s, settings) for s in samples]
    for i, sample in enumerate(samples):
        data.write(Finished(i, sample.image[..., :3], sample_label.label(sample, i, bodies), None))
    data.finish()
    return samples


def coco(
    path: Path, points: dict[str, Sequence[Sequence[float]]], size: tuple[int, int] = (80, 60), **more: Any
) -> Path:
    """A foreign COCO file: ``{file_name: (u, v, visibility) of each keypoint}``."""
    names = more.get("names", NAMES)
    images = [{"id": i, "file_name": n, "width": size[0], "height": size[1]} for i, n in enumerate(points)]
    annotations = [
        {"id": i, "image_id": i, "category_id": 3, "keypoints": [x for k in rows for x in k], "area": 100.0}
        for i, rows in enumerate(points.values())
    ]
    category = {"id": 3, "name": "arm", "keypoints": list(names)}
    document = {"images": images, "annotations": annotations, "categories": [category]}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def photographs(folder: Path, names: Sequence[str], size: tuple[int, int] = (80, 60)) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (90, 120, 90)).save(folder / name)


@pytest.mark.parametrize("decoder", ["soft_argmax", "curve_fit"])
def test_keypoints_just_outside_are_measured_apart(tmp_path: Path, decoder: str) -> None:
    """Three that the image cuts off, one far outside, one inside; (0, 0) is what COCO says of those not labelled."""
    info = replace(INFO, network=replace(INFO.network, sigma=4.0, decoder=decoder))  # 12 of 80 pixels are within reach
    photographs(tmp_path, ["a.png", "b.png"], (64, 48))
    rows = {"a.png": [(-4.5, 20, 1), (30, 20, 2), (0, 0, 0)], "b.png": [(66.5, 10, 2), (-40, 10, 1), (20, -8.5, 2)]}
    data = dataset_reader.read(coco(tmp_path / "c.json", rows, (64, 48)))
    points = np.array([[(-7.5, 24), (30, 20), (5, 5)], [(66.5, 10), (5, 5), (20, -8.5)]], float)
    sure = np.array([[0.9, 0.9, 0.2], [0.8, 0.1, 0.3]])
    measured = evaluate_command.measure(Guesses(points, sure, info), data, ProgressWriter()).measurement.to_dict()
    assert measured["truncated"]["count"] == 3 and measured["truncated"]["found"] == pytest.approx(2 / 3)
    assert measured["truncated"]["percent"]["count"] == 2
    assert measured["truncated"]["percent"]["mean"] == pytest.approx(100 * (5 + 0) / 80 / 2)
    assert measured["per_keypoint"]["knee"]["truncated"] is None
    # A place outside the image doesn't claim to be in it, which a mean's place always does.
    false = measured["detection"]["false_positives"]
    assert false == (0.0 if decoder == "curve_fit" else pytest.approx(2 / 4))
    # NDDS tells such places beside a visibility of 0.
    [item, _] = data.items
    item = replace(item, robots=(Annotation({"foot": (-4.5, 20.0, 0), "knee": (30.0, 20.0, 2)}, None),))
    truth = keypoint_matching.truth(item, NAMES, True)
    assert truth.outside is not None and truth.outside[0].tolist() == [-4.5, 20.0]
    assert np.isnan(truth.outside[1:]).all() and np.isnan(truth.points[0]).all()


def test_another_decoder_than_the_models_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, picture = model(tmp_path / "m.safetensors"), np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    own, same, other = (Predictor.load(path, decoder=d) for d in (None, "soft_argmax", "curve_fit"))
    assert [p.info.network.decoder for p in (own, same, other)] == ["soft_argmax", "soft_argmax", "curve_fit"]
    assert own.predict([picture]) == same.predict([picture]) != other.predict([picture])
    options = evaluate_command.EvaluateOptions(
        path, tmp_path, calibrate=tmp_path / "c.safetensors", decoder="curve_fit"
    )  # fmt: skip
    with pytest.raises(UserError, match="leave --decoder out"):
        evaluate_command.evaluate(options)
    assert cli.main(["evaluate", str(path), "--data", str(tmp_path), "--decoder", "spline"]) == 2
    assert "invalid choice: 'spline'" in capsys.readouterr().err


def test_images_are_looked_at_in_the_sizes_that_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = model(tmp_path / "m.safetensors")
    write(CocoDataSet, tmp_path / "data")

    def measured(*options: str) -> float:
        assert cli.main(["evaluate", str(path), "--data", str(tmp_path / "data"), "--json", *options]) == 0
        return float(json.loads(capsys.readouterr().out)["pixels"]["mean"])

    assert measured() == measured()
    assert len({measured(), measured("--scales", "1"), measured("--scales", "0.75,1,1.5")}) == 3


@pytest.mark.parametrize("kind", [CocoDataSet, NddsDataSet])
def test_what_render_writes_is_read_and_measured_to_the_last_digit(tmp_path: Path, kind: type[DataSet]) -> None:
    samples = write(kind, tmp_path / "data")
    data = dataset_reader.read(tmp_path / "data")
    assert data.names == NAMES and len(data.items) == COUNT
    true = np.stack([s.keypoints for s in samples])
    seen = np.stack([s.visibility for s in samples]) > 0
    moved = true + np.where(np.arange(3) == 1, 3.0, 0.0)[:, None] * np.array([0.6, 0.8])
    found = evaluate_command.measure(Guesses(moved, np.where(seen, 0.9, 0.2)), data, ProgressWriter()).measurement
    expected = np.where(seen, np.where(np.arange(3) == 1, 3.0, 0.0), np.nan)
    np.testing.assert_allclose(found.pixels, expected, atol=1e-9)
    np.testing.assert_allclose(found.percent, expected / math.hypot(64, 48) * 100, atol=1e-9)
    assert (~seen).any() and (found.visibility[~seen] == 0).all()
    detection = found.to_dict()["detection"]
    assert (detection["found"], detection["false_positives"]) == (1.0, 0.0)


def test_what_others_have_not_annotated_is_unknown(tmp_path: Path) -> None:
    photographs(tmp_path, ["shots/a.jpg", "b.png"])
    coco(tmp_path / "project.json", {
        "C:\\somebody\\shots\\a.jpg": [(10, 20, 2), (0, 0, 0), (30, 40, 1)],
        "b.png": [(1, 1, 2), (90, 5, 2), (0, 0, 0)],
    })  # fmt: skip
    data = dataset_reader.read(tmp_path)
    truths = [keypoint_matching.truth(i, NAMES, data.complete) for i in data.items]
    assert [t.visibility.tolist() for t in truths] == [[2, -1, 1], [2, 2, -1]]
    found = evaluate_command.measure(Guesses(np.zeros((2, 3, 2)), np.ones((2, 3))), data, ProgressWriter()).measurement
    # Beyond the edge of 80 pixels is outside.
    assert found.visibility.tolist() == [[2, -1, 1], [2, 0, -1]]
    assert found.to_dict()["detection"] == {
        "threshold": 0.5, "inside": 3, "found": 1.0, "outside": 1, "false_positives": 1.0
    }  # fmt: skip


def test_dreams_photographs_are_read(tmp_path: Path) -> None:
    photographs(tmp_path, ["000000.rgb.jpg"], (64, 48))
    rows = [("foot", [10.5, 20.5]), ("knee", [-999.999, -999.999]), ("other", [3.5, 3.5])]
    keypoints = [{"name": n, "projected_location": p, "location": [0, 0, 1]} for n, p in rows]
    document = {"objects": [{"class": "arm", "keypoints": keypoints}]}
    (tmp_path / "000000.json").write_text(json.dumps(document), encoding="utf-8")
    (tmp_path / "_camera_settings.json").write_text("{}", encoding="utf-8")
    truth = keypoint_matching.truth(dataset_reader.read(tmp_path).items[0], NAMES, False)
    assert truth.visibility.tolist() == [2, 0, -1] and truth.points[0].tolist() == [10.0, 20.0]


def test_a_photograph_is_turned_as_it_was_annotated(tmp_path: Path) -> None:
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[274] = 6  # turned clockwise by a quarter for viewing
    Image.fromarray(pixels).save(tmp_path / "p.png", exif=exif)
    assert image_file.read(tmp_path / "p.png").pixels.shape == (40, 30, 3)
    assert image_file.read(tmp_path / "p.png", (30, 40)).pixels[0, 29, 0] == 255
    assert image_file.read(tmp_path / "p.png", (40, 30)).pixels[0, 0, 0] == 255
    item = Item("p.png", tmp_path / "p.png", 99, 30, ())
    with pytest.raises(UserError, match="30 × 40 pixels but was annotated with 99 × 30"):
        item.picture()


def test_of_several_robots_the_largest_is_compared_or_each_with_its_own() -> None:
    small = Annotation(dict.fromkeys(NAMES, (1.0, 1.0, 2)), 10.0, 0)
    large = Annotation(dict.fromkeys(NAMES, (9.0, 9.0, 1)), 99.0, 1)
    item = Item("a", Path("a"), 20, 20, (small, large))
    one = keypoint_matching.truth(item, NAMES, False)
    assert one.several and one.points[0].tolist() == [9.0, 9.0] and one.area == 99.0
    both = keypoint_matching.truth(item, (*NAMES, *(f"second/{n}" for n in NAMES)), False)
    assert not both.several and both.points[:, 0].tolist() == [1.0] * 3 + [9.0] * 3
    alone = keypoint_matching.truth(Item("a", Path("a"), 20, 20, (large,)), (*NAMES, "second/foot"), True)
    assert alone.visibility.tolist() == [0, 0, 0, 1]


def people(folder: Path, count: int = 5) -> tuple[list[Path], np.ndarray]:
    """Files of people who annotated three photographs with noise, and their points ``(R, N, J, 2)``."""
    rng = np.random.default_rng(2)
    base = rng.uniform(15, 45, (3, 3, 2))
    points = base + rng.normal(0, [[[1.0]], [[2.0]], [[4.0]]], (count, 3, 3, 2))
    points[0, 0, 0] = np.nan  # the first one left one out
    points[1:, 2, 2] = np.nan  # and only one person gave this
    paths = []
    (folder / "people").mkdir(parents=True)
    for r in range(count):
        rows = {
            f"{i}.png": [(*np.nan_to_num(p), 0 if np.isnan(p[0]) else 2) for p in points[r, i].tolist()]
            for i in range(3)
        }
        paths.append(coco(folder / "people" / f"rater{r}.json", rows))
    photographs(folder, ["0.png", "1.png", "2.png"])
    return paths, points


def test_the_spread_between_people_is_numpys(tmp_path: Path) -> None:
    paths, points = people(tmp_path)
    ratings = rater_spread.read([tmp_path / "people"], tmp_path, NAMES, "model")
    assert ratings.people == tuple(p.stem for p in paths)
    diagonals = np.full(3, 100.0)  # so that percent are pixels
    np.testing.assert_allclose(ratings.points, points)
    spread = ratings.to_dict(diagonals)
    own = points[:, 1, 0]
    nearest = np.linalg.norm(own - own.mean(0), axis=-1)
    others = [np.linalg.norm(own[r] - np.delete(own, r, 0).mean(0)) for r in range(5)]
    np.testing.assert_allclose(ratings.to_mean(diagonals)[:, 1, 0], nearest)
    np.testing.assert_allclose(ratings.to_others(diagonals)[:, 1, 0], others)
    np.testing.assert_allclose(ratings.deviation(diagonals)[1, 0], np.sqrt(own.var(0, ddof=1).sum()))
    left_out = points[1:, 0, 0]
    np.testing.assert_allclose(ratings.mean()[0, 0], left_out.mean(0))
    assert np.isnan(ratings.mean()[2, 2]).all()
    third = spread["per_photograph"]["2.png"]
    assert third["to_mean"]["count"] == 10 and spread["per_photograph"]["1.png"]["to_mean"]["count"] == 15
    assert third["standard_deviation"] > 2 * spread["per_photograph"]["0.png"]["standard_deviation"]
    deviations = [ratings.deviation(diagonals)[i, 1] for i in range(3)]
    assert spread["per_keypoint"]["knee"]["standard_deviation"] == pytest.approx(
        np.sqrt(np.mean(np.square(deviations)))
    )


def test_the_model_is_measured_against_the_mean_of_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, points = people(tmp_path)
    file, plot = model(tmp_path / "model.safetensors"), tmp_path / "plot.png"
    command = ["evaluate", str(file), "--data", str(tmp_path), "--raters", str(tmp_path / "people")]
    assert cli.main([*command, "--json", "--plot", str(plot)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["percent"]["count"] == 8 and len(document["raters"]["people"]) == 5
    assert document["raters"]["per_photograph"]["1.png"]["model"]["count"] == 3
    with Image.open(plot) as picture:
        assert picture.width > 1000
    predicted = Predictor.load(file).predict([np.full((60, 80, 3), (90, 120, 90), np.uint8)], STILL)[0]
    error = math.dist((predicted[0].u, predicted[0].v), points[:, 1, 0].mean(0))
    ratings = rater_spread.read([tmp_path / "people"], tmp_path, NAMES, "model")
    found = evaluate_command.measure(Predictor.load(file), ratings.consensus(), ProgressWriter(), STILL).measurement
    assert found.percent[1, 0] == pytest.approx(error / math.hypot(80, 60) * 100, abs=1e-3)
    assert cli.main(command) == 0
    table = capsys.readouterr().out
    assert "5 people on 3 photographs" in table and "to others" in table


def test_the_table_and_json_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(CocoDataSet, tmp_path / "data")
    file = model(tmp_path / "model.safetensors")
    assert cli.main(["evaluate", str(file), "--data", str(tmp_path / "data"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["images"] == COUNT and document["format"] == "COCO" and 0 <= document["oks"]["AP"] <= 1
    assert cli.main(["evaluate", str(file), "--data", str(tmp_path / "data"), "--json", "--progress"]) == 0
    *steps, result = (decode(line) for line in capsys.readouterr().out.splitlines())
    assert result == document and steps[-1].stage == "measure" and steps[-1].fraction == 1.0
    assert cli.main(["evaluate", str(file), "--data", str(tmp_path / "data" / "annotations.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(line.split() for line in lines if line.startswith("all "))
    assert row[1] == str(document["percent"]["count"]) and float(row[2]) == round(document["percent"]["mean"], 2)
    assert max(len(line) for line in lines[1:]) < 110


def test_plots_of_little_and_of_other_kinds(tmp_path: Path) -> None:
    nothing = np.full((4, 2), np.nan)
    measured = Measurement(("a", "b" * 40), nothing, nothing, np.zeros((4, 2), np.int64), np.zeros((4, 2)))
    some = Measurement(("a", "b"), np.array([[0.0, np.nan]]), nothing[:1], np.array([[2, 0]]), np.ones((1, 2)))
    for i, (m, suffix) in enumerate(((measured, "png"), (some, "svg"), (some, "pdf"))):
        error_plot.draw_errors(tmp_path / f"{i}.{suffix}", m, "title")
        assert (tmp_path / f"{i}.{suffix}").stat().st_size > 1000


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("absent", "There is no folder"),
        ("empty", "There are no annotations in"),
        ("two", "several COCO files (a.json, b.json)"),
        ("other", "has the keypoints wing, tail and"),
        ("few", "of which only foot is the same"),
        ("json", "is not valid JSON"),
        ("form", "breaks COCO's form"),
        ("unannotated", "None of the images"),
        ("missing", "There is no image at"),
        ("pipe", "There is no image at"),
        ("nan", "answers that are no numbers"),
        ("nothing", "None of the images"),
        ("broken", "can't be read as an image"),
        ("size", "pixels but was annotated with"),
        ("ndds", "There is no image beside"),
        ("plot", "does not end with .png"),
        ("alone", "at least two people"),
        ("apart", "No photograph was annotated by two people"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, case: str, words: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rows = {"p.png": [(10, 10, 2)] * 3}
    extra: list[str] = []
    if case != "missing":
        photographs(data, ["p.png"])
    if case == "pipe":
        (data / "p.png").unlink()
        os.mkfifo(data / "p.png")
    if case == "absent":
        data = tmp_path / "nowhere"
    elif case == "two":
        coco(data / "a.json", rows)
        coco(data / "b.json", rows)
    elif case == "other":
        coco(data / "a.json", {"p.png": [(1, 1, 2)] * 2}, names=("wing", "tail"))
    elif case == "few":
        coco(data / "a.json", rows, names=("foot", "tail", "wing"))
    elif case == "json":
        (data / "annotations.json").write_text("{", encoding="utf-8")
    elif case == "form":
        coco(data / "annotations.json", {"p.png": [(10, 10, 2)] * 2})
    elif case == "unannotated":
        file = json.loads(coco(data / "annotations.json", rows).read_text(encoding="utf-8"))
        (data / "annotations.json").write_text(json.dumps({**file, "annotations": []}), encoding="utf-8")
    elif case == "ndds":
        (data / "7.json").write_text('{"objects": [{"keypoints": [{"projected_location": 1}]}]}', encoding="utf-8")
    elif case == "nothing":
        coco(data / "a.json", {"p.png": [(10, 10, 0)] * 3})
    elif case != "empty":
        coco(data / "a.json", rows, size=(81, 60) if case == "size" else (80, 60))
    if case == "broken":
        (data / "p.png").write_bytes(b"\x89PNG no more")
    plot = tmp_path / "errors.png"
    plot.write_bytes(b"old")
    if case == "plot":
        extra = ["--plot", str(tmp_path / "errors.txt")]
    elif case in ("alone", "apart"):
        second = coco(tmp_path / "b.json", {"q.png": [(10, 10, 2)] * 3})
        extra = ["--raters", str(data / "a.json"), *([str(second)] if case == "apart" else [])]
    file = model(tmp_path / "model.safetensors")
    if case == "nan":
        monkeypatch.setattr(Predictor, "load", lambda *_: Predictor(nowhere(), INFO, torch.device("cpu")))
    command = ["evaluate", str(file), "--data", str(data), "--json", "--plot", str(plot), *extra]
    assert cli.main(command) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == "" and line.startswith("error: ") and words.replace(" and", "") in line.replace(" and", "")
    assert plot.read_bytes() == b"old"


def test_a_file_that_can_not_be_written_loses_no_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(CocoDataSet, tmp_path / "data")

    def full(path: Path, *_: object) -> None:
        raise files.WriteError(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    file, plot = model(tmp_path / "model.safetensors"), tmp_path / "errors.png"
    monkeypatch.setattr(error_plot.files, "write_bytes", full)
    assert cli.main(["evaluate", str(file), "--data", str(tmp_path / "data"), "--json", "--plot", str(plot)]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["images"] == COUNT and not plot.exists()
    (line,) = captured.err.splitlines()
    assert line.startswith("error: There is no room to write")
