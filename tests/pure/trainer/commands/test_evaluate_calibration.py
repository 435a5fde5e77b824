# SPDX-License-Identifier: GPL-3.0-or-later
"""``evaluate --calibrate`` and ``--reliability``: a model that tells how far off it is, and a picture of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from robot_keypoints.trainer.commands import evaluate_calibration, main as cli
from robot_keypoints.trainer.evaluation import reliability_plot
from robot_keypoints.trainer.evaluation.reliability import Reliability
from robot_keypoints.trainer.inference.predictor import Predictor
from robot_keypoints.trainer.maps import soft_argmax
from robot_keypoints.trainer.networks import factory, model_file
from robot_keypoints.trainer.networks.covariance_calibration import MEDIAN, Calibration
from robot_keypoints.trainer.networks.model_file import ModelInfo
from robot_keypoints.trainer.networks.two_passes import STILL

NAMES = ("foot", "knee", "hand")
WIDTH, HEIGHT = 32, 32
INFO = ModelInfo(factory.NetworkConfig("light", 3, 6.0, width=8), WIDTH, HEIGHT, NAMES, (("foot", "knee"),))
"""So wide a target in so small an image that all of a map lies around its peak: claimed without having learned."""
COUNT = 60
OFF = np.array([0.1, 1.0, 4.0])
"""Standard deviations of the errors, pixels."""

Ask = Callable[..., tuple[int, str, str]]


def folder(path: Path, count: int = COUNT, shift: float = 0.0) -> tuple[Path, np.ndarray]:
    """A model that hasn't learned anything, images, and annotations that lie around where it finds its keypoints; and
    these annotations ``(N, J, 2)``."""
    torch.manual_seed(0)
    net = factory.build(INFO.network).eval()
    assert net.outside is not None
    torch.nn.init.constant_(net.outside.bias, -9.0)  # which claims all keypoints
    path.mkdir(exist_ok=True)
    halves = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    model_file.save_model(path / "model.safetensors", halves, INFO)
    rng = np.random.default_rng(5)
    pictures = list(rng.integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8))
    found = Predictor.load(path / "model.safetensors").predict(pictures, STILL)
    assert min(k.confidence for image in found for k in image) > 0.5
    points = np.array([[(k.u, k.v) for k in image] for image in found])
    true = np.clip(points + rng.normal(0, 1, points.shape) * OFF[:, None], 0, (WIDTH - 1, HEIGHT - 1)) + shift
    images, entries = [], []
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(path / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT})
        rows = [x for u, v in true[i].tolist() for x in (u, v, 2)]
        entries.append({"id": i, "image_id": i, "category_id": 1, "keypoints": rows, "area": 99.0})
    category = {"id": 1, "name": "stick", "keypoints": list(NAMES)}
    document = {"images": images, "annotations": entries, "categories": [category]}
    (path / "annotations.json").write_text(json.dumps(document), encoding="utf-8")
    return path, true


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """The command's exit code, stdout and stderr."""

    def run(data: Path, *options: object) -> tuple[int, str, str]:
        model = data / "model.safetensors"
        code = cli.main(["evaluate", str(model), "--data", str(data), *map(str, options)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_calibrated_copy_tells_how_far_off_it_is(ask: Ask, tmp_path: Path) -> None:
    """By its own predictions, on the images that it hasn't learned from."""
    data, true = folder(tmp_path / "data")
    out, drawn = tmp_path / "calibrated.safetensors", tmp_path / "reliability.png"
    before = (data / "model.safetensors").read_bytes()
    code, text, err = ask(data, "--calibrate", out, "--reliability", drawn, "--json")
    assert code == 0 and str(out) in err and str(drawn) in err
    document = json.loads(text)
    assert not document["reliability"]["calibrated"]
    measured = document["calibration"]
    assert (measured["images"], measured["images_tested"]) == (COUNT // 2, COUNT // 2)
    assert measured["after"]["distance"] < 0.5 * measured["before"]["distance"]
    assert measured["scales"][0] < measured["scales"][1] < measured["scales"][2]
    with Image.open(drawn) as picture:
        assert picture.width > 1000
    assert (data / "model.safetensors").read_bytes() == before

    pictures = [np.asarray(Image.open(data / f"{i}.png")) for i in range(COUNT)]
    found = Predictor.load(out).predict(pictures, STILL)
    points = torch.tensor([[(k.u, k.v) for k in image] for image in found], dtype=torch.float64)
    spread = torch.tensor([[k.covariance for k in image] for image in found], dtype=torch.float64)
    errors = soft_argmax.squared_errors(points, spread, torch.from_numpy(true)).numpy()
    np.testing.assert_allclose(np.median(errors[::2], 0), MEDIAN, rtol=0.05)  # halves of even numbers lie between two
    assert measured["after"]["errors"]["median"] == pytest.approx(np.median(errors[1::2]), rel=1e-3)
    _, info = model_file.load_model(out, torch.device("cpu"))
    assert replace(info, calibration=None) == INFO
    assert abs(out.stat().st_size - len(before)) < 1000  # of the same precision

    (data / "model.safetensors").write_bytes(out.read_bytes())
    code, table, _ = ask(data)
    row = next(line.split() for line in table.splitlines() if line.startswith("calibrated "))
    assert code == 0 and float(row[3]) == round(float(np.median(errors)), 2)
    again = json.loads(ask(data, "--json", "--calibrate", tmp_path / "again.safetensors")[1])["calibration"]
    assert again["scales"] == pytest.approx(measured["scales"])  # learned anew, not on top


def test_the_table_has_both_halves(ask: Ask, tmp_path: Path) -> None:
    data, _ = folder(tmp_path / "data", 32)
    code, table, _ = ask(data, "--calibrate", tmp_path / "c.safetensors")
    assert code == 0 and "calibrated on 16 images, checked on the other half" in table
    assert [line.split("  ")[0] for line in table.splitlines() if "other half" in line[:20]] == [
        "before, other half", "after, other half"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("there", "There is already a file"),
        ("name", "does not end with .safetensors"),
        ("nowhere", "There is no folder"),
        ("few", "needs at least 32"),
        ("plot", "does not end with .png"),
        ("outside", "finds none of the annotated keypoints"),
    ],
)
def test_what_cant_be_calibrated_is_one_sentence(ask: Ask, tmp_path: Path, case: str, words: str) -> None:
    data, _ = folder(tmp_path / "data", 31 if case == "few" else 32, 500.0 if case == "outside" else 0.0)
    out = tmp_path / {"name": "model.onnx", "nowhere": "no/model.safetensors"}.get(case, "model.safetensors")
    if case == "there":
        out.write_bytes(b"old")
    drawn = tmp_path / ("r.txt" if case == "plot" else "r.png")
    code, text, err = ask(data, "--calibrate", out, "--reliability", drawn, "--json")
    (line,) = err.splitlines()
    assert code == 2 and text == "" and line.startswith("error: ") and words in line
    assert not drawn.exists() and (out.read_bytes() == b"old" if case == "there" else not out.exists())


def test_plots_of_little_and_of_other_kinds(tmp_path: Path) -> None:
    nothing = Reliability(("a", "b" * 40), np.full((4, 2), np.nan))
    some = Reliability(("a",), np.array([[0.0], [3.0]]))
    exact = Reliability(("a",), np.zeros((3, 1)))
    cases = (("png", [("x", nothing)]), ("svg", [("x", some), ("y", nothing)]), ("pdf", [("x", exact)]))
    for i, (suffix, series) in enumerate(cases):
        reliability_plot.draw_reliability(tmp_path / f"{i}.{suffix}", "title", series)
        assert (tmp_path / f"{i}.{suffix}").stat().st_size > 1000


def test_learning_leaves_the_predictor_as_it_was() -> None:
    predictor = Predictor(factory.build(INFO.network), INFO, torch.device("cpu"))
    old = Calibration((2.0, 2.0, 2.0))
    predictor.network.calibration = old
    seen = []

    def errors() -> np.ndarray:
        seen.append(predictor.network.calibration)
        return np.full((40, 3), 8 * MEDIAN)

    found = evaluate_calibration.learn(predictor, np.full((40, 3), 4 * MEDIAN), errors)
    assert predictor.network.calibration is old and seen[0].scales == (1.0, 1.0, 1.0)
    assert found.learned.scales == pytest.approx((8.0, 8.0, 8.0))
    np.testing.assert_allclose(found.after.errors, MEDIAN)
    np.testing.assert_allclose(found.before.errors, 4 * MEDIAN)
