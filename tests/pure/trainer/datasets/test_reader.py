# SPDX-License-Identifier: GPL-3.0-or-later
"""Label files as tools really write them: found and read as they were meant, or refused in one sentence."""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from robot_keypoints.core.errors import UserError
from robot_keypoints.trainer.datasets import keypoint_matching, reader as dataset_reader
from robot_keypoints.trainer.evaluation import rater_spread

NAMES = ("foot", "knee", "hand")
Document = dict[str, Any]


def document(*names: str, size: tuple[int, int] | None = (80, 60)) -> Document:
    """A COCO file of pictures whose n-th has its keypoints at (10 n + 1 … 3, 5)."""
    images: list[Document] = [{"id": n, "file_name": name} for n, name in enumerate(names, 1)]
    if size is not None:
        images = [{**i, "width": size[0], "height": size[1]} for i in images]
    annotations = [
        {
            "id": n, "image_id": n, "category_id": 1, "num_keypoints": 3,
            "keypoints": [x for k in (1, 2, 3) for x in (10 * n + k, 5, 2)],
        }
        for n, _ in enumerate(names, 1)
    ]  # fmt: skip
    categories = [{"id": 1, "name": "arm", "keypoints": list(NAMES)}]
    return {"images": images, "annotations": annotations, "categories": categories}


def put(path: Path, size: tuple[int, int] = (80, 60), shade: int = 90, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, shade, shade)).save(path, **options)
    return path


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return path


LAYOUTS = {
    # tool: annotation file, file_name, where the picture lies
    "ours": ("annotations.json", "images/a.jpg", "images/a.jpg"),
    "cvat": ("annotations/person_keypoints_default.json", "a.jpg", "images/default/a.jpg"),
    "cvat subset": ("annotations/person_keypoints_train.json", "cam/a.jpg", "images/train/cam/a.jpg"),
    "coco": ("annotations/person_keypoints_val2017.json", "a.jpg", "val2017/a.jpg"),
    "roboflow": ("_annotations.coco.json", "a_jpg.rf.0a1b.jpg", "a_jpg.rf.0a1b.jpg"),
    "label studio": ("result.json", "images/0a1b2c3d-a.jpg", "images/0a1b2c3d-a.jpg"),
    "label studio on windows": ("result.json", "images\\0a1b2c3d-a.jpg", "images/0a1b2c3d-a.jpg"),
    "label studio upload": ("result_coco.json", "/data/upload/1/0a1b2c3d-a.jpg", "images/a.jpg"),
    "label studio storage": ("result.json", "/data/local-files/?d=shots%2Fa%20b.jpg", "images/shots/a b.jpg"),
    "label studio media": ("result.json", "../../label-studio/data/media/upload/3/0a1b2c3d-a.jpg", "a.jpg"),
    "address": ("result.json", "https://example.org/shots/a%20b.jpg?x=1", "images/a b.jpg"),
    "percent": ("result.json", "a%20b.jpg", "a b.jpg"),
    "percent itself": ("result.json", "a%20b.jpg", "a%20b.jpg"),
    "coco annotator": ("labels.json", "a.jpg", "photos/day 1/a.jpg"),
    "windows": ("labels.json", "C:\\Users\\me\\shots\\a.jpg", "a.jpg"),
}


@pytest.mark.parametrize("tool", LAYOUTS)
def test_exports_of_tools_can_be_given_as_they_are(tmp_path: Path, tool: str) -> None:
    file, name, place = LAYOUTS[tool]
    picture = put(tmp_path / place)
    labels = write(tmp_path / file, document(name))
    write(tmp_path / f"._{Path(file).name}", b"\0\5\x16\7")  # as macOS leaves them on foreign disks
    for source in (tmp_path, labels):
        (item,) = dataset_reader.read(source).items
        assert item.path == picture and item.picture().width == 80, source
        assert keypoint_matching.truth(item, NAMES, False).points.tolist() == [[11, 5], [12, 5], [13, 5]]


