# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a loss on the pose help, or one on the maps' width and range? The same network by the same images in the same
order, with the maps' loss alone and with each of the others beside it, for several seeds.

All trainings of a seed share their beginning, by the maps' loss alone: the model of the UR10 that comes with the
extension, or with --scratch the first half of the images. Poses are solved as `predict --camera --joints` does, from
held-out images, and compared with the true ones; ADD is the mean distance of the robot's keypoints from where they
should be.

    python benchmarks/pose_training.py RECORDING [--scratch] [--seeds 5] [--images 4000] [--shrink 1] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from robot_keypoints.core.camera.intrinsics import Intrinsics, invert, orbit
from robot_keypoints.core.robot.visibility import SURE
from robot_keypoints.core.settings.completion import load_robot
from robot_keypoints.core.settings.schema import TrainingSettings
from robot_keypoints.trainer.datasets.recording import Recording
from robot_keypoints.trainer.evaluation.evaluate import EvaluationSet
from robot_keypoints.trainer.evaluation.keypoint_metrics import errors_percent
from robot_keypoints.trainer.images.training_augmentation import Augmentation
from robot_keypoints.trainer.networks import factory
from robot_keypoints.trainer.networks.model_file import load_model
from robot_keypoints.trainer.pose import rigid_motion
from robot_keypoints.trainer.pose.camera import Camera
from robot_keypoints.trainer.pose.kinematics import Chain
from robot_keypoints.trainer.pose.problem import Options
from robot_keypoints.trainer.pose.solve_pose import solve_pose
from robot_keypoints.trainer.training.batch_pipeline import BatchAugmenter
from robot_keypoints.trainer.training.checkpoint import flatten_optimiser, restore_optimiser
from robot_keypoints.trainer.training.engine import Batch, Engine
from robot_keypoints.trainer.training.replay_store import RawBatch
from robot_keypoints.trainer.training.schedule import learning_rate, pose_share
from scipy.stats import ttest_1samp
from shrunk_recording import PRECISION, TEST, VALIDATION, Data, summary
from torch import Tensor

MAPS = "maps alone"
"""The others are named after what counts beside the maps, and with which weight."""

VARIANTS: dict[str, dict[str, Any]] = {
    MAPS: {"pose_weight": 0.0},
    "pose 0.2": {"pose_weight": 0.2},
    "pose 0.5": {"pose_weight": 0.5},
    "width 0.3": {"pose_weight": 0.0, "width_weight": 0.3},
    "range 0.3": {"pose_weight": 0.0, "range_weight": 0.3},
}
MODEL = Path(__file__).parents[1] / "assets" / "models" / "ur10.safetensors"
FINE_RATE = 5e-4
"""Learning rate of a network that has learned already."""

FAR = 0.5
"""Metres of ADD at which the area under the curve of recall ends; a pose that isn't found is further off."""

MEASURES = ("mean %", "median %", "rotation °", "translation mm", "ADD mm", "AUC %", "no pose %")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scenes:
    """Where the robot of each rendering is.

    Attributes:
        points: keypoints in the base frame, metres ``(N, J, 3)``.
        poses: ``T_cam_base`` ``(N, 4, 4)``.
        cameras: fx, fy, cx, cy, k1, k2, p1, p2, k3 in pixels of the images that are used, ``(N, 9)``.
    """

    points: Tensor
    poses: Tensor
    cameras: Tensor

    @classmethod
    def of(cls, recording: Recording, shrink: int) -> Scenes:
        """Compute the scenes of a recording by its latent values."""
        settings, (height, width) = recording.settings, recording.images.shape[1:3]
        names = [v.name for v in settings.variables]
        joints = [n for n in names if n.startswith("joint/")]
        chain = Chain.of(load_robot(settings.robot), settings.keypoints, [n.removeprefix("joint/") for n in joints])
        points = chain(torch.from_numpy(recording.values[:, [names.index(n) for n in joints]]))
        poses, cameras = [], []
        for row in recording.values.tolist():
            v = {n.removeprefix("camera/"): x for n, x in zip(names, row, strict=True) if n.startswith("camera/")}
            target = [v[f"target_{a}"] for a in "xyz"]
            place = orbit(v["azimuth"], v["elevation"], v["distance"], v["roll"], target)
            poses.append(invert(place))
            k = Intrinsics.from_lens(
                width, height, v["focal_length"], principal=(v["principal_x"], v["principal_y"]),
                distortion=(v["k1"], v["k2"], v["p1"], v["p2"], 0.0),
            )  # fmt: skip
            f, c = k.fx / shrink, [(x + 0.5) / shrink - 0.5 for x in (k.cx, k.cy)]
            cameras.append([f, f, *c, *k.distortion])
        return cls(points, torch.from_numpy(np.stack(poses)), torch.tensor(cameras, dtype=torch.float64))

    def in_camera(self, poses: Tensor, rows: slice) -> Tensor:
        """Keypoints in the camera frame ``(n, J, 3)``."""
        return self.points[rows] @ poses[:, :3, :3].mT + poses[:, None, :3, 3]

    def check(self, keypoints: Floats) -> None:
        """That they show the keypoints where the labels say, within a hundredth of a pixel."""
        everywhere = slice(None)
        shown = Camera.of_rows(self.cameras).project(self.in_camera(self.poses, everywhere)).numpy()
        worst = float(np.nanmax(np.abs(shown - keypoints)))
        if worst > 0.01:
            sys.exit(f"the recording's latent values and its labels differ by {worst:.2f} pixels: record anew")


