# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses that ``serve --publish`` publishes in a second over pictures that the bare predictor takes in a second.

Both look at the same rendered pictures of one robot pose from many sides, one picture at a time, with as many threads.
The server reads them from files, solves the pose with the joints known, and publishes; the bare predictor has them in
memory and stops at the keypoints. Published poses are counted by their numbers where a listener in this process hears
them.

    python benchmarks/serve_rate.py [--model MODEL] [--pictures N] [--size 320x240] [--passes P] [--rounds R]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import common
import numpy as np
from robot_keypoints.core import builtin_models, run_folder
from robot_keypoints.core.messages.pose_publishing import PoseListener
from robot_keypoints.core.processes.child_process import Child
from robot_keypoints.core.processes.programs import LAUNCHER
from robot_keypoints.core.settings import toml_file
from robot_keypoints.core.settings.schema import VariableSettings
from robot_keypoints.trainer.images import image_file
from robot_keypoints.trainer.inference.predictor import Predictor

JOINTS = {
    "shoulder_pan_joint": 0.3, "shoulder_lift_joint": -1.2, "elbow_joint": 1.1, "wrist_1_joint": -0.5,
    "wrist_2_joint": 0.9, "wrist_3_joint": 0.2,
}  # fmt: skip
FOCAL_MM = 35.0
DEADLINE = 300.0


def render(folder: Path, count: int, width: int, height: int) -> tuple[list[Path], str]:
    """Pictures of the robot in one pose from everywhere, and their camera as the command line has it."""
    settings = common.ur10_settings()
    fixed = {f"joint/{n}": q for n, q in JOINTS.items()} | {"camera/focal_length": FOCAL_MM}
    variables = tuple(
        VariableSettings(v.name, fixed[v.name], fixed[v.name], 1, adapt=False, unit=v.unit) if v.name in fixed else v
        for v in settings.variables
    )
    settings = replace(
        settings, variables=variables, render=replace(settings.render, width=width, height=height, samples=2)
    )
    toml_file.save(settings, folder / run_folder.SETTINGS)
    command = ["cli", "render", str(folder / run_folder.SETTINGS), "--count", str(count), "--format", "coco"]
    subprocess.run([sys.executable, str(LAUNCHER), *command, "--out", str(folder / "data")], check=True)
    document = json.loads((folder / "data" / "annotations.json").read_text(encoding="utf-8"))
    matrix = np.array(document["images"][0]["camera_matrix"])
    files = [folder / "data" / image["file_name"] for image in document["images"]]
    return files, f"{matrix[0, 0]},{matrix[1, 1]},{matrix[0, 2]},{matrix[1, 2]}"


def time_bare(model: Path, files: list[Path], passes: int) -> float:
    """Pictures a second of the predictor alone."""
    predictor = Predictor.load(model)
    pictures = [image_file.read(f).pixels for f in files]
    predictor.predict(pictures[:1])
    start = time.perf_counter()
    for _ in range(passes):
        for picture in pictures:
            predictor.predict([picture])
    return passes * len(pictures) / (time.perf_counter() - start)


def time_published(model: Path, files: list[Path], passes: int, camera: str, folder: Path) -> tuple[float, float]:
    """Published documents a second, and the share of those heard that have a pose."""
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    known = ",".join(f"{n}={q}" for n, q in JOINTS.items())
    command = [
        sys.executable, str(LAUNCHER), "serve", str(model), "--ready", str(ready), "--publish", "0", "--wait",
        "--camera", camera, "--joints", known, "--source", *map(str, files * passes),
    ]  # fmt: skip
    child = Child("serve", command, folder / "serve.log")
    begun = time.monotonic()
    while not ready.exists():
        if child.exit_code is not None or time.monotonic() - begun > DEADLINE:
            child.kill()
            raise SystemExit("\n".join(child.last_words()))
        time.sleep(0.05)
    listener = PoseListener("127.0.0.1", json.loads(ready.read_text(encoding="utf-8"))["publish"])
    heard = []
    try:
        while (found := listener.newest(DEADLINE)) is not None and not found.end:
            heard.append((found.sequence, found.published, found.pose is not None and found.pose.status == "solved"))
    finally:
        listener.close()
        child.kill()
    (first, start, _), (last, end, _) = heard[0], heard[-1]
    return (last - first) / (end - start), float(np.mean([solved for *_, solved in heard]))


def main() -> None:
    """Measure both in turn and print the ratio of the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, default=builtin_models.models()["ur10"].file)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    width, height = (int(n) for n in options.size.split("x"))
    folder = common.scratch()
    files, camera = render(folder, options.pictures, width, height)
    pairs, shares = [], []
    for _ in range(options.rounds):
        published, share = time_published(options.model, files, options.passes, camera, folder)
        pairs.append((published, time_bare(options.model, files, options.passes)))
        shares.append(share)
    ours, bare = np.median(np.array(pairs), axis=0)
    ratios = [a / b for a, b in pairs]
    print(
        f"{options.size}: published {ours:.1f} poses/s ({np.mean(shares):.0%} of them solved), bare predictor "
        f"{bare:.1f} pictures/s; ratio {np.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f} in "
        f"{len(pairs)} rounds"
    )


if __name__ == "__main__":
    main()
