# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that a graphics card changes, in one run of a few minutes without Blender and without a network.

    python benchmarks/gpu.py RECORDING --out FOLDER [--photographs DATA] [--backgrounds FOLDER] [--only doctor,peak,…]
        [--trainings light,efficientnet,efficientnet:pretrained] [--seconds 60]

RECORDING is a file of ``recording.py --pack``, or its folder. What was found stands in ``FOLDER/gpu.json`` and, as a
table, in ``FOLDER/gpu.md``, written anew after each part, so that a run that is cut short tells what it has. A part
that fails is named there with its reason, and the exit status is then 1.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from photographs import errors_on
from pose import problems
from recorded_training import Course, held_out, model_info, never
from robot_keypoints.core.settings.asset_folders import training_themes
from robot_keypoints.core.settings.schema import Settings, TrainingSettings
from robot_keypoints.trainer.commands import doctor
from robot_keypoints.trainer.datasets.recording import Recording
from robot_keypoints.trainer.evaluation import keypoint_metrics
from robot_keypoints.trainer.evaluation.evaluate import EvaluationSet, evaluate
from robot_keypoints.trainer.inference.predictor import Predictor
from robot_keypoints.trainer.maps import codec
from robot_keypoints.trainer.networks import device, factory, model_file, two_passes
from robot_keypoints.trainer.networks.batchnorm_folding import fused
from robot_keypoints.trainer.networks.cuda_graphs import Replayed
from robot_keypoints.trainer.networks.factory import NetworkConfig
from robot_keypoints.trainer.pose.problem import Options
from robot_keypoints.trainer.pose.solve_pose import solve_pose
from robot_keypoints.trainer.training.engine import Batch, Engine
from torch.utils.flop_counter import FlopCounterMode

WIDTH, HEIGHT = 640, 480
KEYPOINTS = 7
SIGMA = 0.008 * math.hypot(WIDTH, HEIGHT)
RATES = {"light": 3e-3, "mobilenet": 2e-3, "resnet": 1e-3, "efficientnet": 1e-3, "vgg": 1e-3}
"""Learning rates at a batch of :data:`BATCH`."""

WAYS = (
    ("float32", False, "off"), ("bfloat16", True, "off"), ("bfloat16 graph", True, "auto"),
    ("bfloat16 compiled", True, "on"),
)  # fmt: skip
"""Of computing a training step: whether in bfloat16, and ``training.compile``."""

BATCH = 64
CUDA = torch.device("cuda")


def milliseconds(step: Callable[[], object], count: int, warm_up: int = 3) -> list[float]:
    """Milliseconds of ``count`` calls, each waited for."""
    for _ in range(warm_up):
        step()
    torch.cuda.synchronize()
    found = []
    for _ in range(count):
        begin = time.perf_counter()
        step()
        torch.cuda.synchronize()
        found.append(1e3 * (time.perf_counter() - begin))
    return found


def median(step: Callable[[], object], count: int, warm_up: int = 3) -> float:
    """The median of :func:`milliseconds`."""
    return round(statistics.median(milliseconds(step, count, warm_up)), 4)


def peak_memory() -> int:
    """MiB that tensors took at most since :func:`torch.cuda.reset_peak_memory_stats`."""
    return torch.cuda.max_memory_allocated() >> 20


# --------------------------------------------------------------------------------------------------------- the parts


def examine() -> dict[str, Any]:
    """What the doctor says."""
    out = io.StringIO()
    with redirect_stdout(out):
        doctor.report("", as_json=True)
    document: dict[str, Any] = json.loads(out.getvalue())
    kept = [c for c in document["checks"] if c["name"] in ("python", "torch", "torchvision", "device") or not c["ok"]]
    return {"device": document["device"], "checks": kept}


def matmul_peak() -> dict[str, Any]:
    """TFLOP/s of the largest matrix product that is worth its name, by precision."""
    size, found = 8192, {}
    for name, dtype, tf32 in (("bfloat16", torch.bfloat16, False), ("float32", torch.float32, False),
                              ("tf32", torch.float32, True)):  # fmt: skip
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = (torch.randn(size, size, device=CUDA, dtype=dtype) for _ in range(2))
        found[name] = round(2 * size**3 / median(lambda a=a, b=b: a @ b, 10) / 1e9, 1)  # type: ignore[misc]
    torch.backends.cuda.matmul.allow_tf32 = False
    return {"tflops": found}


