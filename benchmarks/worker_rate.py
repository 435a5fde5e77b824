# SPDX-License-Identifier: GPL-3.0-or-later
"""(a) One worker's samples per second, label and transport included, over bare render calls of the same scene.

Both are measured in turn, frame by frame, in one process: the worker's whole step (draw, apply, label, render,
read the pixels, encode, send to another process that decodes them) and, after another draw was applied outside the
clock, ``bpy.ops.render.render()`` alone, which writes no file.

    python benchmarks/worker_rate.py [--frames N]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection

import common
import numpy as np

RUN = "benchmark"


def consume(settings_toml: str, pipe: Connection) -> None:
    """Receive and decode samples until told to stop; answers with how many came."""
    from robot_keypoints.core import settings as settings_module
    from robot_keypoints.core.channel import Hub, SampleReceiver
    from robot_keypoints.core.messages import SampleContract

    settings = settings_module.load(settings_toml)
    hub = Hub("127.0.0.1", 0)
    e = hub.endpoints
    pipe.send((e.samples, e.news, e.control))
    size = settings.render
    contract = SampleContract.of(RUN, size.width, size.height, len(settings.keypoints), settings.scene_model())
    receiver = SampleReceiver(hub.samples, contract, print)
    count = 0
    while not pipe.poll():
        count += receiver.receive(0.05) is not None
    pipe.send(count)
    hub.close()


def measure(width: int, height: int, samples: int, triangles: int, frames: int) -> dict[str, float]:
    """Milliseconds of both, and the ratio of their rates."""
    import bpy
    from robot_keypoints.addon import background
    from robot_keypoints.core import settings as settings_module
    from robot_keypoints.core.channel import Endpoints, Link

    folder = common.scratch()
    settings = common.ur10_settings()
    render = replace(settings.render, width=width, height=height, samples=samples, triangles=triangles)
    settings = replace(settings, render=render)
    settings_module.save(settings, folder / "settings.toml")
    background.build_scene(settings, folder)
    place, renderer = background.prepare(folder / "scene.blend", settings)
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    consumer = context.Process(target=consume, args=(str(folder / "settings.toml"), theirs), daemon=True)
    consumer.start()
    link = Link(Endpoints("127.0.0.1", *ours.recv()), RUN)
    model, rng = settings.scene_model(), np.random.default_rng(0)
    full, bare = [], []
    postman = ThreadPoolExecutor(1)
    sent = postman.submit(bool, True)
    for index in range(-3, frames):
        start = time.perf_counter()
        sample = background.make_sample(place, renderer, model, rng, 0, max(index, 0))
        sent.result()
        sent = postman.submit(link.send, sample, lambda: False)
        middle = time.perf_counter()
        place.apply(model.draw(rng).values)
        applied = time.perf_counter()
        bpy.ops.render.render()
        end = time.perf_counter()
        if index >= 0:
            full.append(middle - start)
            bare.append(end - applied)
    postman.shutdown()
    time.sleep(0.5)
    ours.send("stop")
    received = ours.recv()
    consumer.join()
    link.close()
    renderer.close()
    assert received == frames + 3, f"{received} of {frames + 3} samples arrived"
    return {"worker_ms": 1e3 * np.mean(full), "bare_ms": 1e3 * np.mean(bare), "ratio": np.sum(bare) / np.sum(full)}


def main() -> None:
    """Measure at both sizes and print the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=200)
    frames = parser.parse_args().frames
    report = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Blender prints several lines per frame
    for width, height, samples, triangles, goal in ((160, 120, 2, 12000, 0.85), (640, 480, 4, 0, 0.95)):
        count = frames if width < 320 else max(10, frames // 6)
        result = measure(width, height, samples, triangles, count)
        print(
            f"{width}×{height}, {samples} samples per pixel: worker {result['worker_ms']:.1f} ms a sample, bare render "
            f"{result['bare_ms']:.1f} ms; ratio of rates {result['ratio']:.3f} (goal {goal})",
            file=report,
            flush=True,
        )


if __name__ == "__main__":
    main()