def test_a_name_that_is_there_twice_or_leads_out_of_the_folder_is_not_guessed(tmp_path: Path) -> None:
    put(tmp_path / "data" / "cam1" / "a.jpg")
    put(tmp_path / "data" / "cam2" / "a.jpg")
    labels = write(tmp_path / "data" / "labels.json", document("a.jpg"))
    with pytest.raises(UserError, match=r"has several pictures called a\.jpg"):
        dataset_reader.read(labels)
    write(labels, document("cam2/a.jpg"))
    assert dataset_reader.read(labels).items[0].path == tmp_path / "data" / "cam2" / "a.jpg"
    write(labels, document("cam3/a.jpg"))
    assert not dataset_reader.read(labels).items[0].path.exists()
    put(tmp_path / "secret.jpg")
    write(labels, document("../secret.jpg"))
    assert dataset_reader.read(labels).items[0].path == tmp_path / "data" / "secret.jpg"


@pytest.mark.parametrize(
    "encode",
    [
        lambda t: codecs.BOM_UTF8 + t.encode(),
        lambda t: t.encode("utf-16"),
        lambda t: codecs.BOM_UTF16_BE + t.encode("utf-16-be"),
    ],
    ids=["utf8", "utf16", "utf16be"],
)
def test_windows_encodings_are_found_and_read(tmp_path: Path, encode: Callable[[str], bytes]) -> None:
    put(tmp_path / "coco" / "a.jpg")
    write(tmp_path / "coco" / "any.json", encode(json.dumps(document("a.jpg"))))
    assert dataset_reader.read(tmp_path / "coco").format == "COCO"
    put(tmp_path / "ndds" / "0.png")
    label = {"objects": [{"keypoints": [{"name": "foot", "projected_location": [5.5, 6.5]}]}]}
    write(tmp_path / "ndds" / "0.json", encode(json.dumps(label)))
    assert dataset_reader.read(tmp_path / "ndds").items[0].robots[0].points == {"foot": (5.0, 6.0, 2)}


@pytest.mark.parametrize(("image", "entry"), [("1", 1), (1, "1"), (1.0, 1), ("a", "a"), (1, " 1 ")])
def test_ids_of_text_and_of_numbers_match(tmp_path: Path, image: Any, entry: Any) -> None:
    put(tmp_path / "a.jpg")
    labels = document("a.jpg")
    labels["images"][0]["id"], labels["annotations"][0]["image_id"] = image, entry
    labels["annotations"][0]["category_id"] = "1"
    (item,) = dataset_reader.read(write(tmp_path / "x.json", labels)).items
    assert len(item.robots) == 1


