# SPDX-License-Identifier: GPL-3.0-or-later
"""Fine-tuning without labels, by displacement alone, against labels of kinematics whose joint sensors have an offset.

    python benchmarks/displacement.py PHOTOGRAPHS URDF --model ur3e [--seeds 3] [--offset DEG …] [--weight W]

PHOTOGRAPHS holds COCO ``annotations.json`` with ``camera_matrix``, ``T_cam_base`` and ``joints``, and images that are
called after their camera, as ``cam1_01.jpg``. The model is fine-tuned on the first camera's images and evaluated on
the second camera's labels. ``--offset`` is added to the joints that all ways of learning are given, in degrees. Eight
labelled images of the first camera choose the model in all of them; eight others are learned from as *few labels*, by
themselves, or in half of each batch, with displacement in the other half or nothing. Labels of kinematics are those of
the joints given before the true camera.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import scratch
from robot_keypoints.core import builtin_models
from robot_keypoints.core.camera.intrinsics import Intrinsics
from robot_keypoints.core.robot.keypoints import Keypoint, joint_keypoints
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.trainer.commands import main as cli

FEW = 8
"""Labelled images that choose the model, and as many that may be learned from."""

HALF = "few labels, half of each batch"

WAYS = ("kinematics", "displacement", "few labels", HALF, "displacement + few labels")


def main() -> None:
    """Fine-tune in each way with each seed, and print how far off the keypoints are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("urdf", type=Path)
    parser.add_argument("--model", default="ur3e")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=640, help="learned from, in batches of 8")
    parser.add_argument("--weight", type=float, default=1.0)
    parser.add_argument("--offset", type=float, nargs="+", default=[0.0], help="degrees, of each joint in turn")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    folder = given.out or scratch()
    folder.mkdir(parents=True, exist_ok=True)
    prepare(given.photographs, given.urdf, folder, [math.radians(d) for d in given.offset])
    rows = {"nothing": [error(str(builtin_models.resolve(given.model)), folder)]}
    show("nothing", rows["nothing"])
    for way in given.ways:
        rows[way] = []
        for seed in range(1, given.seeds + 1):
            run = folder / f"{way.replace(' ', '-').replace(',', '')}-{seed}"
            settings = folder / f"{run.name}.toml"
            settings.write_text(settings_of(way, seed, given.images, given.weight), encoding="utf-8")
            call(["train", str(settings), "--from", given.model, "--out", str(run)])
            rows[way].append(error(str(run / "model.safetensors"), folder))
        show(way, rows[way])


def show(way: str, found: Sequence[tuple[float, float]]) -> None:
    """One row: the mean over seeds of the mean and of the median error, and each seed's mean error."""
    means, medians = zip(*found, strict=True)
    every = " ".join(f"{m:.2f}" for m in means)
    print(f"| {way} | {statistics.mean(means):.2f} | {statistics.mean(medians):.2f} | {every} |", flush=True)


def settings_of(way: str, seed: int, images: int, weight: float) -> str:
    """What is learned from; by displacement, the footage has no labels."""
    chosen = 'validation_split = "chosen"'
    data = {
        "kinematics": f'[[data]]\npath = "."\nsplit = "kinematics"\nshare = 1.0\n{chosen}\n',
        "displacement": f'[[data]]\npath = "."\nsplit = "footage.toml"\nshare = 1.0\n{chosen}\n',
        "few labels": f'[[data]]\npath = "."\nsplit = "few"\nshare = 1.0\n{chosen}\n',
        HALF: f'[[data]]\npath = "."\nsplit = "few"\nshare = 1.0\n{chosen}\n',
        "displacement + few labels": f'[[data]]\npath = "."\nsplit = "footage.toml"\nshare = 0.5\n{chosen}\n'
        '[[data]]\npath = "few"\nshare = 0.5\n',
    }[way]
    part = 2 if way == HALF else 1
    displacement = f"displacement_weight = {weight}\n" if way.startswith("displacement") else ""
    return (
        f'[training]\ndevice = "cpu"\nprocesses = 1\nbatch_size = {8 // part}\n'
        f"epochs = 1\nepoch_images = {images // part}\n"
        f"warm_up = 10\naveraging = 0.9\nseed = {seed}\n{displacement}{data}"
    )


