# SPDX-License-Identifier: GPL-3.0-or-later
"""Data sets as others read them: COCO by ``pycocotools``, NDDS by the rules of DREAM's loader. The contact sheet."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_blender
import numpy as np
import pytest
import synthetic
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from robot_keypoints.core.camera.intrinsics import Intrinsics
from robot_keypoints.core.messages.samples import Instance, Sample
from robot_keypoints.core.settings.schema import RenderSettings, RobotSettings, Settings
from robot_keypoints.trainer.datasets import contact_sheet, sample_label
from robot_keypoints.trainer.datasets.coco_writer import CocoDataSet, run_lengths
from robot_keypoints.trainer.datasets.ndds_writer import NddsDataSet
from robot_keypoints.trainer.datasets.sample_label import Body
from robot_keypoints.trainer.datasets.writer import DataSet, Finished

COUNT = 6
WIDTH, HEIGHT = synthetic.WIDTH, synthetic.HEIGHT


def samples(settings: Settings) -> list[Sample]:
    model = settings.scene_model()
    drawn = (synthetic.sample(model, np.random.default_rng([4, i]), 0, i) for i in range(COUNT))
    return [fake_blender.detailed(s, settings) for s in drawn]


def finished(sample: Sample, index: int, bodies: Sequence[Body]) -> Finished:
    return Finished(index, sample.image[..., :3], sample_label.label(sample, index, bodies), sample.mask)


def write(kind: type[DataSet], folder: Path, settings: Settings, kinds: Sequence[str] = ("stick",)) -> list[Sample]:
    """A data set of one robot; returns what it was made from."""
    bodies = sample_label.bodies(settings, kinds)
    data = kind(folder, bodies, settings.render.masks)
    data.begin()
    made = samples(settings)
    for i, sample in enumerate(made):
        data.write(finished(sample, i, bodies))
    data.finish()
    assert list(data) == list(range(COUNT))
    return made


@pytest.fixture
def masked() -> Settings:
    return replace(synthetic.settings(), render=RenderSettings(width=WIDTH, height=HEIGHT, masks=True))


def read(folder: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(folder / "annotations.json"))


def oks(truth: COCO, shift: float) -> float:
    """Average precision of the truth's own keypoints, moved to the right by some pixels."""
    found = []
    for entry in truth.dataset["annotations"]:
        keypoints = np.array(entry["keypoints"], float).reshape(-1, 3)
        keypoints[:, 0] += shift
        found.append({k: entry[k] for k in ("image_id", "category_id")} | {"keypoints": keypoints.ravel().tolist()})
        found[-1]["score"] = 1.0
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(found), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(truth.dataset["categories"][0]["sigmas"])
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # The means over all sizes: this test's robot is smaller than what COCO calls a medium object.
    return float(evaluation.stats[0])