def change(labels: Document, kind: str, **values: Any) -> Document:
    labels[kind][0].update(values)
    return labels


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (change(document("a.jpg", "b.jpg"), "images", id=2), r"two images of the id 2 \(a\.jpg and b\.jpg\)"),
        (change(document("a.jpg", "b.jpg"), "images", id="2"), "two images of the id 2"),
        (change(document("a.jpg", "a.jpg"), "images", id=7), "the image 1, which is not among its images"),
        (document("a.jpg", "a.jpg"), r"has the picture .*a\.jpg twice"),
        (document("x/a.jpg", "y/a.jpg"), r"a\.jpg twice \(x/a\.jpg and y/a\.jpg\)"),
        (change(document("a.jpg"), "categories", keypoints=["foot", "knee", "foot"]), "two keypoints called foot"),
        (change(document("a.jpg"), "annotations", category_id=9), "the category 9, which is not among"),
        (change(document("a.jpg"), "annotations", keypoints=[1, 2, 2]), "three numbers for each of 3 keypoints"),
        (change(document("a.jpg"), "annotations", keypoints="123456789"), "three numbers for each"),
        (change(document("a.jpg"), "annotations", keypoints=[float("nan")] * 9), "three numbers for each"),
        (change(document("a.jpg"), "annotations", keypoints=[1e200, 1.0, 2.0] * 3), "no place in an image"),
        (
            change(document("a.jpg"), "annotations", keypoints=[1, 2, 3] * 3),
            "visibility of foot in annotation 1 is 3",
        ),
        (change(document("a.jpg"), "annotations", keypoints=[1, 2, -1] * 3), "the visibility of foot"),
        (change(document("a.jpg"), "annotations", keypoints=[1, 2, 0] * 3, num_keypoints=0), "None of the images"),
        (change(document("a.jpg"), "annotations", keypoints=[]), "None of the images"),
        (change(document("a.jpg"), "annotations", area=float("nan")), "the area of annotation 1 is nan"),
        (change(document("a.jpg"), "annotations", image_id=[1]), "is neither a number nor text"),
        (change(document("a.jpg"), "images", width=-80), "the width and height of a.jpg are -80 and 60"),
        (change(document("a.jpg"), "images", height=None), "the width and height of a.jpg"),
        (change(document("a.jpg"), "images", file_name=5), "is no text"),
        (change(document("a.jpg"), "categories", sigmas=[0.1, -1, 0.1]), "not all positive"),
        ({**document("a.jpg"), "categories": [{"id": 1}, {"id": "1"}]}, "two categories of the id 1"),
        ({"shapes": [], "imagePath": "a.jpg"}, "is labelme's own form: export the annotations as COCO keypoints"),
        ({"skeletons": [], "videos": []}, "is SLEAP's own form"),
        ([{"id": 1, "annotations": [], "data": {"img": "a.jpg"}}], "is Label Studio's own form"),
        ([{"img": "a.jpg", "kp": [{"x": 1, "y": 2, "keypointlabels": ["foot"]}]}], "is Label Studio's own form"),
        (b'{"images": [' + b"[" * 200_000, "nested too deeply"),
        (b'{"images": [], "annotations": [', "is not valid JSON"),
        (b'{"images": [], "annotations": [], "categories": [], "x": "\xe4"}', "is not JSON in UTF-8"),
    ],
)
def test_what_contradicts_itself_is_one_sentence(tmp_path: Path, labels: Any, words: str) -> None:
    put(tmp_path / "a.jpg")
    file = write(tmp_path / "annotations.json", labels)
    for source in (file, tmp_path):
        with pytest.raises(UserError, match=words) as caught:
            dataset_reader.read(source)
        assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.json": {"shapes": [], "imagePath": "a.jpg"}}, r"a\.json is labelme's own form"),
        ({"labels.slp": b"\x89HDF"}, "has SLEAP's own form"),
        (
            {"train/_annotations.coco.json": document("a.jpg")},
            r"in a folder below, .*coco\.json: give that",
        ),
        ({"x.json": b'{"images": [], "annotations": ['}, r"x\.json is not valid JSON"),
        ({"x.json": b"[" * 200_000}, "There are no annotations in"),
    ],
)
def test_a_folder_of_another_form_is_one_sentence(tmp_path: Path, files: dict[str, Any], words: str) -> None:
    for name, content in files.items():
        write(tmp_path / name, content)
    with pytest.raises(UserError, match=words):
        dataset_reader.read(tmp_path)


def test_a_picture_of_another_size_than_annotated_is_refused_and_one_that_was_held_sideways_is_not(
    tmp_path: Path,
) -> None:
    exif = Image.Exif()
    exif[274] = 6
    put(tmp_path / "a.jpg", (80, 60), exif=exif)
    for size, found in (((60, 80), (60, 80)), ((80, 60), (80, 60)), (None, (60, 80))):
        (item,) = dataset_reader.read(write(tmp_path / "x.json", document("a.jpg", size=size))).items
        picture = item.picture()
        assert (picture.width, picture.height) == found == picture.pixels.shape[1::-1]
    (item,) = dataset_reader.read(write(tmp_path / "x.json", document("a.jpg", size=(160, 120)))).items
    with pytest.raises(UserError, match="60 × 80 pixels but was annotated with 160 × 120"):
        item.picture()