def prepare(photographs: Path, urdf: Path, folder: Path, offset: Sequence[float]) -> None:
    """Write the footage without labels, the labels of kinematics, the few labels, and those that are measured by."""
    document = json.loads((photographs / "annotations.json").read_text(encoding="utf-8"))
    names = document["categories"][0]["keypoints"]
    robot = load_urdf(urdf)
    places = {"base": Keypoint("base", "base_link"), **{k.name: k for k in joint_keypoints(robot)}}
    moving = [j.name for j in robot.moving_joints]
    cameras = sorted({Path(i["file_name"]).name.split("_")[0] for i in document["images"]})[:2]
    by_image = {a["image_id"]: a for a in document["annotations"]}
    first, second = ([i for i in document["images"] if Path(i["file_name"]).name.startswith(c)] for c in cameras)
    labelled = [first[k] for k in np.random.default_rng(0).permutation(len(first))[: 2 * FEW].tolist()]
    write(folder / "measured", document, second, by_image, photographs)
    write(folder / "chosen", document, labelled[:FEW], by_image, photographs)
    write(folder / "few", document, labelled[FEW:], by_image, photographs)
    read, frames = {}, []
    for image in (i for i in first if i not in labelled[:FEW]):
        true = by_image[image["id"]]
        joints = {n: true["joints"][n] + offset[k % len(offset)] for k, n in enumerate(moving)}
        k, lens = np.array(image["camera_matrix"]), image["distortion"]
        camera = Intrinsics(image["width"], image["height"], k[0, 0], k[1, 1], k[0, 2], k[1, 2], tuple(lens))
        links = robot.link_frames(joints)
        base = np.array(true["T_cam_base"])
        points = [(base @ links[places[n].frame] @ (*places[n].offset, 1.0))[:3] for n in names]
        labels = []
        for u, v in camera.project(np.array(points))[0].tolist():
            inside = -0.5 <= u < camera.width - 0.5 and -0.5 <= v < camera.height - 0.5
            labels += [u, v, 2] if inside else [0, 0, 0]
        read[image["id"]] = {**true, "keypoints": labels, "joints": joints}
        inline = ", ".join(f"{n} = {float(q)!r}" for n, q in joints.items())
        frames.append(
            f'[[frames]]\ncamera = "one"\nfile = "{find(photographs, image["file_name"])}"\njoints = {{ {inline} }}\n'
        )
    own = [i for i in first if i["id"] in read]
    write(folder / "kinematics", document, own, read, photographs)
    text = f'robot = "{urdf.resolve()}"\n[cameras.one]\nK = {own[0]["camera_matrix"]}\n'
    text += f"distortion = {own[0]['distortion']}\n"
    (folder / "footage.toml").write_text(text + "".join(frames), encoding="utf-8")


def write(
    folder: Path, document: Mapping[str, Any], images: Sequence[Mapping[str, Any]], labels: Mapping[int, Any],
    photographs: Path,
) -> None:  # fmt: skip
    """A COCO data set whose images stay where they are."""
    folder.mkdir(exist_ok=True)
    for image in images:
        link = folder / Path(image["file_name"]).name
        if not link.exists():
            link.symlink_to(find(photographs, image["file_name"]))
    named = [{**i, "file_name": Path(i["file_name"]).name} for i in images]
    chosen = [labels[i["id"]] for i in images]
    content = {**document, "images": named, "annotations": chosen}
    (folder / "annotations.json").write_text(json.dumps(content), encoding="utf-8")


def find(photographs: Path, name: str) -> Path:
    """Where an image of the data set is."""
    places = (photographs / name, photographs / "images" / name)
    return next(p for p in places if p.exists()).resolve()


def error(model: str, folder: Path) -> tuple[float, float]:
    """The mean and the median error on the second camera's labels, percent of the diagonal."""
    answer = json.loads(call(["evaluate", model, "--data", str(folder / "measured"), "--json"]))
    return float(answer["percent"]["mean"]), float(answer["percent"]["median"])


def call(arguments: Sequence[str]) -> str:
    """What the command line prints.

    Raises:
        SystemExit: if it fails.
    """
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = cli.main(list(arguments))
    if code:
        raise SystemExit(code)
    return said.getvalue()


if __name__ == "__main__":
    main()