def test_coco_is_read_and_evaluated_by_pycocotools(tmp_path: Path) -> None:
    settings = synthetic.settings()
    made = write(CocoDataSet, tmp_path, settings)
    truth = read(tmp_path)
    assert oks(truth, 0.0) == pytest.approx(1.0)
    assert oks(truth, 2.0) < 0.9
    assert oks(truth, 20.0) == 0.0
    (category,) = truth.loadCats(truth.getCatIds())
    assert category["name"] == "stick" and category["keypoints"] == ["foot", "knee", "hand"]
    assert category["skeleton"] == [[1, 2], [2, 3]]
    assert len(truth.dataset["images"]) == COUNT
    for image, sample in zip(truth.dataset["images"], made, strict=True):
        with Image.open(tmp_path / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"]) == (WIDTH, HEIGHT)
        assert image["hidden"] == {"bins": sample.latents.bins, "values": sample.latents.values}
        np.testing.assert_array_equal(image["camera_matrix"], sample.camera_matrix)


def test_coco_counts_keypoints_by_pixel_and_boxes_from_the_corner(tmp_path: Path) -> None:
    made = write(CocoDataSet, tmp_path, synthetic.settings())
    truth = read(tmp_path)
    outside = 0
    for entry in truth.dataset["annotations"]:
        sample = made[entry["image_id"] - 1]
        for (u, v, seen), uv, visible in zip(
            np.array(entry["keypoints"]).reshape(-1, 3), sample.keypoints, sample.visibility, strict=True
        ):
            assert seen == visible
            np.testing.assert_allclose((u, v), uv if visible else (0, 0))
            outside += visible == 0
        assert entry["num_keypoints"] == (sample.visibility > 0).sum()
        left, top, width, height = map(round, entry["bbox"])
        seen_pixels = sample.image[..., 3] > 127
        assert seen_pixels[top : top + height, left : left + width].sum() == seen_pixels.sum()
        assert seen_pixels[top, left : left + width].any() and seen_pixels[top : top + height, left].any()
    assert outside > 0, "no keypoint of these samples lies outside its image"


def test_a_robot_that_is_not_in_the_picture_has_no_annotation(tmp_path: Path) -> None:
    settings = synthetic.settings()
    bodies = sample_label.bodies(settings, ["stick"])
    sample = samples(settings)[0]
    away = replace(
        sample, visibility=np.zeros(3, np.int64), keypoints=np.full((3, 2), np.nan),
        instances=(replace(sample.instances[0], box=None),),
    )  # fmt: skip
    data = CocoDataSet(tmp_path, bodies, False)
    data.begin()
    data.write(finished(away, 0, bodies))
    data.finish()
    assert read(tmp_path).dataset["annotations"] == []
    label = json.loads(data.label_path(0).read_text(encoding="utf-8"))
    assert [k["uv"] for k in label["instances"][0]["keypoints"]] == [None] * 3
    ndds = NddsDataSet(tmp_path / "ndds", bodies, False)
    ndds.folder.mkdir()
    ndds.write(finished(away, 0, bodies))
    found = dream_keypoints(ndds.label_path(0), "stick", list(synthetic.NAMES))
    assert (np.array(found["projections"]) < -999).all()


def test_coco_masks_are_the_links(tmp_path: Path, masked: Settings) -> None:
    made = write(CocoDataSet, tmp_path, masked)
    truth = read(tmp_path)
    assert [entry["link"] for entry in truth.dataset["info"]["links"]] == list(synthetic.NAMES)
    for entry in truth.dataset["annotations"]:
        sample = made[entry["image_id"] - 1]
        assert sample.mask is not None
        np.testing.assert_array_equal(truth.annToMask(entry), sample.mask > 0)
        assert entry["area"] == (sample.mask > 0).sum()
        with Image.open(tmp_path / "masks" / f"{entry['image_id'] - 1:06d}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), sample.mask)


@pytest.mark.parametrize("first", [False, True])
def test_run_lengths_are_read_by_pycocotools(first: bool) -> None:
    mask = np.random.default_rng(1).random((7, 5)) < 0.5
    mask[0, 0] = first
    for m in (mask, np.full((7, 5), first)):
        encoded = coco_mask.frPyObjects(run_lengths(m), 7, 5)
        np.testing.assert_array_equal(coco_mask.decode(encoded), m)


def test_robots_of_one_kind_share_a_category(tmp_path: Path) -> None:
    one = synthetic.settings()
    twice = replace(
        one,
        others=(RobotSettings("armature", name="left"), RobotSettings("armature", name="odd")),
        keypoints=(
            *one.keypoints,
            *(replace(k, name=f"left/{k.name}", robot="left") for k in one.keypoints),
            replace(one.keypoints[0], name="odd/foot", robot="odd"),
        ),
        skeleton=(*one.skeleton, ("left/foot", "left/knee"), ("left/knee", "left/hand")),
    )
    bodies = sample_label.bodies(twice, ["stick", "stick", "stick"])
    assert [b.kind for b in bodies] == ["stick", "stick", "stick odd"]
    assert bodies[1].keypoints == bodies[0].keypoints == synthetic.NAMES
    assert bodies[1].skeleton == bodies[0].skeleton
    sample = samples(one)[0]
    first = sample.instances[0]
    more = tuple(Instance(n, first.base_in_camera, first.joints, first.frames, first.box) for n in ("left", "odd"))
    crowd = replace(
        sample, keypoints=np.concatenate([sample.keypoints, sample.keypoints + 1, sample.keypoints[:1]]),
        visibility=np.concatenate([sample.visibility, sample.visibility, sample.visibility[:1]]),
        instances=(first, *more),
    )  # fmt: skip
    data = CocoDataSet(tmp_path, bodies, False)
    data.begin()
    data.write(finished(crowd, 0, bodies))
    data.finish()
    document = read(tmp_path).dataset
    assert [c["name"] for c in document["categories"]] == ["stick", "stick odd"]
    assert [(a["instance"], a["category_id"]) for a in document["annotations"]] == [(0, 1), (1, 1), (2, 2)]
    two = np.array(document["annotations"][1]["keypoints"]).reshape(-1, 3)
    np.testing.assert_allclose(two[two[:, 2] > 0, :2], sample.keypoints[sample.visibility > 0] + 1)
    ndds = NddsDataSet(tmp_path / "ndds", bodies, False)
    ndds.folder.mkdir()
    ndds.write(finished(crowd, 0, bodies))
    objects = json.loads(ndds.label_path(0).read_text(encoding="utf-8"))["objects"]
    assert [o["class"] for o in objects] == ["stick", "stick", "stick odd"]


# What follows reads a folder by the rules of DREAM's loader.


def dream_files(folder: Path) -> tuple[list[tuple[Path, Path]], dict[str, Path]]:
    """Labels and their pictures; and the configuration files by what they are for."""
    names = sorted(p.name for p in folder.iterdir())
    endings = {e: sum(n.endswith(e) for n in names) for e in ("png", "jpg")}
    ending = max(endings, key=lambda e: endings[e])
    labels = [n for n in names if n.endswith(".json") and n[0].isdigit()]
    pairs = [(folder / n, folder / f"{n[: -len('.json')]}.rgb.{ending}") for n in labels]
    known = {"_camera_settings.json": "camera", "_object_settings.json": "object"}
    return pairs, {known[n]: folder / n for n in names if n in known}


def dream_keypoints(label: Path, robot: str, names: Sequence[str]) -> dict[str, Any]:
    """Places in the camera frame and in the picture, in the order of the names."""
    objects = json.loads(label.read_text(encoding="utf-8"))["objects"]
    found = objects[[o["class"] for o in objects].index(robot)]["keypoints"]
    chosen = [found[[k["name"] for k in found].index(name)] for name in names]
    return {"positions": [k["location"] for k in chosen], "projections": [k["projected_location"] for k in chosen]}


def dream_camera(settings: Mapping[str, Any]) -> tuple[np.ndarray, tuple[int, int]]:
    """Camera matrix, and the size of the pictures."""
    camera = settings["camera_settings"][0]
    fx, fy, cx, cy = (camera["intrinsic_settings"][k] for k in ("fx", "fy", "cx", "cy"))
    size = camera["captured_image_size"]
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), (size["width"], size["height"])


def test_ndds_is_what_dream_reads(tmp_path: Path, masked: Settings) -> None:
    made = write(NddsDataSet, tmp_path, masked)
    pairs, configuration = dream_files(tmp_path)
    assert len(pairs) == COUNT and set(configuration) == {"camera", "object"}
    camera, size = dream_camera(json.loads(configuration["camera"].read_text(encoding="utf-8")))
    assert size == (WIDTH, HEIGHT)
    # Counted from the corner, the axis of a centred camera passes through the middle of the picture.
    np.testing.assert_allclose(camera, [[90, 0, WIDTH / 2], [0, 90, HEIGHT / 2], [0, 0, 1]])
    manipulator = json.loads((tmp_path / "manipulator.yaml").read_text(encoding="utf-8"))["manipulator"]
    names = [k["name"] for k in manipulator["keypoints"]]
    assert manipulator["name"] == "stick" and names == list(synthetic.NAMES)
    for (label, picture), sample in zip(pairs, made, strict=True):
        with Image.open(picture) as image:
            assert image.convert("RGB").size == size
        found = dream_keypoints(label, manipulator["name"], names)
        places, pixels = np.array(found["positions"]), np.array(found["projections"])
        np.testing.assert_allclose(pixels, sample.keypoints + 0.5)
        projected = places @ camera.T
        np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], pixels)
        assert (places[:, 2] == 2.0).all()
        document = json.loads(label.read_text(encoding="utf-8"))
        joints = {j["name"].split("/")[-1]: j["position"] for j in document["sim_state"]["joints"]}
        assert joints == {n: sample.latents.values[f"joint/{n}"] for n in ("lower", "upper")}
        latents = document["robot_keypoints"]["hidden"]
        assert latents == {"bins": sample.latents.bins, "values": sample.latents.values}
        with Image.open(label.with_suffix(".cs.png")) as image:
            assert sample.mask is not None
            np.testing.assert_array_equal(np.asarray(image), (sample.mask > 0).astype(np.uint8))


