# SPDX-License-Identifier: GPL-3.0-or-later
"""Learning from annotated images: instead of renderings, beside them, and from a model on."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import dots
import numpy as np
import pytest
import synthetic
import torch
from PIL import Image
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.settings import toml_file, validation
from robot_keypoints.core.settings.schema import DataSettings, Settings
from robot_keypoints.trainer.commands import main as cli
from robot_keypoints.trainer.datasets import keypoint_matching, reader
from robot_keypoints.trainer.networks.model_file import load_model
from robot_keypoints.trainer.run_data import data_sets
from robot_keypoints.trainer.training import data_images, mixed_store
from robot_keypoints.trainer.training.batch_pipeline import Pipeline
from robot_keypoints.trainer.training.data_images import DecodedImages, LabelledImage, View
from robot_keypoints.trainer.training.replay_store import RawBatch
from robot_keypoints.trainer.training.trainer import Trainer
from trainings import Quiet, lines, streaming

SIZE = (64, 48)


def settings(*data: DataSettings, **training: object) -> Settings:
    # Dots are found by their colours, which effects would change.
    plain = {"precision": "float32", "pose_weight": 0.0, "width": 8, "warm_up": 1, "averaging": 0.0, **training}
    made = synthetic.settings(**plain)
    return replace(made, data=data, variables=(), augmentation=replace(made.augmentation, covers=0.0))


def trained(folder: Path, settings: Settings, *, resume: bool = False) -> Trainer:
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    toml_file.save(settings, folder / "settings.toml")
    threads = torch.get_num_threads()
    trainer = streaming(folder, settings, resume=resume)
    try:
        trainer.run()
    finally:
        trainer.close()
        torch.set_num_threads(threads)
    return trainer


def errors(folder: Path) -> list[float]:
    return [json.loads(line)["mean_error_percent"] for line in lines(folder / "metrics.jsonl")]


def store_of(settings: Settings) -> mixed_store.MixedStore:
    folder_less = data_sets.partitions(settings)
    return mixed_store.MixedStore(None, mixed_store.shares(settings, folder_less), settings.scene_model(), 1.0, 1)


# ---------------------------------------------------------------------------------------------------- whole trainings


def test_a_training_on_images_alone_learns_and_a_model_is_learned_on_from(tmp_path: Path) -> None:
    data = DataSettings(str(dots.write(tmp_path / "dots", 40)), share=1.0)
    first = settings(data, epochs=4, epoch_images=32, learning_rate=5e-3)
    trainer = trained(tmp_path / "first", first)
    found = errors(tmp_path / "first")
    assert len(trainer.held_out) == 8  # a fifth
    assert found[-1] < 0.5 * found[0] and found[-1] < 8.0
    summary = json.loads((tmp_path / "first" / "summary.json").read_text(encoding="utf-8"))
    assert summary["measured_on"].startswith("images held out of the data sets")
    assert summary["images_rendered"] == 0 and summary["test_images"] == 4
    assert lines(tmp_path / "first" / "priors.jsonl")[1:] == []  # nothing was drawn from priors

    model = tmp_path / "first" / "model.safetensors"
    again = replace(first, training=replace(first.training, start_from=str(model), epochs=1, learning_rate=1e-6))
    trained(tmp_path / "second", again)
    start, *_ = errors(tmp_path / "second")
    assert start == pytest.approx(min(found), abs=1e-6)

    # A resumed run goes on from its own weights: the model that it started from may be gone by then.
    model.unlink()
    longer = replace(again, training=replace(again.training, epochs=2))
    resumed = trained(tmp_path / "second", longer, resume=True)
    assert resumed.counters.images > 32


def test_images_beside_renderings_are_validated_on_renderings_unless_some_are_held_out(tmp_path: Path) -> None:
    path = str(dots.write(tmp_path / "dots", 10))
    made = settings(DataSettings(path, share=0.25), epochs=1, epoch_images=16)
    made = replace(made, variables=synthetic.settings().variables)
    trainer = trained(tmp_path / "beside", made)
    assert (len(trainer.held_out), len(trainer.held_out.latents)) == (40, 24)
    held = replace(made, data=(DataSettings(path, share=0.25, held_out=0.4),))
    trainer = trained(tmp_path / "held", held)
    assert (len(trainer.held_out), trainer.held_out.latents) == (4, ())


def test_no_blender_is_started_where_every_image_is_of_a_data_set(tmp_path: Path) -> None:
    dots.write(tmp_path / "dots", 10)
    text = """
        skeleton = [["foot", "knee"]]
        [training]
        device = "cpu"
        width = 8
        processes = 1
        epochs = 1
        epoch_images = 8
        batch_size = 4
        [render]
        width = 64
        height = 48
        [[data]]
        path = "dots"
        share = 1.0
    """
    keypoints = "".join(f'[[keypoints]]\nname = "{n}"\nframe = "{n}"\n' for n in dots.NAMES)
    (tmp_path / "dots.toml").write_text(text + keypoints, encoding="utf-8")
    run = tmp_path / "run"
    assert cli.main(["train", str(tmp_path / "dots.toml"), "--out", str(run)]) == 0
    assert {p.stem for p in (run / "logs").iterdir()} == {"trainer"} and not (run / "scene.blend").exists()
    _, info = load_model(run / "model.safetensors", torch.device("cpu"))
    assert info.keypoints == dots.NAMES


# -------------------------------------------------------------------------------------------------- shares and weights


def test_every_source_has_its_share_of_every_batch(tmp_path: Path) -> None:
    one, two = (str(dots.write(tmp_path / n, 6, seed=s)) for s, n in enumerate(("one", "two")))
    made = settings(DataSettings(one, share=0.25, weight=0.5), DataSettings(two, share=0.001), batch_size=8)
    made = replace(made, variables=synthetic.settings().variables)
    trainer = streaming(tmp_path, made, resume=False)
    for _ in range(5):
        raw = next_batch(trainer.parts.pipeline, made)
        real = raw.numbers == -1
        assert (len(raw), real.sum()) == (8, 3)
        assert np.unique(raw.weights[~real]).tolist() == [1.0]
        assert raw.weights[real].mean(1).tolist() == [0.5, 0.5, 1.0]
    trainer.close()


def next_batch(pipeline: Pipeline, settings: Settings) -> RawBatch:
    raw = pipeline.store.next_batch(Quiet(settings), lambda: False)  # type: ignore[arg-type]
    assert raw is not None
    return raw


@pytest.mark.parametrize(
    ("shares", "size", "counts"),
    [((1.0,), 8, [8]), ((0.5, 0.5), 9, [4, 5]), ((0.3, 0.3), 10, [3, 3]), ((0.98,), 4, [3]), ((0.5, 0.5), 2, [1, 1])],
)
def test_shares_are_rounded_to_whole_images(shares: tuple[float, ...], size: int, counts: list[int]) -> None:
    made = settings(*(DataSettings("x", share=s) for s in shares), batch_size=size)
    assert data_sets.batch_counts(made) == counts


def test_every_image_comes_once_before_any_comes_again(tmp_path: Path) -> None:
    made = settings(DataSettings(str(dots.write(tmp_path / "dots", 10)), share=1.0, held_out=0.2), batch_size=3)
    store, seen = store_of(made), list[int]()
    for _ in range(8):
        seen += store.chosen(0, 3, 8)
        assert store.next_batch(Quiet(made), lambda: False) is not None
    assert [sorted(seen[i : i + 8]) for i in (0, 8, 16)] == [list(range(8))] * 3


def test_a_keypoint_weighs_less_the_more_uncertain_its_label_is() -> None:
    visibility, points = np.array([2, 2, 2, -1]), np.zeros((4, 2))
    image = LabelledImage(np.zeros((4, 4, 3), np.uint8), points, visibility, np.array([0.0, 4.0, 40.0, 0.0]))
    assert data_images.keypoint_weights(image, 1.0, 2.0, 3.0).tolist() == [1.0, 0.5, 0.0, 0.0]
    kept = data_images.keypoint_weights(image, 1.0, 2.0, 0.0)
    assert kept[2] == pytest.approx(4 / 44)
    # Half as large, the same label is a quarter as uncertain in pixels².
    assert data_images.keypoint_weights(image, 0.5, 2.0, 3.0)[1] == pytest.approx(4 / 5)


def test_covariances_of_a_label_reach_the_batch(tmp_path: Path) -> None:
    path = str(dots.write(tmp_path / "dots", 6, covariance=1.0))
    raw = store_of(settings(DataSettings(path, share=1.0))).next_batch(Quiet(settings()), lambda: False)
    assert raw is not None
    # σ is 1 here; views are up to a quarter larger or smaller than the image.
    assert 1 / (1 + 1.25**2) - 1e-9 <= raw.weights.min() < raw.weights.max() <= 1 / (1 + 1.25**-2) + 1e-9


def test_covariances_of_ndds_are_read(tmp_path: Path) -> None:
    Image.new("RGB", SIZE).save(tmp_path / "000000.rgb.png")
    places = [{"name": n, "projected_location": [10.5, 10.5]} for n in dots.NAMES]
    covariances = [[[4.0, 1.0], [1.0, 2.0]], None, [[0.5, 0.0], [0.0, 0.5]]]
    instance = {"robot": "", "keypoints": places, "keypoint_covariances": covariances}
    document = {
        "camera_data": {"width": 64, "height": 48}, "objects": [{"name": "", "keypoints": places}],
        "robot_keypoints": {"instances": [instance]},
    }  # fmt: skip
    (tmp_path / "000000.json").write_text(json.dumps(document), encoding="utf-8")
    data = reader.read(tmp_path)
    assert (data.format, data.items[0].robots[0].variances) == ("NDDS", {"foot": 3.0, "hand": 0.5})
    assert keypoint_matching.truth(data.items[0], dots.NAMES, False).variances.tolist() == [3.0, 0.0, 0.5]
    document["robot_keypoints"]["instances"][0]["keypoint_covariances"] = covariances[:2]
    (tmp_path / "000000.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(UserError, match="keypoint_covariances for each of 3 keypoints"):
        reader.read(tmp_path)


def test_paths_of_data_and_models_are_relative_to_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    for word, meant in (("ur3e", "ur3e"), ("mine.safetensors", str(tmp_path / "mine.safetensors"))):
        file.write_text(f'[training]\nstart_from = "{word}"\n[[data]]\npath = "dots"\n', encoding="utf-8")
        loaded = toml_file.load(file)
        assert (loaded.training.start_from, loaded.data[0].path) == (meant, str(tmp_path / "dots"))
        toml_file.save(loaded, tmp_path / "again.toml")
        assert toml_file.load(tmp_path / "again.toml") == loaded


# ---------------------------------------------------------------------------------------------------------------- views


def blobs(folder: Path, size: tuple[int, int]) -> Path:
    """Images of one light blob each, at the keypoint ``hand``."""
    dots.write(folder, 8, size=size, names=("hand",))
    document = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    width = size[0] / 20
    rng = np.random.default_rng(3)
    across, down = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    for image, entry in zip(document["images"], document["annotations"], strict=True):
        u, v = rng.uniform(0.3, 0.7, 2) * size
        entry["keypoints"] = [u, v, 2]
        light = 250 * np.exp(-((across - u) ** 2 + (down - v) ** 2) / (2 * width**2))
        Image.fromarray(np.repeat(light.round().astype(np.uint8)[..., None], 3, -1)).save(folder / image["file_name"])
    (folder / "annotations.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def centre_of(picture: np.ndarray) -> np.ndarray:
    light = picture[..., 0].astype(float)
    places = np.stack(np.meshgrid(np.arange(light.shape[1]), np.arange(light.shape[0])), -1)
    return np.asarray((places * light[..., None]).sum((0, 1)) / light.sum())


@pytest.mark.parametrize("size", [(64, 48), (160, 90), (400, 500)])
def test_keypoints_move_with_their_image(tmp_path: Path, size: tuple[int, int]) -> None:
    made = settings(DataSettings(str(blobs(tmp_path / "blobs", size)), share=1.0))
    made = replace(made, keypoints=made.keypoints[2:], skeleton=())
    part = data_sets.partitions(made)[0]
    images = DecodedImages(part.learned, ("hand",), (160, 120), complete=False, memory=1 << 20)
    rng = np.random.default_rng(1)
    for index in range(len(images)):
        image = images[index]
        assert image is not None
        for view in (data_images.whole_view(image, (160, 120)), data_images.drawn_view(image, (160, 120), rng)):
            picture, points = data_images.show(image, view, (160, 120))
            assert picture.shape == (120, 160, 4) and (picture[..., 3] == 255).all()
            assert np.abs(centre_of(picture) - points[0]).max() < 0.3


def test_what_is_shown_whole_is_all_there(tmp_path: Path) -> None:
    image = LabelledImage(
        np.zeros((90, 160, 3), np.uint8), np.array([[-0.5, -0.5], [159.5, 89.5]]), np.ones(2), np.ones(2)
    )
    view = data_images.whole_view(image, (64, 48))
    assert view == View(0.4, 0.0, (79.5, 44.5))
    _, points = data_images.show(image, view, (64, 48))
    assert points.tolist() == pytest.approx(np.array([[-0.5, 5.5], [63.5, 41.5]]))


def test_images_are_kept_as_long_as_there_is_room(tmp_path: Path) -> None:
    made = settings(DataSettings(str(dots.write(tmp_path / "dots", 6)), share=1.0))
    part = data_sets.partitions(made)[0]
    images = DecodedImages(part.learned, dots.NAMES, SIZE, complete=False, memory=2 * 64 * 48 * 3)
    first = [images[i] for i in range(len(images))]
    assert images.kept == 2
    for i, image in enumerate(first):
        again = images[i]
        assert image is not None and again is not None
        assert (again is image) == (i < 2) and np.array_equal(again.pixels, image.pixels)


def test_an_image_that_can_not_be_read_carries_no_loss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = dots.write(tmp_path / "dots", 2)
    made = settings(DataSettings(str(folder), share=1.0, held_out=0.0), batch_size=2)
    made = replace(
        made, data=(*made.data, replace(made.data[0], path=str(dots.write(tmp_path / "b", 4)), held_out=0.5))
    )
    made = replace(made, data=tuple(replace(d, share=0.5) for d in made.data))
    (folder / "000.png").write_bytes(b"no image")
    (folder / "001.png").write_bytes(b"no image")
    store = store_of(made)
    for _ in range(4):
        raw = store.next_batch(Quiet(made), lambda: False)
        assert raw is not None and raw.weights[0].tolist() == [0, 0, 0] and (raw.weights[1] > 0).all()
    said = capsys.readouterr().err
    assert said.count("the training goes on without it") == 2


def test_what_is_not_annotated_carries_no_loss(tmp_path: Path) -> None:
    folder = dots.write(tmp_path / "dots", 4, names=("foot", "knee"))
    raw = store_of(settings(DataSettings(str(folder), share=1.0))).next_batch(Quiet(settings()), lambda: False)
    assert raw is not None
    assert (raw.weights[:, :2] == 1).all() and (raw.weights[:, 2] == 0).all()


# -------------------------------------------------------------------------------------------------- splits and mistakes


def test_splits_are_folders_or_files(tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    dots.write(folder / "train", 5)
    dots.write(folder / "valid", 3, seed=1)
    made = settings(DataSettings(str(folder), split="train", validation_split="valid", share=1.0))
    part = data_sets.partitions(made)[0]
    assert {i.path.parent.name for i in part.learned} == {"train"} and len(part.learned) == 5
    assert {i.path.parent.name for i in part.held_out} == {"valid"} and len(part.held_out) == 3
    as_file = settings(DataSettings(str(folder / "valid"), split="annotations", share=1.0))
    assert len(data_sets.partitions(as_file)[0].learned) == 1


def test_what_is_held_out_stays_so_when_a_data_set_grows(tmp_path: Path) -> None:
    few, many = (dots.write(tmp_path / n, c) for n, c in (("few", 20), ("many", 24)))
    held, learned = (
        {i.name for i in getattr(data_sets.partitions(settings(DataSettings(str(f), share=1.0)))[0], part)}
        for f, part in ((few, "held_out"), (many, "learned"))
    )
    assert len(held & learned) <= 1  # a fifth of more images is another image, at most


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"path": "nothing"}, "There is no folder"),
        ({"split": "train"}, "has no split 'train'"),
        ({"validation_split": "valid"}, "has no split 'valid'"),
        ({"path": "other"}, "learn from images of the same robot"),
        ({"path": "one"}, "left to learn from"),
        ({"path": "two"}, "left to learn from"),
        ({"path": "dots", "validation_split": "single"}, "Only one image would be held out"),
        ({"path": "gone"}, "There is no image at"),
        ({"path": "wrong"}, "the covariance of foot in annotation 0 is none"),
    ],
)
def test_what_can_not_be_learned_from_is_refused(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    dots.write(tmp_path / "dots", 10)
    dots.write(tmp_path / "dots" / "single", 1)
    dots.write(tmp_path / "other", 10, names=("nose", "tail"))
    dots.write(tmp_path / "one", 1)
    dots.write(tmp_path / "two", 2)
    (dots.write(tmp_path / "gone", 10) / "004.png").unlink()
    dots.write(tmp_path / "wrong", 10, covariance=-1.0)
    path = str(tmp_path / changes.get("path", "dots"))
    made = settings(replace(DataSettings(path, share=1.0), **{**changes, "path": path}))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=words) as refusal:
        data_sets.partitions(made)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((DataSettings("a", share=0.7), DataSettings("b", share=0.7)), "add up to 1.4"),
        ((DataSettings("", share=0.7),), "has no path"),
        ((DataSettings("a", share=0.01),) * 9, "can't be shared among 10 sources"),
    ],
)
def test_shares_that_no_batch_has_are_refused(data: tuple[DataSettings, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        validation.check(settings(*data))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ('[[keypoints]]\nname = "tip"\nframe = "tip"', "has the keypoints shoulder_pan, .* and this training tip"),
        ('[training]\nnetwork = "vgg"', "has network = light and this training asks for vgg"),
        ("[training]\nwidth = 8", "has width = 32 and this training asks for 8"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: str, words: str
) -> None:
    names = ("tip",) if "tip" in changes else ("shoulder_pan", "elbow", "wrist_1", "wrist_2", "wrist_3")
    dots.write(tmp_path / "dots", 10, names=names)
    file = tmp_path / "settings.toml"
    file.write_text(f'{changes}\n[[data]]\npath = "dots"\nshare = 1.0\n', encoding="utf-8")
    assert cli.main(["train", str(file), "--from", "ur3e", "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and re.search(words, said)
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_starts_from_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--resume", str(tmp_path), "--from", "ur3e"]) == 2
    assert "--from can't be given with --resume" in capsys.readouterr().err
    assert cli.main(["train", str(tmp_path / "x.toml"), "--from", "ur99"]) == 2