def batches(data: Data, scenes: Scenes, augmenter: BatchAugmenter, seed: int, t: TrainingSettings) -> Iterator[Batch]:
    """Without end."""
    rng = np.random.default_rng(seed)
    depths = scenes.in_camera(scenes.poses, slice(None))[..., 2].numpy()
    cameras = scenes.cameras.numpy()
    while True:
        i = rng.integers(0, data.pool, t.batch_size)
        seen = np.asarray(data.recording.visibility[i])
        own, ones = (depths[i], cameras[i]), np.ones_like(depths[i])
        yield augmenter(
            RawBatch(data.images[i], data.keypoints[i], seen, data.effects[i], i, *own, ones, np.empty((len(i), 0)))
        )


def engine_of(config: factory.NetworkConfig, t: TrainingSettings, seed: int, start: Path | None = None) -> Engine:
    """A new one, with the weights of the model ``start`` if there is one."""
    torch.manual_seed(seed)
    made = Engine(factory.build(config).to(memory_format=torch.channels_last), t, PRECISION)
    if start is not None:
        known, _ = load_model(start, PRECISION.device)
        made.network.load_state_dict(known.state_dict())
        made.average.load_state_dict(known.state_dict())
    made.begin()
    return made


def copied(of: Engine, t: TrainingSettings) -> Engine:
    """In the same state, but for the settings."""
    made = engine_of(of.network.config, t, 0)
    made.network.load_state_dict(of.network.state_dict())
    made.average.load_state_dict(of.average.state_dict())
    if of.steps:
        restore_optimiser(made.optimiser, {k: v.clone() for k, v in flatten_optimiser(of.optimiser).items()})
    made.steps = of.steps
    return made


@torch.no_grad()
def measured(net: factory.KeypointNetwork, data: EvaluationSet, scenes: Scenes, rows: slice) -> dict[str, Floats]:
    """Of each image: the keypoints' mean error, and the pose's errors, infinite where there is no pose; and the error
    of each keypoint."""
    net.eval()
    width, height = data.size
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for some in torch.split(data.images, 64):
        with PRECISION.autocast():
            seen = factory.normalise(some.float() / 255.0).contiguous(memory_format=torch.channels_last)
            output = net(seen)
        points, confidence = net.decode(output)
        parts.append((points.positions.double(), points.covariances.double(), confidence))
    positions, covariances, confidences = (torch.cat(p) for p in zip(*parts, strict=True))
    solution = solve_pose(
        scenes.points[rows], positions, Camera.of_rows(scenes.cameras[rows]), covariances=covariances,
        used=confidences >= SURE, options=Options(kernel="huber"),
    )  # fmt: skip
    truth, good = scenes.poses[rows], solution.determined
    off = (scenes.in_camera(solution.pose, rows) - scenes.in_camera(truth, rows)).norm(dim=-1).mean(-1)
    turn = rigid_motion.angle_between(solution.pose[:, :3, :3], truth[:, :3, :3]).rad2deg()
    shift = (solution.pose[:, :3, 3] - truth[:, :3, 3]).norm(dim=-1)
    found = {"rotation": turn, "translation": shift, "ADD": off}
    errors: dict[str, Floats] = {k: torch.where(good, v, torch.inf).numpy() for k, v in found.items()}
    errors["keypoints"] = errors_percent(positions.numpy(), data.keypoints, width, height)
    return errors


def table(errors: dict[str, Floats]) -> dict[str, float]:
    """One number for each of :data:`MEASURES`; poses by their medians, which wild ones don't move, and by the area
    under the curve of how many have an ADD below each limit up to :data:`FAR`."""
    add = errors["ADD"]
    return {
        "mean %": float(np.nanmean(errors["keypoints"])),
        "median %": float(np.nanmedian(errors["keypoints"])),
        "rotation °": float(np.median(errors["rotation"])),
        "translation mm": 1000 * float(np.median(errors["translation"])),
        "ADD mm": 1000 * float(np.median(add)),
        "AUC %": 100 * float(np.clip(1 - add / FAR, 0, 1).mean()),
        "no pose %": 100 * float(np.isinf(add).mean()),
    }