def test_a_camera_that_varies_is_written_to_each_label(tmp_path: Path) -> None:
    settings = synthetic.settings()
    bodies = sample_label.bodies(settings, ["stick"])
    data = NddsDataSet(tmp_path, bodies, False)
    for i, sample in enumerate(samples(settings)[:2]):
        matrix = sample.camera_matrix + np.diag([10.0 * i, 10.0 * i, 0])
        data.write(finished(replace(sample, camera_matrix=matrix, distortion=np.full(5, 0.1 * i)), i, bodies))
    data.finish()
    camera, _ = dream_camera(json.loads((tmp_path / "_camera_settings.json").read_text(encoding="utf-8")))
    assert camera[0, 0] == 95.0
    cameras = [json.loads(data.label_path(i).read_text(encoding="utf-8"))["camera_data"] for i in range(2)]
    assert [t["intrinsics"]["fx"] for t in cameras] == [90.0, 100.0]
    assert [t["distortion"] for t in cameras] == [[0.0] * 5, [0.1] * 5]


def test_a_keypoint_on_no_link_is_found_from_its_pixels() -> None:
    settings = synthetic.settings()
    sample = samples(settings)[0]
    point = np.array([0.3, -0.2, 2.0])
    lens = Intrinsics(WIDTH, HEIGHT, 90, 90, (WIDTH - 1) / 2, (HEIGHT - 1) / 2, (-0.2, 0.05, 0.01, -0.01, 0.0))
    pixels, depths = lens.project(point)
    bare = replace(
        sample, keypoints=np.array([pixels[0], [np.nan, np.nan], pixels[0]]), depths=np.full(3, depths[0]),
        distortion=np.array(lens.distortion), instances=(replace(sample.instances[0], frames={}),),
    )  # fmt: skip
    (instance,) = sample_label.label(bare, 0, sample_label.bodies(settings, ["stick"]))["instances"]
    np.testing.assert_allclose(instance["keypoints"][0]["xyz"], point, atol=1e-6)
    assert instance["keypoints"][1]["xyz"] is None