def test_ndds_of_another_size_or_with_strange_numbers_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "0.rgb.png", (80, 60))
    points = [{"name": "foot", "projected_location": [5.5, 6.5]}]
    write(tmp_path / "0.json", {"objects": [{"keypoints": points}]})
    camera = {"camera_settings": [{"captured_image_size": {"width": 640, "height": 480}}]}
    write(tmp_path / "_camera_settings.json", camera)
    with pytest.raises(UserError, match=r"80 × 60 pixels, but _camera_settings\.json beside it says 640 × 480"):
        dataset_reader.read(tmp_path)
    camera["camera_settings"][0]["captured_image_size"] = {"width": 80, "height": 60}
    write(tmp_path / "_camera_settings.json", camera)
    assert dataset_reader.read(tmp_path).items[0].width == 80
    write(tmp_path / "0.json", {"objects": [{"keypoints": points * 2}]})
    with pytest.raises(UserError, match="two keypoints are called foot"):
        dataset_reader.read(tmp_path)
    points[0]["projected_location"] = [float("nan"), 1.0]
    write(tmp_path / "0.json", {"objects": [{"keypoints": points}]})
    with pytest.raises(UserError, match="the projected_location of foot is not two finite numbers"):
        dataset_reader.read(tmp_path)


@pytest.mark.parametrize(
    "label",
    [
        {"camera_data": {"width": math.inf, "height": 60}},
        {"objects": [{"keypoints": [{"name": "foot", "projected_location": [5.5, 6.5], "visibility": math.inf}]}]},
        {"objects": [{"keypoints": [{"name": "foot", "projected_location": [10**400, 6.5]}]}]},
        {"objects": [{"keypoints": [{"name": "foot", "projected_location": [1e200, 6.5]}]}]},
    ],
)
def test_ndds_with_numbers_beyond_all_is_refused(tmp_path: Path, label: dict[str, Any]) -> None:
    put(tmp_path / "0.rgb.png", (80, 60))
    points = [{"name": "foot", "projected_location": [5.5, 6.5]}]
    write(tmp_path / "0.json", {"objects": [{"keypoints": points}], **label})
    with pytest.raises(UserError, match=r"0\.json breaks NDDS's form"):
        dataset_reader.read(tmp_path)


def test_the_camera_of_ndds_with_a_size_beyond_all_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "0.rgb.png", (80, 60))
    write(tmp_path / "0.json", {"objects": [{"keypoints": [{"name": "foot", "projected_location": [5.5, 6.5]}]}]})
    camera = {"camera_settings": [{"captured_image_size": {"width": math.inf, "height": 60}}]}
    write(tmp_path / "_camera_settings.json", camera)
    with pytest.raises(UserError, match="tells no size of pictures"):
        dataset_reader.read(tmp_path)


def test_raters_tools_may_name_the_same_picture_differently(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        put(tmp_path / "photos" / name)
    one = write(tmp_path / "one.json", document("images/a.jpg", "images/b.jpg"))
    other = write(tmp_path / "other.json", document("0a1b2c3d-a.jpg", "b.jpg"))
    found = rater_spread.read([one, other], tmp_path / "photos", NAMES, "model")
    assert len(found.items) == 2 and np.isfinite(found.points).all()


@pytest.mark.parametrize("form", ["{}", "../other/{}", "C:\\pictures\\{}"])
def test_a_picture_elsewhere_is_not_read_and_that_is_told(tmp_path: Path, form: str) -> None:
    """A stranger's annotations could name any file of this machine."""
    there = put(tmp_path / "other" / "a.jpg")
    name = form.format(there if form == "{}" else there.name)
    (item,) = dataset_reader.read(write(tmp_path / "set" / "labels.json", document(name))).items
    with pytest.raises(UserError, match=r"only read from the annotations' own folder .* put both into one folder"):
        item.picture()
    put(tmp_path / "set" / "images" / "a.jpg")
    (item,) = dataset_reader.read(tmp_path / "set" / "labels.json").items
    assert item.path == tmp_path / "set" / "images" / "a.jpg" and item.picture().width == 80