def train(
    data: Data, scenes: Scenes, test: EvaluationSet, seed: int, images: int, t: TrainingSettings,
    variants: dict[str, dict[str, Any]], start: Path | None,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """The variants' trainings side by side, from where their common beginning has come to, by ``t.pose_from`` of the
    images; their errors."""
    height, width = data.images.shape[1:3]
    sigma = t.target_sigma / 100 * float(np.hypot(width, height))
    config = factory.NetworkConfig.of(t, data.keypoints.shape[1], sigma)
    augmentation = Augmentation(data.recording.settings.augmentation, width, height, seed, PRECISION.device)
    stream = batches(
        data, scenes, BatchAugmenter(augmentation, PRECISION.device, t.occluded_weight, poses=True), seed, t
    )
    common = engine_of(config, t, seed, start)
    engines: dict[str, Engine] = {}
    seconds = dict.fromkeys(variants, 0.0)
    steps = images // t.batch_size
    for step in range(steps):
        batch, fraction = next(stream), step / steps
        rate = learning_rate(t, step, fraction)
        if fraction < t.pose_from:
            common.step(batch, rate, len(batch), lambda: False)
            continue
        engines = engines or {n: copied(common, replace(t, **v)) for n, v in variants.items()}
        for name, engine in engines.items():
            begin = time.monotonic()
            engine.step(batch, rate, len(batch), lambda: False, pose_share(engine.settings, fraction))
            seconds[name] += time.monotonic() - begin
    rows = slice(data.pool + VALIDATION, data.pool + VALIDATION + TEST)
    found = {name: table(measured(engine.average, test, scenes, rows)) for name, engine in engines.items()}
    return {name: {**found[name], "seconds": seconds[name]} for name in found}


def main() -> None:
    """Train, print a table, and JSON on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=4000, help="that each training sees, the common ones included")
    parser.add_argument("--scratch", action="store_true", help="begin with a new network")
    parser.add_argument("--only", nargs="*", choices=[*VARIANTS], default=[*VARIANTS], help="trainings to compare")
    parser.add_argument("--shrink", type=int, default=1, help="renderings are used at this fraction of their size")
    parser.add_argument("--json", type=Path)
    o = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    recording = Recording.load(o.recording)
    data, scenes = Data.of(recording, o.shrink), Scenes.of(recording, o.shrink)
    scenes.check(data.keypoints)
    test, _ = data.held_out(data.pool + VALIDATION, TEST)
    start = None if o.scratch else MODEL
    t = TrainingSettings() if o.scratch else replace(TrainingSettings(), pose_from=0.0, learning_rate=FINE_RATE)
    variants = {name: VARIANTS[name] for name in VARIANTS if name == MAPS or name in o.only}
    runs: list[dict[str, dict[str, float]]] = []
    for seed in range(o.seeds):
        runs.append(train(data, scenes, test, seed, o.images, t, variants, start))
        for name, result in runs[-1].items():
            words = ", ".join(f"{k} {v:.3f}" for k, v in result.items())
            print(f"seed {seed}, {name}: {words}  [{time.monotonic() - began:.0f} s]", file=sys.stderr, flush=True)
        if o.json is not None:
            o.json.write_text(json.dumps({"settings": variants, "runs": runs}, indent=1), encoding="utf-8")
    width = max(map(len, variants))
    print(f"{'':{width}} " + "".join(f"{m:>20}" for m in MEASURES))
    for name in variants:
        cells = (summary([run[name][m] for run in runs]) for m in MEASURES)
        print(f"{name:{width}} " + "".join(f"{c:>20}" for c in cells))
    for name in variants:
        if name != MAPS:
            compare(name, runs)


def compare(name: str, runs: list[dict[str, dict[str, float]]]) -> None:
    """Seed by seed against the maps' loss alone, and how likely such a difference would be by chance (paired t)."""
    for measure in MEASURES:
        pairs = [run[name][measure] - run[MAPS][measure] for run in runs]
        p: Any = ttest_1samp(pairs, 0.0).pvalue if len(pairs) > 1 else float("nan")
        print(f"{name} against {MAPS}, {measure}: {summary(pairs)}, p = {float(p):.3f}")
    slower = np.mean([run[name]["seconds"] / run[MAPS]["seconds"] for run in runs])
    print(f"{name}: {slower:.2f} times the time of a step")


if __name__ == "__main__":
    main()