@pytest.mark.parametrize("kind", [CocoDataSet, NddsDataSet])
def test_what_was_written_is_read_again(tmp_path: Path, kind: type[DataSet]) -> None:
    settings = synthetic.settings()
    made = write(kind, tmp_path, settings)
    bodies = sample_label.bodies(settings, ["stick"])
    data = kind(tmp_path, bodies, False)
    for i, sample in enumerate(made):
        picture, label = data.read(i)
        assert label == sample_label.label(sample, i, bodies)
        np.testing.assert_array_equal(np.asarray(picture), sample.image[..., :3])


def test_the_sheet_shows_each_label_where_it_is(tmp_path: Path) -> None:
    settings = synthetic.settings()
    bodies = sample_label.bodies(settings, ["stick"])
    made = samples(settings)
    pictures = [
        (Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)), sample_label.label(s, i, bodies))
        for i, s in enumerate(made)
    ]
    file = tmp_path / "sheet.png"
    contact_sheet.save(file, pictures, bodies)
    with Image.open(file) as picture:
        sheet = np.asarray(picture)
    gap, margin, cell, scale = contact_sheet.GAP, contact_sheet.MARGIN, contact_sheet.CELL, contact_sheet.CELL / WIDTH
    columns = 3  # six pictures
    assert sheet.shape[1] == 2 * margin + columns * cell + (columns - 1) * gap
    colours = contact_sheet.palette(bodies)
    assert len(set(colours.values())) == 3
    shown = {1: 0, 2: 0}
    for i, sample in enumerate(made):
        row, column = divmod(i, columns)
        corner = np.array([margin + column * (cell + gap), margin + row * (round(HEIGHT * scale) + gap)])
        for name, uv, visible in zip(synthetic.NAMES, sample.keypoints, sample.visibility, strict=True):
            place = corner + (uv + 0.5) * scale
            others = np.delete(sample.keypoints, synthetic.NAMES.index(name), axis=0)
            edge = min(*uv, WIDTH - 1 - uv[0], HEIGHT - 1 - uv[1])
            if not visible or edge < 2 or np.linalg.norm(others - uv, axis=1).min() < 4:
                continue
            # The middle of an occluded keypoint shows what is behind: picture or skeleton. Its ring shows the colour.
            u, v = np.round(place - 0.5).astype(int)
            filled = np.abs(sheet[v, u].astype(int) - colours[name]).max() < 10
            assert filled == (visible == 2)
            ring = sheet[v - 5 : v + 6, u - 5 : u + 6].reshape(-1, 3).astype(int)
            assert (np.abs(ring - colours[name]).max(1) < 60).any()
            shown[visible] += 1
    assert min(shown.values()) > 0


def test_a_legend_of_many_keypoints_stays_short() -> None:
    names = tuple(f"a_rather_long_name_of_keypoint_{i}" for i in range(80))
    body = Body("", "hand", tuple(range(80)), names, names, ((0.0, 0.0, 0.0),) * 80, ())
    label = {"instances": [{"box": None, "keypoints": []}]}
    picture = Image.new("RGB", (64, 48))
    sheet = contact_sheet.draw_sheet([(picture, label)], [body])
    assert sheet.height < 400