def training_steps(peak: float) -> dict[str, Any]:
    """A training step at 640 × 480 by network, batch and way of computing; ``peak`` is bfloat16's in TFLOP/s."""
    result: dict[str, Any] = {}
    for kind, batch in (("vgg", 8), ("light", 8), ("light", 64)):
        images = torch.randn(batch, 3, HEIGHT, WIDTH, device=CUDA).contiguous(memory_format=torch.channels_last)
        points = torch.rand(batch, KEYPOINTS, 2, device=CUDA) * torch.tensor([WIDTH, HEIGHT], device=CUDA)
        rows: dict[str, Any] = {}
        for way, bfloat16, compiled in WAYS if kind == "vgg" else WAYS[:-1]:  # compiling takes long
            torch.cuda.reset_peak_memory_stats()
            net = factory.build(NetworkConfig(kind, KEYPOINTS, SIGMA)).to(CUDA, memory_format=torch.channels_last)  # type: ignore[call-overload]
            settings = TrainingSettings(network=kind, batch_size=batch, compile=compiled, pose_weight=0.0)
            engine = Engine(net, settings, device.Precision(CUDA, bfloat16, 1e-3))
            engine.begin((batch, HEIGHT, WIDTH))
            begin = time.perf_counter()

            def step(engine: Engine = engine, images: torch.Tensor = images, points: torch.Tensor = points) -> None:
                engine.step(Batch(images, points), 1e-3, len(images), lambda: False)

            step()
            torch.cuda.synchronize()
            first = time.perf_counter() - begin
            rows[way] = {"ms": median(step, 12), "first_s": round(first, 1), "peak_mib": peak_memory()}
        with FlopCounterMode(display=False) as counter:
            net = factory.build(NetworkConfig(kind, KEYPOINTS, SIGMA)).to(CUDA)
            net.loss(net(images), points, WIDTH, HEIGHT).mean().backward()  # type: ignore[no-untyped-call]
        operations = counter.get_total_flops()
        for row in rows.values():
            row["share_of_bfloat16_peak"] = round(operations / row["ms"] / 1e9 / peak, 3)
        result[f"{kind}, batch {batch}"] = {"tera_operations": round(operations / 1e12, 2), **rows}
    return result


def making_batches(recording: Recording) -> dict[str, Any]:
    """Images a second of what comes before the network: store, augmentation, belief maps; and with the network."""
    settings = as_trained(recording.settings, "light", coarse_scale=0.5)
    result: dict[str, Any] = {"batch": BATCH, "rendering": [settings.render.width, settings.render.height],
                              "input": list(settings.input_size)}  # fmt: skip
    course = Course(recording, settings, CUDA)
    pipeline = course.pipeline(ahead=False)
    for _ in range(20):
        pipeline.next(never)  # draws its first backgrounds
    raw = course.store.next_batch(course.stream, never)
    assert raw is not None
    augmenter = course.augmenter
    result["store_ms"] = median(lambda: course.store.next_batch(course.stream, never), 20)
    result["augmentation_ms"] = median(lambda: augmenter(raw), 20)
    width, height = settings.input_size
    points = augmenter(raw).keypoints
    result["belief_maps_ms"] = median(lambda: codec.encode(points, width, height, 4, 1.6), 50)
    for name, ahead in (("in turn", False), ("batches made in a thread", True)):
        engine = course.engine(pretrained=False)  # before a thread uses the card
        pipeline = course.pipeline(ahead=ahead)
        course.steps(engine, pipeline, 10)
        torch.cuda.synchronize()
        begin = time.perf_counter()
        count = course.steps(engine, pipeline, 60)
        torch.cuda.synchronize()
        result[f"images_per_second, {name}"] = round(count / (time.perf_counter() - begin))
        pipeline.close()
    return result


def latencies() -> dict[str, Any]:
    """One image of 640 × 480 to keypoints, by network: kernel by kernel, and as one graph."""
    result: dict[str, Any] = {}
    for kind in ("light", "mobilenet", "efficientnet", "resnet", "vgg"):
        torch.cuda.reset_peak_memory_stats()
        net = fused(factory.build(NetworkConfig(kind, KEYPOINTS, SIGMA))).to(CUDA, memory_format=torch.channels_last)  # type: ignore[call-overload]
        image = torch.rand(1, 3, HEIGHT, WIDTH, device=CUDA)
        row: dict[str, Any] = {}
        for name, half in (("float32", False), ("bfloat16", True)):
            answer = partial(two_passes.answered, net, autocast=device.Precision(CUDA, half, 1.0).autocast)
            replayed = Replayed(answer)
            with torch.inference_mode():
                row[f"{name}_ms"] = median(lambda a=answer: a(image), 30)  # type: ignore[misc] # noqa: B023
                row[f"{name} graph_ms"] = median(lambda r=replayed: r(image), 100)  # type: ignore[misc] # noqa: B023
        row["peak_mib"] = peak_memory()
        result[kind] = row
    return result


def predictions(recording: Recording) -> dict[str, Any]:
    """The whole way of ``predict``, from pixels in main memory to keypoints in Python: milliseconds an image."""
    settings = as_trained(recording.settings, "light", coarse_scale=0.5)
    info = model_info(settings, recording)
    net = factory.build(info.network).to(CUDA, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    predictor = Predictor(net, info, CUDA)
    picture = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return {
        "one_at_a_time_ms": median(lambda: predictor.predict([picture]), 30),
        "in_batches_of_32_ms": round(median(lambda: predictor.predict([picture] * 32), 8) / 32, 4),
    }


def poses() -> dict[str, Any]:
    """Microseconds a pose, seven points each."""
    result: dict[str, Any] = {}
    for count in (1, 1024, 65_536):
        points, pixels, camera = problems(count, 7)
        points, pixels = points.to(CUDA), pixels.to(CUDA)
        row: dict[str, Any] = {}
        for name, options in (
            ("quick", Options.quick()), ("default", Options()),
        ):  # fmt: skip
            torch.cuda.reset_peak_memory_stats()
            found = solve_pose(points, pixels, camera, options=options)
            took = median(lambda o=options: solve_pose(points, pixels, camera, options=o), 5, 1)  # type: ignore[misc] # noqa: B023
            rms = found.residuals.square().sum((-2, -1)).div(7).sqrt().median()
            row[name] = {
                "us": round(1e3 * took / count, 3), "solved": round(float((found.status == 0).double().mean()), 4),
                "residual_px": round(float(rms), 4), "peak_mib": peak_memory(),
            }  # fmt: skip
        result[str(count)] = row
    return result


def several_processes() -> dict[str, Any]:
    """A group of one process over NCCL, its gradients and messages, as a run of several cards has it."""
    import os
    import tempfile

    import torch.distributed as dist
    from robot_keypoints.trainer.training.distributed import ProcessGroup, meet

    os.environ.setdefault("LOCAL_RANK", "0")
    with tempfile.TemporaryDirectory() as folder:
        process_group = ProcessGroup(meet(Path(folder, "store"), 1), 0, 1, CUDA)
        net = factory.build(NetworkConfig("light", KEYPOINTS, SIGMA)).to(CUDA)
        engine = Engine(net, TrainingSettings(compile="off"), device.Precision(CUDA, True, 1e-3), process_group)
        engine.begin()
        images = torch.randn(4, 3, 96, 128, device=CUDA)
        points = torch.rand(4, KEYPOINTS, 2, device=CUDA) * 96
        step = engine.step(Batch(images, points), 1e-3, 4, lambda: False)
        dist.destroy_process_group()
    assert step is not None and math.isfinite(step.loss)
    version = torch.cuda.nccl.version()  # type: ignore[no-untyped-call]
    return {"nccl": ".".join(map(str, version)), "loss": step.loss}


# ------------------------------------------------------------------------------------------------- training, errors


def as_trained(
    settings: Settings, kind: str, *, coarse_scale: float, pretrained: bool = False, weights: str = "",
    rate: float = 0.0,
) -> Settings:  # fmt: skip
    """The recording's settings, for one of the networks."""
    t = replace(
        settings.training, network=kind, batch_size=BATCH, coarse_scale=coarse_scale, pretrained=pretrained,
        weights=weights, learning_rate=rate or RATES[kind], pose_weight=0.0, averaging=0.998, store_mb=16_000,
        reuse=1000, fresh_share=0.25, device="cuda", warm_up=200,
    )  # fmt: skip
    return replace(settings, training=t)


def train(recording: Recording, name: str, options: argparse.Namespace, tests: EvaluationSet) -> dict[str, Any]:
    """One training and its errors on renderings and, where they are given, on photographs.

    Args:
        name: ``KIND[:pretrained][:whole]``; ``whole`` looks once, at the whole picture.
    """
    kind, *words = name.split(":")
    settings = with_backgrounds(recording.settings, options.backgrounds)
    settings = as_trained(
        settings, kind, coarse_scale=1.0 if "whole" in words else 0.5, pretrained="pretrained" in words,
        weights=str(options.weights or ""), rate=options.rate,
    )  # fmt: skip
    torch.cuda.reset_peak_memory_stats()
    course = Course(recording, settings, CUDA)
    engine = course.engine(pretrained="pretrained" in words)
    pipeline = course.pipeline(ahead=True)
    course.steps(engine, pipeline, 20)
    begin = time.perf_counter()
    images = course.steps(engine, pipeline, seconds=options.seconds)
    torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    pipeline.close()
    found = evaluate(engine.average, tests, engine.precision, BATCH, view=settings.input_size)
    assert found is not None
    errors = keypoint_metrics.localisation(found.errors, course.info.keypoints)
    model = options.out / f"{name.replace(':', '_')}.safetensors"
    summary = {"images": images, "seconds": round(seconds, 1)}
    info = replace(course.info, training=summary)
    model_file.save_model(model, engine.average.state_dict(), info)
    result: dict[str, Any] = {
        **summary, "images_per_second": round(images / seconds), "precision": str(engine.precision),
        "peak_mib": peak_memory(), "renderings": {"mean": errors.mean, "median": errors.median},
    }  # fmt: skip
    if options.photographs:
        result["photographs"] = errors_on(model, options.photographs)
    return result


def with_backgrounds(settings: Settings, folder: Path | None) -> Settings:
    """Photographs of a folder behind the renderings beside the drawn pictures, each theme as likely as those."""
    if folder is None:
        return settings
    settings = replace(settings, augmentation=replace(settings.augmentation, backgrounds=str(folder)))
    choices = 1 + len(training_themes(settings))
    variables = tuple(
        replace(v, low=0.0, high=float(choices), bins=choices) if v.name == "background/theme" else v
        for v in settings.variables
    )
    return replace(settings, variables=variables)


# ------------------------------------------------------------------------------------------------------- the report


def one_line(problem: BaseException) -> str:
    """Kind and reason."""
    return f"{type(problem).__name__}: {' '.join(str(problem).split())[:300]}"


@contextmanager
def part(name: str, document: dict[str, Any], out: Path) -> Iterator[None]:
    """Keep what a part found, or why it failed, and go on."""
    begin = time.perf_counter()
    print(f"{name} …", file=sys.stderr, flush=True)
    try:
        yield
    except Exception as problem:
        traceback.print_exc()
        document["failed"][name] = one_line(problem)
    document["seconds"][name] = round(time.perf_counter() - begin, 1)
    torch.cuda.empty_cache()
    (out / "gpu.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    (out / "gpu.md").write_text("\n".join(table(document)) + "\n", encoding="utf-8")


def table(document: Mapping[str, Any]) -> list[str]:
    """A row for each number, as Markdown."""
    lines = [f"{document['card']}, torch {document['torch']}", "", "| part | | |", "|---|---|---|"]

    def rows(part_name: str, path: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                rows(part_name, f"{path}, {key}" if path else str(key), inner)
        elif isinstance(value, int | float | str):
            lines.append(f"| {part_name} | {path} | {value} |")

    for name, found in document["parts"].items():
        rows(name, "", found)
    lines += [f"| {name} | failed | {reason} |" for name, reason in document["failed"].items()]
    return lines


def main() -> None:
    """Run the parts in turn."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recording", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, help="images with COCO keypoints, to be evaluated on")
    parser.add_argument("--backgrounds", type=Path, help="photographs to lay behind renderings, by theme")
    parser.add_argument("--weights", type=Path, help="file with pretrained weights, where the package isn't installed")
    parser.add_argument("--only", default="doctor,peak,group,steps,batches,latency,predict,poses,train")
    parser.add_argument("--trainings", default="light,efficientnet,efficientnet:pretrained")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each training")
    parser.add_argument("--rate", type=float, default=0.0, help="learning rate; 0 is the network's own")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no graphics card that torch can use: this benchmark is about one")
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(4)
    document: dict[str, Any] = {
        "card": torch.cuda.get_device_name(), "torch": str(torch.__version__), "parts": {}, "failed": {}, "seconds": {}
    }  # fmt: skip
    found, wanted = document["parts"], options.only.split(",")
    recording = Recording.load(options.recording)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "doctor": examine, "peak": matmul_peak, "group": several_processes,
        "steps": lambda: training_steps(found["peak"]["tflops"]["bfloat16"]),
        "batches": lambda: making_batches(recording), "latency": latencies,
        "predict": lambda: predictions(recording), "poses": poses,
    }  # fmt: skip
    for name, measure in parts.items():
        if name in wanted:
            with part(name, document, options.out):
                found[name] = measure()
    if "train" in wanted:
        with part("held out", document, options.out):
            tests = held_out(recording, with_backgrounds(recording.settings, options.backgrounds))
        for name in options.trainings.split(","):
            with part(f"train {name}", document, options.out):
                found[f"train {name}"] = train(recording, name, options, tests)
    print("\n".join(table(document)))
    sys.exit(1 if document["failed"] else 0)


if __name__ == "__main__":
    main()
